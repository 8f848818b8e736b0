package optim

import (
	"errors"
	"fmt"
)

// SGDConfig says how [SGD] remembers. The zero value is plain gradient descent.
type SGDConfig struct {
	Momentum float64 // share of the last step's direction, 0 to below 1; 0 keeps nothing
	Nesterov bool    // looks a step ahead; wants momentum
}

// Validate returns nil if c is sound.
func (c SGDConfig) Validate() error {
	if !(c.Momentum >= 0 && c.Momentum < 1) {
		return fmt.Errorf("optim: SGD: Momentum is %v, want 0 to below 1", c.Momentum)
	}
	if c.Nesterov && c.Momentum == 0 {
		return errors.New("optim: SGD: Nesterov with Momentum 0, want above 0")
	}
	return nil
}

// SGD is gradient descent with momentum μ. A step with gradient g is
//
//	g = g + decay·w
//	b = μ·b + g            at first b = g
//	w = w - rate·b         with Nesterov, w - rate·(g + μ·b)
//
// It keeps b, one float32 for each of a parameter's, or nothing if μ is 0.
//
// Source: pytorch/pytorch, torch/optim/sgd.py, _single_tensor_sgd with dampening 0.
type SGD struct{ *Core }

// NewSGD returns an SGD for groups. It returns an error with everything that is wrong with them and c.
func NewSGD(groups []Group, c SGDConfig) (*SGD, error) {
	core, err := newCore(groups, c)
	if err := errors.Join(c.Validate(), err); err != nil {
		return nil, err
	}
	return &SGD{core}, nil
}

func (c SGDConfig) slots() []string {
	if c.Momentum == 0 {
		return nil
	}
	return []string{"momentum_buffer"}
}

func (c SGDConfig) prepare(rate, decay float64, _ int) func(w, g, b, _ []float32) {
	r, d, mu := float32(rate), float32(decay), float32(c.Momentum)
	return func(w, g, b, _ []float32) {
		g = g[:len(w)]
		if b == nil {
			for i, x := range w {
				w[i] = x - r*(g[i]+d*x)
			}
			return
		}
		b = b[:len(w)]
		for i, x := range w {
			to := g[i] + d*x
			b[i] = mu*b[i] + to // b is 0 at first
			if c.Nesterov {
				to += mu * b[i]
			} else {
				to = b[i]
			}
			w[i] = x - r*to
		}
	}
}
