package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// arranged is tokens [B·T,n] in the order in which the kernel's products with packed weights read them and write
// them, which is faster than rows; see [kernel.Order]. There are no gradients in that order.
type arranged struct {
	readOnly
	values   []float32
	order    kernel.Order
	n        int
	detached bool // see detached
}

// ToPanels returns x, the tokens [B·t,n] of images of t tokens, arranged for the products of a model that is frozen,
// or x itself if it wants a gradient. Operators of this package that can, work on arranged tokens and give such; to
// everything else they look like any matrix. It takes the memory of x, which nobody may hold but the caller.
func ToPanels(x mat.Tensor, t int) mat.Tensor {
	m, n := dims(x)
	if t < 1 || m%t != 0 {
		panic(&ShapeError{"ToPanels", x.Shape(), fmt.Sprintf("[B·%d,n]", t)})
	}
	if x.RequiresGrad() {
		return x
	}
	y := newArranged(kernel.Order{Images: m / t, Tokens: t}, n)
	y.detached = isDetached(x)
	y.order.Arrange(y.values, data(x), n)
	return Release(y, x)
}

// CopyRows returns tokens that are arranged as a copy in rows, and others as they are.
func CopyRows(x mat.Tensor) mat.Tensor {
	if a, ok := x.(*arranged); ok {
		return a.plain()
	}
	return x
}

// FromPanels returns tokens that are arranged as rows again, and others as they are. It takes the memory of x, which
// nobody may hold but the caller.
func FromPanels(x mat.Tensor) mat.Tensor {
	a, ok := x.(*arranged)
	if !ok {
		return x
	}
	y := fresh(a.dims())
	a.order.Restore(data(y), a.values, a.n)
	recycle(a)
	if a.detached {
		return detached{y}
	}
	return y
}

func newArranged(o kernel.Order, n int) *arranged {
	a := &arranged{values: kernel.Get(o.Images * o.Tokens * n), order: o, n: n}
	a.source = a
	return a
}

func (a *arranged) dims() (rows, cols int) { return a.order.Images * a.order.Tokens, a.n }

func (a *arranged) plain() *mat.Dense[float32] {
	y := mat.NewDense[float32](mat.WithShape(a.dims()))
	a.order.Restore(y.Data().F32(), a.values, a.n)
	return y
}

// arranger is an operator that works on arranged tokens.
type arranger interface {
	// arranged returns its result, or nil if its operands are not of that kind.
	arranged() mat.Tensor
}

func (f *layerNormOp) arranged() mat.Tensor {
	x, ok := f.x.(*arranged)
	if !ok {
		return nil
	}
	y := newArranged(x.order, x.n)
	x.order.LayerNorm(y.values, x.values, data(f.w), data(f.b), x.n, f.eps)
	return y
}

func (f *linearOp) arranged() mat.Tensor {
	x, ok := f.x.(*arranged)
	weights := packed(f.w)
	if !ok || weights == nil {
		return nil
	}
	e := kernel.Epilogue{Activation: f.act}
	if f.residual != nil {
		r, ok := f.residual.(*arranged)
		if !ok || r.order != x.order {
			return nil
		}
		e.Residual = r.values
	}
	w := weights.packed(true)
	if w == nil {
		return nil
	}
	if f.b != nil {
		e.Bias = data(f.b)
	}
	y := newArranged(x.order, f.out)
	x.order.MatMul(y.values, x.values, w, e)
	return y
}

func (f *attentionOp) arranged() mat.Tensor {
	x, ok := f.qkv.(*arranged)
	if !ok || x.order.Tokens != f.tokens {
		return nil
	}
	y := newArranged(x.order, f.heads*f.size)
	x.order.Attention(y.values, x.values, f.heads, f.size, f.causal)
	return y
}

func (f *classRowsOp) arranged() mat.Tensor {
	m, _ := dims(f.x)
	return rowsOf(f.x, m/f.t, func(i int) int { return i * f.t })
}

func (f *gatherOp) arranged() mat.Tensor {
	return rowsOf(f.x, len(f.rows), func(i int) int { return f.rows[i] })
}

// rowsOf returns count rows of arranged tokens [count,n], or nil if x is something else.
func rowsOf(x mat.Tensor, count int, row func(i int) int) mat.Tensor {
	a, ok := x.(*arranged)
	if !ok {
		return nil
	}
	y := fresh(count, a.n)
	for i := range count {
		a.order.Row(data(y)[i*a.n:(i+1)*a.n], a.values, a.n, row(i))
	}
	return y
}
