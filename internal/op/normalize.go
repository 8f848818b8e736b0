package op

import (
	"math"

	"github.com/nlpodyssey/spago/mat"
)

// normalizeEps is the least length that a row is divided by, as in PyTorch.
const normalizeEps = 1e-12

// Normalize divides every row of x [m,n] by its length. A row of zeros stays what it is.
//
// Source: pytorch/pytorch, torch.nn.functional.normalize, with its eps.
func Normalize(x mat.Tensor) mat.Tensor { return run(&normalizeOp{x: x}) }

type normalizeOp struct {
	x       mat.Tensor // [m,n]
	y       []float32  // [m,n], kept only for Backward
	lengths []float64  // [m]
}

func (f *normalizeOp) Operands() []mat.Tensor { return []mat.Tensor{f.x} }

func (f *normalizeOp) Forward() (mat.Tensor, error) {
	m, n := dims(f.x)
	y, lengths := fresh(m, n), make([]float64, m)
	eachRow(m, n, func(r int) {
		x, y := data(f.x)[r*n:(r+1)*n], data(y)[r*n:(r+1)*n]
		sum := 0.0
		for _, v := range x {
			sum += float64(v) * float64(v)
		}
		lengths[r] = math.Max(math.Sqrt(sum), normalizeEps) // NaN if any is
		for i, v := range x {
			y[i] = float32(float64(v) / lengths[r])
		}
	})
	if f.x.RequiresGrad() {
		f.y, f.lengths = data(y), lengths
	}
	return y, nil
}

// Backward: what points along a row changes its length alone, and is no part of the gradient,
//
//	gx = (gy - y·(y·gy)) / |x|
func (f *normalizeOp) Backward(gy mat.Tensor) error {
	m, n := dims(f.x)
	accumulate(f.x, func(gx []float32) {
		eachRow(m, n, func(r int) {
			g, y, gx := data(gy)[r*n:(r+1)*n], f.y[r*n:(r+1)*n], gx[r*n:(r+1)*n]
			along := 0.0
			if f.lengths[r] > normalizeEps { // or the divisor is a constant
				for i, v := range y {
					along += float64(v) * float64(g[i])
				}
			}
			for i, v := range y {
				gx[i] = float32((float64(g[i]) - float64(v)*along) / f.lengths[r])
			}
		})
	})
	return nil
}
