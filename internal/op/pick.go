package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"
)

// GatherOr returns the rows of x [m,n] that are named, in that order, as [len(rows),n]; -1 stands for the vector
// line [1,n].
func GatherOr(x, line mat.Tensor, rows []int) mat.Tensor {
	m, n := dims(x)
	requireShape("GatherOr line", line, 1, n)
	for _, r := range rows {
		if r < -1 || r >= m {
			panic(fmt.Sprintf("op: GatherOr: row %d, want -1 to %d", r, m-1))
		}
	}
	return run(&gatherOrOp{x, line, rows, n})
}

type gatherOrOp struct {
	x, line mat.Tensor
	rows    []int
	n       int
}

func (f *gatherOrOp) Operands() []mat.Tensor { return []mat.Tensor{f.x, f.line} }

func (f *gatherOrOp) Forward() (mat.Tensor, error) {
	y := fresh(len(f.rows), f.n)
	out, x, line := data(y), data(f.x), data(f.line)
	for i, r := range f.rows {
		from := line
		if r >= 0 {
			from = x[r*f.n:]
		}
		copy(out[i*f.n:(i+1)*f.n], from)
	}
	return y, nil
}

func (f *gatherOrOp) Backward(gy mat.Tensor) error {
	g := data(gy)
	accumulate(f.x, func(gx []float32) {
		clear(gx)
		scatterAdd(gx, g, f.n, func(i int) int { return f.rows[i] })
	})
	accumulate(f.line, func(gl []float32) {
		clear(gl)
		scatterAdd(gl, g, f.n, func(i int) int { return -1 - f.rows[i] }) // 0 for the line, and negative for rows
	})
	return nil
}
