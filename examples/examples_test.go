// Package examples_test builds the examples and runs them on fixtures.
package examples_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/converter/compare"
	"github.com/vitago/vitago/internal/golden"
)

var bin string // directory of the examples' binaries

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
	return m.Run()
}

// example runs one and returns its standard output, standard error and exit status.
func example(t *testing.T, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Env = append(os.Environ(), "HF_ENDPOINT=http://127.0.0.1:1") // no network
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
	out, errs, status := example(t, "encode", golden.Path(t, "cmd/vitago/demo/tiny-clip.pt"), golden.Path(t, "cmd/vitago/demo/cat.png"))
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	want := golden.Load(t, "testdata/demo/expected.npz")
	golden.Compare(t, "cat.png", vector(t, out), want.Float32("embedding/cat.png"), tolerance)
}

func TestSimilarity(t *testing.T) {
	args := []string{golden.Path(t, "cmd/vitago/demo/tiny-clip.pt")}
	for _, name := range []string{"red-circle.png", "red-circle.png", "cat.png"} {
		args = append(args, golden.Path(t, "cmd/vitago/demo/"+name))
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
	out, errs, status := example(t, "task", "-models", golden.Path(t, "testdata/tiny"), "-model", "huggingface", golden.Path(t, "cmd/vitago/demo/cat.png"))
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	// Another path to the same vector.
	want, _, _ := example(t, "encode", golden.Path(t, "testdata/tiny/huggingface"), golden.Path(t, "cmd/vitago/demo/cat.png"))
	if out != want {
		t.Errorf("got %s, want %s", out, want)
	}
}

func TestTokens(t *testing.T) {
	model, picture, out := golden.Path(t, "testdata/families/llava"), golden.Path(t, "cmd/vitago/demo/cat.png"), filepath.Join(t.TempDir(), "out.safetensors")
	stdout, errs, status := example(t, "tokens", model, out, picture)
	if want := picture + ": 16 tokens of width 12\n"; status != 0 || stdout != want {
		t.Fatalf("status %d, %q, want %q: %s", status, stdout, want, errs)
	}
	got, err := checkpoint.ReadTensors(out)
	if err != nil || len(got) != 1 || got[0].Name != picture || len(got[0].Data) != 16*12 {
		t.Errorf("%d tensors, %v, want one of %s", len(got), err, picture)
	}
}

func TestText(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "bert"), os.DirFS(golden.Path(t, "tasks/testdata/bert"))); err != nil {
		t.Fatal(err)
	}
	var want struct {
		Text string    `json:"text"`
		Mean []float32 `json:"mean_pooling"`
	}
	raw, err := os.ReadFile(filepath.Join(dir, "bert", "expected.json"))
	if err == nil {
		err = json.Unmarshal(raw, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, errs, status := example(t, "text", "-models", dir, "-model", "bert", want.Text)
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	golden.Compare(t, want.Text, vector(t, out), want.Mean, 1e-5)
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

// A head of one's own learns, with as much of the tower as it is told, and what is saved is what learnt.
func TestFinetune(t *testing.T) {
	pictures := filepath.Join(t.TempDir(), "pictures")
	if _, errs, status := example(t, "shapes", "-n", "5", "-test", "1", "-size", "24", pictures); status != 0 {
		t.Fatal(errs)
	}
	model, picture := golden.Path(t, "testdata/tiny/huggingface"), filepath.Join(pictures, "test", "ring", "00005.png")
	before, _, _ := example(t, "encode", model, picture)
	for learns, tensors := range map[string]int{"head": 0, "last": 12, "full": 32} {
		out := filepath.Join(t.TempDir(), "out")
		args := []string{"finetune", "-learns", learns, "-epochs", "8", "-rate", "0.003", "-head-rate", "0.02", model, filepath.Join(pictures, "train"), out}
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
		tuned, err := converter.Open(filepath.Join(out, "model"))
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
		head, err := checkpoint.ReadTensors(filepath.Join(out, "model", "head.safetensors"))
		if err != nil || len(head) != 4 {
			t.Errorf("%s: %d tensors of the head, %v, want 4", learns, len(head), err)
		}
		// Both forms of the tuned tower give the same vector, which is the old one if the head alone has learnt.
		after, _, _ := example(t, "encode", filepath.Join(out, "model"), picture)
		exported, _, _ := example(t, "encode", filepath.Join(out, "tuned.pt"), picture)
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
		{[]string{"shapes"}, 2, "usage: shapes"},
		{[]string{"finetune"}, 2, "usage: finetune"},
		{[]string{"tokens", "model", "out"}, 2, "usage: tokens MODEL OUT.safetensors IMAGE"},
		{[]string{"tokens", golden.Path(t, "testdata/tiny/huggingface"), "out", "one.png"}, 1, "no projector"},
		{[]string{"finetune", "-learns", "tail", "model", "pictures", "out"}, 2, "usage: finetune"},
		{[]string{"encode", "absent.pt", "absent.png"}, 1, "absent.pt"},
		{[]string{"similarity", golden.Path(t, "cmd/vitago/demo/tiny-clip.pt"), "main_test.go", "absent.png"}, 1, "main_test.go"},
		{[]string{"task", "-models", t.TempDir(), golden.Path(t, "cmd/vitago/demo/cat.png")}, 1, "config.json"}, // no network
		{[]string{"task", "absent.png"}, 1, "absent.png"},
		{[]string{"finetune", "absent.pt", "pictures", "out"}, 1, "absent.pt"},
		{[]string{"finetune", golden.Path(t, "cmd/vitago/demo/tiny-clip.pt"), "absent", "out"}, 1, "absent"},
		{[]string{"finetune", "model", "pictures", t.TempDir()}, 1, "is there already"},
	} {
		out, errs, status := example(t, c.args[0], c.args[1:]...)
		if status != c.status || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: status %d, output %q, error %q, want status %d, no output, error with %q", c.args, status, out, errs, c.status, c.want)
		}
	}
}
