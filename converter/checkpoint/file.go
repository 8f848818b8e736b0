package checkpoint

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"math/bits"
	"os"
	"runtime"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"
)

// A DType is the type of the elements of a tensor, by its name in safetensors.
type DType string

// The types that checkpoints of models have. A container may hold others, which have a size and no more.
const (
	F16  DType = "F16"
	BF16 DType = "BF16"
	F32  DType = "F32"
	F64  DType = "F64"
	I64  DType = "I64"
)

// itemSize holds the bytes of an element of every type that a container may name.
var itemSize = map[DType]int{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1,
	"I16": 2, "U16": 2, F16: 2, BF16: 2,
	"I32": 4, "U32": 4, F32: 4,
	I64: 8, "U64": 8, F64: 8,
}

// Size returns the bytes of an element.
func (d DType) Size() int { return itemSize[d] }

// IsFloat says whether the elements are numbers in floating point.
func (d DType) IsFloat() bool { return d == F16 || d == BF16 || d == F32 || d == F64 }

// Limits of what a checkpoint may be.
const (
	maxTensors = 1 << 17 // XComposer's 7 billion parameters are 1300 tensors
	maxName    = 512     // bytes of a tensor's name
	maxRank    = 8
	// maxShare is how many times over the tensors of an archive may claim the bytes of its
	// storages. Tied weights share; an attacker shares one storage among a million tensors.
	maxShare = 4
)

// chunkSize is how many bytes are read, converted and written at a time: enough to make a
// system call cheap, little enough for the second-level cache.
const chunkSize = 1 << 18

// A storage is a run of elements in a file.
type storage struct {
	name  string      // for errors
	dtype DType       // of its elements
	size  int64       // bytes
	crc   uint32      // its CRC-32, 0 if the container has none
	r     io.ReaderAt // of size bytes
	// compressed says that reading backwards or by many goroutines is slow.
	compressed bool
}

// A Tensor is a named array in a checkpoint. Its elements stay in the file until they are read.
type Tensor struct {
	Name  string
	DType DType
	Shape []int

	data    *storage
	offset  int64   // elements before the first
	strides []int64 // in elements
}

// newTensor returns a view of a storage after checking that it lies within.
func newTensor(name string, s *storage, offset int64, shape, strides []int64) (*Tensor, error) {
	if len(shape) > maxRank || len(shape) != len(strides) {
		return nil, fmt.Errorf("tensor has %d dimensions and %d strides, want the same number up to %d", len(shape), len(strides), maxRank)
	}
	t := &Tensor{Name: name, DType: s.dtype, data: s, offset: offset, strides: strides}
	held := uint64(s.size) / uint64(s.dtype.Size())
	n, last := uint64(1), uint64(0)
	for i, d := range shape {
		if d < 0 || strides[i] < 0 {
			return nil, fmt.Errorf("shape %v, strides %v: negative", shape, strides)
		}
		// A dimension of 0 must not hide an absurd one beside it.
		if uint64(d) > held && d > 1 {
			return nil, fmt.Errorf("shape %v claims more than the %d elements of %s", shape, held, s.name)
		}
		var over uint64
		if over, n = bits.Mul64(n, uint64(d)); over != 0 || n > held {
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
// say, that is written beside those of files. It returns an error if there are more of them than can be
// counted.
func NewTensor(name string, dtype DType, shape []int, r io.ReaderAt) (*Tensor, error) {
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
	if from < 0 || len(dst) > t.Len()-from {
		return fmt.Errorf("checkpoint: %s: elements %d to %d, want some of %d", t.Name, from, from+len(dst), t.Len())
	}
	if !t.DType.IsFloat() {
		return fmt.Errorf("checkpoint: %s: elements are %s, want floating point", t.Name, t.DType)
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
	raw := scratch.bytes(len(dst) * t.DType.Size())
	if err := t.elements(raw, from); err != nil {
		return err
	}
	decode64(dst, raw, t.DType, scratch.numbers(len(dst)))
	return nil
}

// elements reads consecutive elements as they lie in the file, for who needs numbers.
func (t *Tensor) elements(raw []byte, from int) error {
	n := len(raw) / t.DType.Size()
	if from < 0 || n > t.Len()-from {
		return fmt.Errorf("checkpoint: %s: elements %d to %d, want some of %d", t.Name, from, from+n, t.Len())
	}
	if !t.DType.IsFloat() {
		return fmt.Errorf("checkpoint: %s: elements are %s, want floating point", t.Name, t.DType)
	}
	return t.read(raw, from)
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

// A File is a set of named tensors, in one file or in several. Its methods may be called by many
// goroutines at once, but for Close.
type File struct {
	name      string // for errors
	container string
	tensors   []*Tensor
	byName    map[string]*Tensor
	classes   map[string]bool // of the objects in a TorchScript archive
	absent    []string        // tensors in files that are not there, and need not be
	files     []*sourceFile
	packed    []check // of parts that are compressed
	closers   []io.Closer

	verified sync.Map // the storages, by *storage, whose checksums were found right

	mu  sync.Mutex
	sum string // SHA-256, once it is known
}

// A sourceFile is one file of a checkpoint, with the checksums that it has of its parts.
type sourceFile struct {
	r      io.ReaderAt
	size   int64
	checks []check // in the order of their offsets, without overlap
}

// A check is a part of a file with a checksum.
type check struct {
	name         string
	offset, size int64
	crc          uint32
	open         func() (io.ReaderAt, error) // if the part is compressed
}

// verify returns an error if a part has another checksum.
func (k *check) verify(crc uint32) error {
	if crc != k.crc {
		return fmt.Errorf("%s is damaged: its CRC-32 is %08x, want %08x", k.name, crc, k.crc)
	}
	return nil
}

// A container is a format of single files.
type container struct {
	name  string
	sniff func(head []byte) bool
	open  func(r io.ReaderAt, size int64, c *File) error
}

// containers are the formats that Open knows. The first that recognises the head of a file has it.
var containers = []*container{
	{"zip archive", func(h []byte) bool { return bytes.HasPrefix(h, []byte("PK\x03\x04")) }, openZip},
	{"legacy torch.save", func(h []byte) bool { return bytes.HasPrefix(h, legacyMagic) }, openLegacy},
	{"safetensors", func(h []byte) bool { return len(h) > 8 && h[8] == '{' }, openSafetensors},
}

// HeadSize is how many bytes of a file the formats are recognised by.
const HeadSize = 64

// Recognised says whether a file with this head, its first [HeadSize] bytes or all of a smaller one, is in
// a format that is read or written here.
func Recognised(head []byte) bool { return sniff(head) != nil || isGGUF(head) }

func sniff(head []byte) *container {
	for _, k := range containers {
		if k.sniff(head) {
			return k
		}
	}
	return nil
}

// ErrUnknownFormat is returned for files that are no checkpoint in a format known here.
var ErrUnknownFormat = errors.New("not a TorchScript archive, torch.save file, safetensors file or model directory")

// Open opens a file in one of the known containers, which are told apart by what they hold, never by
// their names. Tensors are read from the file when they are asked for, so it must be closed in the end.
func Open(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("checkpoint: %s: not a file", path)
	}
	// The file is read, not mapped into memory: what a map has shown stays resident beside the model that
	// was made from it, 0.6 GB of ViT-L/14, and a file that shrinks under a map ends the process.
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	if info, err = f.Stat(); err != nil { // of what was opened
		f.Close()
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	c, err := OpenReader(f, info.Size(), path)
	if err != nil {
		f.Close()
		return nil, err
	}
	c.closers = append(c.closers, f)
	return c, nil
}

// OpenReader is [Open] for one file of the given size that need not lie on a disk. The name
// stands in errors.
func OpenReader(r io.ReaderAt, size int64, name string) (c *File, err error) {
	defer func() {
		// gopickle was written for files of friends. The checks before it should leave nothing that
		// makes it panic; this is for what they overlook.
		if p := recover(); p != nil {
			c, err = nil, fmt.Errorf("checkpoint: %s: malformed: %.200v", name, p)
		}
	}()
	head := make([]byte, min(size, HeadSize))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("checkpoint: %s: %w", name, err)
	}
	k := sniff(head)
	switch {
	case isGGUF(head):
		return nil, fmt.Errorf("checkpoint: %s: GGUF is written, not read: %w", name, ErrUnknownFormat)
	case k == nil:
		return nil, fmt.Errorf("checkpoint: %s: %w (%d bytes, beginning with %.16q)", name, ErrUnknownFormat, size, head)
	}
	c = &File{name: name, container: k.name, byName: map[string]*Tensor{}, classes: map[string]bool{}, files: []*sourceFile{{r: r, size: size}}}
	if err := k.open(r, size, c); err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %s: %w", name, c.container, err)
	}
	if err := c.finish(); err != nil {
		return nil, err
	}
	return c, nil
}

// New returns a File without files and tensors, for who has tensors of [NewTensor] alone. Its container is its
// name.
func New(name string) *File { return &File{name: name, container: name} }

// A Part is a file whose tensors are to have a prefix in front of their names.
type Part struct {
	File   *File
	Prefix string
}

// Join returns the tensors of all parts, in their order, as one File, which closes them with itself. The
// name stands in errors. After an error the parts are closed.
func Join(name, container string, parts ...Part) (*File, error) {
	all := &File{name: name, container: container, byName: map[string]*Tensor{}, classes: map[string]bool{}}
	var errs []error
	for _, p := range parts {
		errs = append(errs, all.include(p.File, p.Prefix))
	}
	if err := cmp.Or(errors.Join(errs...), all.finish()); err != nil {
		all.Close()
		return nil, err
	}
	return all, nil
}

// include takes all that another file has, with prefix in front of the names, and closes it with its own.
func (c *File) include(part *File, prefix string) error {
	c.closers = append(c.closers, part)
	c.files = append(c.files, part.files...)
	c.packed = append(c.packed, part.packed...)
	c.absent = append(c.absent, part.absent...)
	maps.Copy(c.classes, part.classes)
	for _, t := range part.tensors {
		t.Name = prefix + t.Name
		if err := c.add(t); err != nil {
			return fmt.Errorf("checkpoint: %s: %w", part.name, err)
		}
	}
	return nil
}

// finish checks the tensors as a whole.
func (c *File) finish() error {
	if len(c.tensors) == 0 {
		return fmt.Errorf("checkpoint: %s: %s without tensors", c.name, c.container)
	}
	seen := map[*storage]bool{}
	var claimed, held int64
	for _, t := range c.tensors {
		if !seen[t.data] {
			seen[t.data] = true
			held += t.data.size
		}
		claimed += t.Bytes()
		if claimed < 0 {
			return fmt.Errorf("checkpoint: %s: tensors claim more than 2⁶³ bytes", c.name)
		}
	}
	if claimed/maxShare > held {
		return fmt.Errorf("checkpoint: %s: tensors claim %d bytes of storages that hold %d, more than %d times over", c.name, claimed, held, maxShare)
	}
	return nil
}

// add adds a tensor under its name.
func (c *File) add(t *Tensor) error {
	if err := checkName(t.Name); err != nil {
		return err
	}
	if c.byName[t.Name] != nil {
		return fmt.Errorf("two tensors are called %s", t.Name)
	}
	if len(c.tensors) == maxTensors {
		return fmt.Errorf("more than %d tensors", maxTensors)
	}
	c.byName[t.Name] = t
	c.tensors = append(c.tensors, t)
	return nil
}

// checkName returns an error if a name cannot be shown or is absurdly long.
func checkName(name string) error {
	if len(name) == 0 || len(name) > maxName {
		return fmt.Errorf("a tensor's name has %d bytes, want 1 to %d", len(name), maxName)
	}
	if !utf8.ValidString(name) || slices.ContainsFunc([]rune(name), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("tensor name %.80q has characters that cannot be shown", name)
	}
	return nil
}

// Name returns the name that stands in errors: the path that was opened.
func (c *File) Name() string { return c.name }

// Classes returns the names of the classes of all objects in a TorchScript archive, sorted, without the
// module that they are in. Other containers have none.
func (c *File) Classes() []string { return slices.Sorted(maps.Keys(c.classes)) }

// Absent returns the names of tensors that are in files which an index names and which are not there; see
// [OpenIndex].
func (c *File) Absent() []string { return slices.Clone(c.absent) }

// Bytes returns the size of the files.
func (c *File) Bytes() (n int64) {
	for _, f := range c.files {
		n += f.size
	}
	return n
}

// Container returns what kind of file or files c is.
func (c *File) Container() string { return c.container }

// Names returns the names of all tensors, in the order of the file.
func (c *File) Names() []string {
	names := make([]string, len(c.tensors))
	for i, t := range c.tensors {
		names[i] = t.Name
	}
	return names
}

// Tensor returns the tensor of a name.
func (c *File) Tensor(name string) (*Tensor, bool) {
	t, ok := c.byName[name]
	return t, ok
}

// Tensors returns all tensors, in the order of the file.
func (c *File) Tensors() []*Tensor { return slices.Clone(c.tensors) }

// Close closes the files. Tensors cannot be read any more.
func (c *File) Close() error {
	var errs []error
	for _, f := range c.closers {
		errs = append(errs, f.Close())
	}
	c.closers = nil
	return errors.Join(errs...)
}

// SHA256 returns the SHA-256 of the file in hexadecimal, or of all files of tensors one after the
// other if there are several. On the way it verifies the checksums that the container has of its
// parts.
func (c *File) SHA256(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sum == "" {
		h := sha256.New()
		if err := c.scan(ctx, h); err != nil {
			return "", err
		}
		c.sum = hex.EncodeToString(h.Sum(nil))
	}
	return c.sum, nil
}

// Verify reads the storages that tensors are of, each but once in the life of c, and returns an error if
// the container has other checksums of them. Views of the tensors, and tensors in memory, may be among
// them.
func (c *File) Verify(ctx context.Context, tensors ...*Tensor) error {
	var buf []byte
	for _, t := range tensors {
		s := t.data
		if _, ok := c.verified.Load(s); ok || s.crc == 0 {
			continue
		}
		if buf == nil {
			buf = make([]byte, chunkSize)
		}
		var crc uint32
		for at := int64(0); at < s.size; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b := buf[:min(int64(len(buf)), s.size-at)]
			if n, err := s.r.ReadAt(b, at); n < len(b) {
				return fmt.Errorf("checkpoint: %s: %s: %w", c.name, s.name, cmpErr(err, io.ErrUnexpectedEOF))
			}
			crc = crc32.Update(crc, crc32.IEEETable, b)
			at += int64(len(b))
		}
		if crc != s.crc {
			return fmt.Errorf("checkpoint: %s: %s is damaged: its CRC-32 is %08x, want %08x", c.name, s.name, crc, s.crc)
		}
		c.verified.Store(s, true)
	}
	return nil
}

// scan reads every file once, verifies its checksums and, if h is not nil, feeds it.
func (c *File) scan(ctx context.Context, h hash.Hash) error {
	buf := make([]byte, chunkSize)
	for _, f := range c.files {
		checks := f.checks
		var crc uint32
		for at := int64(0); at < f.size; {
			if err := ctx.Err(); err != nil {
				return err
			}
			if h == nil { // only the parts with a checksum matter
				if len(checks) == 0 {
					break
				}
				at = max(at, checks[0].offset)
			}
			b := buf[:min(int64(len(buf)), f.size-at)]
			if n, err := f.r.ReadAt(b, at); n < len(b) {
				return fmt.Errorf("checkpoint: %s: reading %d bytes at %d: %w", c.name, len(b), at, cmpErr(err, io.ErrUnexpectedEOF))
			}
			if h != nil {
				h.Write(b)
			}
			for len(checks) > 0 && checks[0].offset < at+int64(len(b)) {
				k := checks[0]
				lo, hi := max(k.offset-at, 0), min(k.offset+k.size-at, int64(len(b)))
				crc = crc32.Update(crc, crc32.IEEETable, b[lo:hi])
				if k.offset+k.size > at+int64(len(b)) {
					break // goes on in the next chunk
				}
				if err := k.verify(crc); err != nil {
					return fmt.Errorf("checkpoint: %s: %w", c.name, err)
				}
				crc, checks = 0, checks[1:]
			}
			at += int64(len(b))
		}
	}
	for _, k := range c.packed {
		r, err := k.open()
		if err != nil {
			return fmt.Errorf("checkpoint: %s: %w", c.name, err)
		}
		var crc uint32
		for at := int64(0); at < k.size; {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := buf[:min(int64(len(buf)), k.size-at)]
			if n, err := r.ReadAt(b, at); n < len(b) {
				return fmt.Errorf("checkpoint: %s: %s: %w", c.name, k.name, cmpErr(err, io.ErrUnexpectedEOF))
			}
			crc = crc32.Update(crc, crc32.IEEETable, b)
			at += int64(len(b))
		}
		if err := k.verify(crc); err != nil {
			return fmt.Errorf("checkpoint: %s: %w", c.name, err)
		}
	}
	return nil
}

// cmpErr returns err, or instead where err does not say what is wrong.
func cmpErr(err, instead error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return instead
	}
	return err
}
