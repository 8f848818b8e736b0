package op

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
)

// normal returns a matrix [rows,cols] of normal numbers.
func normal(rng *rand.Rand, rows, cols int) *mat.Dense[float32] {
	x := mat.NewDense[float32](mat.WithShape(rows, cols))
	for i := range data(x) {
		data(x)[i] = float32(rng.NormFloat64())
	}
	return x
}

// TestPanels: every operator computes from panels what it computes from rows, and those that can return panels.
func TestPanels(t *testing.T) {
	t.Cleanup(func() { kernel.Use("") })
	const images, tokens, c, heads = 3, 37, 24, 2
	for _, impl := range kernel.Available() {
		kernel.Use(impl)
		rng := rand.New(rand.NewPCG(11, 12))
		x, residual := normal(rng, images*tokens, c), normal(rng, images*tokens, 3*c)
		layer := func(freeze func(*nn.Param)) *linear.Model {
			m := linearOf(normal(rand.New(rand.NewPCG(1, 1)), 3*c, c), normal(rand.New(rand.NewPCG(2, 2)), 3*c, 1))
			m.W.SetRequiresGrad(false)
			m.B.SetRequiresGrad(false)
			freeze(m.W)
			return m
		}
		plain := func(*nn.Param) {}
		frozen := func(p *nn.Param) { FreezeForPanels(p) }
		for name, f := range map[string]func(x, residual mat.Tensor, freeze func(*nn.Param)) mat.Tensor{
			"LayerNorm": func(x, _ mat.Tensor, _ func(*nn.Param)) mat.Tensor {
				w, b := normal(rand.New(rand.NewPCG(3, 3)), c, 1), normal(rand.New(rand.NewPCG(4, 4)), c, 1)
				return LayerNorm(x, normOf(w, b))
			},
			"Linear": func(x, _ mat.Tensor, freeze func(*nn.Param)) mat.Tensor { return Linear(x, layer(freeze)) },
			"LinearAct": func(x, _ mat.Tensor, freeze func(*nn.Param)) mat.Tensor {
				return LinearAct(x, layer(freeze), kernel.GELU)
			},
			"LinearAdd": func(x, r mat.Tensor, freeze func(*nn.Param)) mat.Tensor {
				return LinearAdd(x, layer(freeze), r)
			},
			"Project": func(x, _ mat.Tensor, freeze func(*nn.Param)) mat.Tensor { return Project(x, layer(freeze).W) },
			"SelfAttention": func(_, qkv mat.Tensor, _ func(*nn.Param)) mat.Tensor {
				return SelfAttention(qkv, heads, tokens)
			},
			"CausalAttention": func(_, qkv mat.Tensor, _ func(*nn.Param)) mat.Tensor {
				return CausalAttention(qkv, heads, tokens)
			},
			"rows: ClassRows": func(x, _ mat.Tensor, _ func(*nn.Param)) mat.Tensor { return ClassRows(x, tokens) },
			"rows: Gather": func(x, _ mat.Tensor, _ func(*nn.Param)) mat.Tensor {
				return Gather(x, []int{0, images*tokens - 1, 40, 40})
			},
			"rows: Activate": func(x, _ mat.Tensor, _ func(*nn.Param)) mat.Tensor { return Activate(x, kernel.QuickGELU) },
			"rows: LowRank": func(x, r mat.Tensor, _ func(*nn.Param)) mat.Tensor {
				a, b := param(normal(rand.New(rand.NewPCG(5, 5)), 2, c)), param(normal(rand.New(rand.NewPCG(6, 6)), 3*c, 2))
				a.SetRequiresGrad(false)
				b.SetRequiresGrad(false)
				return LowRank(Linear(x, layer(frozen)), x, Correction{A: a, B: b, Scale: 2})
			},
			"rows: Linear of plain weights": func(x, _ mat.Tensor, _ func(*nn.Param)) mat.Tensor { return Linear(x, layer(plain)) },
			"rows: LinearAdd to rows": func(x, _ mat.Tensor, freeze func(*nn.Param)) mat.Tensor {
				return LinearAdd(x, layer(freeze), residual)
			},
			"AttentionAt": func(_, qkv mat.Tensor, _ func(*nn.Param)) mat.Tensor {
				rows := []int{0, tokens + 30, 3*tokens - 1}
				return AttentionAt(queriesOf(qkv, rows), qkv, heads, tokens, rows, true)
			},
			"TokensAt": func(x, _ mat.Tensor, _ func(*nn.Param)) mat.Tensor {
				return TokensAt(x, []int{0, images*tokens - 1, 40, 40})
			},
			"SplitLinear": func(x, _ mat.Tensor, freeze func(*nn.Param)) mat.Tensor {
				m := layer(freeze)
				first, rest := SplitLinear(m, x, c)
				all, a, b := data(Linear(x, m)), data(Linear(x, first)), data(Linear(x, rest))
				n := rest.W.Shape()[0]
				for i := range images * tokens {
					row := all[i*3*c : (i+1)*3*c]
					if !slices.Equal(row[:c], a[i*c:(i+1)*c]) || !slices.Equal(row[3*c-n:], b[i*n:(i+1)*n]) || n < 2*c {
						t.Fatalf("%s: row %d of %d and %d outputs is not that of all", impl, i, c, n)
					}
				}
				return Linear(x, first)
			},
			"SelfAttention of other images": func(_, qkv mat.Tensor, _ func(*nn.Param)) mat.Tensor {
				return SelfAttention(qkv, heads, images*tokens)
			},
		} {
			y := f(ToPanels(normalCopy(x), tokens), ToPanels(normalCopy(residual), tokens), frozen)
			if _, ok := y.(*panels); ok != (name[:5] != "rows:") {
				t.Errorf("%s: %s: the result lies in panels: %v", impl, name, ok)
			}
			if want := f(x, residual, plain); !slices.Equal(y.Shape(), want.Shape()) {
				t.Errorf("%s: %s: shape %v, want %v", impl, name, y.Shape(), want.Shape())
			} else {
				golden.Compare(t, fmt.Sprint(impl, ": ", name), data(y), data(want), 2e-5)
				golden.Compare(t, fmt.Sprint(impl, ": ", name, " from panels"), data(FromPanels(y)), data(want), 2e-5)
			}
		}
	}
}

// queriesOf returns the first columns of rows of projections, in their layout.
func queriesOf(qkv mat.Tensor, rows []int) mat.Tensor {
	all := Gather(qkv, rows)
	_, n := dims(all)
	y := fresh(len(rows), n/3)
	for i := range rows {
		copy(data(y)[i*n/3:(i+1)*n/3], data(all)[i*n:])
	}
	return Laid(y, 1, inPanels(qkv))
}

// TestAttentionAtRefuses: what does not fit is a mistake of the program.
func TestAttentionAtRefuses(t *testing.T) {
	of := func(b, c, m, n int, rows ...int) func() {
		return func() {
			AttentionAt(mat.NewDense[float32](mat.WithShape(b, c)), mat.NewDense[float32](mat.WithShape(m, n)), 2, 3, rows, false)
		}
	}
	of(2, 4, 6, 9, 0, 5)() // fits
	for name, f := range map[string]func(){
		"fewer tokens":          of(2, 4, 5, 9, 0, 4),
		"few columns":           of(2, 4, 6, 7, 0, 5),
		"a width of odd heads":  of(2, 3, 6, 9, 0, 5),
		"a row of another":      of(2, 4, 6, 9, 0, 2),
		"a row that is missing": of(2, 4, 6, 9, 0),
		"no rows":               of(2, 4, 6, 9),
		"a row of nobody":       of(2, 4, 6, 9, 0, 6),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// normalCopy is a copy that may be given away.
func normalCopy(x *mat.Dense[float32]) mat.Tensor {
	y := fresh(dims(x))
	copy(data(y), data(x))
	return y
}

// TestPanelsGradients: what wants a gradient stays in rows, and panels still give a gradient to parameters.
func TestPanelsGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	x := normal(rng, 34, 8)
	x.SetRequiresGrad(true)
	if y := ToPanels(x, 34); y != mat.Tensor(x) {
		t.Error("tokens that want a gradient were put into panels")
	}
	layer := linearOf(normal(rng, 4, 8), normal(rng, 4, 1))
	layer.W.SetRequiresGrad(true)
	plain := normal(rng, 34, 8)
	grad := func(x mat.Tensor) []float32 {
		layer.W.ZeroGrad()
		y := Linear(x, layer)
		g := make([]float32, 34*4)
		for i := range g {
			g[i] = float32(i%7) - 3
		}
		backward(y, g)
		return data(layer.W.Grad())
	}
	want := slices.Clone(grad(plain))
	if got := grad(ToPanels(normalCopy(plain), 34)); !slices.Equal(got, want) {
		t.Error("the gradient of weights is another if the tokens lie in panels")
	}
	if _, ok := FromPanels(ToPanels(Detach(plain), 34)).(detached); !ok {
		t.Error("detached tokens come back as others")
	}
	defer func() {
		if _, ok := recover().(*ShapeError); !ok {
			t.Error("ToPanels takes 34 tokens for images of 33")
		}
	}()
	ToPanels(plain, 33)
}

// TestRepack: weights may be used with rows and panels by turns and at the same time.
func TestRepack(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	const m, in, out = 70, 96, 64
	plain, frozen := frozenLinear(rng, in, out)
	x := normal(rng, m, in)
	want := data(Linear(x, plain))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				y := mat.Tensor(nil)
				if i%2 == 0 {
					y = Linear(x, frozen)
				} else {
					y = Linear(ToPanels(normalCopy(x), m), frozen)
				}
				golden.Compare(t, "repacked", data(y), want, 2e-6)
			}
		})
	}
	wg.Wait()
	if !slices.Equal(data(frozen.W), data(plain.W)) {
		t.Error("packing anew changes the weights")
	}
}

// TestPrecedingProduct: panels know the weights of the last product, through all that lies between two of them.
func TestPrecedingProduct(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	const c = 8
	product := func(out int) *linear.Model {
		m := linearOf(normal(rng, out, c), normal(rng, out, 1))
		m.W.SetRequiresGrad(false)
		m.B.SetRequiresGrad(false)
		FreezeForPanels(m.W)
		return m
	}
	qkv, out := product(3*c), product(c)
	last := func(x mat.Tensor) *kernel.Packed { return x.(*panels).last }
	x := ToPanels(normal(rng, 40, c), 40)
	if last(x) != nil {
		t.Error("a product comes before the tower")
	}
	norm := normOf(normal(rng, c, 1), normal(rng, c, 1))
	y := SelfAttention(Linear(LayerNorm(x, norm), qkv), 2, 40)
	if last(y) != packed(qkv.W).packed(true) {
		t.Error("the last product is not that before attention")
	}
	y = LayerNorm(Copy(LinearAdd(y, out, x)), norm)
	if last(y) != packed(out.W).packed(true) {
		t.Error("the last product is not that before the norm")
	}
}
