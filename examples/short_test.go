package examples_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/embeddings"
	"github.com/vitago/vitago/internal/golden"
)

// short are the programs whose main a person reads at a glance.
var short = []string{"folder", "search", "zeroshot", "classify", "tune", "serve"}

func TestShort(t *testing.T) {
	for _, name := range short {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, filepath.Join(name, "main.go"), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "main" {
				continue
			}
			if lines := files.Position(f.End()).Line - files.Position(f.Pos()).Line - 1; lines > 20 {
				t.Errorf("%s: main has %d lines, want 20 at most", name, lines)
			}
		}
	}
}

// pictures returns a folder with the pictures of the demo.
func pictures(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"blue-square.png", "cat.png", "gradient.png", "orange-circle.png", "red-circle.png"} {
		file, err := os.ReadFile(golden.Path(t, "cmd/vitago/testdata/demo/"+name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), file, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// cosines are those of "a cat" by transformers 5.24.0, torch 2.15.0: get_image_features with CLIPImageProcessorPil, and
// get_text_features.
var cosines = []embeddings.Hit{{Name: "gradient", Cosine: 0.0421}, {Name: "cat", Cosine: 0.0142}, {Name: "orange-circle", Cosine: -0.0534}, {Name: "red-circle", Cosine: -0.2210}, {Name: "blue-square", Cosine: -0.2485}}

// A folder is embedded, once, into a file that is searched.
func TestFolder(t *testing.T) {
	dir, model := pictures(t), golden.Path(t, "testdata/families/hf5-clip")
	if err := os.WriteFile(filepath.Join(dir, "cut.png"), []byte("\x89PNG\r\n\x1a\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := clip.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cat, err := m.EncodeText(t.Context(), []string{"a cat"})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"npy", "jsonl", "safetensors"} {
		photos := filepath.Join(t.TempDir(), "photos."+format)
		for _, before := range []int{0, 6} {
			out, errs, status := example(t, "folder", model, dir, photos)
			if want := fmt.Sprintf("6 pictures, %d of them from before, 1 not readable\n", before); status != 0 || out != want || errs != "" {
				t.Fatalf("status %d, %q, want %q: %s", status, out, want, errs)
			}
		}
		set, err := embeddings.Read(photos)
		if err != nil {
			t.Fatal(err)
		}
		hits, err := set.Nearest(cat[0], 10)
		if err != nil || len(hits) != len(cosines) {
			t.Fatalf("%s: %v, %v, want %v", format, hits, err, cosines)
		}
		for i, want := range cosines {
			if got := hits[i]; got.Name != filepath.Join(dir, want.Name+".png") || fmt.Sprintf("%.4f", got.Cosine) != fmt.Sprintf("%.4f", want.Cosine) {
				t.Errorf("%s: %v, want %v", format, got, want)
			}
		}
	}
}

// A folder is searched by a sentence, and what is new in it is found when it is searched again.
func TestSearch(t *testing.T) {
	dir := pictures(t)
	hits := func(args ...string) (all []embeddings.Hit, errs string) {
		t.Helper()
		out, errs, status := example(t, "search", args...)
		for line := range strings.Lines(out) {
			var h embeddings.Hit
			if _, err := fmt.Sscanf(line, "%f  %s\n", &h.Cosine, &h.Name); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			if len(all) > 0 && h.Cosine > all[len(all)-1].Cosine {
				t.Errorf("%s is not sorted", out)
			}
			all = append(all, h)
		}
		if status != 0 {
			t.Fatalf("status %d: %s", status, errs)
		}
		return all, errs
	}
	got, errs := hits("-model", golden.Path(t, "testdata/families/hf5-clip"), dir, filepath.Join(t.TempDir(), "index"), "a cat")
	if len(got) != len(cosines) || errs != "" {
		t.Fatalf("%v, want %v: %s", got, cosines, errs)
	}
	for i, want := range cosines { // in float16, of 11 bits
		if h := got[i]; h.Name != filepath.Join(dir, want.Name+".png") || math.Abs(h.Cosine-want.Cosine) > 5e-4 {
			t.Errorf("%v, want %v", h, want)
		}
	}

	// The small model in the program.
	const sentence = "a red circle"
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	words, err := m.EncodeText(t.Context(), []string{sentence})
	if err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(t.TempDir(), "index")
	for _, more := range []string{"", "copy.png", "cut.png"} {
		var note string
		switch more {
		case "copy.png":
			err = os.Link(filepath.Join(dir, "red-circle.png"), filepath.Join(dir, more))
		case "cut.png":
			err, note = os.WriteFile(filepath.Join(dir, more), []byte("\x89PNG\r\n\x1a\n"), 0o666), "skipped "+filepath.Join(dir, more)
		}
		if err != nil {
			t.Fatal(err)
		}
		got, errs := hits(dir, index, sentence)
		if want := 5 + btoi(more != ""); len(got) != want || filepath.Base(got[0].Name) != "red-circle.png" && got[0].Name != filepath.Join(dir, more) || !strings.Contains(errs, note) || (errs == "") != (note == "") {
			t.Fatalf("%v, want %d: %s", got, want, errs)
		}
		for _, h := range got {
			v, err := m.Encode(t.Context(), clip.File(h.Name))
			if err != nil {
				t.Fatal(err)
			}
			if want := clip.Cosine(v[0], words[0]); math.Abs(h.Cosine-want) > 5e-4 {
				t.Errorf("%s: %v, want %v", h.Name, h.Cosine, want)
			}
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestZeroshot(t *testing.T) {
	dir := pictures(t)
	var args []string
	// Probabilities of transformers 5.24.0, as those above: softmax of the cosines times exp(logit_scale).
	want := ""
	for _, line := range []string{"cat.png: cat 0.65", "blue-square.png: photo 0.46", "red-circle.png: cat 0.61"} {
		want += filepath.Join(dir, line) + "\n"
		name, _, _ := strings.Cut(line, ":")
		args = append(args, filepath.Join(dir, name))
	}
	out, errs, status := example(t, "zeroshot", append([]string{golden.Path(t, "testdata/families/hf5-clip"), "cat,hat,photo"}, args...)...)
	if status != 0 || out != want || errs != "" {
		t.Errorf("status %d, got\n%swant\n%s%s", status, out, want, errs)
	}
}

// A classifier is trained and judged, names pictures, and answers over HTTP.
func TestTuneClassifyServe(t *testing.T) {
	dir := t.TempDir()
	folder, tuned := filepath.Join(dir, "pictures"), filepath.Join(dir, "tuned")
	if _, errs, status := example(t, "shapes", "-n", "20", "-test", "5", "-size", "32", folder); status != 0 {
		t.Fatal(errs)
	}
	train, test := filepath.Join(folder, "train"), filepath.Join(folder, "test")
	out, errs, status := example(t, "tune", golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"), train, test, tuned)
	var accuracy float64
	if _, err := fmt.Sscanf(out, "%f %% of 30 pictures\n", &accuracy); err != nil || accuracy < 60 || accuracy > 100 || status != 0 || errs != "" {
		t.Fatalf("status %d, %q, want 60 %% or more: %s", status, out, errs)
	}

	out, errs, status = example(t, "classify", tuned, test)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != 0 || errs != "" || len(lines) != 30 {
		t.Fatalf("status %d, %q, want 30 lines: %s", status, out, errs)
	}
	right := 0.
	for _, line := range lines {
		path, class, _ := strings.Cut(line, ": ")
		class, p, _ := strings.Cut(class, " ")
		if class == filepath.Base(filepath.Dir(path)) {
			right++
		}
		if len(p) != 4 {
			t.Errorf("%q ends with %q, want a probability", line, p)
		}
	}
	if got := fmt.Sprintf("%.1f", 100*right/30); got != fmt.Sprintf("%.1f", accuracy) {
		t.Errorf("%s %% are right, and tune said %.1f %%", got, accuracy)
	}

	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Skip(err)
	}
	address := l.Addr().String()
	l.Close()
	server := exec.Command(filepath.Join(bin, program("serve")), tuned, address)
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Logf("%s", &log)
		}
	}()
	picture, err := os.ReadFile(filepath.Join(test, "ring", "00021.png"))
	if err != nil {
		t.Fatal(err)
	}
	post := func(body []byte) (status int, answer []byte) {
		t.Helper()
		for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			r, err := http.Post("http://"+address+"/classify", "", bytes.NewReader(body))
			if err != nil && time.Since(begin) < 30*time.Second { // it has not begun to listen
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			answer, err = io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			return r.StatusCode, answer
		}
	}
	status, answer := post(picture)
	var labels []struct {
		Label       string
		Probability float64
	}
	if err := json.Unmarshal(answer, &labels); err != nil || status != http.StatusOK || len(labels) != 6 {
		t.Fatalf("status %d, %v: %s", status, err, answer)
	}
	for i := range labels[1:] {
		if labels[i].Probability < labels[i+1].Probability {
			t.Errorf("%v are not sorted", labels)
		}
	}
	large := append(bytes.Clone(picture[:100]), make([]byte, 65<<20)...)
	for _, c := range []struct {
		body   []byte
		status int
		want   string
	}{
		{nil, http.StatusBadRequest, "empty"},
		{[]byte("no picture"), http.StatusUnprocessableEntity, "not an image"},
		{picture[:len(picture)/2], http.StatusUnprocessableEntity, "clip: picture: "},
		{large, http.StatusRequestEntityTooLarge, "too large"},
	} {
		status, answer := post(c.body)
		if status != c.status || !strings.Contains(string(answer), c.want) || strings.Count(string(answer), "clip: ") != 1 {
			t.Errorf("%d bytes: status %d, want %d: %s", len(c.body), status, c.status, answer)
		}
	}
}

func TestShortMistakes(t *testing.T) {
	model := golden.Path(t, "testdata/families/hf5-clip")
	for _, c := range []struct {
		args []string
		want string // on standard error
	}{
		{[]string{"folder"}, "usage: folder MODEL FOLDER PHOTOS.npy"},
		{[]string{"folder", "absent", t.TempDir(), "out.npy"}, "absent"},
		{[]string{"folder", model, "absent", "out.npy"}, "absent"},
		{[]string{"search", "photos"}, "usage: search [-model MODEL] FOLDER INDEX SENTENCE"},
		{[]string{"search", "absent", filepath.Join(t.TempDir(), "index"), "a red circle"}, "absent"},
		{[]string{"search", pictures(t), filepath.Join(t.TempDir(), "index"), "a red dog"}, `lacks "dog"`},
		{[]string{"search", "-model", "absent.pt", t.TempDir(), filepath.Join(t.TempDir(), "index"), "a cat"}, "absent.pt"},
		{[]string{"zeroshot", model, "cat,hat"}, "usage: zeroshot"},
		{[]string{"zeroshot", model, "cat", golden.Path(t, "cmd/vitago/testdata/demo/cat.png")}, "1 label"},
		{[]string{"zeroshot", golden.Path(t, "testdata/families/hf5-vision"), "cat,hat", "cat.png"}, "no text tower"},
		{[]string{"zeroshot", model, "cat,hat", "absent.png"}, "absent.png"},
		{[]string{"classify", model}, "usage: classify TUNED FOLDER"},
		{[]string{"classify", model, t.TempDir()}, "no classifier"},
		{[]string{"tune", model}, "usage: tune [-recipe RECIPE] MODEL TRAIN TEST OUT"},
		{[]string{"tune", model, "absent", t.TempDir(), "out"}, "no folders of classes"},
		{[]string{"serve", model}, "usage: serve TUNED ADDRESS"},
		{[]string{"serve", model, "localhost:0"}, "no classifier"},
	} {
		out, errs, status := example(t, c.args[0], c.args[1:]...)
		want := 1
		if strings.HasPrefix(c.want, "usage: ") {
			want = 2
		}
		if status != want || !strings.Contains(errs, c.want) || out != "" || strings.Contains(errs, "goroutine") {
			t.Errorf("%q: status %d, output %q, error %q, want status %d and an error with %q", c.args, status, out, errs, want, c.want)
		}
	}
}
