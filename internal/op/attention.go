package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// SelfAttention mixes the packed projections qkv [B·T,3C] of images of t tokens into [B·T,C], head
// by head: softmax(q·kᵀ/√D)·v.
func SelfAttention(qkv mat.Tensor, heads, t int) mat.Tensor {
	return attend("SelfAttention", qkv, heads, t, false)
}

// CausalAttention is [SelfAttention] in which a token sees itself and those before it, as in texts.
func CausalAttention(qkv mat.Tensor, heads, t int) mat.Tensor {
	return attend("CausalAttention", qkv, heads, t, true)
}

func attend(name string, qkv mat.Tensor, heads, t int, causal bool) mat.Tensor {
	s := headsOf(name, qkv, heads, t)
	return run(&attentionOp{qkv: qkv, images: s.images, tokens: t, heads: heads, size: s.size, causal: causal})
}

// AttentionAt is [SelfAttention], or [CausalAttention], of one query an image: queries [B,C] has those of the tokens that are rows
// of x, one of each image in order. The last 2C columns of x [B·T,n] are the keys and values of all tokens. The result [B,C] has the
// bits of these rows of the other two. It has no gradient.
func AttentionAt(queries, x mat.Tensor, heads, t int, rows []int, causal bool) mat.Tensor {
	b, c := dims(queries)
	m, n := dims(x)
	if t < 1 || heads < 1 || m != b*t || c%heads != 0 || n < 2*c {
		panic(&ShapeError{"AttentionAt", x.Shape(), fmt.Sprintf("[%d·%d,≥2·%d], of %d heads", b, t, c, heads)})
	}
	requireOneOfEach("AttentionAt", rows, b, t)
	y := fresh(b, c)
	if a, ok := x.(*panels); ok {
		a.layout.AttentionAt(data(y), data(queries), a.values, n, rows, t, heads, c/heads, causal)
		return after(ToPanels(y, 1), queries)
	}
	attendRows(data(y), data(queries), data(x), n, rows, t, heads, c/heads, causal)
	return y
}

// requireOneOfEach panics unless rows are those of one token of each of b images of t, in order.
func requireOneOfEach(name string, rows []int, b, t int) {
	requireRows(name, rows, b*t)
	if len(rows) != b {
		panic(fmt.Sprintf("op: %s: %d rows, want one of each of %d images", name, len(rows), b))
	}
	for i, r := range rows {
		if r/t != i {
			panic(fmt.Sprintf("op: %s: row %d is %d, want one of image %d of %d tokens", name, i, r, i, t))
		}
	}
}

// AttentionRows returns the given rows of [SelfAttention], or [CausalAttention], one of each image in order: [B,C]. In contrast to
// [AttentionAt] it has a gradient, and takes the projections qkv [B·T,3C] as rows.
func AttentionRows(qkv mat.Tensor, heads, t int, rows []int, causal bool) mat.Tensor {
	s := headsOf("AttentionRows", qkv, heads, t)
	requireOneOfEach("AttentionRows", rows, s.images, t)
	return run(&attentionRowsOp{qkv: qkv, rows: rows, tokens: t, heads: heads, size: s.size, causal: causal})
}

type attentionRowsOp struct {
	qkv                 mat.Tensor // [B·T,3C]
	rows                []int      // [B]
	tokens, heads, size int
	causal              bool
}

func (f *attentionRowsOp) Operands() []mat.Tensor { return []mat.Tensor{f.qkv} }

func (f *attentionRowsOp) Forward() (mat.Tensor, error) {
	c := f.heads * f.size
	x := data(f.qkv)
	q := kernel.Get(len(f.rows) * c)
	defer kernel.Put(q)
	for i, r := range f.rows {
		copy(q[i*c:(i+1)*c], x[r*3*c:])
	}
	y := fresh(len(f.rows), c)
	attendRows(data(y), q, x, 3*c, f.rows, f.tokens, f.heads, f.size, f.causal)
	return y, nil
}

func (f *attentionRowsOp) Backward(gy mat.Tensor) error {
	accumulate(f.qkv, func(g []float32) {
		kernel.AttentionAtGrad(g, data(gy), data(f.qkv), f.rows, f.tokens, f.heads, f.size, f.causal)
	})
	return nil
}

// attendRows computes attention y [B,C] of the queries q [B,C] with x [B·T,n], which lies in rows.
func attendRows(y, q, x []float32, n int, rows []int, t, heads, size int, causal bool) {
	// A span of one row fills no panel.
	kernel.PanelLayout{Spans: len(rows) * t, Rows: 1}.AttentionAt(y, q, x, n, rows, t, heads, size, causal)
}

type attentionOp struct {
	qkv                         mat.Tensor // [B·T,3C]
	images, tokens, heads, size int
	causal                      bool
	out, stats                  []float32 // [B·T,C], [B·T,H,2]; kept only for Backward
}

func (f *attentionOp) Operands() []mat.Tensor { return []mat.Tensor{f.qkv} }

func (f *attentionOp) Forward() (mat.Tensor, error) {
	m := f.images * f.tokens
	y := fresh(m, f.heads*f.size)
	if f.qkv.RequiresGrad() {
		f.out = data(y)
		f.stats = make([]float32, 2*m*f.heads)
	}
	attention := kernel.Attention
	if f.causal {
		attention = kernel.CausalAttention
	}
	attention(data(y), data(f.qkv), f.stats, f.images, f.tokens, f.heads, f.size)
	return y, nil
}

func (f *attentionOp) Backward(gy mat.Tensor) error {
	gradient := kernel.AttentionGrad
	if f.causal {
		gradient = kernel.CausalAttentionGrad
	}
	accumulate(f.qkv, func(g []float32) {
		gradient(g, data(gy), data(f.qkv), f.out, f.stats, f.images, f.tokens, f.heads, f.size)
	})
	return nil
}
