package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"
)

// PatchRows leaves rows 0, t, 2t, … of x [B·t,n] out: [B·(t-1),n], the tokens of patches without those of
// the class.
func PatchRows(x mat.Tensor, t int) mat.Tensor {
	if m, _ := dims(x); t < 2 || m%t != 0 {
		panic(&ShapeError{"PatchRows", x.Shape(), fmt.Sprintf("[B·%d,n], with at least 2", t)})
	}
	return run(&patchRowsOp{x, t})
}

type patchRowsOp struct {
	x mat.Tensor // [B·t,n]
	t int
}

func (f *patchRowsOp) Operands() []mat.Tensor { return []mat.Tensor{f.x} }

func (f *patchRowsOp) Forward() (mat.Tensor, error) {
	m, n := dims(f.x)
	y := fresh(m/f.t*(f.t-1), n)
	f.each(func(all, kept int) { copy(data(y)[kept:kept+(f.t-1)*n], data(f.x)[all:]) })
	return y, nil
}

func (f *patchRowsOp) Backward(gy mat.Tensor) error {
	_, n := dims(f.x)
	accumulate(f.x, func(gx []float32) {
		f.each(func(all, kept int) {
			clear(gx[all-n : all])
			copy(gx[all:], data(gy)[kept:kept+(f.t-1)*n])
		})
	})
	return nil
}

// each calls g for every run of rows that is kept, with the first of their elements in x and in y.
func (f *patchRowsOp) each(g func(all, kept int)) {
	m, n := dims(f.x)
	for i := range m / f.t {
		g((i*f.t+1)*n, i*(f.t-1)*n)
	}
}
