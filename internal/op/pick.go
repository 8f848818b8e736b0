package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"
)

// Pick returns the rows of x [m,n] that are named, in that order, as [len(rows),n]; -1 stands for the vector
// line [1,n].
func Pick(x, line mat.Tensor, rows []int) mat.Tensor {
	m, n := dims(x)
	requireShape("Pick line", line, 1, n)
	for _, r := range rows {
		if r < -1 || r >= m {
			panic(fmt.Sprintf("op: Pick: row %d, want -1 to %d", r, m-1))
		}
	}
	return run(&pickOp{x, line, rows, n})
}

type pickOp struct {
	x, line mat.Tensor
	rows    []int
	n       int
}

func (f *pickOp) Operands() []mat.Tensor { return []mat.Tensor{f.x, f.line} }

func (f *pickOp) Forward() (mat.Tensor, error) {
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

func (f *pickOp) Backward(gy mat.Tensor) error {
	g := data(gy)
	accumulate(f.x, func(gx []float32) {
		clear(gx)
		addRows(gx, g, f.n, func(i int) int { return f.rows[i] })
	})
	accumulate(f.line, func(gl []float32) {
		clear(gl)
		addRows(gl, g, f.n, func(i int) int { return -1 - f.rows[i] }) // 0 for the line, and negative for rows
	})
	return nil
}
