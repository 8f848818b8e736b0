package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/demo"
)

// A verifiedRun is what verify says as JSON.
type verifiedRun struct {
	Model           string
	Pass            bool
	Checked, Failed int
	Answers         []struct {
		Of, Missing           string
		Want, Got             []float64
		Difference, Tolerance float64
		Pass                  bool
	}
}

func verifyRun(t *testing.T, status int, args ...string) (v verifiedRun) {
	t.Helper()
	r := vitago(append([]string{"verify", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || r.status != status {
		t.Fatalf("%q: status %d, want %d, %v: %s%s", args, r.status, status, err, r.out, r.err)
	}
	return v
}

// bent writes the model in the program with one value of a weight of its vision tower made otherwise.
func bent(t *testing.T, by float32) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	vitago("convert", demo.Name, dir, "--dtype", "f32").want(t, exitDone, []string{"written"}, []string{"converted"})
	path := filepath.Join(dir, "model.safetensors")
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all []checkpoint.Values
	changed := false
	for _, x := range c.Tensors() {
		data := make([]float32, x.Len())
		if err := x.Float32s(data); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(x.Name, "visual_projection") {
			data[0] += by
			changed = true
		}
		all = append(all, checkpoint.Values{Name: x.Name, Shape: x.Shape, Data: data})
	}
	if !changed {
		t.Fatal("no visual projection")
	}
	if err := checkpoint.WriteTensors(path, map[string]string{"format": "pt"}, all); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestVerify: the model in the program gives the answers of transformers, also as a conversion; with one value of one weight
// changed it does not, and says by how much.
func TestVerify(t *testing.T) {
	vitago("verify").want(t, exitDone, []string{"transformers 5.24.0", "  pass: the embedding of ", "  pass: the probabilities of ", "\npass: "}, []string{builtinNote})
	good := verifyRun(t, exitDone)
	if !good.Pass || good.Failed != 0 || good.Checked < 10 || good.Checked != len(good.Answers) || good.Model != demo.Name {
		t.Errorf("%+v", good)
	}
	if same := verifyRun(t, exitDone, "--model", bent(t, 0), "--answers", demo.Name); same.Checked != good.Checked {
		t.Errorf("a conversion: %d answers, want %d", same.Checked, good.Checked)
	}
	model := bent(t, 0.5)
	bad := verifyRun(t, exitFailed, "--model", model, "--answers", demo.Name)
	if bad.Pass || bad.Failed == 0 || bad.Failed >= bad.Checked || bad.Checked != good.Checked { // texts are as they were
		t.Errorf("with a weight changed: %d of %d fail", bad.Failed, bad.Checked)
	}
	for i, a := range bad.Answers {
		if a.Pass != (a.Difference <= a.Tolerance) || strings.Contains(a.Of, "the text") && !a.Pass || !good.Answers[i].Pass {
			t.Errorf("%+v", a)
		}
	}
	vitago("verify", "--model", model, "--answers", demo.Name).want(t, exitFailed, []string{"  fail: the embedding of ", "  pass: the embedding of the text ", "\nfail: "}, []string{"answers of " + model + " differ by more than they may"})
}

// TestVerifyOwn: answers of a file, for which pictures lie beside it, are named, or are missing.
func TestVerifyOwn(t *testing.T) {
	r := vitago("encode", "--model", demo.Name, "testdata/demo/cat.png")
	var encoded struct{ Embedding []float64 }
	if err := json.Unmarshal([]byte(r.out), &encoded); err != nil {
		t.Fatal(err)
	}
	vector, err := json.Marshal(encoded.Embedding)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := hashOf("testdata/demo/cat.png")
	if err != nil {
		t.Fatal(err)
	}
	other, err := hashOf("testdata/demo/gradient.png")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, pictures, checks string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(`{"answers":[{"source":"me","pictures":{`+pictures+`},"checks":[`+checks+`]}]}`), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	check := fmt.Sprintf(`{"picture":"c.png","embedding":%s,"tolerance":1e-6}`, vector)
	file := write("own.json", `"c.png":{"sha256":"`+strings.ToUpper(hash)+`"}`, check)
	vitago("verify", "--answers", file).want(t, exitFailed, nil, []string{"no answer can be checked without its picture: give --picture or --download; they are c.png"})
	if v := verifyRun(t, exitDone, "--answers", file, "--picture", "testdata/demo/cat.png"); v.Checked != 1 || v.Answers[0].Difference > 1e-6 {
		t.Errorf("a picture by its SHA-256: %+v", v)
	}
	two := write("two.json", "", check+`,{"picture":"absent.png","embedding":[1]}`)
	if err := os.WriteFile(filepath.Join(dir, "c.png"), []byte(read(t, "testdata/demo/cat.png")), 0o666); err != nil {
		t.Fatal(err)
	}
	v := verifyRun(t, exitDone, "--answers", two)
	if v.Checked != 1 || len(v.Answers) != 2 || v.Answers[1].Missing != "absent.png" || v.Answers[1].Pass {
		t.Errorf("a picture that is missing: %+v", v)
	}
	vitago("verify", "--answers", two).want(t, exitDone, []string{"  not checked: the embedding of absent.png, without absent.png\n", "pass: 1 of 1 answer\n"}, []string{builtinNote})
	wrong := write("wrong.json", `"c.png":{"sha256":"`+other+`"}`, check)
	namesake := filepath.Join(t.TempDir(), "cat.png") // another picture of that name
	if data, err := os.ReadFile("testdata/demo/red-circle.png"); err != nil || os.WriteFile(namesake, data, 0o666) != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status int
		args   []string
		want   string
	}{
		{exitFailed, []string{"--answers", wrong}, "c.png has the SHA-256 " + hash + ", want " + other},
		{exitFailed, []string{"--answers", wrong, "--picture", filepath.Join(dir, "c.png")}, "it is another picture"},
		{exitUsage, []string{"--answers", file, "--picture", "testdata/demo/gradient.png"}, "--picture testdata/demo/gradient.png is none of those that the answers are of: c.png (SHA-256 "},
		{exitUsage, []string{"--answers", file, "--picture", "testdata/demo/cat.png", "--picture", filepath.Join(dir, "c.png")}, "are one: give each once"},
		{exitUsage, []string{"--answers", file, "--picture", "testdata/demo/cat.png", "--picture", namesake}, "have one name, by which answers may know a picture: rename one"},
		{exitFailed, []string{"--picture", "nope.png"}, "--picture: open nope.png"},
		{exitUsage, []string{"--answers", "ViT-X/99"}, "--answers ViT-X/99 is neither a file nor one of ViT-B/32, ViT-B/16, ViT-L/14, ViT-L/14@336px, builtin:demo"},
		{exitUsage, []string{"--model", tinyModel}, "no answers are known of " + tinyModel + ": give --answers, one of ViT-B/32"},
		{exitUsage, []string{"--download"}, "--download: the pictures of these answers have no address and SHA-256"},
		{exitFailed, []string{"--answers", "ViT-B/32"}, "they are CLIP.png https://raw.githubusercontent.com/openai/CLIP/main/CLIP.png, 000000039769.jpg http"},
		{exitFailed, []string{"--answers", write("text.json", "", `{"text":"Ω","embedding":[1]}`)}, `the embedding of the text "Ω": `},
		{exitFailed, []string{"--answers", write("slip.json", "", `{"txt":"a"}`)}, `slip.json: want an object with the member answers: json: unknown field "txt"`},
	} {
		r := vitago(append([]string{"verify"}, c.args...)...)
		if r.status != c.status || !strings.Contains(r.err, c.want) || r.out != "" {
			t.Errorf("%q: status %d, %s%s, want %d and %q", c.args, r.status, r.out, r.err, c.status, c.want)
		}
	}

	// Once it is downloaded, it is there.
	t.Setenv(modelsEnv, filepath.Join(dir, "models"))
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			asked++
		}
		http.ServeFile(w, r, "testdata/demo/cat.png")
	}))
	defer server.Close()
	far := write("far.json", `"far.png":{"sha256":"`+hash+`","url":"`+server.URL+`/c"}`, strings.ReplaceAll(check, "c.png", "far.png"))
	vitago("verify", "--answers", far).want(t, exitFailed, nil, []string{"far.png " + server.URL})
	for _, args := range [][]string{{"--download"}, {"--download"}, nil} {
		if v := verifyRun(t, exitDone, append(args, "--answers", far)...); v.Checked != 1 {
			t.Errorf("%+v", v)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
	bad := write("bad.json", `"bad.png":{"sha256":"`+other+`","url":"`+server.URL+`/c"}`, strings.ReplaceAll(check, "c.png", "bad.png"))
	vitago("verify", "--answers", bad, "--download").want(t, exitFailed, nil, []string{"bad.png"})
	if isThere(filepath.Join(dir, "models", "pictures"), "bad.png") {
		t.Error("another picture was kept")
	}
}
