// Package pictures decodes ahead: it makes pictures in the background and hands them over in order. It also lists
// the pictures of a folder.
package pictures

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
)

// maxDecoders is how many pictures are decoded at a time. A photograph takes tens of megabytes; the
// largest that Pillow permits takes two gigabytes if it is a progressive JPEG.
const maxDecoders = 4

// Decoders returns how many pictures to decode at a time: one a processor, and at most 4.
func Decoders() int { return min(maxDecoders, runtime.GOMAXPROCS(0)) }

// Work is a list of items to be made by [InOrder], such as batches. Each has parts, such as pictures.
type Work[T any] struct {
	Items   int // how many there are
	Ahead   int // how many are begun before they are asked for; at least 0
	Workers int // how many parts are done at a time; at least 1

	// Begin makes an item when there is room for it, and says how many parts it has. One goroutine calls it, in order.
	Begin func(i int) (item T, parts int)
	// Do does a part of an item. Several goroutines call it, so that parts begin in order and end in any.
	Do func(item T, part int)

	// Abandon says not to wait for parts in the making when the loop ends early. A part that reads from a pipe may
	// never end.
	Abandon bool
}

// InOrder yields the items of w in order, each when all its parts are done. While the caller works on one, up to
// w.Ahead others are done or in the making.
//
// If ctx ends, InOrder yields its cause and ends. When the loop has ended, so have all its goroutines, unless
// w.Abandon is set. It panics if w.Workers or w.Ahead is too small.
func InOrder[T any](ctx context.Context, w Work[T]) iter.Seq2[T, error] {
	if w.Workers < 1 || w.Ahead < 0 { // without workers the loop would wait for ever
		panic(fmt.Sprintf("pictures: %d workers and %d ahead, want at least 1 and 0", w.Workers, w.Ahead))
	}
	return func(yield func(T, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		if !w.Abandon {
			defer running.Wait() // after cancel
		}
		defer cancel()
		ready := w.start(inner, &running)
		for range w.Items {
			var p *pending[T]
			select {
			case p = <-ready:
				select {
				case <-p.done:
				case <-ctx.Done():
				}
			case <-ctx.Done():
			}
			if ctx.Err() != nil { // p may lack parts
				var none T
				yield(none, context.Cause(ctx))
				return
			}
			if !yield(p.item, nil) {
				return
			}
		}
	}
}

// pending is an item in the making.
type pending[T any] struct {
	item T
	left atomic.Int64  // parts
	done chan struct{} // closed when no part is left
}

// start starts the work and returns where items come out, in order: done or in the making.
func (w Work[T]) start(ctx context.Context, running *sync.WaitGroup) <-chan *pending[T] {
	ready, workers := make(chan *pending[T], w.Ahead), make(chan struct{}, w.Workers)
	running.Go(func() {
		for i := range w.Items {
			p := &pending[T]{done: make(chan struct{})}
			select {
			case ready <- p: // waits until one of those ahead is taken
			case <-ctx.Done():
				return
			}
			item, parts := w.Begin(i)
			p.item = item
			p.left.Store(int64(parts))
			if parts == 0 {
				close(p.done)
			}
			for part := range parts {
				select {
				case workers <- struct{}{}:
				case <-ctx.Done():
					return
				}
				running.Go(func() {
					if ctx.Err() == nil {
						w.Do(item, part)
					}
					if p.left.Add(-1) == 0 {
						close(p.done)
					}
					<-workers
				})
			}
		}
	})
	return ready
}
