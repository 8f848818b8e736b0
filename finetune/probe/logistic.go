package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/optimize"
)

// How long L-BFGS looks for the optimum.
const (
	// maxIterations is that of the CLIP paper, appendix A.3.
	maxIterations = 1000
	// tolerance is how large a component of the gradient of the mean loss may remain. scikit-learn's
	// default of 1e-4 leaves the third digit of the weights open; below 1e-8, rounding in the sum of the
	// losses hides from the line search whether a step was downhill.
	tolerance = 1e-7
	// history is how many steps L-BFGS remembers. Source: scipy, optimize/_lbfgsb_py.py, maxcor, which
	// scikit-learn leaves as it is.
	history = 10
)

// A Fit is what logistic regression found.
type Fit struct {
	Lambda     float64   // λ of the penalty λ/2·‖W‖²
	W          []float64 // [K,D]
	B          []float64 // [K]
	Iterations int       // of L-BFGS
	Gradient   float64   // of the mean loss with the penalty: the largest component that remained
	Converged  bool      // whether that is as small as it should be
}

// Regress finds the weights W and B that minimise
//
//	Σ -log softmax(x·Wᵀ + B)[label] + λ/2·‖W‖²
//
// over the training set. It is the optimum that scikit-learn's LogisticRegression finds with C = 1/λ:
// with two classes the penalty counts twice, which makes W[1]-W[0] the one row of weights that
// scikit-learn has then. With weights of the classes each term of the sum counts by that of its label, as with scikit-learn's
// class_weight. Where labels do not exclude each other, each class has a problem of its own, to tell its pictures from all
// others, and the loss is their sum: of -w·t·log σ(z) - (1-t)·log(1-σ(z)) with the weight w of the class. It ends when ctx
// does.
func Regress(ctx context.Context, train *Set, lambda float64) (*Fit, error) {
	if err := train.check("training", true); err != nil {
		return nil, err
	}
	if !(lambda > 0) || math.IsInf(lambda, 1) {
		return nil, fmt.Errorf("probe: λ is %v, want above 0 and finite", lambda)
	}
	return newProblem(train).solve(ctx, lambda, nil)
}

// A problem is a set in float64 with room for what is computed of it.
type problem struct {
	n, d, k int
	x       blas64.General // [N,D]
	labels  []int
	logits  blas64.General // [N,K]; then probabilities
	w       []float64      // [K,D]

	targets []bool    // [N,K], of labels that do not exclude each other; nil of others
	sets    [][]int   // the same
	weights []float64 // [K]; nil for 1
}

func newProblem(s *Set) *problem {
	n, d, k := s.Len(), s.Dim, len(s.Classes)
	p := &problem{n: n, d: d, k: k, x: general(n, d, make([]float64, n*d)), labels: s.Labels, logits: general(n, k, make([]float64, n*k)), w: make([]float64, k*d)}
	for i, v := range s.X {
		p.x.Data[i] = float64(v)
	}
	p.weights, p.sets = s.Weights, s.LabelSets
	if s.multi() {
		p.targets = make([]bool, n*k)
		for i, set := range s.LabelSets {
			for _, l := range set {
				p.targets[i*k+l] = true
			}
		}
	}
	return p
}

func general(rows, cols int, data []float64) blas64.General {
	return blas64.General{Rows: rows, Cols: cols, Stride: cols, Data: data}
}

// forward sets the logits to the probabilities that w [K,D] and b [K] give, and returns what they come to, but for the mean
// average precision; Loss is the sum.
func (p *problem) forward(w, b []float64) (s Score) {
	for row := range slices.Chunk(p.logits.Data, p.k) {
		copy(row, b)
	}
	blas64.Gemm(blas.NoTrans, blas.Trans, 1, p.x, general(p.k, p.d, w), 1, p.logits) // [N,K]
	return judged(p.logits.Data, p.k, p.labels, p.targets, p.weights)
}

// judged makes probabilities of logits [N,K], and returns what they come to by labels [N], or by targets [N,K] if these are not nil;
// Loss is the sum.
func judged(logits []float64, k int, labels []int, targets []bool, weights []float64) (s Score) {
	s.Pictures, s.weighted, s.multi = len(labels), weights != nil, targets != nil
	for i := range labels {
		row := logits[i*k : (i+1)*k]
		if targets != nil {
			wrong := false
			for c, z := range row {
				near := math.Log1p(math.Exp(-math.Abs(z))) // see op.BinaryCrossEntropy
				row[c] = 1 / (1 + math.Exp(-z))
				if targets[i*k+c] {
					s.Loss += weight(weights, c) * (near + max(-z, 0))
				} else {
					s.Loss += near + max(z, 0)
				}
				wrong = wrong || row[c] > Threshold != targets[i*k+c]
			}
			s.weight++
			if !wrong {
				s.Right++
			}
			continue
		}
		label := labels[i]
		w := weight(weights, label)
		if floats.MaxIdx(row) == label {
			s.Right++
			s.right += w
		}
		z := row[label]
		s.Loss += w * (softmax(row) - z)
		s.weight += w
	}
	return s
}

// softmax makes probabilities of logits and returns the logarithm of the sum of their exponentials.
func softmax(z []float64) float64 {
	top := floats.Max(z)
	var sum float64
	for i, v := range z {
		z[i] = math.Exp(v - top)
		sum += z[i]
	}
	floats.Scale(1/sum, z)
	return top + math.Log(sum)
}

// scale is what the weights are divided by where they are looked for: otherwise a strong penalty would make
// the valley steep in them and leave it flat in the biases, which have none.
func (p *problem) scale(lambda float64) float64 { return 1 / math.Sqrt(max(1, lambda/float64(p.n))) }

// objective returns the mean loss with the penalty, and writes its gradient. Both take W, divided by
// the scale, and then B as one vector.
func (p *problem) objective(gradient, vb []float64, lambda float64) float64 {
	scale := p.scale(lambda)
	floats.ScaleTo(p.w, scale, vb[:p.k*p.d])
	w, b := p.w, vb[p.k*p.d:]
	gw, gb := gradient[:p.k*p.d], gradient[p.k*p.d:]
	if p.k == 2 && p.targets == nil {
		lambda *= 2
	}
	n := float64(p.n)
	loss := p.forward(w, b).Loss
	for i, label := range p.labels {
		row := p.logits.Data[i*p.k : (i+1)*p.k]
		if p.targets == nil {
			row[label]--
			if p.weights != nil {
				floats.Scale(p.weights[label], row)
			}
			continue
		}
		for c := range row {
			if p.targets[i*p.k+c] {
				row[c] = (row[c] - 1) * weight(p.weights, c)
			}
		}
	}
	copy(gw, w)
	blas64.Gemm(blas.Trans, blas.NoTrans, 1/n, p.logits, p.x, lambda/n, general(p.k, p.d, gw)) // [K,D]
	floats.Scale(scale, gw)
	clear(gb)
	for row := range slices.Chunk(p.logits.Data, p.k) {
		floats.Add(gb, row)
	}
	floats.Scale(1/n, gb)
	return loss/n + lambda/(2*n)*floats.Dot(w, w)
}

// solve minimises the objective, from start on, or from zero.
func (p *problem) solve(ctx context.Context, lambda float64, start *Fit) (*Fit, error) {
	scale := p.scale(lambda)
	vb := make([]float64, p.k*p.d+p.k)
	v, b := vb[:p.k*p.d], vb[p.k*p.d:]
	if start != nil {
		floats.ScaleTo(v, 1/scale, start.W)
		copy(b, start.B)
	}
	// gonum asks for value and gradient one after the other, at the same place.
	var (
		at       []float64
		value    float64
		gradient = make([]float64, len(vb))
	)
	visit := func(x []float64) {
		if !slices.Equal(at, x) {
			at = append(at[:0], x...)
			value = p.objective(gradient, x, lambda)
		}
	}
	fit := &Fit{Lambda: lambda}
	visit(vb)
	if fit.Gradient = floats.Norm(gradient, math.Inf(1)); fit.Gradient >= tolerance { // gonum's L-BFGS divides by it
		r, err := optimize.Minimize(optimize.Problem{
			Func: func(x []float64) float64 { visit(x); return value },
			Grad: func(g, x []float64) { visit(x); copy(g, gradient) },
			Status: func() (optimize.Status, error) {
				if ctx.Err() != nil {
					return optimize.Failure, context.Cause(ctx)
				}
				return optimize.NotTerminated, nil
			},
		}, vb, &optimize.Settings{
			MajorIterations: maxIterations,
			Converger:       optimize.NeverTerminate{}, // but by the gradient
		}, &optimize.LBFGS{
			// Source: scipy, optimize/_lbfgsb_py.py and lbfgsb, lnsrlb: ftol 1e-3, gtol 0.9.
			Linesearcher: &optimize.MoreThuente{DecreaseFactor: 1e-3, CurvatureFactor: 0.9},
			Store:        history, GradStopThreshold: tolerance,
		})
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		// Where rounding hides the way down, the line search fails: then this is as far as it goes.
		if err != nil && !stuck(err) {
			return nil, fmt.Errorf("probe: λ = %g: %w", lambda, err)
		}
		copy(vb, r.X)
		fit.Iterations = r.MajorIterations
		visit(vb)
		fit.Gradient = floats.Norm(gradient, math.Inf(1))
	}
	floats.Scale(scale, v)
	fit.W, fit.B = v, b
	fit.Converged = fit.Gradient < tolerance
	return fit, nil
}

// stuck says whether L-BFGS ended since no step leads further down.
func stuck(err error) bool {
	for _, e := range []error{optimize.ErrLinesearcherFailure, optimize.ErrNoProgress, optimize.ErrNonDescentDirection, optimize.ErrLinesearcherBound} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
