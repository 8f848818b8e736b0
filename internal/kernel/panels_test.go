package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// layouts are those of one image and several, of fewer tokens than a panel has, whole panels, and some left.
var layouts = []PanelLayout{{1, 1}, {2, 5}, {1, 32}, {3, 33}, {2, 67}, {5, 50}, {1, 8}, {2, 31}}

// inPanels returns x [B·T,n] in the layout o.
func inPanels(o PanelLayout, x []float32, n int) []float32 {
	y := make([]float32, len(x))
	o.ToPanels(y, x, n)
	return y
}

// TestPanelLayout: ToPanels keeps every row, FromPanels puts it back, and Row finds it.
func TestPanelLayout(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(91, 92))
		for _, o := range layouts {
			for _, n := range []int{1, 7, 40} {
				x := random(rng, o.Images*o.Tokens*n).data
				there, back := newGuarded(len(x)), newGuarded(len(x))
				o.ToPanels(there.data, x, n)
				there.check(t, "ToPanels")
				o.FromPanels(back.data, there.data, n)
				back.check(t, "FromPanels")
				if !slices.Equal(back.data, x) {
					t.Errorf("%v of %d: restored to something else", o, n)
				}
				_, nr := tileShape()
				if o.Tokens >= nr && n > 1 && there.data[1] != x[n] {
					t.Errorf("%v of %d: the second token's first element is not the second of the first panel", o, n)
				}
				row := newGuarded(n)
				for r := range o.Images * o.Tokens {
					o.Row(row.data, there.data, n, r)
					row.check(t, "Row")
					if !slices.Equal(row.data, x[r*n:(r+1)*n]) {
						t.Errorf("%v of %d: row %d is another", o, n, r)
					}
				}
			}
		}
	})
}

func TestPanelLayoutMatMul(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(93, 94))
		for _, o := range layouts {
			for _, s := range [][2]int{{1, 1}, {14, 9}, {150, 40}, {37, 1060}, {29, 0}} {
				m, n, k := o.Images*o.Tokens, s[0], s[1]
				a, w := random(rng, m*k).data, random(rng, n*k).data
				bias, residual := random(rng, n).data, random(rng, m*n).data
				for _, e := range []Epilogue{{}, {Bias: bias}, {Bias: bias, Activation: QuickGELU}, {Activation: GELU}, {Bias: bias, Residual: residual}, {Residual: residual}} {
					checkProduct(t, product{fmt.Sprint(o), func(c, a, b []float32, m, n, k int, e Epilogue) {
						y := newGuarded(m * n)
						if e.Residual != nil {
							e.Residual = inPanels(o, e.Residual, n)
						}
						o.MatMul(y.data, inPanels(o, a, k), PackLeft(b, n, k), e)
						y.check(t, "PanelLayout.MatMul")
						o.FromPanels(c, y.data, n)
					}, byRow, byRow}, a, w, m, n, k, e)
				}
			}
		}
	})
}

// TestPanelLayoutAlone: what an image becomes does not depend on how many others there are, to the last bit.
func TestPanelLayoutAlone(t *testing.T) {
	const n, tokens, images = 45, 67, 6
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(95, 96))
		x, w, scale := random(rng, images*tokens*n).data, PackLeft(random(rng, n*n).data, n, n), random(rng, n).data
		for name, f := range map[string]func(y, x []float32, o PanelLayout){
			"MatMul":    func(y, x []float32, o PanelLayout) { o.MatMul(y, x, w, Epilogue{Bias: scale}) },
			"LayerNorm": func(y, x []float32, o PanelLayout) { o.LayerNorm(y, x, scale, scale, n, 1e-5) },
			"Attention": func(y, x []float32, o PanelLayout) { o.Attention(y, x, 3, n/9, false) },
		} {
			of := func(x []float32) []float32 {
				o := PanelLayout{len(x) / tokens / n, tokens}
				columns := n
				if name == "Attention" {
					columns = n / 3
				}
				y, back := make([]float32, o.Images*tokens*columns), make([]float32, o.Images*tokens*columns)
				f(y, inPanels(o, x, n), o)
				o.FromPanels(back, y, columns)
				return back
			}
			all := of(x)
			for i := range images {
				one := of(x[i*tokens*n : (i+1)*tokens*n])
				if !slices.Equal(one, all[i*len(one):(i+1)*len(one)]) {
					t.Errorf("%s: image %d alone becomes something else", name, i)
				}
			}
		}
	})
}

func TestPanelLayoutLayerNorm(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(97, 98))
		for _, o := range layouts {
			for _, n := range []int{1, 7, 40, 129} {
				m := o.Images * o.Tokens
				x, w, b := random(rng, m*n).data, random(rng, n).data, random(rng, n).data
				for i := range x {
					x[i] += 3 // a mean that matters
				}
				got, back, want := newGuarded(m*n), make([]float32, m*n), make([]float32, m*n)
				o.LayerNorm(got.data, inPanels(o, x, n), w, b, n, 1e-5)
				got.check(t, "Order.LayerNorm")
				o.FromPanels(back, got.data, n)
				LayerNorm(want, x, w, b, nil, m, n, 1e-5)
				for i, v := range want {
					near(t, fmt.Sprint("LayerNorm ", o, n, i), back[i], float64(v), 8e-6)
				}
			}
		}
	})
}

func TestPanelLayoutAttention(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(99, 100))
		for _, o := range append(layouts, PanelLayout{1, 257}) {
			for _, s := range [][2]int{{1, 1}, {3, 7}, {2, 64}} {
				heads, d := s[0], s[1]
				m, c := o.Images*o.Tokens, heads*d
				qkv := random(rng, m*3*c).data
				for _, causal := range []bool{false, true} {
					got, back := newGuarded(m*c), make([]float32, m*c)
					o.Attention(got.data, inPanels(o, qkv, 3*c), heads, d, causal)
					got.check(t, "Order.Attention")
					o.FromPanels(back, got.data, c)
					ref := attentionRef
					if causal {
						ref = causalRef
					}
					for i, want := range ref(qkv, o.Images, o.Tokens, heads, d) {
						near(t, fmt.Sprint(o, s, causal, i), back[i], want, 6e-6)
					}
				}
			}
		}
	})
}
