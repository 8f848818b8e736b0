package converter

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
)

// expectedTexts returns the texts of the tiny CLIP.
func expectedTexts(f *golden.File) [][]int {
	var texts [][]int
	for row := range slices.Chunk(f.Int64("text"), f.Shape("text")[1]) {
		var text []int
		for _, w := range row {
			text = append(text, int(w))
		}
		texts = append(texts, text)
	}
	return texts
}

// TestLoadText: every form of the checkpoint gives the embeddings of texts that OpenAI's code gives.
func TestLoadText(t *testing.T) {
	f := golden.Load(t, "testdata/tiny/clip_expected.npz")
	want := cliptext.Config{
		Vocab: 50, Context: 9, Width: 64, Heads: 1, Layers: 1, MLPWidth: 256, EmbedDim: 10,
		Activation: transformer.QuickGELU, NormEps: 1e-5, End: 49,
	}
	for _, c := range checkpoints {
		t.Run(c.path, func(t *testing.T) {
			m, err := open(t, c.path).Text(t.Context())
			if !c.text {
				if err == nil || !strings.Contains(err.Error(), c.path+": has no text tower") {
					t.Errorf("error is %v, want that there is no text tower", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Config != want {
				t.Errorf("the tower is %+v, want %+v", m.Config, want)
			}
			y, err := m.Forward(expectedTexts(f))
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, "embedding", y.Data().F32(), f.Float32("text_embedding_openai"), 2e-6)
			if got := m.Scale(); math.Abs(got-1/0.07) > 1e-4 {
				t.Errorf("scale is %v, want %v", got, 1/0.07)
			}
			params.Walk(m, func(path string, p *nn.Param) {
				if p.RequiresGrad() {
					t.Errorf("%s wants a gradient", path)
				}
			})
		})
	}
}

// TestLoadTextOfFamilies: each dialect that has a text tower, and what a conversion makes of it, are the same tower.
func TestLoadTextOfFamilies(t *testing.T) {
	for name, activation := range map[string]transformer.Activation{
		"hf-clip-bin": transformer.QuickGELU, "openclip-gelu": transformer.GELU, "openclip-text": transformer.QuickGELU,
	} {
		t.Run(name, func(t *testing.T) {
			path := golden.Path(t, "testdata/families/"+name)
			m, err := loadText(path)
			if err != nil {
				t.Fatal(err)
			}
			if m.Config.Activation != activation {
				t.Errorf("activation is %s, want %s", m.Config.Activation, activation)
			}
			dir := filepath.Join(t.TempDir(), "converted")
			if _, err := convertFile(t.Context(), path, dir, Options{}); err != nil {
				t.Fatal(err)
			}
			n, err := loadText(dir)
			if err != nil {
				t.Fatal(err)
			}
			if n.Config != m.Config {
				t.Errorf("converted it is %+v, want %+v", n.Config, m.Config)
			}
			text := [][]int{{m.Config.Vocab - 2, 3, 1, m.Config.End}}
			got, err := m.Forward(text)
			if err != nil {
				t.Fatal(err)
			}
			again, err := n.Forward(text)
			if err != nil {
				t.Fatal(err)
			}
			x := got.Data().F32()
			if !slices.Equal(x, again.Data().F32()) || slices.Max(x) == slices.Min(x) {
				t.Errorf("got %v and, converted, %v", x, again.Data().F32())
			}
		})
	}
	if _, err := loadText(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("no error for a checkpoint that is not there")
	}
}
