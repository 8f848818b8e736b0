package checkpoint

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
)

// An Entry is a tensor that is to be written.
type Entry struct {
	Name  string // of the tensor, as it stands in the file
	DType DType  // that its elements are written in
	Shape []int  // elements along each dimension; empty is a single number
}

// Len returns the number of elements.
func (e Entry) Len() int {
	n := 1
	for _, d := range e.Shape {
		n *= d
	}
	return n
}

// Bytes returns the number of bytes of the elements.
func (e Entry) Bytes() int64 { return int64(e.Len()) * int64(e.DType.Size()) }

// An Emit writes the elements of entry number i to w, little endian and in row-major order. Writers call it
// once for every entry, in their order, so that no more than one has to be in memory. It is an error if it
// writes more or less than [Entry.Bytes].
type Emit func(i int, w io.Writer) error

// each has emit write all entries to w, and after each calls after, if that is not nil.
func (emit Emit) each(entries []Entry, w io.Writer, after func(n int64) error) error {
	for i, e := range entries {
		n := &counter{w: w}
		if err := emit(i, n); err != nil {
			return err
		}
		if n.n != e.Bytes() {
			return wrongLength(e, n.n)
		}
		if after == nil {
			continue
		}
		if err := after(n.n); err != nil {
			return err
		}
	}
	return nil
}

func wrongLength(e Entry, n int64) error {
	return fmt.Errorf("checkpoint: %s: %d bytes written, want %d", e.Name, n, e.Bytes())
}

// check returns an error if no reader takes the type or the shape.
func (e Entry) check() error {
	if e.DType.Size() == 0 {
		return fmt.Errorf("%s: elements are %.40q, want a known type", e.Name, e.DType)
	}
	if len(e.Shape) > maxRank {
		return fmt.Errorf("%s: %d dimensions, want at most %d", e.Name, len(e.Shape), maxRank)
	}
	n, limit := uint64(e.DType.Size()), uint64(math.MaxInt64)
	empty := slices.Contains(e.Shape, 0)
	if empty {
		n, limit = 1, maxBeside
	}
	for _, d := range e.Shape {
		var over uint64
		if empty && d == 0 {
			continue
		}
		if over, n = bits.Mul64(n, uint64(d)); d < 0 || over != 0 || n > limit {
			return fmt.Errorf("%s: shape %v, want sizes whose product can be counted", e.Name, e.Shape)
		}
	}
	return nil
}

// checkEntries returns an error if two entries have one name, or one has a name, a type or a shape that no reader
// takes.
func checkEntries(entries []Entry) error {
	seen := map[string]bool{}
	for _, e := range entries {
		if err := cmp.Or(checkName(e.Name), e.check()); err != nil {
			return err
		}
		if seen[e.Name] {
			return fmt.Errorf("two tensors are called %s", e.Name)
		}
		seen[e.Name] = true
	}
	return nil
}

// writeBuffer is how many bytes are written at a time.
const writeBuffer = 4 * chunkSize

// A counter counts the bytes that pass.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
