package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/kernel"
)

// LowRank corrects y [m,out], which a linear layer computed from x [m,in], as if scale·B·A, A [r,in] and
// B [rows,r], had been added to rows at to at+rows of its weights. The result has the memory of y, which
// nobody may read any more: no gradient needs what is corrected.
//
// Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685, section 4.1.
func LowRank(y, x mat.Tensor, a, b *nn.Param, scale float64, at int) mat.Tensor {
	m, out := dims(y)
	rank, in := dims(a)
	rows, _ := dims(b)
	requireShape("LowRank input", x, m, in)
	requireShape("LowRank B", b, rows, rank)
	if at < 0 || at+rows > out {
		panic(&ShapeError{"LowRank", y.Shape(), fmt.Sprintf("columns %d to %d", at, at+rows)})
	}
	return run(&lowRankOp{y: y, x: x, a: a, b: b, scale: float32(scale), at: at})
}

type lowRankOp struct {
	y, x, a, b mat.Tensor // [m,out], [m,in], [r,in], [rows,r]
	scale      float32
	at         int
	low        []float32 // scale·x·Aᵀ [m,r], kept only for Backward
}

func (f *lowRankOp) Operands() []mat.Tensor { return []mat.Tensor{f.y, f.x, f.a, f.b} }

func (f *lowRankOp) Forward() (mat.Tensor, error) {
	m, out := dims(f.y)
	r, in := dims(f.a)
	rows, _ := dims(f.b)
	y := mat.NewDense[float32](mat.WithShape(m, out), mat.WithBacking(data(f.y)))

	low := make([]float32, m*r)
	kernel.MatMulNT(low, data(f.x), data(f.a), m, r, in, kernel.Epilogue{})
	scaleBy(low, f.scale)
	change := kernel.Get(m * rows)
	defer kernel.Put(change)
	kernel.MatMulNT(change, low, data(f.b), m, rows, r, kernel.Epilogue{})
	for i := range m {
		row := data(y)[i*out+f.at:][:rows]
		for j, d := range change[i*rows:][:rows] {
			row[j] += d
		}
	}
	if wantsGrad(f.b) {
		f.low = low
	}
	return y, nil
}

// Backward gives y its gradient last: where corrections of one layer follow each other, x then gets theirs
// in one order, and the sum is the same to the last bit every time.
func (f *lowRankOp) Backward(gy mat.Tensor) error {
	m, out := dims(f.y)
	r, in := dims(f.a)
	rows, _ := dims(f.b)
	g := kernel.Get(m * rows) // the columns that were corrected
	defer kernel.Put(g)
	for i := range m {
		copy(g[i*rows:][:rows], data(gy)[i*out+f.at:])
	}
	accumulate(f.b, func(gb []float32) { kernel.MatMulTN(gb, g, f.low, rows, r, m, kernel.Epilogue{}) })
	if wantsGrad(f.a, f.x) {
		glow := kernel.Get(m * r) // of x·Aᵀ
		defer kernel.Put(glow)
		kernel.MatMulNN(glow, g, data(f.b), m, r, rows, kernel.Epilogue{})
		scaleBy(glow, f.scale)
		accumulate(f.a, func(ga []float32) { kernel.MatMulTN(ga, glow, data(f.x), r, in, m, kernel.Epilogue{}) })
		accumulate(f.x, func(gx []float32) { kernel.MatMulNN(gx, glow, data(f.a), m, in, r, kernel.Epilogue{}) })
	}
	accumulate(f.y, func(g []float32) { copy(g, data(gy)) })
	return nil
}

func scaleBy(x []float32, s float32) {
	for i := range x {
		x[i] *= s
	}
}
