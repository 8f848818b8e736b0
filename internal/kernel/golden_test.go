package kernel_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
)

// everyImpl runs f once for every implementation this processor has.
func everyImpl(t *testing.T, f func(t *testing.T, o *golden.File)) {
	o := golden.Load(t, "testdata/tiny/ops.npz")
	t.Cleanup(func() { kernel.Use("") })
	for _, name := range kernel.Available() {
		t.Run(name, func(t *testing.T) {
			kernel.Use(name)
			f(t, o)
		})
	}
}

// TestActivationsLikePyTorch: value and derivative, from 1e-45 to 3e38, infinities and NaN. The
// derivative at the infinities is left out: there PyTorch's float32 and float64 disagree.
func TestActivationsLikePyTorch(t *testing.T) {
	everyImpl(t, func(t *testing.T, o *golden.File) {
		for name, f := range map[string]kernel.Activation{"quick_gelu": kernel.QuickGELU, "gelu": kernel.GELU} {
			x := o.Float32(name + "/in")
			y, g, one := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
			for i := range one {
				one[i] = 1
			}
			kernel.Activate(y, x, f)
			kernel.ActivateGrad(g, one, x, f)
			want, slope := o.Float32(name+"/out"), o.Float32(name+"/grad")
			for i, v := range x {
				// As in PyTorch's float32, 1+erf cancels where x is negative: 2⁻²² of x.
				tol := 4e-7*math.Abs(float64(want[i])) + 2.4e-7*min(math.Abs(float64(v)), 13) + 1e-37
				if !same(y[i], want[i], tol) {
					t.Errorf("%s(%v): got %v, want %v ± %v", name, v, y[i], want[i], tol)
				}
				if !math.IsInf(float64(v), 0) && math.Abs(float64(v)) < 1e30 && !same(g[i], slope[i], 1e-6) {
					t.Errorf("%s'(%v): got %v, want %v", name, v, g[i], slope[i])
				}
			}
		}
	})
}

func same(got, want float32, tol float64) bool {
	g, w := float64(got), float64(want)
	return g == w || math.IsNaN(g) && math.IsNaN(w) || math.Abs(g-w) <= tol
}

func TestRowsLikePyTorch(t *testing.T) {
	everyImpl(t, func(t *testing.T, o *golden.File) {
		x, w, b := o.Float32("layer_norm/in"), o.Float32("layer_norm/w"), o.Float32("layer_norm/b")
		m, n := o.Shape("layer_norm/in")[0], o.Shape("layer_norm/in")[1]
		y, stats := make([]float32, m*n), make([]float32, 2*m)
		kernel.LayerNorm(y, x, w, b, stats, m, n, 1e-5)
		rows := int(o.Int64("layer_norm/finite")[0])
		golden.Compare(t, "layer_norm", y, o.Float32("layer_norm/out"), 1e-5)
		gx, gw, gb := make([]float32, rows*n), make([]float32, n), make([]float32, n)
		kernel.LayerNormGrad(gx, gw, gb, o.Float32("layer_norm/grad_out"), x, w, stats, rows, n)
		golden.Compare(t, "layer_norm: gradient of x", gx, o.Float32("layer_norm/grad_in"), 1e-5)
		golden.Compare(t, "layer_norm: gradient of w", gw, o.Float32("layer_norm/grad_w"), 1e-5)
		golden.Compare(t, "layer_norm: gradient of b", gb, o.Float32("layer_norm/grad_b"), 1e-6)

		m, n = o.Shape("softmax/in")[0], o.Shape("softmax/in")[1]
		p := make([]float32, m*n)
		kernel.Softmax(p, o.Float32("softmax/in"), m, n)
		golden.Compare(t, "softmax", p, o.Float32("softmax/out"), 1e-6)
	})
}

func TestAttentionLikePyTorch(t *testing.T) {
	everyImpl(t, func(t *testing.T, o *golden.File) {
		cases := 0
		for _, name := range o.Names() {
			sizes, ok := strings.CutSuffix(name, "/qkv")
			if !ok {
				continue
			}
			cases++
			var images, tokens, heads, size int
			if _, err := fmt.Sscanf(sizes, "attention_b%dt%dh%dd%d", &images, &tokens, &heads, &size); err != nil {
				t.Fatal(err)
			}
			qkv := o.Float32(name)
			out, stats := make([]float32, len(qkv)/3), make([]float32, 2*images*tokens*heads)
			kernel.Attention(out, qkv, stats, images, tokens, heads, size)
			golden.Compare(t, sizes, out, o.Float32(sizes+"/out"), 2e-6)
			g := make([]float32, len(qkv))
			kernel.AttentionGrad(g, o.Float32(sizes+"/grad_out"), qkv, out, stats, images, tokens, heads, size)
			golden.Compare(t, sizes+": gradient", g, o.Float32(sizes+"/grad_qkv"), 5e-6)
		}
		if cases < 4 {
			t.Errorf("%d cases of attention, want at least 4", cases)
		}
	})
}
