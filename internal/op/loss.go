package op

import (
	"fmt"
	"math"

	"github.com/nlpodyssey/spago/mat"
)

// CrossEntropy maps logits [B,K] to the mean over the rows of -Σ t·log softmax(row) [1,1]. The target t is 1 in the
// column of the row's label; of that 1, smoothing (0 to 1) is spread over all K columns evenly. It panics if a label
// is no column.
//
// Source: pytorch/pytorch, torch.nn.functional.cross_entropy(label_smoothing=…).
func CrossEntropy(logits mat.Tensor, labels []int, smoothing float64) mat.Tensor {
	b, k := dims(logits)
	if len(labels) != b || b == 0 {
		panic(&ShapeError{"CrossEntropy", logits.Shape(), fmt.Sprintf("[%d,K], a row for every label, at least 1", len(labels))})
	}
	for _, l := range labels {
		if l < 0 || l >= k {
			panic(fmt.Sprintf("op: CrossEntropy: label is %d, want 0 to %d", l, k-1))
		}
	}
	return run(&lossOp{x: logits, row: func(x, g []float32, r int) float64 {
		return crossEntropyRow(x, g, labels[r], smoothing)
	}, scale: 1 / float64(b)})
}

// MSE maps x [N,D] to the mean of the squares of x - target [1,1].
//
// Source: pytorch/pytorch, torch.nn.functional.mse_loss.
func MSE(x mat.Tensor, target []float32) mat.Tensor {
	n, d := requireTarget("MSE", x, target)
	return run(&lossOp{x: x, row: func(x, g []float32, r int) (loss float64) {
		for i, v := range x {
			e := float64(v) - float64(target[r*d+i])
			loss += e * e
			g[i] = float32(2 * e)
		}
		return loss
	}, scale: 1 / float64(n*d)})
}

// Cosine maps x [N,D] to the mean over the rows of 1 - cos(row, its row of target) [1,1].
//
// Source: pytorch/pytorch, torch.nn.functional.cosine_similarity, with its eps.
func Cosine(x mat.Tensor, target []float32) mat.Tensor {
	n, d := requireTarget("Cosine", x, target)
	return run(&lossOp{x: x, row: func(x, g []float32, r int) float64 {
		return cosineRow(x, g, target[r*d:(r+1)*d])
	}, scale: 1 / float64(n)})
}

// requireTarget panics unless x has as many elements as target, and at least one.
func requireTarget(name string, x mat.Tensor, target []float32) (n, d int) {
	n, d = dims(x)
	if n*d != len(target) || n*d == 0 {
		panic(&ShapeError{name, x.Shape(), fmt.Sprintf("the %d elements of the target, at least 1", len(target))})
	}
	return n, d
}

// A lossOp is the scaled sum of a function of every row of x. Sums are in float64: a loss is one number, and its
// changes are small beside it.
type lossOp struct {
	x     mat.Tensor                                  // [m,n]
	row   func(x, g []float32, r int) (value float64) // of row r, and its gradient g [n]
	scale float64
	grad  []float32 // [m,n], kept only for Backward
}

func (f *lossOp) Operands() []mat.Tensor { return []mat.Tensor{f.x} }

func (f *lossOp) Forward() (mat.Tensor, error) {
	m, n := dims(f.x)
	x, g := data(f.x), make([]float32, m*n)
	loss := 0.0
	for r := range m {
		loss += f.row(x[r*n:(r+1)*n], g[r*n:(r+1)*n], r)
	}
	if f.x.RequiresGrad() {
		f.grad = g
	}
	y := fresh(1, 1)
	data(y)[0] = float32(loss * f.scale)
	return y, nil
}

func (f *lossOp) Backward(gy mat.Tensor) error {
	s := float32(f.scale) * data(gy)[0]
	accumulate(f.x, func(gx []float32) {
		for i, g := range f.grad {
			gx[i] = g * s
		}
	})
	return nil
}

// crossEntropyRow returns the cross-entropy of one row of logits, and its gradient softmax(x) - t in g.
func crossEntropyRow(x, g []float32, label int, smoothing float64) float64 {
	peak := math.Inf(-1)
	for _, v := range x {
		peak = math.Max(peak, float64(v)) // NaN if any is
	}
	total, sum := 0.0, 0.0
	for _, v := range x {
		total += math.Exp(float64(v) - peak)
		sum += float64(v) - peak
	}
	even := smoothing / float64(len(x)) // every column's share
	for i, v := range x {
		g[i] = float32(math.Exp(float64(v)-peak)/total - even)
	}
	g[label] -= float32(1 - smoothing)
	loss := math.Log(total) - (1-smoothing)*(float64(x[label])-peak)
	if smoothing > 0 { // 0·∞ is no number
		loss -= even * sum
	}
	return loss
}

// cosineEps is the least length that a vector counts for, as in PyTorch.
const cosineEps = 1e-8

// cosineRow returns 1 - cos(x, t), and its gradient in g.
func cosineRow(x, g, t []float32) float64 {
	var xx, tt, xt float64
	for i, v := range x {
		xx += float64(v) * float64(v)
		tt += float64(t[i]) * float64(t[i])
		xt += float64(v) * float64(t[i])
	}
	nx, nt := max(math.Sqrt(xx), cosineEps), max(math.Sqrt(tt), cosineEps)
	cos := xt / (nx * nt)
	along := cos / (nx * nx) // how much of x is in the gradient: its length does not matter
	if nx == cosineEps {
		along = 0
	}
	for i, v := range x {
		g[i] = float32(along*float64(v) - float64(t[i])/(nx*nt))
	}
	return 1 - cos
}

// WeightedCrossEntropy is [CrossEntropy] in which each class has a weight, above 0: a row counts as much as its label's, in the sum
// and in what that is divided by, Σ weights[label]. What smoothing spreads counts by the weight of each column.
//
// Source: pytorch/pytorch, torch.nn.functional.cross_entropy(weight=…, label_smoothing=…).
func WeightedCrossEntropy(logits mat.Tensor, labels []int, smoothing float64, weights []float64) mat.Tensor {
	b, k := dims(logits)
	if len(labels) != b || b == 0 || k != len(weights) {
		panic(&ShapeError{"WeightedCrossEntropy", logits.Shape(), fmt.Sprintf("[%d,%d], a row for every label, at least 1, a column for every weight", len(labels), len(weights))})
	}
	all := 0.0
	for _, l := range labels {
		if l < 0 || l >= k {
			panic(fmt.Sprintf("op: WeightedCrossEntropy: label is %d, want 0 to %d", l, k-1))
		}
		all += weights[l]
	}
	return run(&lossOp{x: logits, row: func(x, g []float32, r int) float64 {
		return weightedCrossEntropyRow(x, g, labels[r], smoothing, weights)
	}, scale: 1 / all})
}

// weightedCrossEntropyRow returns -Σ t·log softmax(x), and its gradient in g, for the target t that is weights times what
// crossEntropyRow has.
func weightedCrossEntropyRow(x, g []float32, label int, smoothing float64, weights []float64) (loss float64) {
	peak := math.Inf(-1)
	for _, v := range x {
		peak = math.Max(peak, float64(v)) // NaN if any is
	}
	total := 0.0
	for _, v := range x {
		total += math.Exp(float64(v) - peak)
	}
	target := func(i int) float64 {
		t := smoothing / float64(len(x))
		if i == label {
			t += 1 - smoothing
		}
		return t * weights[i]
	}
	sum := 0.0
	for i, v := range x {
		if t := target(i); t > 0 { // 0·∞ is no number
			sum += t
			loss += t * (math.Log(total) - (float64(v) - peak))
		}
	}
	for i, v := range x {
		g[i] = float32(sum*math.Exp(float64(v)-peak)/total - target(i))
	}
	return loss
}

// BinaryCrossEntropy maps logits [B,K] to the mean over all of -w·t·log σ(x) - (1-t)·log(1-σ(x)) [1,1]: the targets t [B·K] are 0
// to 1, and w [K] is how much those of a column count, nil for 1.
//
// Source: pytorch/pytorch, torch.nn.functional.binary_cross_entropy_with_logits(pos_weight=…).
func BinaryCrossEntropy(logits mat.Tensor, targets []float32, weights []float64) mat.Tensor {
	b, k := requireTarget("BinaryCrossEntropy", logits, targets)
	if weights != nil && len(weights) != k {
		panic(&ShapeError{"BinaryCrossEntropy", logits.Shape(), fmt.Sprintf("%d columns, one for every weight", len(weights))})
	}
	return run(&lossOp{x: logits, row: func(x, g []float32, r int) (loss float64) {
		for i, v := range x {
			z, t, w := float64(v), float64(targets[r*k+i]), 1.0
			if weights != nil {
				w = weights[i]
			}
			near := math.Log1p(math.Exp(-math.Abs(z))) // -log σ(z) is this and max(-z,0), whatever the size of z
			if t > 0 {                                 // 0·∞ is no number
				loss += w * t * (near + math.Max(-z, 0))
			}
			if t < 1 {
				loss += (1 - t) * (near + math.Max(z, 0))
			}
			s := 1 / (1 + math.Exp(-z))
			g[i] = float32(s*(w*t+1-t) - w*t)
		}
		return loss
	}, scale: 1 / float64(b*k)})
}
