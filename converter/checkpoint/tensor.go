package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

// Limits of what a checkpoint may be.
const (
	maxTensors = 1 << 17 // a language model of 7 billion parameters has 1300
	maxName    = 512     // bytes of a tensor's name
	maxRank    = 8
	// maxShare is how many times over the tensors of an archive may claim the bytes of its
	// storages. Tied weights share; an attacker shares one storage among a million tensors.
	maxShare = 4
	// maxBeside is what the dimensions beside one of 0 may be, multiplied.
	maxBeside = math.MaxInt32
)

// chunkSize is how many bytes are read, converted and written at a time: enough to make a
// system call cheap, little enough for the second-level cache.
const chunkSize = 1 << 18

// A storage is a run of elements in a file.
type storage struct {
	name  string      // for errors
	dtype DType       // of its elements
	size  int64       // bytes
	r     io.ReaderAt // of size bytes
	crc   uint32      // the CRC-32 of summed, 0 if the container has none
	// summed is what the checksum is of, if that is more than the elements.
	summed *io.SectionReader
	// compressed says that reading backwards or by many goroutines is slow.
	compressed bool
	// of is the storage that has the elements, if this one is its bytes taken as another type.
	of    *storage
	typed map[DType]*storage
}

// root returns the storage that is in the file.
func (s *storage) root() *storage {
	if s.of != nil {
		return s.of
	}
	return s
}

// as returns a storage of bytes as one of another type. What does not fill an element is left out.
func (s *storage) as(dtype DType) *storage {
	if s.typed == nil {
		s.typed = map[DType]*storage{}
	}
	if s.typed[dtype] == nil {
		s.typed[dtype] = &storage{name: s.name, dtype: dtype, size: s.size, r: later{s}, crc: s.crc, compressed: s.compressed, of: s}
	}
	return s.typed[dtype]
}

// later reads from a storage that may get its reader later.
type later struct{ *storage }

// ReadAt implements io.ReaderAt.
func (l later) ReadAt(p []byte, off int64) (int, error) { return l.r.ReadAt(p, off) }

// A Tensor is a named array in a checkpoint. Its elements stay in the file until they are read.
type Tensor struct {
	Name  string // as it stands in the file
	DType DType  // of its elements in the file
	Shape []int  // elements along each dimension; empty is a single number

	data    *storage
	offset  int64   // elements before the first
	strides []int64 // in elements
	alias   bool    // another name of a tensor in the file
}

// newTensor returns a view of a storage after checking that it lies within.
func newTensor(name string, s *storage, offset int64, shape, strides []int64) (*Tensor, error) {
	if len(shape) > maxRank || len(shape) != len(strides) {
		return nil, fmt.Errorf("tensor has %d dimensions and %d strides, want the same number up to %d", len(shape), len(strides), maxRank)
	}
	t := &Tensor{Name: name, DType: s.dtype, data: s, offset: offset, strides: strides}
	held := uint64(s.size) / uint64(s.dtype.Size())
	n, last := uint64(1), uint64(0)
	room := held
	if slices.Contains(shape, 0) {
		room = maxBeside // no elements, but a dimension of 0 must not hide an absurd one beside it
	}
	for i, d := range shape {
		if d < 0 || strides[i] < 0 {
			return nil, fmt.Errorf("shape %v, strides %v: negative", shape, strides)
		}
		var over uint64
		if over, n = bits.Mul64(n, uint64(max(d, 1))); over != 0 || n > room {
			return nil, fmt.Errorf("shape %v claims more than the %d elements of %s", shape, held, s.name)
		}
		if d > 1 {
			hi, step := bits.Mul64(uint64(d-1), uint64(strides[i]))
			var carry uint64
			last, carry = bits.Add64(last, step, 0)
			if hi != 0 || carry != 0 {
				return nil, fmt.Errorf("shape %v, strides %v: beyond the %d elements of %s", shape, strides, held, s.name)
			}
		}
		t.Shape = append(t.Shape, int(d))
	}
	if slices.Contains(shape, 0) {
		n, last = 0, 0
	}
	if n > math.MaxInt/8 {
		return nil, fmt.Errorf("shape %v has more elements than this system can count", shape)
	}
	if offset < 0 {
		return nil, fmt.Errorf("offset %d: negative", offset)
	}
	end, carry := bits.Add64(uint64(offset), last, 1) // one past the last element
	if carry != 0 || n > 0 && end > held || n == 0 && uint64(offset) > held {
		return nil, fmt.Errorf("offset %d, shape %v, strides %v: beyond the %d elements of %s", offset, shape, strides, held, s.name)
	}
	return t, t.Readable()
}

// Readable returns an error if the tensor could only be read by inflating its storage again and
// again.
func (t *Tensor) Readable() error {
	if s := t.data; s.compressed && s.size > maxSpan && !t.contiguous() {
		return fmt.Errorf("a strided view of %s, which is compressed and has %d bytes, want at most %d", s.name, s.size, maxSpan)
	}
	return nil
}

// NewTensor returns a tensor whose elements r has, little endian and in row-major order: one in memory,
// say, that is written beside those of files. It returns an error if the type is not known, if a
// dimension is negative, or if there are more elements than can be counted.
func NewTensor(name string, dtype DType, shape []int, r io.ReaderAt) (*Tensor, error) {
	if err := (Entry{name, dtype, shape}).check(); err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	size := Entry{name, dtype, shape}.Bytes()
	wide := make([]int64, len(shape))
	for i, d := range shape {
		wide[i] = int64(d)
	}
	t, err := newTensor(name, &storage{name: name, dtype: dtype, size: size, r: r}, 0, wide, rowMajor(wide))
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w", name, err)
	}
	return t, nil
}

// rowMajor returns the strides of a contiguous tensor.
func rowMajor[E int | int64](shape []E) []E {
	strides := make([]E, len(shape))
	step := E(1)
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = step
		step *= shape[i]
	}
	return strides
}

// A Place is where the elements of a tensor are. Tensors of one File and one Place are one tensor under several names.
type Place struct {
	data *storage
	at   string
}

// Place returns where the elements of t are.
func (t *Tensor) Place() Place {
	return Place{t.data, fmt.Sprint(t.offset, t.Shape, t.strides)}
}

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Bytes returns the number of bytes of the elements.
func (t *Tensor) Bytes() int64 { return int64(t.Len()) * int64(t.DType.Size()) }

// Float32s reads all elements into dst, which must have [Tensor.Len] of them, in row-major order.
func (t *Tensor) Float32s(dst []float32) error {
	if len(dst) != t.Len() {
		return fmt.Errorf("checkpoint: %s: room for %d elements, want %d", t.Name, len(dst), t.Len())
	}
	return t.Part(dst, 0)
}

// Part reads len(dst) elements from number from on, in row-major order: the rows of one image, say.
func (t *Tensor) Part(dst []float32, from int) error {
	if err := t.numbers(from, len(dst)); err != nil {
		return err
	}
	return t.float32s(dst, from)
}

// chunks are recycled, since a model has hundreds of tensors and its weights fill the memory already.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// float32s reads len(dst) elements from element lo on, with all processors.
func (t *Tensor) float32s(dst []float32, lo int) error {
	step := chunkSize / t.DType.Size()
	workers := min(runtime.GOMAXPROCS(0), (len(dst)+step-1)/step)
	if t.data.compressed {
		workers = min(workers, 1)
	}
	var (
		wg   sync.WaitGroup
		errs = make([]error, workers)
	)
	for w := range workers {
		wg.Go(func() {
			chunk := chunks.Get().(*[chunkSize]byte)
			defer chunks.Put(chunk)
			for i := w * step; i < len(dst); i += workers * step {
				part := dst[i:min(i+step, len(dst))]
				raw := chunk[:len(part)*t.DType.Size()]
				if errs[w] = t.read(raw, lo+i); errs[w] != nil {
					return
				}
				decode(part, raw, t.DType)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Float64s reads len(dst) elements from number from on, in row-major order, as they are: no type is rounded.
// The scratch is for as many bytes and numbers as they take, and may be nil.
func (t *Tensor) Float64s(dst []float64, from int, scratch *Scratch) error {
	if scratch == nil {
		scratch = &Scratch{}
	}
	if err := t.numbers(from, len(dst)); err != nil {
		return err
	}
	raw := scratch.bytes(len(dst) * t.DType.Size())
	if err := t.read(raw, from); err != nil {
		return err
	}
	decode64(dst, raw, t.DType, scratch.numbers(len(dst)))
	return nil
}

// within returns an error unless n elements from number from on are there.
func (t *Tensor) within(from, n int) error {
	if from < 0 || n < 0 || n > t.Len()-from {
		return fmt.Errorf("checkpoint: %s: %d elements from number %d on, want some of %d", t.Name, n, from, t.Len())
	}
	return nil
}

// numbers returns an error unless n elements from number from on are there, and numbers.
func (t *Tensor) numbers(from, n int) error {
	if err := t.within(from, n); err != nil {
		return err
	}
	if !t.DType.IsFloat() {
		return fmt.Errorf("checkpoint: %s: elements are %s, want floating point", t.Name, t.DType)
	}
	return nil
}

// A Scratch is memory that reading elements needs, to be used again by one goroutine at a time.
type Scratch struct {
	raw []byte
	f32 []float32
}

func (s *Scratch) bytes(n int) []byte {
	s.raw = slices.Grow(s.raw[:0], n)[:n]
	return s.raw
}

func (s *Scratch) numbers(n int) []float32 {
	s.f32 = slices.Grow(s.f32[:0], n)[:n]
	return s.f32
}

// Serial says that the elements are compressed: reading them backwards or by many goroutines is slow.
func (t *Tensor) Serial() bool { return t.data.compressed }

// Reader returns the elements as they lie in the file, in row-major order, little endian.
func (t *Tensor) Reader() io.Reader { return &tensorReader{t: t} }

type tensorReader struct {
	t    *Tensor
	next int
}

func (r *tensorReader) Read(p []byte) (int, error) {
	size := r.t.DType.Size()
	n := min(len(p)/size, r.t.Len()-r.next)
	if n == 0 {
		if r.next == r.t.Len() {
			return 0, io.EOF
		}
		return 0, io.ErrShortBuffer
	}
	if err := r.t.read(p[:n*size], r.next); err != nil {
		return 0, err
	}
	r.next += n
	return n * size, nil
}

// Transposed returns a matrix with its two dimensions exchanged, a view of the same elements. See
// [Tensor.Readable].
func (t *Tensor) Transposed() *Tensor {
	return &Tensor{
		Name: t.Name, DType: t.DType, Shape: []int{t.Shape[1], t.Shape[0]},
		data: t.data, offset: t.offset, strides: []int64{t.strides[1], t.strides[0]},
	}
}

// contiguous says whether the elements lie in row-major order without gaps.
func (t *Tensor) contiguous() bool {
	step := int64(1)
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] != 1 && t.strides[i] != step {
			return t.Len() == 0
		}
		step *= int64(t.Shape[i])
	}
	return true
}

// maxSpan is how many bytes are held to gather scattered elements from. A projection of ViT-L/14
// has 1.5 MB.
const maxSpan = 16 << 20

// read fills buf with consecutive elements in row-major order, beginning with element i.
func (t *Tensor) read(buf []byte, i int) error {
	size := t.DType.Size()
	n := len(buf) / size
	if n == 0 {
		return nil
	}
	if t.contiguous() {
		return t.readAt(buf, t.offset+int64(i))
	}
	// The elements lie between the first of one slice and the last of another.
	inner := t.Len() / t.Shape[0]
	lo := t.offset + int64(i/inner)*t.strides[0]
	hi := t.offset + int64((i+n-1)/inner)*t.strides[0]
	for d := 1; d < len(t.Shape); d++ {
		hi += int64(t.Shape[d]-1) * t.strides[d]
	}
	if span := (hi - lo + 1) * int64(size); span <= maxSpan {
		src := make([]byte, span)
		if err := t.readAt(src, lo); err != nil {
			return err
		}
		return t.each(i, n, func(k int, at int64) error {
			copy(buf[k*size:(k+1)*size], src[(at-lo)*int64(size):])
			return nil
		})
	}
	return t.each(i, n, func(k int, at int64) error { return t.readAt(buf[k*size:(k+1)*size], at) })
}

// each calls f with k = 0, …, n-1 and the place in the storage of element i+k.
func (t *Tensor) each(i, n int, f func(k int, at int64) error) error {
	index := make([]int, len(t.Shape))
	at := t.offset
	for d := len(t.Shape) - 1; d >= 0; d-- {
		index[d] = i % t.Shape[d]
		i /= t.Shape[d]
		at += int64(index[d]) * t.strides[d]
	}
	for k := range n {
		if err := f(k, at); err != nil {
			return err
		}
		for d := len(index) - 1; d >= 0; d-- { // like an odometer
			index[d]++
			at += t.strides[d]
			if index[d] < t.Shape[d] {
				break
			}
			at -= int64(t.Shape[d]) * t.strides[d]
			index[d] = 0
		}
	}
	return nil
}

// readAt fills buf with elements of the storage.
func (t *Tensor) readAt(buf []byte, at int64) error {
	n, err := t.data.r.ReadAt(buf, at*int64(t.DType.Size()))
	if n == len(buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("checkpoint: %s: reading %d bytes of %s: %w", t.Name, len(buf), t.data.name, err)
}
