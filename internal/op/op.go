package op

import (
	"fmt"
	"slices"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"
	"github.com/nlpodyssey/spago/nn/normalization/layernorm"

	"github.com/vitago/vitago/internal/kernel"
)

// A ShapeError is a mistake of the program: an operand that does not fit its operator.
type ShapeError struct {
	Op   string // the operator
	Got  []int  // the operand's shape
	Want string // the shape that fits
}

func (e *ShapeError) Error() string {
	return fmt.Sprintf("op: %s: shape %v, want %s", e.Op, e.Got, e.Want)
}

// NewParam returns a parameter of zeros [rows,cols] that requires a gradient.
func NewParam(shape ...int) *nn.Param {
	// Not nn.NewParam: it would clone the matrix.
	return &nn.Param{Matrix: mat.NewDense[float32](mat.WithShape(shape...), mat.WithGrad(true))}
}

// NewLinear returns spago's linear module with zero parameters, W [out,in] and B [out].
func NewLinear(in, out int) *linear.Model {
	return &linear.Model{W: NewParam(out, in), B: NewParam(out)}
}

// NewLayerNorm returns spago's layer norm with zero parameters, W and B [n].
func NewLayerNorm(n int, eps float64) *layernorm.Model {
	return &layernorm.Model{W: NewParam(n), B: NewParam(n), Eps: nn.Buf(mat.Scalar(float32(eps)))}
}

// Release returns y, the last result computed from xs, and takes the memory of xs for the pool. The caller declares
// that nobody else holds xs, which are results of this package's operators. Other results of this package, computed
// from xs, may still need them in a graph: the memory then goes to the pool when their gradients are computed. Such a
// graph goes backward once. The build tag poison fills released memory with NaN; see internal/kernel.
func Release(y mat.Tensor, xs ...mat.Tensor) mat.Tensor {
	for _, x := range xs {
		if !y.RequiresGrad() {
			recycle(x)
		} else if n := nodeOf(x); n != nil {
			n.release()
		}
	}
	return y
}

// ReserveGrads makes the memory for the gradients of the parameters. Call it right before the first graph is made:
// what a graph keeps then finds room in that memory, while there are no gradients yet.
func ReserveGrads(ps []*nn.Param) {
	var sizes []int
	for _, p := range ps {
		if p.RequiresGrad() && !p.HasGrad() {
			sizes = append(sizes, p.Size())
		}
	}
	kernel.Reserve(sizes)
}

// DropGrad removes the gradient of p and puts its memory into the pool.
func DropGrad(p *nn.Param) {
	g, ok := p.Grad().(*mat.Dense[float32])
	p.ZeroGrad()
	if ok && g != nil {
		recycle(g)
	}
}

// recycle puts the memory of x into the pool.
func recycle(x mat.Tensor) {
	switch d := x.(type) {
	case *mat.Dense[float32]:
		kernel.Put(data(d))
	case detached:
		kernel.Put(data(d))
	case *panels:
		kernel.Put(d.values)
	}
}

// data returns the values of x without a copy.
func data(x mat.Tensor) []float32 { return x.Value().Data().F32() }

// dims returns the rows and columns of x.
func dims(x mat.Tensor) (rows, cols int) {
	s := x.Shape()
	return s[0], s[1]
}

// requireCols panics unless x has n columns.
func requireCols(op string, x mat.Tensor, n int) {
	if _, c := dims(x); c != n {
		panic(&ShapeError{op, x.Shape(), fmt.Sprintf("[rows,%d]", n)})
	}
}

// requireShape panics unless x has the given shape.
func requireShape(op string, x mat.Tensor, rows, cols int) {
	if r, c := dims(x); r != rows || c != cols {
		panic(&ShapeError{op, x.Shape(), fmt.Sprintf("[%d,%d]", rows, cols)})
	}
}

// fresh returns a matrix [rows,cols] from the pool, with any content.
func fresh(rows, cols int) *mat.Dense[float32] {
	return mat.NewDense[float32](mat.WithShape(rows, cols), mat.WithBacking(kernel.Get(rows*cols)))
}

// accumulate lets fill compute a gradient of x's shape and adds it to x's, if x wants one.
func accumulate(x mat.Tensor, fill func(g []float32)) {
	if x == nil || !x.RequiresGrad() {
		return
	}
	s := x.Shape()
	g := fresh(s[0], s[1])
	fill(data(g))
	offer := &gift{Dense: g}
	if x.AccGrad(offer); !offer.kept {
		recycle(g)
	}
}

// accumulateAdd is accumulate for a fill that can add to the gradient that x has already. That takes no memory, and no
// pass over it. Whichever of two gradients comes first, fill must lead to the same bits.
func accumulateAdd(x mat.Tensor, fill func(g []float32, add bool)) {
	if n := nodeOf(x); n != nil && n.add(func(sum []float32) { fill(sum, true) }) {
		x.AccGrad(added{})
		return
	}
	accumulate(x, func(g []float32) { fill(g, false) })
}

// run computes f. It makes a graph node if an operand requires a gradient, and a plain matrix otherwise.
func run(f ag.AutoGradFunction) mat.Tensor {
	operands := f.Operands()
	if wantsGrad(operands...) {
		return ag.NewOperator(&function{AutoGradFunction: f}).Run()
	}
	var y mat.Tensor
	if a, ok := f.(panelOp); ok {
		y = a.forwardPanels()
	}
	if y == nil {
		var err error
		if y, err = f.Forward(); err != nil { // no operator of this package returns one
			panic(err)
		}
	}
	if slices.ContainsFunc(operands, isDetached) {
		switch y := y.(type) {
		case *panels:
			y.detached = true
		case *mat.Dense[float32]:
			return detached{y}
		}
	}
	return y
}

func isDetached(x mat.Tensor) bool {
	switch x := x.(type) {
	case detached:
		return true
	case *panels:
		return x.detached
	}
	return false
}

// present returns the operands that are not nil: ag would call methods on a nil one.
func present(xs ...mat.Tensor) []mat.Tensor {
	var ys []mat.Tensor
	for _, x := range xs {
		if x != nil {
			ys = append(ys, x)
		}
	}
	return ys
}

// wantsGrad reports whether any of xs requires a gradient, and none is detached.
func wantsGrad(xs ...mat.Tensor) bool {
	if slices.ContainsFunc(xs, isDetached) {
		return false
	}
	for _, x := range xs {
		if x.RequiresGrad() {
			return true
		}
	}
	return false
}
