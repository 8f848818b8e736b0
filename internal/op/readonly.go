package op

import (
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/mat/float"
)

// readOnly is what a matrix shows that keeps its values in an order of its own: who asks for them gets a plain copy,
// made anew every time. Of [mat.Matrix] it has what reads values and shapes; the rest, what spago computes
// with matrices too, panics: ask for its Value first.
type readOnly struct {
	mat.Matrix // nil
	source     source
}

// A source has the values of a readOnly.
type source interface {
	dims() (rows, cols int)
	plain() *mat.Dense[float32]
}

// Shape implements mat.Tensor.
func (r *readOnly) Shape() []int {
	rows, cols := r.source.dims()
	return []int{rows, cols}
}

// Dims implements mat.Tensor.
func (r *readOnly) Dims() int { return 2 }

// Size implements mat.Tensor.
func (r *readOnly) Size() int {
	rows, cols := r.source.dims()
	return rows * cols
}

// Value implements mat.Tensor with a plain copy.
func (r *readOnly) Value() mat.Tensor { return r.source.plain() }

// Data implements mat.Tensor with a plain copy.
func (r *readOnly) Data() float.Slice { return r.source.plain().Data() }

// Item implements mat.Tensor.
func (r *readOnly) Item() float.Float { return r.source.plain().Item() }

// At implements mat.Tensor.
func (r *readOnly) At(indices ...int) mat.Tensor { return r.source.plain().At(indices...) }

// ScalarAt implements mat.Matrix.
func (r *readOnly) ScalarAt(indices ...int) float.Float { return r.source.plain().ScalarAt(indices...) }

// T implements mat.Matrix with a plain matrix.
func (r *readOnly) T() mat.Matrix { return r.source.plain().T() }

// Clone implements mat.Matrix with a plain matrix.
func (r *readOnly) Clone() mat.Matrix { return r.source.plain() }

// String implements mat.Matrix.
func (r *readOnly) String() string { return r.source.plain().String() }

// Grad implements mat.Tensor: there is none.
func (r *readOnly) Grad() mat.Tensor { return nil }

// HasGrad implements mat.Tensor.
func (r *readOnly) HasGrad() bool { return false }

// RequiresGrad implements mat.Tensor.
func (r *readOnly) RequiresGrad() bool { return false }

// SetRequiresGrad implements mat.Matrix. It panics if v is true, since only a plain matrix can learn.
func (r *readOnly) SetRequiresGrad(v bool) {
	if v {
		panic("op: a matrix that is only read cannot want a gradient")
	}
}

// AccGrad implements mat.Tensor; no operator calls it.
func (r *readOnly) AccGrad(mat.Tensor) { panic("op: a matrix that is only read was given a gradient") }

// ZeroGrad implements mat.Tensor.
func (r *readOnly) ZeroGrad() {}
