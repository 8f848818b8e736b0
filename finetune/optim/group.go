package optim

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
)

// Named is a parameter and the path of Go field names that leads to it, such as Blocks.3.Attn.QKV.W.
type Named struct {
	Path string // as above; it is the parameter's name in a checkpoint of a run
	*nn.Param
}

// A Group is parameters that learn alike.
type Group struct {
	Name        string  // for tables
	Params      []Named // with gradients of the same step
	Rate        float64 // of learning; a step multiplies it by the factor it is given
	WeightDecay float64 // of [AdamW]: a step makes weights smaller by rate·WeightDecay of themselves; of [SGD]: added to the gradient
}

// Collect returns the parameters of a spago model that require a gradient, in the order in which spago
// walks them.
func Collect(model nn.Model) []Named {
	var named []Named
	params.Walk(model, func(path string, p *nn.Param) {
		if p.RequiresGrad() {
			named = append(named, Named{path, p})
		}
	})
	return named
}

// values returns the weights of a parameter without a copy.
func (p Named) values() []float32 { return mat.Data[float32](p.Value()) }

// gradient returns the gradient of a parameter without a copy, or nil if it has none.
func (p Named) gradient() []float32 {
	if !p.HasGrad() {
		return nil
	}
	return mat.Data[float32](p.Grad())
}

// check returns nil if the parameter can learn here.
func (p Named) check() error {
	switch {
	case p.Param == nil || p.Matrix == nil:
		return fmt.Errorf("optim: %q: no parameter", p.Path)
	case p.Path == "":
		return fmt.Errorf("optim: a parameter %v has no path", p.Shape())
	case !p.RequiresGrad():
		return fmt.Errorf("optim: %s: requires no gradient, and cannot learn", p.Path)
	}
	if _, ok := p.Value().(*mat.Dense[float32]); !ok {
		return fmt.Errorf("optim: %s: values are %T, want %T", p.Path, p.Value(), &mat.Dense[float32]{})
	}
	return nil
}

// check returns everything that is wrong with groups.
func check(groups []Group) error {
	var errs []error
	paths, seen := map[string]bool{}, map[*nn.Param]string{}
	for _, g := range groups {
		for _, n := range []struct {
			name string
			v    float64
		}{{"rate", g.Rate}, {"weight decay", g.WeightDecay}} {
			if !(n.v >= 0) || math.IsInf(n.v, 0) {
				errs = append(errs, fmt.Errorf("optim: group %q: %s is %v, want a number from 0", g.Name, n.name, n.v))
			}
		}
		for _, p := range g.Params {
			if err := p.check(); err != nil {
				errs = append(errs, err)
				continue
			}
			if paths[p.Path] {
				errs = append(errs, fmt.Errorf("optim: %s: twice in the groups, want once", p.Path))
			} else if other := seen[p.Param]; other != "" {
				errs = append(errs, fmt.Errorf("optim: %s: is the same parameter as %s, want each once", p.Path, other))
			}
			paths[p.Path], seen[p.Param] = true, p.Path
		}
	}
	if len(paths) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("optim: no parameters, want at least 1"))
	}
	return errors.Join(errs...)
}

// A NonFiniteError is a number of training that has become NaN or infinite.
type NonFiniteError struct {
	Path  string  // of the parameter; "" if it is of none
	Step  int     // of the optimiser, counted from 1
	What  string  // is not finite: "gradient", "loss"
	Value float64 // NaN or an infinity
}

// Error implements error.
func (e *NonFiniteError) Error() string {
	of := ""
	if e.Path != "" {
		of = " of " + e.Path
	}
	return fmt.Sprintf("optim: step %d: the %s%s is %v, want a finite number", e.Step, e.What, of, e.Value)
}

// CheckGradients returns a *[NonFiniteError] that names the first parameter whose gradient holds NaN or
// an infinity, and nil if there is none. [Optimizer.Step] calls it.
func CheckGradients(groups []Group, step int) error {
	named, grads := gradients(groups)
	return checkGradients(named, grads, step)
}

func checkGradients(named []Named, grads [][]float32, step int) error {
	pieces := cut(grads)
	bad := make([]bool, len(pieces))
	sweep(pieces, func(i int, p piece) { bad[i] = !finite(grads[p.item][p.from:p.to]) })
	i := slices.Index(bad, true)
	if i < 0 {
		return nil
	}
	p := pieces[i]
	for _, g := range grads[p.item][p.from:p.to] {
		if g-g != 0 {
			return &NonFiniteError{named[p.item].Path, step, "gradient", float64(g)}
		}
	}
	return nil
}

// finite reports whether no element of x is NaN or infinite.
func finite(x []float32) bool {
	if s := kernel.SumSquares(x); s-s == 0 {
		return true
	}
	return op.NotFinite(x) < 0 // large numbers have infinite squares
}

// gradients returns the parameters of groups that have a gradient, and those.
func gradients(groups []Group) (named []Named, grads [][]float32) {
	for _, g := range groups {
		for _, p := range g.Params {
			if x := p.gradient(); x != nil {
				named, grads = append(named, p), append(grads, x)
			}
		}
	}
	return named, grads
}

// ScaleGradients multiplies all gradients by factor: by 1/n after n micro-batches, each with the mean of
// its own losses, for the gradient of the mean of all.
func ScaleGradients(groups []Group, factor float64) {
	_, grads := gradients(groups)
	scaleBy(grads, float32(factor))
}

// scales are factors, by which numbers are multiplied one after the other.
type scales []float32

// each calls f with the products of x and all of s, part by part, and where in x a part begins. If nothing changes, f
// gets x itself.
func (s scales) each(x []float32, f func(part []float32, at int)) {
	if !slices.ContainsFunc(s, func(v float32) bool { return v != 1 }) {
		f(x, 0)
		return
	}
	const length = 1 << 12 // a half of the first-level cache
	part := kernel.Get(length)
	defer kernel.Put(part)
	for at := 0; at < len(x); at += length {
		n := copy(part, x[at:])
		for _, v := range s {
			if v != 1 {
				kernel.Scale(part[:n], v)
			}
		}
		f(part[:n], at)
	}
}

func scaleBy(grads [][]float32, factor float32) {
	if factor == 1 {
		return
	}
	sweep(cut(grads), func(_ int, p piece) { kernel.Scale(grads[p.item][p.from:p.to], factor) })
}

// clipEps keeps the quotient of [ClipGradNorm] finite. Source: pytorch/pytorch,
// torch/nn/utils/clip_grad.py, _clip_grads_with_norm_.
const clipEps = 1e-6

// ClipGradNorm returns the Euclidean norm of all gradients taken as one vector, as they were, and, if that
// is larger than max, multiplies them by max/(norm+10⁻⁶), so that it becomes max. A norm that is NaN or
// infinite leaves the gradients as they are, for [Optimizer.Step] to name the one that is to blame. An
// infinite max clips nothing.
//
// Source: pytorch/pytorch, torch/nn/utils/clip_grad.py, clip_grad_norm_ with error_if_nonfinite.
func ClipGradNorm(groups []Group, max float64) (norm float64) {
	_, grads := gradients(groups)
	norm = math.Sqrt(sumSquares(grads, nil))
	if factor := max / (norm + clipEps); factor < 1 && !math.IsInf(norm, 0) {
		scaleBy(grads, float32(factor))
	}
	return norm
}

// sumSquares returns Σ x² of all x multiplied by, which is finite if they are.
func sumSquares(xs [][]float32, by scales) (s float64) {
	// The squares of so many are summed in float32, those of the kernel's lanes apart: some 10⁻⁷ of the sum.
	const part = 1024
	pieces := cut(xs)
	sums := make([]float64, len(pieces))
	sweep(pieces, func(i int, p piece) {
		by.each(xs[p.item][p.from:p.to], func(x []float32, _ int) {
			for x := range slices.Chunk(x, part) {
				t := float64(kernel.SumSquares(x))
				if t-t != 0 { // in float64 it may be finite
					t = 0
					for _, v := range x {
						t += float64(v) * float64(v)
					}
				}
				sums[i] += t
			}
		})
	})
	for _, v := range sums { // in the order of the pieces, whoever computed them
		s += v
	}
	return s
}
