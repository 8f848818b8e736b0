package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// Detach returns x without a gradient. Results of operators on it are plain as well, whatever their other operands
// want. It shares the values of x.
func Detach(x mat.Tensor) mat.Tensor { return detached{share(x)} }

// Views are how the rows of x lie in the operators for images in tiles: those of a global view, then those
// of Rows×Cols tiles, row after row; of each a class row and Grid×Grid patches, Grid even.
type Views struct{ Rows, Cols, Grid int }

// In returns the number of rows of x: (1+Rows·Cols)·(1+Grid²).
func (v Views) In() int { return (1 + v.Rows*v.Cols) * (1 + v.Grid*v.Grid) }

// Out returns the number of rows that [Merge] makes of them.
func (v Views) Out() int {
	half := v.Grid / 2
	return (1+v.Rows*v.Cols)*half*half + 1 + (1+v.Rows)*half
}

// Merge makes of the tokens x [In,C] of an image's views the rows [Out,4C] of its picture: every 2×2 patches
// become one row with the columns of the upper left, upper right, lower left and lower right one. First are
// the rows of the global view, with the vector line [1,4C] after each line of them; then the vector between
// [1,4C]; then those of the tiles, line after line of the whole picture, each with line after it. Class rows
// are left out.
func Merge(x, line, between mat.Tensor, v Views) mat.Tensor {
	_, c := dims(x)
	if v.Grid < 2 || v.Grid%2 != 0 || v.Rows < 1 || v.Cols < 1 {
		panic(fmt.Sprintf("op: Merge: views are %+v, want at least 1×1 of an even grid", v))
	}
	requireShape("Merge", x, v.In(), c)
	requireShape("Merge line", line, 1, 4*c)
	requireShape("Merge between", between, 1, 4*c)
	return run(&mergeOp{x, line, between, v, c})
}

type mergeOp struct {
	x, line, between mat.Tensor
	Views
	c int
}

func (f *mergeOp) Operands() []mat.Tensor { return []mat.Tensor{f.x, f.line, f.between} }

func (f *mergeOp) Forward() (mat.Tensor, error) {
	y := fresh(f.Out(), 4*f.c)
	out, x, line := data(y), data(f.x), data(f.line)
	f.each(func(to, from int) {
		copy(out[to:to+2*f.c], x[from:])
	}, func(to int) { copy(out[to:], line) })
	copy(out[f.betweenAt():], data(f.between))
	return y, nil
}

func (f *mergeOp) Backward(gy mat.Tensor) error {
	g, wide := data(gy), 4*f.c
	accumulate(f.x, func(gx []float32) {
		for at := 0; at < len(gx); at += (1 + f.Grid*f.Grid) * f.c {
			clear(gx[at : at+f.c])
		}
		f.each(func(to, from int) { copy(gx[from:from+2*f.c], g[to:]) }, func(int) {})
	})
	accumulate(f.line, func(gl []float32) {
		rows := kernel.Get((1 + f.Rows) * f.Grid / 2 * wide)
		defer kernel.Put(rows)
		n := 0
		f.each(func(int, int) {}, func(to int) { n += copy(rows[n:], g[to:to+wide]) })
		kernel.SumRows(gl, rows, n/wide, wide)
	})
	accumulate(f.between, func(gb []float32) { copy(gb, g[f.betweenAt():]) })
	return nil
}

// betweenAt returns where in y the vector between the global view and the tiles begins.
func (f *mergeOp) betweenAt() int {
	half := f.Grid / 2
	return half * (half + 1) * 4 * f.c
}

// each calls pair for every two neighbouring patches of a line, which are 2·C elements that stay together. Its
// arguments are the offsets of their first element in y and in x. It calls line with the offset in y of every line's
// vector.
func (f *mergeOp) each(pair func(to, from int), line func(to int)) {
	half, to := f.Grid/2, 0
	picture := func(first, rows, cols int) { // of views from the first on
		for row := range rows * half {
			for col := range cols * half {
				view := first + row/half*cols + col/half
				from := (view*(1+f.Grid*f.Grid) + 1 + row%half*2*f.Grid + col%half*2) * f.c
				pair(to, from)
				pair(to+2*f.c, from+f.Grid*f.c)
				to += 4 * f.c
			}
			line(to)
			to += 4 * f.c
		}
	}
	picture(0, 1, 1)
	to += 4 * f.c // the vector between
	picture(1, f.Rows, f.Cols)
}
