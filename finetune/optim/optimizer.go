package optim

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/optimizers"

	"github.com/vitago/vitago/internal/op"
)

// An Optimizer moves the parameters of groups along their gradients. It is a spago OptimizationStrategy,
// too: see [Core.OptimizeParams].
type Optimizer interface {
	optimizers.OptimizationStrategy
	// Step moves every parameter that has a gradient, at its group's rate times factor.
	Step(factor float64) error
	// ClipStep is Step with gradients that were scaled and clipped, and returns their norm.
	ClipStep(scale, max, factor float64) (norm float64, err error)
	// ZeroGrad takes the gradients away.
	ZeroGrad()
	// State returns all that the optimiser keeps between steps, by name.
	State() map[string][]float32
	// Restore takes the place of what the optimiser keeps; the slices become its own.
	Restore(state map[string][]float32) error
}

var _, _ Optimizer = &AdamW{}, &SGD{}

// Core is what the optimisers have in common. It comes with [NewAdamW] and [NewSGD].
type Core struct {
	// Factor multiplies the rates for [Core.OptimizeParams], which has no argument for it. It is 1 at
	// first. Step takes no notice of it.
	Factor float64

	rule    rule
	members []*member
	index   map[*nn.Param]*member
	steps   int
}

// A rule is the arithmetic of an optimiser.
type rule interface {
	// slots names what is kept of a parameter, as PyTorch does; at most two.
	slots() []string
	// prepare returns what the t-th step, from 1, does to weights w with gradient g and slots a and b.
	prepare(rate, decay float64, t int) func(w, g, a, b []float32)
}

// A member is a parameter in an optimiser.
type member struct {
	Named
	rate, decay float64
	steps       int          // made with a gradient
	slots       [2][]float32 // nil until the first of them
}

func newCore(groups []Group, r rule) (*Core, error) {
	if err := check(groups); err != nil {
		return nil, err
	}
	o := &Core{Factor: 1, rule: r, index: map[*nn.Param]*member{}}
	for _, g := range groups {
		for _, p := range g.Params {
			m := &member{Named: p, rate: g.Rate, decay: g.WeightDecay}
			o.members = append(o.members, m)
			o.index[p.Param] = m
		}
	}
	return o, nil
}

// Step moves every parameter that has a gradient, at its group's rate times factor, and keeps the
// gradients. It returns a *[NonFiniteError], and has changed nothing, if a gradient is not finite, or
// another error if factor is no number from 0 or a parameter has changed its size.
func (o *Core) Step(factor float64) error {
	if err := o.checkFactor(factor); err != nil {
		return err
	}
	if err := o.move(o.members, factor, o.steps+1, nil); err != nil {
		return err
	}
	o.steps++
	return nil
}

// ClipStep has the result of [ScaleGradients] by scale, [ClipGradNorm] to max and [Core.Step], to the bit, and returns
// the norm as it was before clipping. It reads the gradients twice, and leaves them as they were.
func (o *Core) ClipStep(scale, max, factor float64) (norm float64, err error) {
	var grads [][]float32
	for _, m := range o.members {
		if g := m.gradient(); g != nil {
			grads = append(grads, g)
		}
	}
	scales := scales{float32(scale)}
	norm = math.Sqrt(sumSquares(grads, scales))
	if norm-norm != 0 { // Step names the gradient that is to blame
		scaleBy(grads, scales[0])
		return norm, o.Step(factor)
	}
	if err := o.checkFactor(factor); err != nil {
		return norm, err
	}
	if clip := max / (norm + clipEps); clip < 1 {
		scales = append(scales, float32(clip))
	}
	if err := o.move(o.members, factor, o.steps+1, scales); err != nil {
		return norm, err
	}
	o.steps++
	return norm, nil
}

func (o *Core) checkFactor(factor float64) error {
	if !(factor >= 0) || math.IsInf(factor, 0) {
		return fmt.Errorf("optim: step %d: the factor of the rates is %v, want a number from 0", o.steps+1, factor)
	}
	return nil
}

// OptimizeParams moves one parameter at its group's rate times Factor and takes its gradient away, as
// spago's own strategies do. A parameter in none of the groups is an error. It may run for several
// parameters at once. The steps it makes are counted by parameter only.
//
// It implements [optimizers.OptimizationStrategy]. Mind that Optimize of spago v1.1.0's
// [optimizers.Optimizer] returns before its goroutines have ended.
func (o *Core) OptimizeParams(p *nn.Param) error {
	m := o.index[p]
	if m == nil {
		return fmt.Errorf("optim: a parameter %v is in none of the groups", p.Shape())
	}
	if err := o.move([]*member{m}, o.Factor, m.steps+1, nil); err != nil {
		return err
	}
	op.DropGrad(p)
	return nil
}

// move is the step of all those members that have a gradient. If by is not nil, it multiplies the gradients, all of
// which are finite.
func (o *Core) move(members []*member, factor float64, step int, by scales) error {
	var named []Named
	var live []*member
	var ws, gs [][]float32
	for _, m := range members {
		g := m.gradient()
		if g == nil {
			continue
		}
		w := m.values()
		if n := len(w); len(g) != n || m.slots[0] != nil && len(m.slots[0]) != n {
			return fmt.Errorf("optim: step %d: %s has %d values, %d of a gradient, and had %d before", step, m.Path, n, len(g), len(m.slots[0]))
		}
		named, live, ws, gs = append(named, m.Named), append(live, m), append(ws, w), append(gs, g)
	}
	if by == nil {
		if err := checkGradients(named, gs, step); err != nil {
			return err
		}
	}
	updates := make([]func(w, g, a, b []float32), len(live))
	for i, m := range live {
		if m.steps++; m.steps == 1 {
			for j := range o.rule.slots() {
				m.slots[j] = make([]float32, len(ws[i]))
			}
		}
		updates[i] = o.rule.prepare(m.rate*factor, m.decay, m.steps)
	}
	sweep(cut(ws), func(_ int, p piece) {
		s := live[p.item].slots
		by.each(gs[p.item][p.from:p.to], func(g []float32, at int) {
			part := func(x []float32) []float32 {
				if x == nil {
					return nil
				}
				return x[p.from+at:][:len(g)]
			}
			updates[p.item](part(ws[p.item]), g, part(s[0]), part(s[1]))
		})
	})
	return nil
}

// ZeroGrad takes the gradients of all parameters away: they have none then, as with PyTorch's
// zero_grad(set_to_none=True). Their memory is used again: who wants to keep a gradient keeps a copy.
func (o *Core) ZeroGrad() {
	for _, m := range o.members {
		op.DropGrad(m.Param)
	}
}

// stepSlot is the name of a count of steps, kept beside the slots of a parameter as PyTorch's Adam does,
// and by itself for the optimiser. A float32 counts to 2²⁴.
const stepSlot = "step"

// State returns all that the optimiser keeps between steps: under "step" the number of steps, and for
// every parameter that has had a gradient PATH.step and, of [AdamW], PATH.exp_avg and PATH.exp_avg_sq, of
// [SGD] with momentum PATH.momentum_buffer, each as long as the parameter. The slices are the optimiser's
// own: they change with the next step, and must not be written to.
func (o *Core) State() map[string][]float32 {
	state := map[string][]float32{stepSlot: {float32(o.steps)}}
	for _, m := range o.members {
		if m.steps == 0 {
			continue
		}
		state[m.Path+"."+stepSlot] = []float32{float32(m.steps)}
		for j, slot := range o.rule.slots() {
			state[m.Path+"."+slot] = m.slots[j]
		}
	}
	return state
}

// Restore takes the place of what the optimiser keeps with what [Core.State] returned, for the same
// parameters in the same optimiser: training goes on to the same bits. The slices become the optimiser's
// own, since those of a large model are not to be there twice. If state is of anything else, it returns an
// error with all that is wrong, and changes nothing.
func (o *Core) Restore(state map[string][]float32) error {
	rest := maps.Clone(state)
	var errs []error
	count := func(name string) int {
		x, ok := rest[name]
		delete(rest, name)
		if ok && (len(x) != 1 || !(x[0] >= 0 && x[0] <= 1<<24) || x[0] != float32(math.Trunc(float64(x[0])))) {
			errs = append(errs, fmt.Errorf("optim: state %s is %v, want one whole number", name, x[:min(len(x), 2)]))
			return -1
		}
		if !ok {
			return 0
		}
		return int(x[0])
	}
	if _, ok := state[stepSlot]; !ok {
		errs = append(errs, fmt.Errorf("optim: state of %d arrays has no %q", len(state), stepSlot))
	}
	steps := count(stepSlot)
	next := make([]member, len(o.members))
	for i, m := range o.members {
		next[i].steps = count(m.Path + "." + stepSlot)
		for j, slot := range o.rule.slots() {
			name := m.Path + "." + slot
			x, ok := rest[name]
			delete(rest, name)
			switch n := m.Size(); {
			case ok != (next[i].steps != 0):
				errs = append(errs, fmt.Errorf("optim: state has just one of %s and %s.%s from 1, want both or none", name, m.Path, stepSlot))
			case ok && len(x) != n:
				errs = append(errs, fmt.Errorf("optim: state %s has %d values, want %d", name, len(x), n))
			case ok:
				next[i].slots[j] = x
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		errs = append(errs, fmt.Errorf("optim: state has %s, which is of no parameter of this optimiser", name))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	o.steps = steps
	for i, m := range o.members {
		m.steps, m.slots = next[i].steps, next[i].slots
	}
	return nil
}
