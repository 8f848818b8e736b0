package op

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// probabilities composes softmax(q·kᵀ/√D) of two images of five tokens with three heads; causal ones row by row.
func probabilities(qkv mat.Tensor, causal bool) mat.Tensor {
	const heads, t, d = 3, 5, 2
	var rows []mat.Tensor
	for image := range 2 {
		for h := range heads {
			part := func(i int) mat.Tensor {
				return ag.Slice(qkv, image*t, i*heads*d+h*d, (image+1)*t, i*heads*d+(h+1)*d)
			}
			score := ag.ProdScalar(ag.Mul(part(0), ag.T(part(1))), mat.Scalar(1/math.Sqrt(d)))
			for i, row := range columns(score) {
				if causal && i+1 < t {
					row = ag.Concat(ag.Softmax(ag.Slice(row, 0, 0, i+1, 1)), mat.NewDense[float64](mat.WithShape(t-i-1, 1)))
				} else {
					row = ag.Softmax(row)
				}
				rows = append(rows, row)
			}
		}
	}
	return ag.Stack(rows...)
}

// The operators of an attention that is seen go through the same tests as all others.
func init() {
	for name, causal := range map[string]bool{"Probabilities": false, "Probabilities, causal": true} {
		cases = append(cases, caseOf{
			name, [][2]int{{10, 18}},
			func(in []mat.Tensor) mat.Tensor { return Probabilities(in[0], 3, 5, causal) },
			func(in []mat.Tensor) mat.Tensor { return probabilities(in[0], causal) },
		})
	}
	cases = append(cases, caseOf{
		"Mix", [][2]int{{30, 5}, {10, 18}},
		func(in []mat.Tensor) mat.Tensor { return Mix(in[0], in[1], 3, 5) },
		func(in []mat.Tensor) mat.Tensor {
			var out []mat.Tensor
			for image := range 2 {
				var rows []mat.Tensor // [C] rows of t
				for h := range 3 {
					at := 5 * (3*image + h)
					v := ag.Slice(in[1], 5*image, 12+2*h, 5*image+5, 12+2*h+2)
					rows = append(rows, ag.RowViews(ag.T(ag.Mul(ag.Slice(in[0], at, 0, at+5, 5), v)))...)
				}
				out = append(out, ag.RowViews(ag.T(ag.Stack(rows...)))...)
			}
			return ag.Stack(out...)
		},
	})
}

// TestSeenAttention: probabilities and what they mix are the fused attention, with its gradients, for every implementation. 70
// tokens are more than a tile has columns.
func TestSeenAttention(t *testing.T) {
	const images, heads, size = 2, 3, 4
	// Sums of 70 products of numbers up to 4: 2⁻²⁴·70·4, relative to values of size 1.
	const tol = 2e-5
	before := kernel.Name()
	defer kernel.Use(before)
	for _, name := range kernel.Available() {
		kernel.Use(name)
		for _, tokens := range []int{1, 7, 70} {
			for _, causal := range []bool{false, true} {
				shape := [][2]int{{images * tokens, 3 * heads * size}}
				in, _ := randomInputs(rand.New(rand.NewPCG(1, uint64(tokens))), shape)
				other, _ := randomInputs(rand.New(rand.NewPCG(1, uint64(tokens))), shape)
				fused := SelfAttention
				if causal {
					fused = CausalAttention
				}
				want := fused(other[0], heads, tokens)
				p := Probabilities(in[0], heads, tokens, causal)
				got := Mix(p, in[0], heads, tokens)
				what := fmt.Sprintf("%s, %d tokens, causal %v", name, tokens, causal)
				sameWithin(t, what, got.Value().Data(), want.Value().Data(), tol)
				g, rng := make([]float32, got.Size()), rand.New(rand.NewPCG(2, 2))
				for i := range g {
					g[i] = float32(rng.NormFloat64())
				}
				backward(got, append([]float32(nil), g...))
				backward(want, g)
				sameWithin(t, what+", gradient", in[0].Grad().Data(), other[0].Grad().Data(), 4*tol)
				if s := p.Shape(); s[0] != images*heads*tokens || s[1] != tokens || !p.HasGrad() {
					t.Errorf("%s: probabilities are %v with a gradient: %v", what, s, p.HasGrad())
				}
				for i, v := range p.Value().Data().F32() {
					if query, key := i/tokens%tokens, i%tokens; causal && key > query && v != 0 {
						t.Errorf("%s: token %d looks at %d by %v", what, query, key, v)
					}
				}
			}
		}
	}
}

func TestSeenAttentionShapes(t *testing.T) {
	x := func(r, c int) mat.Tensor { return mat.NewDense[float32](mat.WithShape(r, c)) }
	for name, f := range map[string]func(){
		"Probabilities":     func() { Probabilities(x(5, 6), 1, 2, false) },
		"Mix":               func() { Mix(x(2, 2), x(2, 7), 1, 2) },
		"Mix probabilities": func() { Mix(x(2, 3), x(2, 6), 1, 2) },
	} {
		func() {
			defer func() {
				var e *ShapeError
				if err, _ := recover().(error); !errors.As(err, &e) || e.Op != name {
					t.Errorf("%s: panicked with %v, want a ShapeError of it", name, err)
				}
			}()
			f()
		}()
	}
}
