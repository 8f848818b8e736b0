package converter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/internal/golden"
)

// peftVersions are those that wrote the fixtures, on transformers 4.57.3 and 5.24.0.
var peftVersions = []string{"0.18.0", "0.21.2"}

// adapterBases has the base models of the adapters among the fixtures.
var adapterBases = map[string]string{
	"plain": "clip", "linear": "clip", "patterns": "clip", "dora": "clip", "embeddings": "clip", "bias": "clip",
	"tower": "VERSION/vision", "classes": "VERSION/classifier", "llava": "../families/llava-hf",
}

func openWith(t *testing.T, path string, adapters ...string) *Model {
	t.Helper()
	var options []OpenOption
	for _, a := range adapters {
		options = append(options, Adapter(a))
	}
	m, err := Open(path, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// valuesOf returns all parameters, by bands as they have names in transformers, and the classifier.
func valuesOf(t *testing.T, m *Model) map[string][]float32 {
	t.Helper()
	all := map[string][]float32{}
	for path := range m.params {
		v := make([]float32, m.params[path].len())
		if err := m.read(t.Context(), path, v); err != nil {
			t.Fatal(err)
		}
		all[path] = v
	}
	c, err := m.Classifier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c != nil {
		all["classifier.weight"], all["classifier.bias"] = c.Weight, c.Bias
	}
	return all
}

// TestAdapter: adapters that peft wrote come to what its merge_and_unload makes of the base, and nothing else changes.
func TestAdapter(t *testing.T) {
	for _, version := range peftVersions {
		for name, base := range adapterBases {
			t.Run(version+"/"+name, func(t *testing.T) {
				folder := golden.Path(t, "testdata/peft/"+version)
				base := golden.Path(t, filepath.Join("testdata/peft", strings.Replace(base, "VERSION", version, 1)))
				before, m := openWith(t, base), openWith(t, base, filepath.Join(folder, name))
				want := valuesOf(t, before)
				changed, err := checkpoint.ReadTensors(filepath.Join(folder, name+".safetensors"))
				if err != nil {
					t.Fatal(err)
				}
				language := 0
				for _, c := range changed {
					r, block := m.find(c.Name)
					switch {
					case r != nil:
						w := want[number(r.to, block)]
						n := len(w) / r.bands
						copy(w[r.band*n:][:n], c.Data)
					case m.isHead(c.Name):
						want[c.Name] = c.Data
					case m.dialect.isLanguage(strings.TrimPrefix(c.Name, "model.")):
						language++
					default:
						t.Errorf("%s is no parameter", c.Name)
					}
				}
				got := valuesOf(t, m)
				for path, w := range want {
					golden.Compare(t, path, got[path], w, 1e-6) // float32 on both sides
				}
				if len(got) != len(want) || language != map[string]int{"llava": 1}[name] {
					t.Errorf("%d parameters, want %d; %d of the language model", len(got), len(want), language)
				}
				if !slices.Equal(m.Adapters(), []string{filepath.Join(folder, name)}) {
					t.Errorf("adapters %v", m.Adapters())
				}
				if name == "llava" {
					return // whose language model stays behind
				}
				dst := filepath.Join(t.TempDir(), "merged")
				if _, err := m.Convert(t.Context(), dst, Options{}); err != nil {
					t.Fatal(err)
				}
				back := openWith(t, dst)
				for path := range back.params {
					v := make([]float32, back.params[path].len())
					if err := back.read(t.Context(), path, v); err != nil || !slices.Equal(v, got[path]) {
						t.Errorf("%s is converted to something else: %v", path, err)
					}
				}
			})
		}
	}
}

// TestAdapters: several are merged in their order, and the directory of one is opened with its base.
func TestAdapters(t *testing.T) {
	folder := golden.Path(t, "testdata/peft/0.21.2")
	base, plain, dora := golden.Path(t, "testdata/peft/clip"), filepath.Join(folder, "plain"), filepath.Join(folder, "dora")
	dir := t.TempDir()
	rebase := func(name, from, base string) string {
		t.Helper()
		to := filepath.Join(dir, name)
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		editFile(t, filepath.Join(to, peft.ConfigFile), `"base_model_name_or_path": "clip"`, fmt.Sprintf(`"base_model_name_or_path": %q`, base))
		return to
	}
	merged := filepath.Join(dir, "merged")
	if _, err := openWith(t, base, plain).Convert(t.Context(), merged, Options{}); err != nil {
		t.Fatal(err)
	}
	want := valuesOf(t, openWith(t, merged, dora))
	first := rebase("first", plain, base)
	second := rebase("second", dora, first)
	for _, m := range []*Model{openWith(t, base, plain, dora), openWith(t, first, dora), openWith(t, second)} {
		if len(m.Adapters()) != 2 || m.Path() != base {
			t.Errorf("adapters %v of %s", m.Adapters(), m.Path())
		}
		if f, err := Folder(second); err != nil || f != base {
			t.Errorf("the folder is %s: %v", f, err)
		}
		for path, w := range want {
			if got := valuesOf(t, m)[path]; !slices.Equal(got, w) {
				t.Errorf("%s differs", path)
			}
		}
	}
	// Round and round.
	editFile(t, filepath.Join(first, peft.ConfigFile), base, second)
	if _, err := Open(second); err == nil || !strings.Contains(err.Error(), "want at most 16") {
		t.Errorf("error is %v, want one about adapters upon adapters", err)
	}
}

func editFile(t *testing.T, path, old, new string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil && !strings.Contains(string(b), old) {
		t.Fatalf("%s has no %s", path, old)
	}
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Replace(string(b), old, new, 1)), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAdapterTooLarge: values that are no numbers any more are an error, and nothing is written of them.
func TestAdapterTooLarge(t *testing.T) {
	dir := golden.Path(t, "testdata/peft")
	base, adapter := filepath.Join(dir, adapterBases["plain"]), filepath.Join(dir, peftVersions[1], "plain")
	m, err := Open(base, Combine(peft.Cat, Weighted{adapter, 1e300}))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out := filepath.Join(t.TempDir(), "out")
	want := "with the adapter merged, want a finite number"
	if _, err := m.Convert(t.Context(), out, Options{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), ".weight") {
		t.Errorf("error is %v, want one with %s", err, want)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something is written")
	}
	if _, err := m.Vision(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want one with %s", err, want)
	}
}

// TestAdapterAlone: what peft saves, given as a model, is said to be an adapter.
func TestAdapterAlone(t *testing.T) {
	from := golden.Path(t, "testdata/peft/0.21.2/plain")
	for name, more := range map[string][]string{
		"alone": nil, "checkpoint-10": {"optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"}, "llava": {"non_lora_trainables.bin", "config.json"},
	} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		for _, f := range more {
			os.WriteFile(filepath.Join(dir, f), []byte("{}"), 0o666)
		}
		want := `"clip", which is no directory here`
		if name == "llava" {
			want = "scripts/merge_lora_weights.py"
		}
		if _, err := Open(dir); !errors.Is(err, ErrAdapter) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(from, peft.WeightsFile)); !errors.Is(err, ErrAdapter) {
		t.Errorf("the file of tensors: error is %v", err)
	}
	dir := filepath.Join(t.TempDir(), "both")
	for _, d := range []string{from, golden.Path(t, "testdata/peft/clip")} {
		if err := os.CopyFS(dir, os.DirFS(d)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "beside weights (model.safetensors), want one of them") {
		t.Errorf("weights beside it: error is %v", err)
	}
}

// TestAdapterOfAnother: what is of no part of the model is never passed over.
func TestAdapterOfAnother(t *testing.T) {
	tiny := golden.Path(t, "testdata/tiny/huggingface")
	for name, want := range map[string]string{
		"plain": "of another one", "tower": "fc1.bias: shape [12], want [256]", "classes": "of another one", "llava": "of another one",
	} {
		dir := golden.Path(t, "testdata/peft/0.21.2/"+name)
		base := tiny
		if name == "classes" { // whose classifier a timm model calls otherwise
			base = golden.Path(t, "testdata/tiny/openclip.pt")
		}
		m, err := Open(base, Adapter(dir))
		if err == nil {
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error is %v, want %q", name, err, want)
		}
	}
}
