package tiny_test

import (
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/tiny"
)

func TestFill(t *testing.T) {
	m := tiny.New(t, func(out int) (*linear.Model, error) { return linear.New[float32](2, out), nil }, 3)
	n := float32(0)
	tiny.Fill(m, func() float32 { n++; return n })
	if w, b := mat.Data[float32](m.W), mat.Data[float32](m.B); !slices.Equal(w, []float32{1, 2, 3, 4, 5, 6}) || !slices.Equal(b, []float32{7, 8, 9}) {
		t.Errorf("filled with %v and %v", w, b)
	}
}

func TestGolden(t *testing.T) {
	const path = "testdata/tiny/stages_gelu"
	m, f := tiny.Golden(t, path, clipvit.New)
	if c := m.Config; c.Width != 27 || c.NormEps != 1e-5 || c.Activation != transformer.GELU {
		t.Errorf("the configuration is %+v", c)
	}
	want := golden.Load(t, path+".npz")
	got := func(p *nn.Param) []float32 { return mat.Data[float32](p) }
	if !slices.Equal(got(m.Proj), want.Float32("param/Proj")) || !slices.Equal(got(m.Blocks[1].MLP.Down.B), want.Float32("param/Blocks.1.MLP.Down.B")) {
		t.Error("other parameters than those of the file")
	}
	if !slices.Equal(f.Float32("patches"), want.Float32("patches")) {
		t.Error("another file")
	}
}
