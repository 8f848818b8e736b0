// Package examples_test builds the examples and runs them on fixtures.
package examples_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/converter/compare"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/internal/golden"
)

var (
	bin   string // directory of the examples' binaries
	cache string // in the place of the user's
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "examples")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./...")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the examples: %v\n%s", err, out)
		return 1
	}
	bin = dir
	cache = filepath.Join(dir, "cache")
	before, err := tree("..")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	status := m.Run()
	// No example writes where it has not been told to.
	after, err := tree("..")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for path, size := range after {
		if was, ok := before[path]; !ok || was != size {
			fmt.Fprintf(os.Stderr, "an example has written %s\n", path)
			status = 1
		}
	}
	return status
}

// tree returns the size of each file below a folder, but for hidden ones.
func tree(root string) (map[string]int64, error) {
	sizes := map[string]int64{}
	return sizes, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone since the folder was read
			return nil
		case err != nil:
			return err
		case len(d.Name()) > 1 && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			if d.IsDir() {
				return filepath.SkipDir
			}
		case !d.IsDir():
			if info, err := d.Info(); err == nil {
				sizes[path] = info.Size()
			}
		}
		return nil
	})
}

// program returns the file of an example.
func program(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return name
}

// command is one that has no network, and a cache of its own.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, program(name)), args...)
	cmd.Env = append(os.Environ(), "HF_ENDPOINT=http://127.0.0.1:1", "XDG_CACHE_HOME="+cache, "HOME="+cache, "LocalAppData="+cache)
	return cmd
}

// example runs one and returns its standard output, standard error and exit status.
func example(t *testing.T, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := command(name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// vector reads the last line of what an example printed.
func vector(t *testing.T, stdout string) (v []float32) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	list := strings.ReplaceAll(strings.TrimSpace(lines[len(lines)-1]), " ", ",")
	if err := json.Unmarshal([]byte(list), &v); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	return v
}

// PyTorch sums in float32 too, in another order.
const tolerance = 2e-5

func TestEncode(t *testing.T) {
	out, errs, status := example(t, "encode", golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"), golden.Path(t, "cmd/vitago/testdata/demo/cat.png"))
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	want := golden.Load(t, "testdata/demo/expected.npz")
	golden.Compare(t, "cat.png", vector(t, out), want.Float32("embedding/cat.png"), tolerance)
}

func TestSimilarity(t *testing.T) {
	args := []string{golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt")}
	for _, name := range []string{"red-circle.png", "red-circle.png", "cat.png"} {
		args = append(args, golden.Path(t, "cmd/vitago/testdata/demo/"+name))
	}
	out, errs, status := example(t, "similarity", args...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	want := golden.Load(t, "testdata/demo/expected.npz")
	diff, err := golden.Diff(want.Float32("embedding/cat.png"), want.Float32("embedding/red-circle.png"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("1.0000  %s\n%.4f  %s\n", args[2], diff.Cosine, args[3]); out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestTask(t *testing.T) {
	out, errs, status := example(t, "task", "-models", golden.Path(t, "testdata/tiny"), "-model", "huggingface", golden.Path(t, "cmd/vitago/testdata/demo/cat.png"))
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	// Another path to the same vector.
	want, _, _ := example(t, "encode", golden.Path(t, "testdata/tiny/huggingface"), golden.Path(t, "cmd/vitago/testdata/demo/cat.png"))
	if out != want {
		t.Errorf("got %s, want %s", out, want)
	}
}

func TestTokens(t *testing.T) {
	model, picture, out := golden.Path(t, "testdata/families/llava"), golden.Path(t, "cmd/vitago/testdata/demo/cat.png"), filepath.Join(t.TempDir(), "out.safetensors")
	stdout, errs, status := example(t, "tokens", model, out, picture)
	if want := picture + ": 16 tokens of width 12\n"; status != 0 || stdout != want {
		t.Fatalf("status %d, %q, want %q: %s", status, stdout, want, errs)
	}
	got, err := checkpoint.ReadTensors(out)
	if err != nil || len(got) != 1 || got[0].Name != picture || len(got[0].Data) != 16*12 {
		t.Errorf("%d tensors, %v, want one of %s", len(got), err, picture)
	}
}

// Captions with more in common lie nearer; the same one lies on itself.
func TestText(t *testing.T) {
	out, errs, status := example(t, "text", golden.Path(t, "testdata/families/hf5-clip"), "a cat", "a photo of a cat", "A  cat")
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	// Ids and features of transformers 5.24.0, torch 2.15.0: CLIPTokenizer and get_text_features.
	want := `"a cat": 2 tokens [8 17]
"a photo of a cat": 5 tokens [8 22 18 8 17]
"A  cat": 2 tokens [8 17]
 1.0000 0.4931 1.0000
 0.4931 1.0000 0.4931
 1.0000 0.4931 1.0000
`
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestBERT(t *testing.T) {
	var want struct {
		Text string    `json:"text"`
		Mean []float32 `json:"mean_pooling"`
	}
	raw, err := os.ReadFile(golden.Path(t, "tasks/testdata/bert/expected.json"))
	if err == nil {
		err = json.Unmarshal(raw, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	models := t.TempDir()
	if err := os.CopyFS(models, os.DirFS(golden.Path(t, "tasks/testdata"))); err != nil {
		t.Fatal(err)
	}
	for _, run := range []string{"first", "second"} { // converts, and finds what is converted
		out, errs, status := example(t, "bert", "-models", models, "-model", "bert", want.Text)
		if status != 0 || errs != "" || strings.Count(out, "\n") != 1 {
			t.Fatalf("%s: status %d, %q, %q, want one line and nothing on standard error", run, status, out, errs)
		}
		golden.Compare(t, want.Text, vector(t, out), want.Mean, 1e-5)
	}
}

// A head of one's own learns, is saved, and names pictures that it has not seen.
func TestCustomHead(t *testing.T) {
	dir := t.TempDir()
	pictures, head, model := filepath.Join(dir, "pictures"), filepath.Join(dir, "head"), golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt")
	if _, errs, status := example(t, "shapes", "-n", "20", "-test", "2", "-size", "32", pictures); status != 0 {
		t.Fatal(errs)
	}
	files, err := filepath.Glob(filepath.Join(pictures, "test", "*", "*.png"))
	if err != nil || len(files) != 12 {
		t.Fatal(files, err)
	}
	args := append([]string{"customhead", model, filepath.Join(pictures, "train"), head}, files...)
	out, errs, status := example(t, args[0], args[1:]...)
	out, learnt := strings.CutPrefix(out, "240 steps, classes [circle cross ring square star triangle]\n")
	if again, _, _ := example(t, args[0], args[1:]...); !learnt || again != out { // by the head that was saved
		t.Errorf("got\n%s, and then\n%s", out, again)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != 0 || errs != "" || len(lines) != len(files) {
		t.Fatalf("status %d, %q: %s", status, out, errs)
	}
	right := 0
	for i, line := range lines {
		class, p := "", 0.0
		if _, err := fmt.Sscanf(line, files[i]+": %s %f", &class, &p); err != nil || p < 1./6 || p > 1 {
			t.Errorf("%q: %v", line, err)
		}
		if class == filepath.Base(filepath.Dir(files[i])) {
			right++
		}
	}
	if right < 8 {
		t.Errorf("%d of 12 pictures are right, want 8 at least:\n%s", right, out)
	}
	// Of another tower.
	_, errs, status = example(t, "customhead", golden.Path(t, "testdata/tiny/huggingface"), filepath.Join(pictures, "train"), head, files[0])
	if status != 1 || !strings.Contains(errs, "Hidden.W is [64 64], want [64 10]") {
		t.Errorf("status %d: %s", status, errs)
	}
}

func TestShapes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shapes")
	if out, errs, status := example(t, "shapes", "-hard", "-n", "2", "-test", "1", "-size", "16", dir); status != 0 || out+errs != "" {
		t.Fatalf("status %d: %s%s", status, out, errs)
	}
	for pattern, want := range map[string]int{"train/*/*.png": 12, "test/star/00002.png": 1, "test/*/*": 6} {
		if files, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern))); err != nil || len(files) != want {
			t.Errorf("%s: %d files, %v, want %d", pattern, len(files), err, want)
		}
	}
	if _, errs, status := example(t, "shapes", dir); status != 1 || !strings.Contains(errs, "is not empty") {
		t.Errorf("a second time: status %d: %s", status, errs)
	}
}

// A classifier learns, with as much of the tower as it is told, and what is saved is what learnt, with its classes.
func TestFinetune(t *testing.T) {
	pictures := filepath.Join(t.TempDir(), "pictures")
	if _, errs, status := example(t, "shapes", "-n", "5", "-test", "1", "-size", "24", pictures); status != 0 {
		t.Fatal(errs)
	}
	model, picture := golden.Path(t, "testdata/tiny/huggingface"), filepath.Join(pictures, "test", "ring", "00005.png")
	before, _, _ := example(t, "encode", model, picture)
	for learns, tensors := range map[string]int{"head": 0, "last": 12, "full": 32} {
		out := filepath.Join(t.TempDir(), "out")
		args := []string{"finetune", "-learns", learns, "-epochs", "8", "-rate", "0.003", "-head-rate", "0.05", model, filepath.Join(pictures, "train"), out}
		stdout, errs, status := example(t, args[0], args[1:]...)
		if status != 0 || errs != "" {
			t.Fatalf("%s: status %d: %s", learns, status, errs)
		}
		var losses []float64
		for line := range strings.Lines(stdout) {
			var epoch int
			var loss float64
			if _, err := fmt.Sscanf(line, "epoch %d  loss %f", &epoch, &loss); err != nil || epoch != len(losses)+1 {
				t.Fatalf("%s: %v in %q", learns, err, stdout)
			}
			losses = append(losses, loss)
		}
		if len(losses) != 8 || !(losses[7] < 0.8*losses[0]) {
			t.Errorf("%s: losses %v, want 8 that fall", learns, losses)
		}
		original, err := converter.Open(model)
		if err != nil {
			t.Fatal(err)
		}
		defer original.Close()
		tuned, err := converter.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer tuned.Close()
		compared, err := compare.Models(t.Context(), original, tuned, compare.Options{})
		if err != nil {
			t.Fatal(err)
		}
		changed := 0
		for _, d := range compared.Tensors {
			if d.MaxAbs > 0 {
				changed++
			}
		}
		if changed != tensors {
			t.Errorf("%s: %d tensors have changed, want %d", learns, changed, tensors)
		}
		head, err := finetune.LoadClassifier(out) // as vitago classify
		if want := []string{"circle", "cross", "ring", "square", "star", "triangle"}; err != nil || !slices.Equal(head.Classes, want) || head.Linear.W.Shape()[1] != 10 {
			t.Errorf("%s: the head is %v, %v, want one of the classes %q", learns, head, err, want)
		}
		// Both forms of the tuned tower give the same vector, which is the old one if the head alone has learnt.
		archive := filepath.Join(t.TempDir(), "tuned.pt")
		if _, err := tuned.Export(t.Context(), archive, converter.ExportOptions{To: "openai"}); err != nil {
			t.Fatal(err)
		}
		after, _, _ := example(t, "encode", out, picture)
		exported, _, _ := example(t, "encode", archive, picture)
		if after == "" || exported != after || (after == before) != (learns == "head") {
			t.Errorf("%s: vectors %s before, %s after, %s exported", learns, before, after, exported)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		want   string // on standard error
	}{
		{[]string{"encode"}, 2, "usage: encode MODEL IMAGE"},
		{[]string{"similarity", "model", "one.png"}, 2, "usage: similarity MODEL IMAGE OTHER..."},
		{[]string{"task"}, 2, "usage: task"},
		{[]string{"text"}, 2, "usage: text"},
		{[]string{"folder", "model"}, 2, "usage: folder MODEL FOLDER PHOTOS.npy\n"},
		{[]string{"search", "photos"}, 2, "usage: search [-model MODEL] FOLDER INDEX SENTENCE\n"},
		{[]string{"zeroshot"}, 2, "usage: zeroshot MODEL LABEL,LABEL... IMAGE...\n"},
		{[]string{"tune"}, 2, "usage: tune [-recipe RECIPE] MODEL TRAIN TEST OUT\n"},
		{[]string{"classify"}, 2, "usage: classify TUNED FOLDER\n"},
		{[]string{"serve"}, 2, "usage: serve TUNED ADDRESS\n"},
		{[]string{"text", golden.Path(t, "testdata/families/hf5-vision"), "a cat"}, 1, "no text tower"},
		{[]string{"text", golden.Path(t, "testdata/families/hf5-clip"), "a cat a cat a cat a cat a cat"}, 1, "want at most 9"},
		{[]string{"bert"}, 2, "usage: bert"},
		{[]string{"bert", "-models", t.TempDir(), "-model", "bert", "hi"}, 1, "bert"},
		{[]string{"customhead", "model", "pictures", "head"}, 2, "usage: customhead MODEL PICTURES HEAD IMAGE...\n"},
		{[]string{"customhead", golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"), "absent", "head", "one.png"}, 1, "absent"},
		{[]string{"lora"}, 2, "usage: lora MODEL TRAIN TEST OUT\n"},
		{[]string{"lora", "model", "train", "absent", "out"}, 1, "absent"},
		{[]string{"projector"}, 2, "usage: projector MODEL PICTURES OUT\n"},
		{[]string{"projector", golden.Path(t, "testdata/tiny/huggingface"), golden.Path(t, "demo/pictures"), "out"}, 1, "no projector"},
		{[]string{"shapes"}, 2, "usage: shapes"},
		{[]string{"finetune"}, 2, "usage: finetune"},
		{[]string{"tokens", "model", "out"}, 2, "usage: tokens MODEL OUT.safetensors IMAGE"},
		{[]string{"tokens", golden.Path(t, "testdata/tiny/huggingface"), "out", "one.png"}, 1, "no projector"},
		{[]string{"finetune", "-learns", "tail", "model", "pictures", "out"}, 2, "usage: finetune"},
		{[]string{"encode", "absent.pt", "absent.png"}, 1, "absent.pt"},
		{[]string{"similarity", golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"), "main_test.go", "absent.png"}, 1, "main_test.go"},
		{[]string{"task", "-models", t.TempDir(), golden.Path(t, "cmd/vitago/testdata/demo/cat.png")}, 1, "config.json"}, // no network
		{[]string{"task", "absent.png"}, 1, "absent.png"},
		{[]string{"finetune", "absent.pt", "pictures", "out"}, 1, "absent.pt"},
		{[]string{"finetune", golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"), "absent", "out"}, 1, "absent"},
		{[]string{"finetune", "model", "pictures", t.TempDir()}, 1, "is there already"},
	} {
		out, errs, status := example(t, c.args[0], c.args[1:]...)
		if status != c.status || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: status %d, output %q, error %q, want status %d, no output, error with %q", c.args, status, out, errs, c.status, c.want)
		}
	}
}
