package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/kernel"
)

// A Correction adds Scale·B·A to some rows of the weights of a linear layer.
type Correction struct {
	A, B  *nn.Param // [r,in], [rows,r]
	Scale float64
	At    int // the first of the rows
}

// LowRank corrects y [m,out], which a linear layer computed from x [m,in], as if the corrections were added to the
// layer's weights. The result has the memory of y, which nobody may read any more; no gradient needs it.
//
// Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685, section 4.1.
func LowRank(y, x mat.Tensor, corrections ...Correction) mat.Tensor {
	m, out := dims(y)
	_, in := dims(x)
	requireShape("LowRank input", x, m, in)
	f := &lowRankOp{y: y, x: x, corrections: corrections}
	for _, c := range corrections {
		r, _ := dims(c.A)
		rows, _ := dims(c.B)
		requireCols("LowRank A", c.A, in)
		requireShape("LowRank B", c.B, rows, r)
		if c.At < 0 || c.At+rows > out {
			panic(&ShapeError{"LowRank", y.Shape(), fmt.Sprintf("columns %d to %d", c.At, c.At+rows)})
		}
		f.ranks += r
	}
	return run(f)
}

type lowRankOp struct {
	y, x        mat.Tensor // [m,out], [m,in]
	corrections []Correction
	ranks       int       // R, of all corrections
	low         []float32 // scale·x·Aᵀ [m,R], kept only for Backward
}

func (f *lowRankOp) Operands() []mat.Tensor {
	xs := []mat.Tensor{f.y, f.x}
	for _, c := range f.corrections {
		xs = append(xs, c.A, c.B)
	}
	return xs
}

// gradPassesTo implements gradPasser: y has the gradient of the result.
func (f *lowRankOp) gradPassesTo() mat.Tensor { return f.y }

// each calls g with every correction, its rank and rows, and its first column of R.
func (f *lowRankOp) each(g func(c Correction, r, rows, at int)) {
	at := 0
	for _, c := range f.corrections {
		r, _ := dims(c.A)
		rows, _ := dims(c.B)
		g(c, r, rows, at)
		at += r
	}
}

// allA returns every A, one below the other [R,in]. The caller puts it back.
func (f *lowRankOp) allA(in int) []float32 {
	all := kernel.Get(f.ranks * in)
	f.each(func(c Correction, _, _, at int) { copy(all[at*in:], data(c.A)) })
	return all
}

// scale multiplies the columns [m,R] of every correction by its scale.
func (f *lowRankOp) scale(x []float32) {
	f.each(func(c Correction, r, _, at int) {
		for ; at < len(x) && c.Scale != 1; at += f.ranks {
			scaleBy(x[at:at+r], float32(c.Scale))
		}
	})
}

func (f *lowRankOp) Forward() (mat.Tensor, error) {
	m, out := dims(f.y)
	_, in := dims(f.x)
	y := mat.NewDense[float32](mat.WithShape(m, out), mat.WithBacking(data(f.y)))
	if len(f.corrections) == 0 {
		return y, nil
	}
	low, a := kernel.Get(m*f.ranks), f.allA(in)
	defer kernel.Put(a)
	kernel.MatMulStrided(kernel.Strided{Data: low, Stride: f.ranks}, kernel.Strided{Data: data(f.x), Stride: in},
		kernel.Strided{Data: a, Stride: in, Transposed: true}, m, f.ranks, in, false)
	f.scale(low)
	f.each(func(c Correction, r, rows, at int) {
		change := kernel.Strided{Data: low[at:], Stride: f.ranks}
		kernel.MatMulStrided(kernel.Strided{Data: data(y)[c.At:], Stride: out}, change,
			kernel.Strided{Data: data(c.B), Stride: r, Transposed: true}, m, rows, r, true)
	})
	if wantsGrad(f.Operands()...) {
		f.low = low
	} else {
		kernel.Put(low)
	}
	return y, nil
}

func (f *lowRankOp) Backward(gy mat.Tensor) error {
	m, out := dims(f.y)
	_, in := dims(f.x)
	glow := kernel.Get(m * f.ranks) // of x·Aᵀ
	defer kernel.Put(glow)
	f.each(func(c Correction, r, rows, at int) {
		g := kernel.Strided{Data: data(gy)[c.At:], Stride: out} // the columns that were corrected
		accumulate(c.B, func(gb []float32) {
			g := g
			g.Transposed = true
			kernel.MatMulStrided(kernel.Strided{Data: gb, Stride: r}, g, kernel.Strided{Data: f.low[at:], Stride: f.ranks}, rows, r, m, false)
		})
		kernel.MatMulStrided(kernel.Strided{Data: glow[at:], Stride: f.ranks}, g, kernel.Strided{Data: data(c.B), Stride: r}, m, r, rows, false)
	})
	f.scale(glow)
	ga := kernel.Get(in * f.ranks) // [in,R]
	defer kernel.Put(ga)
	kernel.MatMulStrided(kernel.Strided{Data: ga, Stride: f.ranks}, kernel.Strided{Data: data(f.x), Stride: in, Transposed: true},
		kernel.Strided{Data: glow, Stride: f.ranks}, in, f.ranks, m, false)
	f.each(func(c Correction, r, _, at int) {
		accumulate(c.A, func(g []float32) { kernel.Transpose(g, ga[at:], f.ranks, in, r) })
	})
	accumulate(f.x, func(gx []float32) {
		a := f.allA(in)
		defer kernel.Put(a)
		kernel.MatMulNN(gx, glow, a, m, in, f.ranks, kernel.Epilogue{})
	})
	kernel.Put(f.low)
	f.low = nil
	return nil
}

func scaleBy(x []float32, s float32) {
	for i := range x {
		x[i] *= s
	}
}
