package converter

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/projector"
)

// weightsOf returns all values of a model by path.
func weightsOf(m nn.Model) map[string][]float32 {
	all := map[string][]float32{}
	params.Walk(m, func(path string, p *nn.Param) { all[path] = slices.Clone(mat.Data[float32](p)) })
	return all
}

// sameWeights compares two models to the last bit.
func sameWeights(t *testing.T, got, want map[string][]float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d parameters, want %d", len(got), len(want))
	}
	for path, w := range want {
		if !slices.Equal(got[path], w) {
			t.Errorf("%s differs", path)
		}
	}
}

// tune gives every other parameter of a model new values, and leaves the rest frozen.
func tune(m *clipvit.Model) {
	rng := rand.New(rand.NewPCG(1, 2))
	m.Blocks[0].Unfreeze()
	params.Walk(m.Blocks[0], func(_ string, p *nn.Param) {
		for i := range mat.Data[float32](p) {
			mat.Data[float32](p)[i] += float32(rng.NormFloat64())
		}
	})
}

// TestSave: a tuned tower is saved in the place of the one it was, whatever its form, and the rest stays.
func TestSave(t *testing.T) {
	for _, src := range []string{
		"testdata/tiny/huggingface", "testdata/tiny/huggingface-vision", "testdata/tiny/openai_torch2.9.1.pt",
		"testdata/families/llava", "testdata/families/xcomposer2-hd", "testdata/families/hf-vision",
	} {
		t.Run(filepath.Base(src), func(t *testing.T) {
			c, err := Open(golden.Path(t, src))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			m, err := c.Vision(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			tune(m)
			plain, dst := filepath.Join(t.TempDir(), "plain"), filepath.Join(t.TempDir(), "tuned")
			if _, err := c.Convert(context.Background(), plain, Options{}); err != nil {
				t.Fatal(err)
			}
			if _, err := Save(context.Background(), Models{Vision: m}, c, dst, Options{}); err != nil {
				t.Fatal(err)
			}
			back, err := Load(dst)
			if err != nil {
				t.Fatal(err)
			}
			sameWeights(t, weightsOf(back), weightsOf(m))
			if back.Config != m.Config {
				t.Errorf("configuration %+v, want %+v", back.Config, m.Config)
			}
			tuned, untuned := tensorsOf(t, dst), tensorsOf(t, plain)
			for name, w := range untuned {
				if vision := strings.HasPrefix(name, "vision_model.") || strings.HasPrefix(name, "visual_projection."); !vision && !slices.Equal(tuned[name], w) {
					t.Errorf("%s differs, which is not of the tower", name)
				}
			}
			if len(tuned) != len(untuned) {
				t.Errorf("%d tensors, want %d", len(tuned), len(untuned))
			}
		})
	}
}

// tensorsOf returns the values of all tensors of a checkpoint.
func tensorsOf(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := map[string][]float32{}
	for _, x := range c.file.Tensors() {
		all[x.Name] = make([]float32, x.Len())
		if err := x.Float32s(all[x.Name]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestSaveAlone: models without a checkpoint, a tower of another size, a new projector.
func TestSaveAlone(t *testing.T) {
	ctx := context.Background()
	m, err := Load(golden.Path(t, "testdata/tiny/huggingface-vision"))
	if err != nil {
		t.Fatal(err)
	}
	m.Unfreeze()
	if err := m.Resize(2*m.Config.ImageSize, clipvit.BicubicTorch); err != nil {
		t.Fatal(err)
	}
	p, err := projector.New(projector.Config{Type: "mlp2x_gelu", In: m.Config.Width, Out: 6})
	if err != nil {
		t.Fatal(err)
	}
	p.Init(rand.New(rand.NewPCG(1, 2)))
	for _, like := range []string{"", "testdata/tiny/huggingface"} {
		var c *Model
		if like != "" {
			if c, err = Open(golden.Path(t, like)); err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		dst := filepath.Join(t.TempDir(), "model")
		if _, err := Save(ctx, Models{Vision: m, Projector: p}, c, dst, Options{}); err != nil {
			t.Fatal(err)
		}
		back, err := Load(dst)
		if err != nil {
			t.Fatal(err)
		}
		sameWeights(t, weightsOf(back), weightsOf(m))
		q, err := loadProjector(dst)
		if err != nil {
			t.Fatal(err)
		}
		sameWeights(t, weightsOf(q.Model), weightsOf(p))
	}
}

func TestSaveRefuses(t *testing.T) {
	ctx := context.Background()
	m, err := Load(golden.Path(t, "testdata/tiny/huggingface-vision"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(golden.Path(t, "testdata/families/hf-vision"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	dst := filepath.Join(t.TempDir(), "model")
	check := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want one with %q", what, err, want)
		}
	}
	_, err = Save(ctx, Models{}, nil, dst, Options{})
	check("nothing", err, "no model")
	_, err = Save(ctx, Models{Vision: m}, other, dst, Options{})
	check("another configuration", err, "that in memory")
	m.Blocks[0].Attn.OutLoRA = []*transformer.LoRA{transformer.NewLoRA(1, m.Config.Width, 0, m.Config.Width, 1)}
	_, err = Save(ctx, Models{Vision: m}, nil, dst, Options{})
	check("LoRA", err, "Blocks.0.Attn.OutLoRA.0.A")
}
