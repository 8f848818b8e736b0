package examples_test

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/shard/store"
	_ "github.com/vitago/vitago/shard/store/s3"
	"github.com/vitago/vitago/shard/store/storetest"
)

// The map of a caption is largest where its object is, and lies over the whole picture.
func TestExplain(t *testing.T) {
	picture, out := golden.Path(t, "demo/pictures/circle-left-of-cross.png"), filepath.Join(t.TempDir(), "map.png")
	for caption, left := range map[string]bool{"a red circle": true, "a blue cross": false} {
		stdout, errs, status := example(t, "explain", picture, caption, out)
		var said string
		var cosine, x, y float64
		if _, err := fmt.Sscanf(stdout, "%q, cosine %f, most at %f,%f", &said, &cosine, &x, &y); err != nil || status != 0 || errs != "" || said != caption || cosine < 0.1 {
			t.Fatalf("status %d, %q, %v: %s", status, stdout, err, errs)
		}
		f, err := os.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if width := float64(img.Bounds().Dx()); (x < 0.4*width) != left {
			t.Errorf("%s: most at %g of %g", caption, x, width)
		}
	}
	if _, errs, status := example(t, "explain", picture, "a red dog", out); status != 1 || !strings.Contains(errs, `lacks "dog"`) {
		t.Errorf("status %d: %s", status, errs)
	}
}

// What is converted and exported is the same model.
func TestConvert(t *testing.T) {
	dir := t.TempDir()
	out, errs, status := example(t, "convert", golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"), filepath.Join(dir, "model"), filepath.Join(dir, "exported"))
	if want := "OpenAI, 74 parameters in TorchScript archive\nThe vision tower is identical. The text tower is identical.\n"; status != 0 || errs != "" || out != want {
		t.Errorf("status %d, got %q, want %q: %s", status, out, want, errs)
	}
}

// The loss of four captions falls in ten epochs, and a run that has ended stays as it is.
func TestContrastive(t *testing.T) {
	dir := t.TempDir()
	table := "path,caption\n"
	for _, row := range []string{"blue-square.png,a hat", "red-circle.png,a cat", "yellow-circle.png,a photo", "three-stars.png,a photo of a cat"} {
		table += golden.Path(t, "demo/pictures/") + string(filepath.Separator) + row + "\n"
	}
	captions, run := filepath.Join(dir, "captions.csv"), filepath.Join(dir, "run")
	if err := os.WriteFile(captions, []byte(table), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, steps := range []int{10, 0} {
		out, errs, status := example(t, "contrastive", golden.Path(t, "testdata/families/hf5-clip"), captions, run)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if status != 0 || errs != "" || len(lines) != steps+1 || lines[steps] != filepath.Join(run, "model") {
			t.Fatalf("status %d, %q, want %d steps: %s", status, out, steps, errs)
		}
		if steps == 0 {
			continue
		}
		var losses [2]float64
		for i, line := range []string{lines[0], lines[steps-1]} {
			if _, err := fmt.Sscanf(line, fmt.Sprintf("step %d of 10: loss %%f", 1+9*i), &losses[i]); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
		}
		if !(losses[1] < losses[0]) {
			t.Errorf("losses %v, want the last to be less", losses)
		}
	}
	if m, err := clip.Open(filepath.Join(run, "model")); err != nil || !m.HasText() {
		t.Error(err)
	}
}

// TestAsWritten runs the first line of each example's comment as it stands, from the root. Others begin servers, or are modules of their own.
func TestAsWritten(t *testing.T) {
	dir := t.TempDir()
	others := []string{"client", "cybertronserver", "embedserver", "openai", "owntask", "serve"}
	first := regexp.MustCompile(`(?m)^//\tgo run \./examples/(\w+) (.*?)(?: {2,}#.*)?$`)
	files, err := filepath.Glob("*/main.go")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	if err := os.CopyFS(filepath.Join(dir, "models"), os.DirFS(golden.Path(t, "tasks/testdata"))); err != nil { // as the comment of bert says
		t.Fatal(err)
	}
	rank := map[string]int{"shapes": -1, "classify": 1} // shapes are learnt from, and classify asks what tune made
	slices.SortStableFunc(files, func(a, b string) int { return rank[filepath.Dir(a)] - rank[filepath.Dir(b)] })
	for _, file := range files {
		name := filepath.Dir(file)
		if slices.Contains(others, name) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := first.FindStringSubmatch(string(text))
		if m == nil || m[1] != name {
			t.Errorf("%s: no line begins with go run ./examples/%s", file, name)
			continue
		}
		var args []string
		for _, w := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(m[2], -1) {
			w = strings.Trim(w, `"`)
			for _, folder := range []string{"demo/", "testdata/", "tasks/", "examples/"} { // of the clone; the others are written
				if strings.HasPrefix(w, folder) {
					w = golden.Path(t, w)
				}
			}
			args = append(args, w)
		}
		t.Run(name, func(t *testing.T) {
			cmd := command(name, args...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil || len(out) == 0 && name != "shapes" {
				t.Errorf("%s: %v, %q", m[0], err, out)
			}
		})
	}
}

// The loss of a projector falls, and what it has become is written as the model was.
func TestProjector(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	stdout, errs, status := example(t, "projector", golden.Path(t, "testdata/families/xcomposer2-vl"), golden.Path(t, "demo/pictures"), out)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if status != 0 || errs != "" || len(lines) != 7 || lines[6] != filepath.Join(out, "model") {
		t.Fatalf("status %d, %q, want 6 steps and a folder: %s", status, stdout, errs)
	}
	var losses []float64
	for i, line := range lines[:6] {
		var loss float64
		if _, err := fmt.Sscanf(line, fmt.Sprintf("step %d of 60: mean square error %%f", 10*(i+1)), &loss); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		losses = append(losses, loss)
	}
	if !slices.IsSortedFunc(losses, func(a, b float64) int { return cmp.Compare(b, a) }) || losses[5] > losses[0]/3 {
		t.Errorf("losses %v, want them to fall to a third of the first", losses)
	}
	m, err := converter.Open(filepath.Join(out, "model"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Encoder(t.Context(), ""); err != nil {
		t.Error(err)
	}
}

// Corrections of low rank are learnt, judged, and written for peft.
func TestLoRAAlone(t *testing.T) {
	dir := t.TempDir()
	folder, out := filepath.Join(dir, "pictures"), filepath.Join(dir, "lora")
	if _, errs, status := example(t, "shapes", "-n", "20", "-test", "5", "-size", "64", folder); status != 0 {
		t.Fatal(errs)
	}
	stdout, errs, status := example(t, "lora", "builtin:demo", filepath.Join(folder, "train"), filepath.Join(folder, "test"), out)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var accuracy float64
	if _, err := fmt.Sscanf(lines[len(lines)-1], "%f %% of 30 pictures; corrections in "+filepath.Join(out, "adapter"), &accuracy); err != nil || status != 0 || errs != "" || accuracy < 80 {
		t.Fatalf("status %d, %q, want 80 %% or more: %v %s", status, stdout, err, errs)
	}
	if !strings.HasPrefix(lines[0], "step 0 of ") || len(lines) != 8 {
		t.Errorf("got %q, want a validation before, six after epochs, and the result", lines)
	}
	if _, err := os.Stat(filepath.Join(out, "adapter", "adapter_config.json")); err != nil {
		t.Error(err)
	}
}

// most is how many lines a main.go may have, that a person reads it at a glance.
const most = 79

// TestIndex: each example is one short main.go, and has a line and a picture in the index.
func TestIndex(t *testing.T) {
	index, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*/main.go")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Dir(file)
		if lines := bytes.Count(text, []byte("\n")); lines > most {
			t.Errorf("%s has %d lines, want %d at most", file, lines, most)
		}
		sources, err := filepath.Glob(filepath.Join(name, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sources {
			if s != file && !strings.HasSuffix(s, "_test.go") {
				t.Errorf("%s lies beside %s, want one file", s, file)
			}
		}
		row := regexp.MustCompile(`(?m)^\| \[` + "`" + name + "`" + `\]\(` + name + `/main\.go\) \| [^|]+ \| !\[[^]]+\]\((pictures/[a-z.]+)\) \|$`).FindSubmatch(index)
		if row == nil {
			t.Errorf("the index has no line with a picture for %s", name)
		} else if _, err := os.Stat(string(row[1])); err != nil {
			t.Error(err)
		}
	}
}

// LoRA learns with the same program as a probe.
func TestLoRA(t *testing.T) {
	dir := t.TempDir()
	folder, tuned := filepath.Join(dir, "pictures"), filepath.Join(dir, "tuned")
	if _, errs, status := example(t, "shapes", "-n", "6", "-test", "2", "-size", "32", folder); status != 0 {
		t.Fatal(errs)
	}
	out, errs, status := example(t, "tune", "-recipe", "lora", golden.Path(t, "testdata/tiny/huggingface"), filepath.Join(folder, "train"), filepath.Join(folder, "test"), tuned)
	var accuracy float64
	if _, err := fmt.Sscanf(out, "%f %% of 12 pictures\n", &accuracy); err != nil || status != 0 || errs != "" {
		t.Fatalf("status %d, %q: %s", status, out, errs)
	}
	if _, err := os.Stat(filepath.Join(tuned, "adapter", "adapter_config.json")); err != nil {
		t.Error(err)
	}
}

// A server of one's own answers, and a client gets the cosine of the model itself from it in both protocols.
func TestServerAndClient(t *testing.T) {
	server := exec.Command(filepath.Join(bin, program("embedserver")), "127.0.0.1:0")
	var log bytes.Buffer
	server.Stderr = &log
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
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
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address = strings.TrimSpace(address)
	r, err := http.Get("http://" + address + "/hello")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || string(body) != "hello\n" {
		t.Errorf("%v, %q", err, body)
	}

	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	picture := golden.Path(t, "demo/pictures/red-circle.png")
	image, err := m.Encode(t.Context(), clip.File(picture))
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.EncodeText(t.Context(), []string{"a red circle"})
	if err != nil {
		t.Fatal(err)
	}
	cosine := clip.Cosine(image[0], text[0])
	stdout, errs, status := example(t, "client", address, "a red circle", picture)
	if want := fmt.Sprintf("HTTP  %.6f\ngRPC  %.6f\n", cosine, cosine); status != 0 || stdout != want {
		t.Errorf("status %d, got %q, want %q: %s", status, stdout, want, errs)
	}
	if _, errs, status := example(t, "client", address, "a red dog", picture); status != 1 || !strings.Contains(errs, "422") || !strings.Contains(errs, "dog") {
		t.Errorf("status %d: %s", status, errs)
	}
}

// Pictures of a bucket are encoded into another folder of it, once: the second worker finds nothing to do.
func TestBucket(t *testing.T) {
	server := storetest.NewServer(t)
	server.Setenv(t)
	bucket, err := store.Open(t.Context(), server.Location)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"red-circle.png", "blue-square.png"} {
		b, err := os.ReadFile(golden.Path(t, "demo/pictures/"+name))
		if err == nil {
			err = store.Write(t.Context(), bucket, "pictures/"+name, b, store.PutOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"encoded: shards 1, rows 2; done before: 0\n", "encoded: shards 0, rows 0; done before: 0\n"} {
		out, errs, status := example(t, "bucket", server.Location+"/vectors", server.Location+"/pictures")
		if want += "verified: shards 1, rows 2\n"; status != 0 || errs != "" || out != want {
			t.Errorf("status %d, got %q, want %q: %s", status, out, want, errs)
		}
	}
	if _, err := bucket.Stat(t.Context(), "vectors/img_emb/img_emb_0.npy"); err != nil {
		t.Error(err)
	}
}
