package optim

import (
	"errors"
	"fmt"
	"math"

	"github.com/vitago/vitago/internal/kernel"
)

// AdamWConfig says how [AdamW] averages. The zero value is none; see [DefaultAdamW].
type AdamWConfig struct {
	Beta1 float64 // of the average of gradients, 0 to below 1
	Beta2 float64 // of the average of their squares, 0 to below 1
	Eps   float64 // added to the root of that
}

// DefaultAdamW is PyTorch's default. Source: pytorch/pytorch, torch/optim/adamw.py, AdamW.__init__.
var DefaultAdamW = AdamWConfig{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}

// Validate returns nil if c is sound, and otherwise an error with everything that is wrong with it.
func (c AdamWConfig) Validate() error {
	var errs []error
	for _, b := range []struct {
		name string
		v    float64
	}{{"Beta1", c.Beta1}, {"Beta2", c.Beta2}} {
		if !(b.v >= 0 && b.v < 1) {
			errs = append(errs, fmt.Errorf("optim: AdamW: %s is %v, want 0 to below 1", b.name, b.v))
		}
	}
	if !(c.Eps > 0) || math.IsInf(c.Eps, 0) {
		errs = append(errs, fmt.Errorf("optim: AdamW: Eps is %v, want a number above 0", c.Eps))
	}
	return errors.Join(errs...)
}

// AdamW is Adam with weight decay that does not go through the averages. The t-th step with gradient g, from 1, is
//
//	w = w·(1 - rate·decay)
//	m = m + (1-β₁)·(g-m)      v = β₂·v + (1-β₂)·g²
//	w = w - rate · m/(1-β₁ᵗ) / (√(v/(1-β₂ᵗ)) + ε)
//
// It keeps m and v, two float32 for each of a parameter's.
//
// Source: Loshchilov and Hutter, arXiv 1711.05101, algorithm 2; pytorch/pytorch, torch/optim/adam.py,
// _single_tensor_adam.
type AdamW struct{ *Core }

// NewAdamW returns an AdamW for groups. It returns an error with everything that is wrong with them and c.
func NewAdamW(groups []Group, c AdamWConfig) (*AdamW, error) {
	core, err := newCore(groups, c)
	if err := errors.Join(c.Validate(), err); err != nil {
		return nil, err
	}
	return &AdamW{core}, nil
}

func (AdamWConfig) slots() []string { return []string{"exp_avg", "exp_avg_sq"} }

func (c AdamWConfig) prepare(rate, decay float64, t int) func(w, g, m, v []float32) {
	// With r = √(1-β₂ᵗ), the last line above is w - (rate·r/(1-β₁ᵗ)) · m/(√v + r·ε): one division less.
	r := math.Sqrt(1 - math.Pow(c.Beta2, float64(t)))
	s := kernel.AdamWStep{
		Keep: float32(1 - rate*decay), Size: float32(rate * r / (1 - math.Pow(c.Beta1, float64(t)))), Eps: float32(c.Eps * r),
		New1: float32(1 - c.Beta1), Old2: float32(c.Beta2), New2: float32(1 - c.Beta2),
	}
	return s.Apply
}
