package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nlpodyssey/cybertron/pkg/models/bert"
	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"
	"github.com/rs/zerolog"

	"github.com/vitago/vitago/internal/golden"
)

func TestMain(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // cybertron's
	again = time.Millisecond
	os.Exit(m.Run())
}

// A greeter is a task; a parrot does it by what its directory holds.
type greeter interface{ Greet() string }

type parrot string

func (p parrot) Greet() string { return string(p) }

func init() {
	Register("parrot", Provider[greeter]{
		Files: []File{{Names: []string{"manners.txt"}, Optional: true}, {Names: []string{"words.txt", "words.old", "*.words"}}},
		Load: func(dir string) (greeter, error) {
			b, err := os.ReadFile(filepath.Join(dir, "words.txt"))
			return parrot(b), err
		},
	})
}

// write makes a directory of files for a test, and returns its parent and its name.
func write(t *testing.T, files map[string]string) (parent, name string) {
	t.Helper()
	parent, name = t.TempDir(), "model"
	if err := os.Mkdir(filepath.Join(parent, name), 0o777); err != nil {
		t.Fatal(err)
	}
	for f, content := range files {
		if err := os.WriteFile(filepath.Join(parent, name, f), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return parent, name
}

// wantError fails the test unless err has all the words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error is %q, want %q in it", err, w)
		}
	}
}

func TestLoad(t *testing.T) {
	t.Setenv("HF_ENDPOINT", "http://127.0.0.1:1") // nothing is downloaded where the files are
	parent, name := write(t, map[string]string{"config.json": `{"model_type":"parrot"}`, "words.txt": "hello"})
	for _, policy := range []DownloadPolicy{DownloadMissing, DownloadNever} {
		g, err := Load[greeter](&Config{ModelsDir: parent, ModelName: name, DownloadPolicy: policy, ConversionPolicy: ConvertNever})
		if err != nil || g.Greet() != "hello" {
			t.Errorf("policy %d: got %v, %v, want hello", policy, g, err)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	const good, words = `{"model_type":"parrot"}`, "hello"
	for _, c := range []struct {
		name  string
		files map[string]string
		conf  Config
		want  []string
	}{
		{"no config.json", nil, Config{DownloadPolicy: DownloadNever}, []string{"tasks: ", "config.json"}},
		{"no JSON", map[string]string{"config.json": "{"}, Config{}, []string{"tasks: ", "config.json"}},
		{"null", map[string]string{"config.json": "null"}, Config{}, []string{"no model_type"}},
		{"no model type", map[string]string{"config.json": "{}"}, Config{}, []string{"no model_type"}},
		{"huge", map[string]string{"config.json": strings.Repeat(" ", maxConfig+1)}, Config{}, []string{"more than"}},
		{"unknown model type", map[string]string{"config.json": `{"model_type":"owl"}`}, Config{}, []string{`"owl"`, `"parrot"`, "cybertron"}},
		{"float64", map[string]string{"config.json": good, "words.txt": words}, Config{ConversionPrecision: F64}, []string{"ConversionPrecision is 1", "F32"}},
		{"conversion policy", map[string]string{"config.json": good, "words.txt": words}, Config{ConversionPolicy: 7}, []string{"ConversionPolicy is 7"}},
		{"download policy", map[string]string{"config.json": good, "words.txt": words}, Config{DownloadPolicy: -1}, []string{"DownloadPolicy is -1"}},
		{"no words", map[string]string{"config.json": good}, Config{DownloadPolicy: DownloadNever}, []string{"words.txt"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("HF_ENDPOINT", "http://127.0.0.1:1")
			c.conf.ModelsDir, c.conf.ModelName = write(t, c.files)
			_, err := Load[greeter](&c.conf)
			wantError(t, err, c.want...)
		})
	}
	if _, err := Load[greeter](nil); err == nil {
		t.Error("no error for a nil Config")
	}
	parent, name := write(t, nil)
	if _, err := Load[greeter](&Config{ModelsDir: parent, ModelName: name, DownloadPolicy: DownloadNever}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestUnregisteredTask(t *testing.T) {
	type singer interface{ Sing() }
	_, err := Load[singer](&Config{ModelsDir: t.TempDir(), ModelName: "model"})
	wantError(t, err, "tasks: nothing is registered for tasks.singer", "no task of cybertron's", "import the package")
	if strings.Contains(err.Error(), "nil") || strings.Contains(err.Error(), "[]") {
		t.Errorf("error is %q", err)
	}
}

func TestRegisterTwice(t *testing.T) {
	for name, register := range map[string]func(){
		"twice":   func() { Register("parrot", Provider[greeter]{Load: func(string) (greeter, error) { return nil, nil }}) },
		"no Load": func() { Register("owl", Provider[greeter]{}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			register()
		})
	}
	type other interface{ Greet() string } // the same model type for another task is no duplicate
	Register("parrot", Provider[other]{Load: func(string) (other, error) { return parrot(""), nil }})
}

// A text model goes through cybertron: its converter, its tokenizer, its BERT. What comes out is
// what transformers computes, and stays so when the task has a registered model of another type.
func TestCybertronLoadsText(t *testing.T) {
	parent := t.TempDir()
	if err := os.CopyFS(filepath.Join(parent, "bert"), os.DirFS(golden.Path(t, "tasks/testdata/bert"))); err != nil {
		t.Fatal(err)
	}
	var want struct {
		Text string    `json:"text"`
		Mean []float32 `json:"mean_pooling"`
	}
	raw, err := os.ReadFile(filepath.Join(parent, "bert", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	encode := func() {
		t.Helper()
		m, err := Load[textencoding.Interface](&Config{ModelsDir: parent, ModelName: "bert", DownloadPolicy: DownloadNever})
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Encode(context.Background(), want.Text, int(bert.MeanPooling))
		if err != nil {
			t.Fatal(err)
		}
		// Sums of 8 or 16 terms of size 1, in another order, twice normalised.
		golden.Compare(t, "mean pooling", got.Vector.Data().F32(), want.Mean, 1e-5)
	}
	encode()

	_, err = Load[textencoding.Interface](&Config{ModelsDir: parent, ModelName: "none", DownloadPolicy: DownloadNever})
	wantError(t, err, "config.json")

	// Cybertron panics on this one.
	dir, name := write(t, map[string]string{"config.json": "null"})
	_, err = Load[textencoding.Interface](&Config{ModelsDir: dir, ModelName: name, DownloadPolicy: DownloadNever})
	wantError(t, err, "cybertron says: panic")

	k := "only in this test"
	Register(k, Provider[textencoding.Interface]{Load: func(string) (textencoding.Interface, error) { return nil, errors.New("not this one") }})
	t.Cleanup(func() { unregister[textencoding.Interface](k) })
	encode()
}
