package op

import (
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/kernel"
)

// Freeze packs the weights [out,in] of a product for the kernel, and declares that they want no gradient. The packed
// weights replace the parameter's matrix. It reports whether p was not frozen before.
func Freeze(p *nn.Param) bool { return freeze(p, kernel.Pack) }

// FreezeForPanels is [Freeze] for products with tokens in panels; see [ToPanels]. Weights that meet rows later are
// packed anew, once.
func FreezeForPanels(p *nn.Param) bool { return freeze(p, kernel.PackLeft) }

func freeze(p *nn.Param, pack func(w []float32, n, k int) *kernel.Packed) bool {
	if packed(p) != nil {
		return false
	}
	rows, cols := dims(p)
	p.Matrix = newFrozen(pack(data(p), rows, cols))
	return true
}

// FreezeValues is [FreezeForPanels] or [Freeze] with values [rows,cols] that do not lie in p yet. It does not keep them.
func FreezeValues(p *nn.Param, values []float32, rows, cols int, forPanels bool) {
	if forPanels {
		p.Matrix = newFrozen(kernel.PackLeft(values, rows, cols))
	} else {
		p.Matrix = newFrozen(kernel.Pack(values, rows, cols))
	}
}

// Quantize is [Freeze] with the weights rounded to integers, each row with its own scale, as how says. [Thaw] does not
// undo the rounding. Rows longer than [kernel.Int8MaxK] stay float32. What p had before is left as it was, and may be
// put back.
func Quantize(p *nn.Param, how kernel.Rounding) {
	Freeze(p)
	rows, cols := dims(p)
	if Quantized(p) || cols > kernel.Int8MaxK {
		return
	}
	useWeights(p, func(w []float32) { p.Matrix = newFrozen(kernel.PackRounded(w, rows, cols, how)) })
}

// RoundBF16 is [Freeze] with the weights rounded to bfloat16. [Thaw] does not undo the rounding. Weights of int8 stay so.
func RoundBF16(p *nn.Param) {
	if Quantized(p) || RoundedBF16(p) {
		return
	}
	rows, cols := dims(p)
	useWeights(p, func(w []float32) { p.Matrix = newFrozen(kernel.PackBF16(w, rows, cols)) })
}

// RoundedBF16 reports whether a parameter's weights are rounded to bfloat16.
func RoundedBF16(p *nn.Param) bool {
	f := packed(p)
	if f == nil {
		return false
	}
	_, ok := f.weights().(*kernel.BF16)
	return ok
}

// Quantized reports whether a parameter's weights are rounded to integers.
func Quantized(p *nn.Param) bool { return Rounded(p) != nil }

// PackedFloat reports whether a parameter's weights are frozen in float32.
func PackedFloat(p *nn.Param) bool {
	f := packed(p)
	if f == nil {
		return false
	}
	_, ok := f.weights().(*kernel.Packed)
	return ok
}

// Rounded returns the weights of a parameter that are rounded to integers, nil if they are not.
func Rounded(p *nn.Param) *kernel.Int8 {
	f := packed(p)
	if f == nil {
		return nil
	}
	w, _ := f.weights().(*kernel.Int8)
	return w
}

// UseWeights calls f with the values of a parameter, row by row, as products see them. f must not keep or change them.
func UseWeights(p *nn.Param, f func(values []float32)) { useWeights(p, f) }

// UseRows calls f with the values of a parameter as UseWeights does, but some rows at a time: of frozen weights about so many values, so
// that all of them are never in memory. f must not keep or change them.
func UseRows(p *nn.Param, values int, f func(values []float32)) {
	w := packed(p)
	if w == nil {
		f(data(p))
		return
	}
	rows, cols := w.dims()
	each := max(1, values/max(1, cols))
	part := kernel.Get(min(each, rows) * cols)
	defer kernel.Put(part)
	for from := 0; from < rows; from += each {
		n := min(each, rows-from)
		w.weights().UnpackRows(part, from, n)
		f(part[:n*cols])
	}
}

// weights are packed for the kernel, in one precision or another.
type weights interface {
	Shape() (rows, cols int)
	Bytes() int
	Unpack(values []float32)
	UnpackRows(values []float32, from, rows int)
}

// matMul sets y [m,out] to the product of x [m,in] and the weights, and applies e.
func (f *Frozen) matMul(y, x []float32, m int, e kernel.Epilogue) {
	if w := f.packed(false); w != nil {
		kernel.MatMulPacked(y, x, w, m, e)
		return
	}
	switch w := f.weights().(type) {
	case *kernel.BF16:
		kernel.MatMulBF16(y, x, w, m, e)
	case *kernel.Int8:
		kernel.MatMulInt8(y, x, w, m, e)
	}
}

// packed returns the weights as the left or the right operand of products, or nil if they are rounded. It packs them
// anew if they were the other operand; that is rare, since a program uses weights in one way for long.
func (f *Frozen) packed(left bool) *kernel.Packed {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.w.(*kernel.Packed)
	if !ok || p.Left() == left {
		return p
	}
	rows, cols := p.Shape()
	values := kernel.Get(rows * cols)
	defer kernel.Put(values)
	p.Unpack(values)
	if left {
		p = kernel.PackLeft(values, rows, cols)
	} else {
		p = kernel.Pack(values, rows, cols)
	}
	f.w = p
	const often = 1 << 27 // bytes; they are outside the heap, so nothing else makes the collector run
	n := int64(p.Bytes())
	if total := repacked.Add(n); total/often != (total-n)/often {
		runtime.GC()
	}
	return p
}

// split returns the first n rows of the weights, and those from n on, before which there may be others.
func (f *Frozen) split(inPanels bool, n int) (first, rest *Frozen) {
	var a, b weights
	if w := f.packed(inPanels); w != nil {
		a, b = w.Split(n)
	} else {
		switch w := f.weights().(type) {
		case *kernel.BF16:
			a, b = w.Split(n)
		case *kernel.Int8:
			a, b = w.Split(n)
		}
	}
	return newFrozen(a), newFrozen(b)
}

// repacked is how many bytes have been packed anew.
var repacked atomic.Int64

// weights returns the weights that products read now.
func (f *Frozen) weights() weights {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.w
}

// Thaw gives a frozen parameter a plain matrix with the same values. It wants no gradient yet.
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

// matMulNN sets gx [m,in] to the product of g [m,out] and the weights w [out,in], or adds that to it.
func matMulNN(gx, g []float32, w mat.Tensor, m int, add bool) {
	out, in := dims(w)
	if f := packed(w); f != nil {
		if w := f.packed(false); w != nil {
			if add {
				kernel.MatMulPackedNNAdd(gx, g, w, m)
			} else {
				kernel.MatMulPackedNN(gx, g, w, m)
			}
			return
		}
	}
	useWeights(w, func(w []float32) {
		if add {
			kernel.MatMulNNAdd(gx, g, w, m, in, out)
		} else {
			kernel.MatMulNN(gx, g, w, m, in, out, kernel.Epilogue{})
		}
	})
}

// useWeights calls f with the plain values of w. f must not keep them.
func useWeights(w mat.Tensor, f func([]float32)) {
	p := packed(w)
	if p == nil {
		f(data(w))
		return
	}
	values := kernel.Get(p.Size())
	defer kernel.Put(values)
	p.weights().Unpack(values)
	f(values)
}

// Frozen is a matrix [out,in] packed for the products of this package, which read nothing else of it. All other code
// that reads its values gets a plain copy, made anew every time: spago's own operators work on it, slowly. It cannot
// be written to; readOnly lists what it has of [mat.Matrix].
type Frozen struct {
	readOnly
	mu sync.Mutex // of w, which may be packed anew
	w  weights
}

func init() { gob.Register(&Frozen{}) }

func newFrozen(w weights) *Frozen {
	f := &Frozen{w: w}
	f.source = f
	return f
}

// Bytes returns the memory that the weights take.
func (f *Frozen) Bytes() int { return f.weights().Bytes() }

func (f *Frozen) plain() *mat.Dense[float32] {
	rows, cols := f.dims()
	values := make([]float32, rows*cols)
	f.weights().Unpack(values)
	return mat.NewDense[float32](mat.WithShape(rows, cols), mat.WithBacking(values))
}

func (f *Frozen) dims() (rows, cols int) { return f.weights().Shape() }

// SetRequiresGrad implements mat.Matrix. It panics if v is true, since only a plain matrix can learn.
func (f *Frozen) SetRequiresGrad(v bool) {
	if v {
		panic("op: a frozen weight cannot want a gradient: unfreeze its model first")
	}
}

// MarshalBinary implements encoding.BinaryMarshaler: rows, columns, values, little-endian. It writes weights of int8
// and bfloat16 as the float32 that they stand for.
func (f *Frozen) MarshalBinary() ([]byte, error) {
	if f.weights() == nil {
		return nil, errors.New("op: a frozen weight without values")
	}
	rows, cols := f.dims()
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
	f.w, f.source = kernel.PackLeft(values, int(rows), int(cols)), f
	return nil
}
