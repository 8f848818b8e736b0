package op

import (
	"unsafe"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/kernel"
)

// Recompute returns f(x), where f consists of this package's operators on x and params. It keeps nothing of what f
// computes in between, and computes that again for the gradient. A step takes a third longer and a small part of the
// memory.
//
// Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174.
func Recompute(x mat.Tensor, params []*nn.Param, f func(mat.Tensor) mat.Tensor) mat.Tensor {
	op := &recomputeOp{x: x, f: f, operands: []mat.Tensor{x}}
	for _, p := range params {
		op.operands = append(op.operands, p)
	}
	if !wantsGrad(op.operands...) {
		return f(x)
	}
	return run(op)
}

type recomputeOp struct {
	x        mat.Tensor
	f        func(mat.Tensor) mat.Tensor
	operands []mat.Tensor // x and the parameters
}

func (c *recomputeOp) Operands() []mat.Tensor { return c.operands }

func (c *recomputeOp) Forward() (mat.Tensor, error) {
	return c.f(detached{share(c.x)}).(detached).Dense, nil
}

func (c *recomputeOp) Backward(gy mat.Tensor) error {
	x := share(c.x)
	x.SetRequiresGrad(c.x.RequiresGrad())
	y := c.f(x)
	g := gy.(*mat.Dense[float32])
	y.AccGrad(&gift{Dense: g})
	if err := ag.Backward(y); err != nil { // the parameters get their gradients here
		return err
	}
	// What lies between has gone back to the pool. The values of y were nobody's but ours, and its gradient is g.
	if n := nodeOf(y); n != nil {
		n.ZeroGrad()
		if unsafe.SliceData(n.values) != unsafe.SliceData(data(c.x)) { // f may write to x and return it
			kernel.Put(n.values)
		}
	}
	if x.RequiresGrad() {
		gx := &gift{Dense: x.Grad().(*mat.Dense[float32])}
		if c.x.AccGrad(gx); !gx.kept {
			recycle(gx.Dense)
		}
	}
	return nil
}

// share returns a matrix that has the values of x, without a copy and without a gradient.
func share(x mat.Tensor) *mat.Dense[float32] {
	return mat.NewDense[float32](mat.WithShape(x.Shape()...), mat.WithBacking(data(x)))
}

// A detached matrix makes the results of operators on it detached as well: they have no graph, whatever the other
// operands want.
type detached struct{ *mat.Dense[float32] }

// A gift is a gradient that its receiver may keep. A plain one would be cloned, since spago clones the first gradient
// that a node gets.
type gift struct {
	*mat.Dense[float32]
	kept bool
}

// Clone implements mat.Matrix by handing over the matrix itself.
func (g *gift) Clone() mat.Matrix {
	g.kept = true
	return g.Dense
}
