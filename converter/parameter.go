package converter

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/vitago/vitago/converter/checkpoint"
)

// A Parameter is one of a model's, and knows where its elements lie. That is in one tensor, or in parts of
// several, one below the other, as those of q, k and v under some names. It is for who looks at all
// parameters of a checkpoint without loading it.
type Parameter struct {
	Path string // canonical: the Go field names that lead to it from the tower, behind "Text." or "Projector."

	model *Model
	parts param
}

// Parameters returns all parameters, in the order of their paths.
func (m *Model) Parameters() []Parameter {
	all := make([]Parameter, 0, len(m.params))
	for _, path := range slices.Sorted(maps.Keys(m.params)) {
		all = append(all, Parameter{path, m, m.params[path]})
	}
	return all
}

// Tensors returns the name of the tensor, or those of all parts as a shell would expand them:
// self_attn.{q,k,v}_proj.weight.
func (p Parameter) Tensors() string { return p.parts.name() }

// Shape returns the dimensions of the tensors together. A matrix may have more of them than the model's
// parameter: the kernel of the patches may be [C,3,P,P].
func (p Parameter) Shape() []int { return p.parts.shape() }

// DType returns the type that holds all elements: that of the tensors, or float32 if they differ.
func (p Parameter) DType() checkpoint.DType { return p.parts.dtype() }

// Bytes returns how many bytes the elements take in the files.
func (p Parameter) Bytes() (n int64) {
	for _, q := range p.parts {
		n += int64(q.n) * int64(q.t.DType.Size())
	}
	return n
}

// Serial says that some elements are compressed: reading them by many goroutines is slow.
func (p Parameter) Serial() bool {
	return slices.ContainsFunc(p.parts, func(q part) bool { return q.t.Serial() })
}

// Float64s fills dst with consecutive elements from number from on, in row-major order, without rounding. The
// scratch may be nil. It returns an error if there are not as many.
func (p Parameter) Float64s(dst []float64, from int, scratch *checkpoint.Scratch) error {
	if n := p.parts.len(); from < 0 || len(dst) > n-from {
		return fmt.Errorf("converter: %s: %d elements from number %d on, want some of %d", p.Path, len(dst), from, n)
	}
	at := 0 // of the part
	for _, q := range p.parts {
		lo, hi := max(from, at), min(from+len(dst), at+q.n)
		if lo < hi {
			if err := q.t.Float64s(dst[lo-from:hi-from], q.lo+lo-at, scratch); err != nil {
				return err
			}
		}
		at += q.n
	}
	return nil
}

// Checksum returns the CRC-32C of the tensors that the elements lie in, as they lie in the files, one after the other. It
// reads about as fast as memory is copied. The scratch may be nil; with one of some hundred kilobytes nothing is allocated.
func (p Parameter) Checksum(scratch []byte) (uint32, error) {
	if len(scratch) < 1<<12 {
		scratch = make([]byte, 1<<18)
	}
	var sum uint32
	for _, q := range p.parts {
		r := q.t.Reader()
		for {
			n, err := r.Read(scratch)
			sum = crc32.Update(sum, castagnoli, scratch[:n])
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return 0, fmt.Errorf("converter: %s: %w", p.Path, err)
			}
		}
	}
	return sum, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Verify returns an error if the container has other checksums of what the elements are read from.
func (p Parameter) Verify(ctx context.Context) error { return p.model.verify(ctx, p.parts) }

// shape returns the dimensions of all parts together, which lie one below the other.
func (p param) shape() []int {
	shape := slices.Clone(p[0].t.Shape)
	if len(p) > 1 && len(shape) > 0 {
		shape[0] = 0
		for _, q := range p {
			shape[0] += q.n * p[0].t.Shape[0] / max(p[0].t.Len(), 1)
		}
	}
	if shape == nil {
		shape = []int{}
	}
	return shape
}

// name returns the name of the tensor, or those of all parts as a shell would expand them:
// self_attn.{q,k,v}_proj.weight.
func (p param) name() string {
	first, others := p[0].t.Name, p[1:]
	every := func(ok func(name string) bool) bool {
		return !slices.ContainsFunc(others, func(q part) bool { return !ok(q.t.Name) })
	}
	if every(func(name string) bool { return name == first }) {
		return first
	}
	n := 0 // bytes that all begin with
	for n < len(first) && every(func(name string) bool { return strings.HasPrefix(name, first[:n+1]) }) {
		n++
	}
	m := len(first) // where the bytes begin that all end with
	for m > n && every(func(name string) bool { return strings.HasSuffix(name[n:], first[m-1:]) }) {
		m--
	}
	var middles []string
	for _, q := range p {
		middles = append(middles, q.t.Name[n:len(q.t.Name)-len(first[m:])])
	}
	return first[:n] + "{" + strings.Join(middles, ",") + "}" + first[m:]
}

// A param is a canonical parameter: parts of tensors, one after the other.
type param []part

// A part is a range of the elements of a tensor, in row-major order.
type part struct {
	t     *checkpoint.Tensor
	lo, n int
}

func (p param) len() int {
	n := 0
	for _, q := range p {
		n += q.n
	}
	return n
}

// band returns the i-th of n equal parts.
func (p param) band(i, n int) param {
	size := p.len() / n
	lo, hi := i*size, (i+1)*size
	var out param
	at := 0
	for _, q := range p {
		a, b := max(lo, at), min(hi, at+q.n)
		if a < b {
			out = append(out, part{q.t, q.lo + a - at, b - a})
		}
		at += q.n
	}
	return out
}

// transposed returns a matrix with its two dimensions exchanged. It must be the whole of a tensor:
// no dialect divides one that another has on its side.
func (p param) transposed() param {
	if len(p) != 1 || p[0].n != p[0].t.Len() {
		panic("converter: a matrix in parts is to be transposed")
	}
	return param{{p[0].t.Transposed(), 0, p[0].n}}
}

// dtype returns the type that holds all elements: that of the parts, or float32 if they differ.
func (p param) dtype() checkpoint.DType {
	for _, q := range p[1:] {
		if q.t.DType != p[0].t.DType {
			return checkpoint.F32
		}
	}
	return p[0].t.DType
}
