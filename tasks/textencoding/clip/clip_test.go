package clip

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nlpodyssey/cybertron/pkg/models/bert"
	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"
	"github.com/rs/zerolog"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/tasks"
)

func TestMain(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // cybertron's
	os.Exit(m.Run())
}

// embeddings are get_text_features of transformers 5.24.0, torch 2.15.0, of testdata/families/hf5-clip.
var embeddings = map[string][]float32{
	"a cat":            {0.7967104, -0.8929325, -0.329004, 1.87035, 0.540756, -0.8715906, 0.2851106, -0.4841735, 0.4183484, -0.2463811},
	"a photo of a cat": {2.136094, -1.416505, 2.388095, 1.256792, 0.7179179, -0.3091482, -1.193221, -0.2601548, 2.222199, -2.200603},
}

func load(t *testing.T, rel string) textencoding.Interface {
	t.Helper()
	dir := golden.Path(t, rel)
	m, err := tasks.Load[textencoding.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir), DownloadPolicy: tasks.DownloadNever})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEncode(t *testing.T) {
	m := load(t, "testdata/families/hf5-clip")
	var wg sync.WaitGroup
	for range 3 { // many goroutines at once
		for text, want := range embeddings {
			wg.Go(func() {
				got, err := m.Encode(context.Background(), text, int(bert.ClsTokenPooling))
				if err != nil {
					t.Error(err)
					return
				}
				golden.Compare(t, text, got.Vector.Data().F32(), want, 2e-5) // PyTorch sums in another order
				if s := got.Vector.Shape(); s[0] != 10 || s[1] != 1 || got.Vector.RequiresGrad() {
					t.Errorf("shape %v, want [10 1] without a graph", s)
				}
			})
		}
	}
	wg.Wait()
}

func TestErrors(t *testing.T) {
	m := load(t, "testdata/families/hf5-clip")
	for _, c := range []struct {
		text    string
		pooling int
		kind    error
		long    bool
		want    string
	}{
		{"a photo of a cat a cat a cat", Pooling, clip.ErrText, true, "want at most 9"},
		{"dog", Pooling, clip.ErrText, false, `the vocabulary of 25 tokens lacks "dog": none of them is "d"`},
		{"a cat", int(bert.MeanPooling), nil, false, "pooling strategy is 1, want 0"},
	} {
		got, err := m.Encode(t.Context(), c.text, c.pooling)
		if err == nil || got.Vector != nil || c.kind != nil && !errors.Is(err, c.kind) || errors.Is(err, textencoding.ErrInputSequenceTooLong) != c.long {
			t.Errorf("%q: %v, %v", c.text, got, err)
		}
		if !strings.Contains(fmt.Sprint(err), c.want) || strings.Count(fmt.Sprint(err), "clip: ") != 1 {
			t.Errorf("error is %v, want one with %q and one prefix", err, c.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Encode(ended, "a cat", Pooling); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	if _, err := LoadTextEncoding(golden.Path(t, "testdata/families/hf5-vision")); !errors.Is(err, clip.ErrNoText) {
		t.Errorf("a vision tower: %v", err)
	}
}

// BERT is loaded by cybertron, as it is without this package.
func TestBERT(t *testing.T) {
	parent := t.TempDir()
	if err := os.CopyFS(filepath.Join(parent, "bert"), os.DirFS(golden.Path(t, "tasks/testdata/bert"))); err != nil {
		t.Fatal(err)
	}
	m, err := tasks.Load[textencoding.Interface](&tasks.Config{ModelsDir: parent, ModelName: "bert", DownloadPolicy: tasks.DownloadNever})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Encode(t.Context(), "a cat", int(bert.MeanPooling)); err != nil || got.Vector.Size() == 0 {
		t.Errorf("%v, %v", got, err)
	}
	if _, clips := m.(*TextEncoding); clips {
		t.Error("it is CLIP's")
	}
}
