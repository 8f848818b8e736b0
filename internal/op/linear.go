package op

import (
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/internal/kernel"
)

// Linear maps x [m,in] to x·Wᵀ + B [m,out].
func Linear(x mat.Tensor, m *linear.Model) mat.Tensor {
	return runLinear("Linear", x, m.W, bias(m), nil, kernel.None)
}

// LinearAct maps x [m,in] to f(x·Wᵀ + B) [m,out].
func LinearAct(x mat.Tensor, m *linear.Model, f kernel.Activation) mat.Tensor {
	if wantsGrad(present(x, m.W, bias(m))...) {
		y := Linear(x, m)
		return Release(Activate(y, f), y) // the gradient of f needs y
	}
	return runLinear("LinearAct", x, m.W, bias(m), nil, known(f))
}

// LinearAdd maps x [m,in] to residual + x·Wᵀ + B [m,out].
func LinearAdd(x mat.Tensor, m *linear.Model, residual mat.Tensor) mat.Tensor {
	return runLinear("LinearAdd", x, m.W, bias(m), residual, kernel.None)
}

// Project maps x [m,in] to x·Wᵀ [m,out].
func Project(x mat.Tensor, w *nn.Param) mat.Tensor {
	return runLinear("Project", x, w, nil, nil, kernel.None)
}

// SplitLinear returns m as two layers without gradient, for x [m,in]: the first n outputs, and the outputs from n on, before which
// there may be others of m. They have the weights of m.
func SplitLinear(m *linear.Model, x mat.Tensor, n int) (first, rest *linear.Model) {
	out, in := dims(m.W)
	w := [2]mat.Matrix{}
	if f := packed(m.W); f != nil {
		w[0], w[1] = f.split(inPanels(x), n)
	} else {
		values := data(m.W)
		w[0] = mat.NewDense[float32](mat.WithShape(n, in), mat.WithBacking(values[:n*in]))
		w[1] = mat.NewDense[float32](mat.WithShape(out-n, in), mat.WithBacking(values[n*in:]))
	}
	part := func(w mat.Matrix, from int) *linear.Model {
		rows, _ := dims(w)
		b := mat.NewDense[float32](mat.WithShape(rows), mat.WithBacking(data(m.B)[from:from+rows]))
		return &linear.Model{W: &nn.Param{Matrix: w}, B: &nn.Param{Matrix: b}}
	}
	rows, _ := dims(w[1])
	return part(w[0], 0), part(w[1], out-rows)
}

// bias returns the bias of m, as a nil interface if it has none.
func bias(m *linear.Model) mat.Tensor {
	if m.B == nil {
		return nil
	}
	return m.B
}

func runLinear(name string, x, w, b, residual mat.Tensor, f kernel.Activation) mat.Tensor {
	m, in := dims(x)
	out, wIn := dims(w)
	requireCols(name, x, wIn)
	if b != nil {
		requireShape(name+" bias", b, out, 1)
	}
	if residual != nil {
		requireShape(name+" residual", residual, m, out)
	}
	return run(&linearOp{x: x, w: w, b: b, residual: residual, act: f, m: m, in: in, out: out})
}

type linearOp struct {
	x, w        mat.Tensor // [m,in], [out,in]
	b, residual mat.Tensor // [out,1], [m,out]; nil if absent
	act         kernel.Activation
	m, in, out  int
}

func (f *linearOp) Operands() []mat.Tensor { return present(f.x, f.w, f.b, f.residual) }

func (f *linearOp) Forward() (mat.Tensor, error) {
	e := kernel.Epilogue{Activation: f.act}
	if f.b != nil {
		e.Bias = data(f.b)
	}
	if f.residual != nil {
		e.Residual = data(f.residual)
	}
	y := fresh(f.m, f.out)
	if w := packed(f.w); w != nil {
		w.matMul(data(y), data(f.x), f.m, e)
	} else {
		kernel.MatMulNT(data(y), data(f.x), data(f.w), f.m, f.out, f.in, e)
	}
	return y, nil
}

// gradPassesTo implements gradPasser.
func (f *linearOp) gradPassesTo() mat.Tensor { return f.residual }

// Backward never sees an activation: LinearAct composes where a gradient is wanted.
func (f *linearOp) Backward(gy mat.Tensor) error {
	g := data(gy)
	accumulate(f.b, func(gb []float32) { kernel.SumRows(gb, g, f.m, f.out) })
	accumulate(f.w, func(gw []float32) {
		kernel.MatMulTN(gw, g, data(f.x), f.out, f.in, f.m, kernel.Epilogue{})
	})
	// Last, since the operator that x comes from begins then, and would share the processors.
	if kernel.AddsWhole(f.out) {
		accumulateAdd(f.x, func(gx []float32, add bool) { matMulNN(gx, g, f.w, f.m, add) })
	} else {
		accumulate(f.x, func(gx []float32) { matMulNN(gx, g, f.w, f.m, false) })
	}
	return nil
}
