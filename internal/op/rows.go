package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"
)

// ClassRows returns rows 0, t, 2t, … of x [B·t,n] as [B,n]: the class tokens of a batch of images of t tokens.
func ClassRows(x mat.Tensor, t int) mat.Tensor {
	if m, _ := dims(x); t < 1 || m%t != 0 {
		panic(&ShapeError{"ClassRows", x.Shape(), fmt.Sprintf("[B·%d,n]", t)})
	}
	return run(&classRowsOp{x, t})
}

type classRowsOp struct {
	x mat.Tensor // [B·t,n]
	t int
}

func (f *classRowsOp) Operands() []mat.Tensor { return []mat.Tensor{f.x} }

func (f *classRowsOp) Forward() (mat.Tensor, error) {
	m, n := dims(f.x)
	y := fresh(m/f.t, n)
	for i := range m / f.t {
		copy(data(y)[i*n:(i+1)*n], data(f.x)[i*f.t*n:])
	}
	return y, nil
}

func (f *classRowsOp) Backward(gy mat.Tensor) error {
	_, n := dims(f.x)
	accumulate(f.x, func(gx []float32) {
		clear(gx)
		for i := 0; i*n < gy.Size(); i++ {
			copy(gx[i*f.t*n:][:n], data(gy)[i*n:(i+1)*n])
		}
	})
	return nil
}

// PatchRows returns the other rows [B·(t-1),n]: x [B·t,n] without the class tokens in rows 0, t, 2t, ….
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

// each calls g for the patches of every image, with the offsets of their first elements in x and in y.
func (f *patchRowsOp) each(g func(all, kept int)) {
	m, n := dims(f.x)
	for i := range m / f.t {
		g((i*f.t+1)*n, i*(f.t-1)*n)
	}
}

// Gather returns the given rows of x [m,n], in that order: [len(rows),n]. It panics if a number is no row of x.
func Gather(x mat.Tensor, rows []int) mat.Tensor {
	m, _ := dims(x)
	requireRows("Gather", rows, m)
	return run(&gatherOp{x, rows})
}

type gatherOp struct {
	x    mat.Tensor // [m,n]
	rows []int
}

func (f *gatherOp) Operands() []mat.Tensor { return []mat.Tensor{f.x} }

func (f *gatherOp) Forward() (mat.Tensor, error) {
	_, n := dims(f.x)
	y := fresh(len(f.rows), n)
	for i, r := range f.rows {
		copy(data(y)[i*n:(i+1)*n], data(f.x)[r*n:])
	}
	return y, nil
}

func (f *gatherOp) Backward(gy mat.Tensor) error {
	_, n := dims(f.x)
	accumulate(f.x, func(g []float32) {
		clear(g)
		scatterAdd(g, data(gy), n, func(i int) int { return f.rows[i] })
	})
	return nil
}

// GatherOr returns the given rows of x [m,n], in that order: [len(rows),n]. Where the number is -1, it returns the
// row vector line [1,n].
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

// ScatterAdd adds scale times row i of x [len(rows),n] to row rows[i] of y [m,n], for all i. The numbers differ. The
// result has the memory of y, which nobody may read any more; no gradient needs it. It panics if a number is no row
// of y, or is there twice.
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

// gradPassesTo implements gradPasser: y has the gradient of the result.
func (f *scatterAddOp) gradPassesTo() mat.Tensor { return f.y }

// scatterAdd adds row i of x to row to(i) of y, both with n columns. It leaves rows out where to(i) is negative.
func scatterAdd(y, x []float32, n int, to func(i int) int) {
	for i := 0; i*n < len(x); i++ {
		at := to(i)
		if at < 0 {
			continue
		}
		row := y[at*n:]
		for j, v := range x[i*n : (i+1)*n] {
			row[j] += v
		}
	}
}

// requireRows panics unless every number is in [0,n).
func requireRows(name string, rows []int, n int) {
	for _, r := range rows {
		if r < 0 || r >= n {
			panic(fmt.Sprintf("op: %s: row is %d, want 0 to %d", name, r, n-1))
		}
	}
}
