package op

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// panels are tokens [B·T,n] that lie in panels, the layout that the kernel's products with packed weights read and
// write fastest; see [kernel.PanelLayout]. No operator has a gradient in that layout.
type panels struct {
	readOnly
	values   []float32
	layout   kernel.PanelLayout
	n        int
	detached bool           // see detached
	last     *kernel.Packed // the weights of the last product on the way here, or nil
}

// ToPanels returns the tokens x [B·t,n] of images of t tokens in panels, or x itself if it wants a gradient. Operators
// that can compute with panels return panels; to all other code they look like any matrix. ToPanels releases x.
func ToPanels(x mat.Tensor, t int) mat.Tensor {
	if y := Laid(x, t, true); y != x {
		return Release(y, x)
	}
	return x
}

// Laid returns tokens x [B·t,n] of images of t tokens in panels, or as rows: x itself if it is so or wants a gradient. It
// does not release x.
func Laid(x mat.Tensor, t int, inPanels bool) mat.Tensor {
	m, n := dims(x)
	if t < 1 || m%t != 0 {
		panic(&ShapeError{"ToPanels", x.Shape(), fmt.Sprintf("[B·%d,n]", t)})
	}
	a, already := x.(*panels)
	switch {
	case already == inPanels || x.RequiresGrad():
		return x
	case already:
		y := fresh(m, n)
		a.layout.FromPanels(data(y), a.values, n)
		if a.detached {
			return detached{y}
		}
		return y
	}
	y := newPanels(kernel.LayoutOf(m/t, t), n)
	y.detached = isDetached(x)
	y.layout.ToPanels(y.values, data(x), n)
	return y
}

// CopyRows returns a copy [B·t,n] of tokens that lie in panels, and any other matrix as it is.
func CopyRows(x mat.Tensor) mat.Tensor {
	if a, ok := x.(*panels); ok {
		return a.plain()
	}
	return x
}

// FromPanels returns tokens that lie in panels as rows [B·t,n], and any other matrix as it is. It releases x.
func FromPanels(x mat.Tensor) mat.Tensor {
	a, ok := x.(*panels)
	if !ok {
		return x
	}
	y := fresh(a.dims())
	a.layout.FromPanels(data(y), a.values, a.n)
	recycle(a)
	if a.detached {
		return detached{y}
	}
	return y
}

// Copy returns a copy of x, which wants no gradient, in the layout of x.
func Copy(x mat.Tensor) mat.Tensor {
	if a, ok := x.(*panels); ok {
		y := newPanels(a.layout, a.n)
		y.detached, y.last = a.detached, a.last
		copy(y.values, a.values)
		return y
	}
	y := fresh(dims(x))
	copy(data(y), data(x))
	if isDetached(x) {
		return detached{y}
	}
	return y
}

func inPanels(x mat.Tensor) bool {
	_, ok := x.(*panels)
	return ok
}

// TokensAt returns the given rows of tokens x [B·T,n], as [len(rows),n] in the layout of x. It has no gradient.
func TokensAt(x mat.Tensor, rows []int) mat.Tensor {
	return Laid(Gather(x, rows), 1, inPanels(x))
}

// after returns y, which lies in panels and comes from the same weights as x.
func after(y, x mat.Tensor) mat.Tensor {
	if x, ok := x.(*panels); ok {
		y.(*panels).last = x.last
	}
	return y
}

func newPanels(o kernel.PanelLayout, n int) *panels {
	a := &panels{values: kernel.Get(o.Spans * o.Rows * n), layout: o, n: n}
	a.source = a
	return a
}

func (a *panels) dims() (rows, cols int) { return a.layout.Spans * a.layout.Rows, a.n }

func (a *panels) plain() *mat.Dense[float32] {
	y := mat.NewDense[float32](mat.WithShape(a.dims()))
	a.layout.FromPanels(y.Data().F32(), a.values, a.n)
	return y
}

// A panelOp is an operator that can compute with panels.
type panelOp interface {
	// forwardPanels returns the result, or nil if the operands do not lie in panels.
	forwardPanels() mat.Tensor
}

func (f *layerNormOp) forwardPanels() mat.Tensor {
	x, ok := f.x.(*panels)
	if !ok {
		return nil
	}
	y := newPanels(x.layout, x.n)
	y.last = x.last
	x.layout.LayerNorm(y.values, x.values, data(f.w), data(f.b), x.n, f.eps)
	return y
}

func (f *linearOp) forwardPanels() mat.Tensor {
	x, ok := f.x.(*panels)
	weights := packed(f.w)
	if !ok || weights == nil {
		return nil
	}
	e := kernel.Epilogue{Activation: f.act}
	if f.residual != nil {
		r, ok := f.residual.(*panels)
		if !ok || r.layout != x.layout {
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
	if x.last != nil {
		x.last.Precedes(w)
	}
	y := newPanels(x.layout, f.out)
	y.last = w
	x.layout.MatMul(y.values, x.values, w, e)
	return y
}

func (f *attentionOp) forwardPanels() mat.Tensor {
	x, ok := f.qkv.(*panels)
	if !ok {
		return nil
	}
	y := newPanels(x.layout, f.heads*f.size)
	y.last = x.last
	x.layout.Attention(y.values, x.values, f.images, f.tokens, f.heads, f.size, f.causal)
	return y
}

func (f *classRowsOp) forwardPanels() mat.Tensor {
	m, _ := dims(f.x)
	return gatherPanels(f.x, m/f.t, func(i int) int { return i * f.t })
}

func (f *gatherOp) forwardPanels() mat.Tensor {
	return gatherPanels(f.x, len(f.rows), func(i int) int { return f.rows[i] })
}

// gatherPanels returns count rows [count,n] of tokens that lie in panels, or nil if x is something else.
func gatherPanels(x mat.Tensor, count int, row func(i int) int) mat.Tensor {
	a, ok := x.(*panels)
	if !ok {
		return nil
	}
	y := fresh(count, a.n)
	for i := range count {
		a.layout.Row(data(y)[i*a.n:(i+1)*a.n], a.values, a.n, row(i))
	}
	return y
}
