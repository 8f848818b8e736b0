package op

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/mat/float"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"
	"github.com/nlpodyssey/spago/nn/normalization/layernorm"

	"github.com/vitago/vitago/internal/kernel"
)

// A caseOf is an operator with its operands' shapes, and the same composed of spago's operators.
type caseOf struct {
	name     string
	shapes   [][2]int
	fused    func(in []mat.Tensor) mat.Tensor
	composed func(in []mat.Tensor) mat.Tensor // nil if spago has no operators for it
}

func param(x mat.Tensor) *nn.Param { return &nn.Param{Matrix: x.(mat.Matrix)} }

func linearOf(w, b mat.Tensor) *linear.Model { return &linear.Model{W: param(w), B: param(b)} }

func normOf(w, b mat.Tensor) *layernorm.Model {
	return &layernorm.Model{W: param(w), B: param(b), Eps: nn.Buf(mat.Scalar(1e-5))}
}

// columns returns the rows of x as column vectors, which spago's modules take.
func columns(x mat.Tensor) []mat.Tensor {
	rows := ag.RowViews(x)
	for i, r := range rows {
		rows[i] = ag.T(r)
	}
	return rows
}

func quickGELU(x mat.Tensor) mat.Tensor {
	return ag.Prod(x, ag.Sigmoid(ag.ProdScalar(x, mat.Scalar(1.702))))
}

// attention composes softmax(q·kᵀ/√D)·v for images of t tokens.
func attention(qkv mat.Tensor, heads, t int) mat.Tensor {
	m, c := qkv.Shape()[0], qkv.Shape()[1]/3
	d := c / heads
	var out []mat.Tensor
	for r := 0; r < m; r += t {
		var rows []mat.Tensor // [C] rows of t
		for h := range heads {
			part := func(i int) mat.Tensor { return ag.Slice(qkv, r, i*c+h*d, r+t, i*c+(h+1)*d) }
			score := ag.ProdScalar(ag.Mul(part(0), ag.T(part(1))), mat.Scalar(1/math.Sqrt(float64(d))))
			var p []mat.Tensor
			for _, row := range columns(score) {
				p = append(p, ag.Softmax(row))
			}
			rows = append(rows, ag.RowViews(ag.T(ag.Mul(ag.Stack(p...), part(2))))...)
		}
		out = append(out, ag.RowViews(ag.T(ag.Stack(rows...)))...)
	}
	return ag.Stack(out...)
}

var cases = []caseOf{
	{
		"Linear", [][2]int{{5, 7}, {9, 7}, {9, 1}},
		func(in []mat.Tensor) mat.Tensor { return Linear(in[0], linearOf(in[1], in[2])) },
		func(in []mat.Tensor) mat.Tensor {
			return ag.Stack(linearOf(in[1], in[2]).Forward(columns(in[0])...)...)
		},
	},
	{
		"LinearAdd", [][2]int{{5, 7}, {9, 7}, {9, 1}, {5, 9}},
		func(in []mat.Tensor) mat.Tensor { return LinearAdd(in[0], linearOf(in[1], in[2]), in[3]) },
		func(in []mat.Tensor) mat.Tensor {
			return ag.Add(ag.Stack(linearOf(in[1], in[2]).Forward(columns(in[0])...)...), in[3])
		},
	},
	{
		"LinearAct", [][2]int{{5, 7}, {9, 7}, {9, 1}},
		func(in []mat.Tensor) mat.Tensor { return LinearAct(in[0], linearOf(in[1], in[2]), kernel.QuickGELU) },
		func(in []mat.Tensor) mat.Tensor {
			return quickGELU(ag.Stack(linearOf(in[1], in[2]).Forward(columns(in[0])...)...))
		},
	},
	{
		"Project", [][2]int{{5, 7}, {9, 7}},
		func(in []mat.Tensor) mat.Tensor { return Project(in[0], param(in[1])) },
		func(in []mat.Tensor) mat.Tensor { return ag.Mul(in[0], ag.T(in[1])) },
	},
	{
		"QuickGELU", [][2]int{{5, 7}},
		func(in []mat.Tensor) mat.Tensor { return Activate(in[0], kernel.QuickGELU) },
		func(in []mat.Tensor) mat.Tensor { return quickGELU(in[0]) },
	},
	{
		"GELU", [][2]int{{5, 7}}, // spago's GELU is the approximation by tanh
		func(in []mat.Tensor) mat.Tensor { return Activate(in[0], kernel.GELU) },
		nil,
	},
	{
		"LayerNorm", [][2]int{{5, 21}, {21, 1}, {21, 1}},
		func(in []mat.Tensor) mat.Tensor { return LayerNorm(in[0], normOf(in[1], in[2])) },
		func(in []mat.Tensor) mat.Tensor {
			return ag.Stack(normOf(in[1], in[2]).Forward(columns(in[0])...)...)
		},
	},
	{
		"SelfAttention", [][2]int{{10, 18}},
		func(in []mat.Tensor) mat.Tensor { return SelfAttention(in[0], 3, 5) },
		func(in []mat.Tensor) mat.Tensor { return attention(in[0], 3, 5) },
	},
	{
		"AttentionRows", [][2]int{{10, 18}},
		func(in []mat.Tensor) mat.Tensor { return AttentionRows(in[0], 3, 5, []int{0, 7}, false) },
		func(in []mat.Tensor) mat.Tensor {
			all := ag.RowViews(attention(in[0], 3, 5))
			return ag.Stack(all[0], all[7])
		},
	},
	{
		"PatchEmbed", [][2]int{{8, 6}, {7, 6}, {1, 7}, {5, 7}},
		func(in []mat.Tensor) mat.Tensor { return PatchEmbed(in[0], in[1], in[2], in[3]) },
		func(in []mat.Tensor) mat.Tensor {
			var rows []mat.Tensor
			patches, positions := ag.RowViews(ag.Mul(in[0], ag.T(in[1]))), ag.RowViews(in[3])
			for image := range 2 {
				rows = append(rows, ag.Add(in[2], positions[0]))
				for i := range 4 {
					rows = append(rows, ag.Add(patches[4*image+i], positions[1+i]))
				}
			}
			return ag.Stack(rows...)
		},
	},
	{
		"ClassRows", [][2]int{{12, 5}},
		func(in []mat.Tensor) mat.Tensor { return ClassRows(in[0], 4) },
		func(in []mat.Tensor) mat.Tensor {
			rows := ag.RowViews(in[0])
			return ag.Stack(rows[0], rows[4], rows[8])
		},
	},
}

func randomInputs(rng *rand.Rand, shapes [][2]int) (single, double []mat.Tensor) {
	for _, s := range shapes {
		x := make([]float32, s[0]*s[1])
		y := make([]float64, len(x))
		for i := range x {
			x[i] = float32(rng.NormFloat64())
			y[i] = float64(x[i])
		}
		single = append(single, mat.NewDense[float32](mat.WithShape(s[0], s[1]), mat.WithBacking(x), mat.WithGrad(true)))
		double = append(double, mat.NewDense[float64](mat.WithShape(s[0], s[1]), mat.WithBacking(y), mat.WithGrad(true)))
	}
	return single, double
}

// backward gives y the gradient g and propagates it.
func backward[T float.DType](y mat.Tensor, g []T) {
	s := y.Value().Shape()
	y.AccGrad(mat.NewDense[T](mat.WithShape(s[0], s[1]), mat.WithBacking(g)))
	ag.Backward(y)
}

func sameWithin(t *testing.T, what string, got, want float.Slice, tol float64) {
	t.Helper()
	g, w := got.F64(), want.F64()
	if len(g) != len(w) {
		t.Fatalf("%s: %d elements, want %d", what, len(g), len(w))
	}
	for i := range w {
		if !(math.Abs(g[i]-w[i]) <= tol) {
			t.Fatalf("%s[%d]: got %v, want %v ± %v", what, i, g[i], w[i], tol)
		}
	}
}

// TestFusedEqualsComposed compares values and gradients with spago's own operators in float64.
func TestFusedEqualsComposed(t *testing.T) {
	// Sums of at most 21 terms of size 1 to 4, some three operators deep: 2⁻²⁴·21·4·3.
	const tol = 1.5e-5
	for _, c := range cases {
		if c.composed == nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			single, double := randomInputs(rng, c.shapes)
			y, want := c.fused(single), c.composed(double)
			sameWithin(t, "value", y.Value().Data(), want.Value().Data(), tol)
			g := make([]float32, y.Size())
			g64 := make([]float64, len(g))
			for i := range g {
				g[i] = float32(rng.NormFloat64())
				g64[i] = float64(g[i])
			}
			backward(y, g)
			backward(want, g64)
			for i := range single {
				sameWithin(t, fmt.Sprintf("gradient of operand %d", i), single[i].Grad().Data(), double[i].Grad().Data(), tol)
			}
		})
	}
}

// TestFiniteDifferences compares the gradient with the slope along a random direction.
func TestFiniteDifferences(t *testing.T) {
	const h = 1.0 / 256
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			in, _ := randomInputs(rng, c.shapes)
			y := c.fused(in)
			g := make([]float32, y.Size())
			for i := range g {
				g[i] = float32(rng.NormFloat64())
			}
			backward(y, g)
			for i, x := range in {
				direction := make([]float32, x.Size())
				slope, size := 0.0, 0.0
				for j := range direction {
					direction[j] = float32(rng.NormFloat64())
					v := float64(direction[j]) * x.Grad().Data().F64()[j]
					slope += v
					size += v * v
				}
				loss := func(step float32) (l float64) {
					moved := append([]mat.Tensor(nil), in...)
					d := append([]float32(nil), x.Data().F32()...)
					for j := range d {
						d[j] += step * direction[j]
					}
					moved[i] = mat.NewDense[float32](mat.WithShape(x.Shape()...), mat.WithBacking(d))
					for j, v := range c.fused(moved).Value().Data().F32() {
						l += float64(v) * float64(g[j])
					}
					return l
				}
				got := (loss(h) - loss(-h)) / (2 * h)
				if math.Abs(got-slope) > 5e-3*math.Sqrt(size)+1e-3 {
					t.Errorf("operand %d: slope %v, gradient says %v", i, got, slope)
				}
			}
		})
	}
}

// TestPartialGradients: whichever operands want a gradient, those and only those get one, and ag
// does not wait for another.
func TestPartialGradients(t *testing.T) {
	for _, c := range cases {
		for mask := 1; mask < 1<<len(c.shapes); mask++ {
			in, _ := randomInputs(rand.New(rand.NewPCG(5, 6)), c.shapes)
			for i, x := range in {
				x.(mat.Matrix).SetRequiresGrad(mask>>i&1 == 1)
			}
			y := c.fused(in)
			backward(y, make([]float32, y.Size()))
			for i, x := range in {
				if x.HasGrad() != (mask>>i&1 == 1) {
					t.Errorf("%s, operands %b: operand %d has a gradient: %v", c.name, mask, i, x.HasGrad())
				}
			}
		}
	}
}

// TestSharedOperand: an operand that stands twice gets both gradients.
func TestSharedOperand(t *testing.T) {
	in, _ := randomInputs(rand.New(rand.NewPCG(5, 6)), [][2]int{{2, 3}, {3, 3}, {3, 1}})
	y := LinearAdd(in[0], linearOf(in[1], in[2]), in[0])
	g := []float32{1, 0, 0, 0, 0, 0}
	backward(y, g)
	want := append([]float32{}, in[1].Data().F32()[:3]...)
	want[0]++
	sameWithin(t, "gradient", in[0].Grad().(mat.Matrix).Slice(0, 0, 1, 3).Data(), float.Make(want...), 0)
}

// TestNoGraph: with nothing to differentiate the result is a plain matrix that holds nothing.
func TestNoGraph(t *testing.T) {
	for _, c := range cases {
		in, _ := randomInputs(rand.New(rand.NewPCG(7, 8)), c.shapes)
		withGraph := c.fused(in).Value().Data()
		collected := make(chan int, len(in))
		for i, x := range in {
			x.(mat.Matrix).SetRequiresGrad(false)
			runtime.AddCleanup(x.(*mat.Dense[float32]), func(i int) { collected <- i }, i)
		}
		y := c.fused(in)
		if _, ok := y.(*mat.Dense[float32]); !ok || y.RequiresGrad() {
			t.Errorf("%s: result is a %T that requires a gradient: %v", c.name, y, y.RequiresGrad())
		}
		sameWithin(t, c.name, y.Data(), withGraph, 2e-6) // fused epilogues round where nodes do
		n := len(in)
		clear(in)
		runtime.GC()
		for range n {
			select {
			case <-collected:
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: the result keeps an operand alive", c.name)
			}
		}
		runtime.KeepAlive(y)
	}
}

func TestShapeErrors(t *testing.T) {
	x := func(r, c int) mat.Tensor { return mat.NewDense[float32](mat.WithShape(r, c)) }
	for name, f := range map[string]func(){
		"Linear":             func() { Linear(x(2, 3), NewLinear(4, 5)) },
		"Linear bias":        func() { Linear(x(2, 4), linearOf(x(5, 4), x(4, 1))) },
		"LinearAdd residual": func() { LinearAdd(x(2, 4), NewLinear(4, 5), x(2, 4)) },
		"LayerNorm weight":   func() { LayerNorm(x(2, 3), NewLayerNorm(4, 1e-5)) },
		"SelfAttention":      func() { SelfAttention(x(5, 6), 1, 2) },
		"AttentionRows":      func() { AttentionRows(x(6, 5), 1, 2, []int{0, 2, 4}, false) },
		"PatchEmbed":         func() { PatchEmbed(x(5, 3), x(2, 3), x(1, 2), x(5, 2)) },
		"ClassRows":          func() { ClassRows(x(5, 3), 2) },
	} {
		func() {
			defer func() {
				var e *ShapeError
				if err, _ := recover().(error); !errors.As(err, &e) || e.Op != name || e.Error() == "" {
					t.Errorf("%s: panicked with %v, want a ShapeError of it", name, err)
				}
			}()
			f()
		}()
	}
}

// TestPatchEmbedParts: an image has the same tokens alone and among so many that they take several products, and their sum is
// right.
func TestPatchEmbedParts(t *testing.T) {
	const g, p, c, images = 49, 7, 9, 11 // 539 patches
	rng := rand.New(rand.NewPCG(1, 2))
	in, _ := randomInputs(rng, [][2]int{{images * g, p}, {c, p}, {1, c}, {1 + g, c}})
	for i, x := range in {
		in[i] = mat.NewDense[float32](mat.WithShape(dims(x)), mat.WithBacking(data(x)))
	}
	frozen := nn.NewParam(in[1].Value().(mat.Matrix))
	Freeze(frozen)
	for _, w := range []mat.Tensor{in[1], frozen} {
		all := data(PatchEmbed(in[0], w, in[2], in[3]))
		for b := range images {
			patches := data(in[0])[b*g*p:][:g*p]
			got := all[b*(1+g)*c:][:(1+g)*c]
			alone := PatchEmbed(mat.NewDense[float32](mat.WithShape(g, p), mat.WithBacking(patches)), w, in[2], in[3])
			if !slices.Equal(got, data(alone)) {
				t.Errorf("image %d: other tokens than alone", b)
			}
			want := float64(data(in[3])[(g-1)*c+c+1])
			for i, v := range patches[(g-1)*p:] {
				want += float64(v) * float64(data(in[1])[p+i])
			}
			if v := float64(got[g*c+1]); math.Abs(v-want) > 1e-5 {
				t.Errorf("image %d: value 1 of the last token is %v, want %v", b, v, want)
			}
		}
	}
}

// TestOnce: patches go back to the pool when they have been read, and stay where a gradient needs them.
func TestOnce(t *testing.T) {
	const g, p, c = 4, 1 << 15, 2 // a large piece, which only this test puts
	for _, grad := range []bool{false, true} {
		w := mat.NewDense[float32](mat.WithShape(c, p), mat.WithGrad(grad))
		patches := kernel.Get(g * p)
		for i := range patches {
			patches[i] = 1
		}
		PatchEmbed(Once(patches, g, p), w, mat.NewDense[float32](mat.WithShape(1, c)), mat.NewDense[float32](mat.WithShape(1+g, c)))
		again := kernel.Get(g * p)
		if back := &again[0] == &patches[0]; back == grad {
			t.Errorf("gradient %v: the memory of the patches is in the pool: %v", grad, back)
		}
	}
}
