package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// known returns f, and panics if it is none: a configuration is validated long before.
func known(f kernel.Activation) kernel.Activation {
	if !f.Valid() {
		panic(fmt.Sprintf("op: activation is %q, want one of %q", string(f), kernel.Activations()))
	}
	return f
}

// Activate maps x [m,n] to f(x) [m,n].
func Activate(x mat.Tensor, f kernel.Activation) mat.Tensor {
	return run(&activateOp{x, known(f)})
}

type activateOp struct {
	x mat.Tensor // [m,n]
	f kernel.Activation
}

func (f *activateOp) Operands() []mat.Tensor { return []mat.Tensor{f.x} }

func (f *activateOp) Forward() (mat.Tensor, error) {
	y := fresh(dims(f.x))
	kernel.Activate(data(y), data(f.x), f.f)
	return y, nil
}

func (f *activateOp) recompute(y []float32) { kernel.Activate(y, data(f.x), f.f) }

func (f *activateOp) Backward(gy mat.Tensor) error {
	accumulate(f.x, func(gx []float32) { kernel.ActivateGrad(gx, data(gy), data(f.x), f.f) })
	return nil
}
