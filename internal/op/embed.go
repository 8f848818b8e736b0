package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// PatchEmbed turns the patches [B·G²,3P²] of B images into tokens [B·T,C]: each image's class token
// [1,C], then its patches times w [C,3P²]ᵀ, all with the positions [T,C] added.
func PatchEmbed(patches, w, class, position mat.Tensor) mat.Tensor {
	c, p := dims(w)
	t, _ := dims(position)
	requireCols("PatchEmbed", patches, p)
	requireShape("PatchEmbed class", class, 1, c)
	requireCols("PatchEmbed position", position, c)
	m, _ := dims(patches)
	if t < 2 || m%(t-1) != 0 {
		panic(&ShapeError{"PatchEmbed", patches.Shape(), fmt.Sprintf("[B·%d,%d]", t-1, p)})
	}
	return run(&embedOp{patches, w, class, position, m / (t - 1), t, c, p})
}

type embedOp struct {
	patches, w, class, position mat.Tensor
	images, t, c, p             int // B, T, C, 3P²
}

func (f *embedOp) Operands() []mat.Tensor {
	return []mat.Tensor{f.patches, f.w, f.class, f.position}
}

func (f *embedOp) Forward() (mat.Tensor, error) {
	rows := f.images * (f.t - 1)
	embedded := kernel.Get(rows * f.c) // of all images at once, which reads w once
	defer kernel.Put(embedded)
	if w := packed(f.w); w != nil {
		w.matMul(embedded, data(f.patches), rows, kernel.Epilogue{})
	} else {
		kernel.MatMulNT(embedded, data(f.patches), data(f.w), rows, f.c, f.p, kernel.Epilogue{})
	}
	y := fresh(f.images*f.t, f.c)
	pos, class, n := data(f.position), data(f.class), (f.t-1)*f.c
	for i := range f.images {
		tokens := data(y)[i*f.t*f.c:]
		kernel.Add(tokens[:f.c], class, pos)
		kernel.Add(tokens[f.c:f.t*f.c], embedded[i*n:(i+1)*n], pos[f.c:])
	}
	return y, nil
}

func (f *embedOp) Backward(gy mat.Tensor) error {
	g := data(gy)
	// gp [B·G²,C] is g without the rows of class tokens.
	rows := f.images * (f.t - 1)
	gp := kernel.Get(rows * f.c)
	defer kernel.Put(gp)
	n := (f.t - 1) * f.c
	for i := range f.images {
		copy(gp[i*n:(i+1)*n], g[i*(n+f.c)+f.c:])
	}
	accumulate(f.patches, func(gx []float32) { matMulNN(gx, gp, f.w, rows, false) })
	accumulate(f.w, func(gw []float32) {
		kernel.MatMulTN(gw, gp, data(f.patches), f.c, f.p, rows, kernel.Epilogue{})
	})
	accumulate(f.class, func(gc []float32) { sumEvery(gc, g, n+f.c) })
	accumulate(f.position, func(gpos []float32) { kernel.SumRows(gpos, g, f.images, f.t*f.c) })
	return nil
}

// sumEvery sets y to the sum of the pieces of x that begin every stride elements and are as long as y.
func sumEvery(y, x []float32, stride int) {
	clear(y)
	for i := 0; i < len(x); i += stride {
		for j := range y {
			y[j] += x[i+j]
		}
	}
}

// WordEmbed maps texts of t words, one after the other, to [B·t,C]. Each word becomes its row of token [V,C], plus
// the row of position [N,C] of its place in its text. It panics if a word is no row of token.
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
	out, token, position := data(y), data(f.token), data(f.position)
	for i, w := range f.words {
		row, pos := token[w*f.c:(w+1)*f.c], position[i%f.t*f.c:]
		for j, v := range row {
			out[i*f.c+j] = v + pos[j]
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
