package projector

import (
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
)

// TestEncoderParts: Features and Project are Forward, in value and gradient, to the bit; and what Features gave may be used again.
func TestEncoderParts(t *testing.T) {
	f := golden.Load(t, "testdata/projector/xcomposer.npz")
	for _, layout := range []string{"xcomposer2-4khd", "pad", "llava-1.6"} {
		for _, learns := range []bool{false, true} {
			whole, parts := tinyEncoder(t, f, layout), tinyEncoder(t, f, layout)
			for _, e := range []*Encoder{whole, parts} {
				e.Unfreeze()
				if !learns {
					e.Tower.Freeze()
				}
			}
			tiles, err := whole.Split(picture(60, 100))
			if err != nil {
				t.Fatal(err)
			}
			want, err := whole.Forward(tiles)
			if err != nil {
				t.Fatal(err)
			}
			x, err := parts.Features(tiles)
			if err != nil {
				t.Fatal(err)
			}
			if x.RequiresGrad() != learns {
				t.Errorf("%s: features of a tower that learns (%v) want a gradient: %v", layout, learns, x.RequiresGrad())
			}
			kept := slices.Clone(x.Value().Data().F32())
			got, err := parts.Project(x, tiles)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Value().Data().F32(), want.Value().Data().F32()) {
				t.Errorf("%s: other tokens from the parts", layout)
			}
			if !slices.Equal(x.Value().Data().F32(), kept) {
				t.Errorf("%s: the features were not left alone", layout)
			}
			for _, y := range []mat.Tensor{want, got} {
				target := make([]float32, y.Size())
				if err := ag.Backward(op.MSE(y, target)); err != nil {
					t.Fatal(err)
				}
			}
			gradients := map[string][]float32{}
			params.Walk(whole, func(path string, p *nn.Param) {
				if p.HasGrad() {
					gradients[path] = mat.Data[float32](p.Grad())
				}
			})
			n := 0
			params.Walk(parts, func(path string, p *nn.Param) {
				if p.HasGrad() {
					n++
					if !slices.Equal(mat.Data[float32](p.Grad()), gradients[path]) {
						t.Errorf("%s: another gradient of %s", layout, path)
					}
				}
			})
			if n != len(gradients) || n < 4 {
				t.Errorf("%s: %d gradients, want %d", layout, n, len(gradients))
			}
			if _, err := parts.Project(mat.NewDense[float32](mat.WithShape(3, 4)), tiles); err == nil || !strings.Contains(err.Error(), "features are [3 4], want [") {
				t.Errorf("%s: error is %v", layout, err)
			}
			if _, err := parts.Features(nil); err == nil {
				t.Errorf("%s: features of nothing", layout)
			}
		}
	}
}

// tinyEncoder has the tower of the goldens, and a projector for any layout.
func tinyEncoder(t testing.TB, f *golden.File, layout string) *Encoder {
	t.Helper()
	c := xcomposerConfig()
	e := &Encoder{Tower: goldenTower(t, f, "base/param/", c), Layout: goldenLayout(t, layout), Select: clipvit.Features{Kind: clipvit.Patches, Layer: -1}}
	in := c.Width
	if e.Layout.Fit == Tile {
		in *= 4
	}
	var err error
	if e.Projector, err = New(Config{Type: "mlp2x_gelu", In: in, Out: 6}); err != nil {
		t.Fatal(err)
	}
	row := func(n int) *nn.Param { return nn.NewParam(mat.NewDense[float32](mat.WithShape(1, n))) }
	e.Newline, e.RowSeparator, e.GlobalSeparator = row(6), row(in), row(in)
	v := float32(0.3)
	fill := func(p *nn.Param) {
		x := mat.Data[float32](p)
		for i := range x {
			v = 3.7 * v * (1 - v) // numbers without a pattern
			x[i] = v - 0.6
		}
	}
	nn.ForEachParam(e.Projector, fill)
	for _, p := range []*nn.Param{e.Newline, e.RowSeparator, e.GlobalSeparator} {
		fill(p)
	}
	return e
}

// TestViews: how many views there are at most.
func TestViews(t *testing.T) {
	for name, want := range map[string]int{"clip": 1, "squash": 1, "pad": 1, "llava-1.6": 5, "xcomposer2-4khd": 26, "xcomposer2.5": 25} {
		if got := goldenLayout(t, name).Views(); got != want {
			t.Errorf("%s: %d views, want %d", name, got, want)
		}
	}
}
