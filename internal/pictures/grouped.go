package pictures

import (
	"context"
	"iter"
	"time"
)

// Grouped makes an item of each value of a source, which need not say how many it has, and yields them in order, in groups.
// While the caller works on one, as many as a group has are made ahead, by so many workers at a time.
//
// A group has at most size items. It has fewer if the source waits, so that who feeds it gets what it has fed.
//
// If ctx ends, Grouped yields its cause and ends. It does not wait for items in the making, nor for the source, which
// runs in a goroutine of its own: that ends when the source yields once more. A panic of the source or of do is the caller's.
func Grouped[S, T any](ctx context.Context, source iter.Seq[S], size, workers int, do func(i int, s S) T) iter.Seq2[[]T, error] {
	if size < 1 || workers < 1 {
		panic("pictures: groups and workers of less than 1")
	}
	return func(yield func([]T, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		ready, busy := make(chan *made[T], size), make(chan struct{}, workers)
		go feed(inner, source, ready, busy, do)
		// next returns the next item that is done, or false if the source has ended or, where it may, waits.
		next := func(may bool) (item T, ok bool) {
			var late <-chan time.Time
			if may && len(ready) == 0 {
				late = time.After(grace)
			}
			var p *made[T]
			select {
			case p = <-ready: // nil when the source has ended
			case <-late:
			case <-ctx.Done():
			}
			if p == nil {
				return item, false
			}
			select {
			case <-p.done:
			case <-ctx.Done():
			}
			switch {
			case ctx.Err() != nil: // it may be in the making
				return item, false
			case p.panicked:
				panic(p.why)
			}
			return p.item, true
		}
		for {
			var group []T
			for len(group) < size {
				item, ok := next(len(group) > 0)
				if ctx.Err() != nil {
					yield(nil, context.Cause(ctx))
					return
				}
				if !ok {
					break
				}
				group = append(group, item)
			}
			if len(group) == 0 || !yield(group, nil) {
				return
			}
		}
	}
}

// grace is for how long a source may have nothing before a group goes without more: longer than it takes to wake a
// goroutine, and shorter than anyone notices.
const grace = 5 * time.Millisecond

// made is an item, once it is done.
type made[T any] struct {
	item     T
	panicked bool
	why      any
	done     chan struct{}
}

// run makes the item.
func (p *made[T]) run(f func()) {
	defer close(p.done)
	defer func() {
		if p.panicked {
			p.why = recover()
		}
	}()
	p.panicked = true
	f()
	p.panicked = false
}

// feed makes items of a source.
func feed[S, T any](ctx context.Context, source iter.Seq[S], ready chan<- *made[T], busy chan struct{}, do func(int, S) T) {
	defer close(ready)
	whole := &made[T]{done: make(chan struct{})}
	whole.run(func() {
		i := 0
		for s := range source {
			p, n := &made[T]{done: make(chan struct{})}, i
			select {
			case ready <- p: // waits until one of those ahead is taken
			case <-ctx.Done():
				return
			}
			select {
			case busy <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				defer func() { <-busy }()
				p.run(func() {
					if ctx.Err() == nil {
						p.item = do(n, s)
					}
				})
			}()
			i++
		}
	})
	if whole.panicked {
		select {
		case ready <- whole:
		case <-ctx.Done():
		}
	}
}
