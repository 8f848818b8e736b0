package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"
)

// ScatterAdd adds scale times the rows of x [len(rows),n] to the given rows of y [m,n], no row of which is given
// twice. The result has the memory of y, which nobody may read any more: no gradient needs it. A number
// that is no row is a mistake of the program and panics.
func ScatterAdd(y, x mat.Tensor, rows []int, scale float64) mat.Tensor {
	m, n := dims(y)
	requireShape("ScatterAdd", x, len(rows), n)
	requireRows("ScatterAdd", rows, m)
	seen := make([]bool, m)
	for _, r := range rows {
		if seen[r] {
			panic(fmt.Sprintf("op: ScatterAdd: row %d is there twice", r))
		}
		seen[r] = true
	}
	return run(&scatterAddOp{y, x, rows, float32(scale)})
}

type scatterAddOp struct {
	y, x  mat.Tensor // [m,n], [len(rows),n]
	rows  []int
	scale float32
}

func (f *scatterAddOp) Operands() []mat.Tensor { return []mat.Tensor{f.y, f.x} }

func (f *scatterAddOp) Forward() (mat.Tensor, error) {
	m, n := dims(f.y)
	y := mat.NewDense[float32](mat.WithShape(m, n), mat.WithBacking(data(f.y)))
	for i, r := range f.rows {
		row := data(y)[r*n:]
		for j, v := range data(f.x)[i*n : (i+1)*n] {
			row[j] += f.scale * v
		}
	}
	return y, nil
}

func (f *scatterAddOp) Backward(gy mat.Tensor) error {
	_, n := dims(f.y)
	accumulate(f.x, func(g []float32) {
		for i, r := range f.rows {
			copy(g[i*n:(i+1)*n], data(gy)[r*n:])
		}
		scaleBy(g, f.scale)
	})
	return nil
}

// passes implements passer: what is added to has the gradient of the result.
func (f *scatterAddOp) passes() mat.Tensor { return f.y }
