package checkpoint

import (
	"context"
	"fmt"
	"io"
)

// A Copier writes elements of tensors as another type, in chunks, so that memory does not grow with their
// number. It is for one goroutine.
type Copier struct {
	// Wrote, if it is not nil, hears how many bytes more have been written.
	Wrote func(n int)

	raw, coded []byte
	scratch    []float32
}

// NewCopier returns a Copier, which has a megabyte of memory.
func NewCopier() *Copier {
	return &Copier{raw: make([]byte, chunkSize), coded: make([]byte, 2*chunkSize), scratch: make([]float32, chunkSize/2)}
}

// Copy writes n elements of t from number from on, in row-major order and as type to: F16, BF16 or F32, or
// that of the tensor, which changes nothing. A finite value that would become infinite is an error. A context
// that is done ends it between two chunks.
func (c *Copier) Copy(ctx context.Context, w io.Writer, t *Tensor, from, n int, to DType) error {
	if err := t.within(from, n); err != nil {
		return err
	}
	if t.DType != to && (!t.DType.IsFloat() || to != F16 && to != BF16 && to != F32) {
		return fmt.Errorf("checkpoint: %s: elements are %s, which cannot be written as %s", t.Name, t.DType, to)
	}
	step := chunkSize / t.DType.Size()
	for end := from + n; from < end; from += step {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(step, end-from)
		b := c.raw[:n*t.DType.Size()]
		if err := t.read(b, from); err != nil {
			return err
		}
		if t.DType != to {
			coded := c.coded[:n*to.Size()]
			if err := recode(coded, b, t.DType, to, c.scratch); err != nil {
				return fmt.Errorf("checkpoint: %s: %w", t.Name, err)
			}
			b = coded
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if c.Wrote != nil {
			c.Wrote(len(b))
		}
	}
	return nil
}
