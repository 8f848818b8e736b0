package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"
)

// WordEmbed returns the rows of token [V,C] that words name, texts of t words one after the other, each plus
// the row of position [N,C] of its place in its text: [B·T,C]. A word that is no row is a mistake of the
// program and panics.
func WordEmbed(words []int, t int, token, position mat.Tensor) mat.Tensor {
	v, c := dims(token)
	requireCols("WordEmbed position", position, c)
	if n, _ := dims(position); t < 1 || t > n || len(words)%t != 0 {
		panic(&ShapeError{"WordEmbed", []int{len(words)}, fmt.Sprintf("a multiple of %d words, at most %d a text", t, n)})
	}
	requireRows("WordEmbed", words, v)
	return run(&wordOp{words, t, c, token, position})
}

type wordOp struct {
	words           []int // [B·T]
	t, c            int
	token, position mat.Tensor // [V,C], [N,C]
}

func (f *wordOp) Operands() []mat.Tensor { return []mat.Tensor{f.token, f.position} }

func (f *wordOp) Forward() (mat.Tensor, error) {
	y := fresh(len(f.words), f.c)
	token, position := data(f.token), data(f.position)
	for i, w := range f.words {
		row, pos := token[w*f.c:(w+1)*f.c], position[i%f.t*f.c:]
		for j, v := range row {
			data(y)[i*f.c+j] = v + pos[j]
		}
	}
	return y, nil
}

func (f *wordOp) Backward(gy mat.Tensor) error {
	accumulate(f.token, func(g []float32) {
		clear(g)
		scatterAdd(g, data(gy), f.c, func(i int) int { return f.words[i] })
	})
	accumulate(f.position, func(g []float32) {
		clear(g)
		scatterAdd(g, data(gy), f.c, func(i int) int { return i % f.t })
	})
	return nil
}

// Gather returns the given rows of x [m,n], in that order: [len(rows),n]. A number that is no row is a mistake
// of the program and panics.
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

// addRows adds row i of x to row to(i) of y, both with n columns, and leaves it out if that is negative.
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

// requireRows panics unless every number is that of one of n rows.
func requireRows(name string, rows []int, n int) {
	for _, r := range rows {
		if r < 0 || r >= n {
			panic(fmt.Sprintf("op: %s: row is %d, want 0 to %d", name, r, n-1))
		}
	}
}
