package op

import (
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"math"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/mat/float"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/kernel"
)

// Freeze packs the weights [out,in] of a product for the kernel and declares that they want no
// gradient. It takes the place of the parameter's matrix, whose memory is given up. It reports whether
// there was anything to do.
func Freeze(p *nn.Param) bool {
	if packed(p) != nil {
		return false
	}
	rows, cols := dims(p)
	FreezeValues(p, data(p), rows, cols)
	return true
}

// FreezeValues is [Freeze] with the values [rows,cols] from elsewhere. It does not keep them.
func FreezeValues(p *nn.Param, values []float32, rows, cols int) {
	p.Matrix = &Frozen{w: kernel.Pack(values, rows, cols)}
}

// Quantize is [Freeze] with the weights rounded to 8 bits, each row of them with a scale of its own.
// What it rounds it does not give back. Rows that are too long for sums in 32 bits stay as they are.
func Quantize(p *nn.Param) {
	Freeze(p)
	if _, done := packed(p).w.(*kernel.Int8); done {
		return
	}
	rows, cols := dims(p)
	if cols > kernel.Int8MaxK {
		return
	}
	useWeights(p, func(w []float32) { p.Matrix = &Frozen{w: kernel.PackInt8(w, rows, cols)} })
}

// Quantized reports whether a parameter's weights are rounded to 8 bits.
func Quantized(p *nn.Param) bool {
	f := packed(p)
	if f == nil {
		return false
	}
	_, ok := f.w.(*kernel.Int8)
	return ok
}

// weights are packed for the kernel, in one precision or another.
type weights interface {
	Shape() (rows, cols int)
	Bytes() int
	Unpack(values []float32)
}

// matMul sets y [m,out] to the product of x [m,in] and the weights, finished by e.
func (f *Frozen) matMul(y, x []float32, m int, e kernel.Epilogue) {
	switch w := f.w.(type) {
	case *kernel.Packed:
		kernel.MatMulPacked(y, x, w, m, e)
	case *kernel.Int8:
		kernel.MatMulInt8(y, x, w, m, e)
	}
}

// Thaw gives a parameter that was frozen a plain matrix again, with the same values. It wants no
// gradient as yet.
func Thaw(p *nn.Param) {
	if f := packed(p); f != nil {
		p.Matrix = f.plain()
	}
}

// packed returns the packed weights of x, or nil if it has none.
func packed(x mat.Tensor) *Frozen {
	if p, ok := x.(*nn.Param); ok {
		x = p.Matrix
	}
	f, _ := x.(*Frozen)
	return f
}

// matMulNN sets gx [m,in] to the product of g [m,out] and the weights w [out,in].
func matMulNN(gx, g []float32, w mat.Tensor, m int) {
	out, in := dims(w)
	if f := packed(w); f != nil {
		if w, ok := f.w.(*kernel.Packed); ok {
			kernel.MatMulPackedNN(gx, g, w, m)
			return
		}
	}
	useWeights(w, func(w []float32) { kernel.MatMulNN(gx, g, w, m, in, out, kernel.Epilogue{}) })
}

// useWeights calls f with the plain values of w, which it must not keep.
func useWeights(w mat.Tensor, f func([]float32)) {
	p := packed(w)
	if p == nil {
		f(data(w))
		return
	}
	values := kernel.Get(p.Size())
	defer kernel.Put(values)
	p.w.Unpack(values)
	f(values)
}

// Frozen is a matrix [out,in] packed for the products of this package, which read nothing else of it.
// Whatever else asks for its value gets a plain copy, made anew every time: spago's own operators
// work on it, slowly. It cannot be written to; of [mat.Matrix] it has what reads, and the rest panics.
type Frozen struct {
	mat.Matrix // nil
	w          weights
}

func init() { gob.Register(&Frozen{}) }

// Bytes returns the memory that the weights take.
func (f *Frozen) Bytes() int { return f.w.Bytes() }

func (f *Frozen) plain() *mat.Dense[float32] {
	rows, cols := f.w.Shape()
	values := make([]float32, rows*cols)
	f.w.Unpack(values)
	return mat.NewDense[float32](mat.WithShape(rows, cols), mat.WithBacking(values))
}

// Shape implements mat.Tensor.
func (f *Frozen) Shape() []int {
	rows, cols := f.w.Shape()
	return []int{rows, cols}
}

// Dims implements mat.Tensor.
func (f *Frozen) Dims() int { return 2 }

// Size implements mat.Tensor.
func (f *Frozen) Size() int {
	rows, cols := f.w.Shape()
	return rows * cols
}

// Value implements mat.Tensor with a plain copy.
func (f *Frozen) Value() mat.Tensor { return f.plain() }

// Data implements mat.Tensor with a plain copy.
func (f *Frozen) Data() float.Slice { return f.plain().Data() }

// Item implements mat.Tensor.
func (f *Frozen) Item() float.Float { return f.plain().Item() }

// At implements mat.Tensor.
func (f *Frozen) At(indices ...int) mat.Tensor { return f.plain().At(indices...) }

// ScalarAt implements mat.Matrix.
func (f *Frozen) ScalarAt(indices ...int) float.Float { return f.plain().ScalarAt(indices...) }

// T implements mat.Matrix with a plain matrix.
func (f *Frozen) T() mat.Matrix { return f.plain().T() }

// Clone implements mat.Matrix with a plain matrix.
func (f *Frozen) Clone() mat.Matrix { return f.plain() }

// String implements mat.Matrix.
func (f *Frozen) String() string { return f.plain().String() }

// Grad implements mat.Tensor: there is none.
func (f *Frozen) Grad() mat.Tensor { return nil }

// HasGrad implements mat.Tensor.
func (f *Frozen) HasGrad() bool { return false }

// RequiresGrad implements mat.Tensor.
func (f *Frozen) RequiresGrad() bool { return false }

// SetRequiresGrad implements mat.Matrix. It panics if v is true, since only a plain matrix can learn.
func (f *Frozen) SetRequiresGrad(v bool) {
	if v {
		panic("op: a frozen weight cannot want a gradient: unfreeze its model first")
	}
}

// AccGrad implements mat.Tensor; no operator calls it.
func (f *Frozen) AccGrad(mat.Tensor) { panic("op: a frozen weight was given a gradient") }

// ZeroGrad implements mat.Tensor.
func (f *Frozen) ZeroGrad() {}

// MarshalBinary implements encoding.BinaryMarshaler: rows, columns, values, little-endian. What was
// rounded to 8 bits is kept as the float32 that it became.
func (f *Frozen) MarshalBinary() ([]byte, error) {
	if f.w == nil {
		return nil, errors.New("op: a frozen weight without values")
	}
	rows, cols := f.w.Shape()
	b := make([]byte, 0, 8+4*rows*cols)
	b = binary.LittleEndian.AppendUint32(b, uint32(rows))
	b = binary.LittleEndian.AppendUint32(b, uint32(cols))
	for _, v := range data(f) {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (f *Frozen) UnmarshalBinary(b []byte) error {
	if len(b) < 8 {
		return errors.New("op: a frozen weight of less than 8 bytes")
	}
	rows, cols := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	if want := 8 + 4*uint64(rows)*uint64(cols); rows > 1<<24 || cols > 1<<24 || uint64(len(b)) != want {
		return fmt.Errorf("op: a frozen weight [%d,%d] has %d bytes, want %d", rows, cols, len(b), want)
	}
	values := make([]float32, int(rows)*int(cols))
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[8+4*i:]))
	}
	f.w = kernel.Pack(values, int(rows), int(cols))
	return nil
}
