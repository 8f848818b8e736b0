package pictures

import (
	"context"
	"iter"
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
		for {
			var group []T
			for open := true; open && len(group) < size; {
				var p *made[T]
				if len(group) == 0 {
					select {
					case p = <-ready:
					case <-ctx.Done():
					}
				} else {
					select {
					case p = <-ready:
					default:
						open = false
						continue
					}
				}
				if p != nil {
					select {
					case <-p.done:
					case <-ctx.Done():
					}
				}
				switch {
				case ctx.Err() != nil:
					yield(nil, context.Cause(ctx))
					return
				case p == nil: // the end
					if len(group) > 0 {
						yield(group, nil)
					}
					return
				case p.panicked:
					panic(p.why)
				}
				group = append(group, p.item)
			}
			if !yield(group, nil) {
				return
			}
		}
	}
}

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
