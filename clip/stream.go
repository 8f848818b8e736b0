package clip

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/pictures"
)

// StreamOptions are choices of [Model.Stream] and [Model.StreamText]. The zero value is fine.
type StreamOptions struct {
	Features   clipvit.Features // of pictures; the zero value is [clipvit.Embedding]
	Batch      int              // how many are encoded together, at most; 0 lets the size of the tower decide
	SkipErrors bool             // one that cannot be read is yielded with its error; otherwise it ends the stream
	First      int              // the index of the first, where those before it have been encoded already
}

// Encoded is a picture or a text with its vector.
type Encoded struct {
	Index  int       // in the sequence, from StreamOptions.First on
	Name   string    // of the picture, or the text itself
	Vector []float32 // nil if Err is not; features of several rows lie one row after the other
	Err    error     // why it could not be encoded, if errors are skipped
}

// maxBatch bounds the pictures that wait for one another.
const maxBatch = 1 << 10

// check returns an [ErrRequest] for a batch or an index that is none.
func (o StreamOptions) check() error {
	if o.First < 0 {
		return failed(ErrRequest, "the index of the first is %d, want 0 or more", o.First)
	}
	if o.Batch < 0 || o.Batch > maxBatch {
		return failed(ErrRequest, "batch is %d, want 1 to %d, or 0 for one that fits the tower", o.Batch, maxBatch)
	}
	return nil
}

// A pending is a picture or a text on its way through a tower.
type pending[T any] struct {
	Encoded
	in T // what the tower takes, if there is no error
}

// A pipe is how values of a sequence become vectors: each is read ahead of use, and then a tower encodes many at once.
type pipe[S, T any] struct {
	first  int                                             // the index of the first
	window int                                             // how many are encoded at once, at most
	read   func(i int, s S) (name string, in T, err error) // several goroutines call it
	encode func(ctx context.Context, all []*pending[T]) error
}

// run yields the vectors of a sequence in its order.
func (p pipe[S, T]) run(ctx context.Context, source iter.Seq[S], skip bool, yield func(Encoded, error) bool) {
	read := func(i int, s S) *pending[T] {
		i += p.first
		x := &pending[T]{Encoded: Encoded{Index: i}}
		x.Name, x.in, x.Err = p.read(i, s)
		return x
	}
	for group, err := range pictures.Grouped(ctx, source, p.window, pictures.Decoders(), read) {
		if err == nil {
			err = p.encode(ctx, readable(group, skip))
		}
		if err != nil {
			yield(Encoded{}, err)
			return
		}
		for _, x := range group {
			if x.Err != nil && !skip {
				yield(Encoded{}, x.Err)
				return
			}
			if !yield(x.Encoded, nil) {
				return
			}
		}
	}
}

// readable returns those of a group that have no error. Where errors are not skipped, none after the first is wanted.
func readable[T any](group []*pending[T], skip bool) (all []*pending[T]) {
	for _, x := range group {
		switch {
		case x.Err == nil:
			all = append(all, x)
		case !skip:
			return all
		}
	}
	return all
}

// give computes vectors and gives them to those whose they are. It returns when ctx ends, even if compute has not, which then ends
// with the block that it has begun.
func give[T any](ctx context.Context, all []*pending[T], what string, compute func() (mat.Tensor, error)) error {
	y, err := await(ctx, func() ([]float32, error) {
		y, err := compute()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, because(nil, err, "")
		}
		return mat.Data[float32](y.Value().(mat.Matrix)), nil
	})
	if err != nil {
		return err
	}
	vectors, err := rowsOf(y, len(all), what, func(i int) string { return all[i].Name })
	for i, v := range vectors {
		all[i].Vector = v
	}
	return err
}

// rowsOf returns copies of the n vectors that y has, or one would keep all of them in memory. One with a value that is not finite is an
// error that says whose it is.
func rowsOf(y []float32, n int, what string, name func(i int) string) ([][]float32, error) {
	vectors := make([][]float32, n)
	for i := range vectors {
		v := slices.Clone(y[i*len(y)/n : (i+1)*len(y)/n])
		if at := op.NotFinite(v); at >= 0 {
			return nil, because(nil, fmt.Errorf("%s: value %d of %d is %v, want a finite number: the model's weights are damaged or too large", what, at+1, len(v), v[at]), name(i))
		}
		vectors[i] = v
	}
	return vectors, nil
}

// await returns what f does, or the cause of ctx's end if that comes first. f goes on then, and nobody hears of it. A panic
// of f is the caller's.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v       T
		err     error
		whole   bool
		because any
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if !r.whole {
				r.because = recover()
			}
			done <- r
		}()
		r.v, r.err = f()
		r.whole = true
	}()
	select {
	case r := <-done:
		if !r.whole {
			panic(r.because)
		}
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
