package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// PatchEmbed turns the patches [B·G²,3P²] of B images into tokens [B·T,C]: each image's class token
// [1,C], then its patches times w [C,3P²]ᵀ, all with the positions [T,C] added. It puts patches of [Once] back into the pool.
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
	y := run(&embedOp{patches, w, class, position, m / (t - 1), t, c, p})
	if _, ok := patches.(once); ok && !y.RequiresGrad() {
		kernel.Put(data(patches))
	}
	return y
}

// A once is a matrix that one operator reads, and nobody after it.
type once struct{ *mat.Dense[float32] }

// Once returns the matrix [rows,cols] of memory that [kernel.Get] gave, for [PatchEmbed]: that puts it back as soon as it has read
// it. Where it is a node of a graph, the collector takes it with that. Nobody else may use the memory any more.
func Once(values []float32, rows, cols int) mat.Tensor {
	return once{mat.NewDense[float32](mat.WithShape(rows, cols), mat.WithBacking(values))}
}

type embedOp struct {
	patches, w, class, position mat.Tensor
	images, t, c, p             int // B, T, C, 3P²
}

func (f *embedOp) Operands() []mat.Tensor {
	return []mat.Tensor{f.patches, f.w, f.class, f.position}
}

func (f *embedOp) Forward() (mat.Tensor, error) {
	g := f.t - 1
	each := min(max(embedRows/g, 1), f.images) // images of a product, which packs their patches
	embedded := kernel.Get(each * g * f.c)
	defer kernel.Put(embedded)
	y := fresh(f.images*f.t, f.c)
	pos, class, n := data(f.position), data(f.class), g*f.c
	for from := 0; from < f.images; from += each {
		images := min(each, f.images-from)
		patches := data(f.patches)[from*g*f.p:][:images*g*f.p]
		if w := packed(f.w); w != nil {
			w.matMul(embedded[:images*n], patches, images*g, kernel.Epilogue{})
		} else {
			kernel.MatMulNT(embedded[:images*n], patches, data(f.w), images*g, f.c, f.p, kernel.Epilogue{})
		}
		for i := range images {
			tokens := data(y)[(from+i)*f.t*f.c:]
			kernel.Add(tokens[:f.c], class, pos)
			kernel.Add(tokens[f.c:f.t*f.c], embedded[i*n:(i+1)*n], pos[f.c:])
		}
	}
	return y, nil
}

// embedRows is how many patches are multiplied together, but for those of a single image: enough to be fast, and few, since the
// patches of an image take more memory than its tokens.
const embedRows = 200

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
