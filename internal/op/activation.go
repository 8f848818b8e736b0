package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// An Activation is named as in Hugging Face's config.json.
type Activation string

// The activations.
const (
	QuickGELU Activation = "quick_gelu" // x·σ(1.702·x)
	GELU      Activation = "gelu"       // x·Φ(x), with the exact error function
)

// kernel returns the kernel's name for f. Configurations are validated long before.
func (f Activation) kernel() kernel.Activation {
	switch f {
	case QuickGELU:
		return kernel.QuickGELU
	case GELU:
		return kernel.GELU
	}
	panic(fmt.Sprintf("op: unknown activation %q", string(f)))
}

// Activate maps x [m,n] to f(x) [m,n].
func Activate(x mat.Tensor, f Activation) mat.Tensor {
	return run(&activateOp{x, f.kernel()})
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

func (f *activateOp) remake(y []float32) { kernel.Activate(y, data(f.x), f.f) }

func (f *activateOp) Backward(gy mat.Tensor) error {
	accumulate(f.x, func(gx []float32) { kernel.ActivateGrad(gx, data(gy), data(f.x), f.f) })
	return nil
}
