package clip

import "context"

// lazy loads a value when it is first wanted, once. What failed is tried again by the next who wants it.
type lazy[T any] struct {
	turn chan struct{} // of the one who may load or look
	load func(ctx context.Context) (T, error)
	done bool
	v    T
}

func newLazy[T any](load func(ctx context.Context) (T, error)) *lazy[T] {
	return &lazy[T]{turn: make(chan struct{}, 1), load: load}
}

func loaded[T any](v T) *lazy[T] {
	l := newLazy[T](nil)
	l.v, l.done = v, true
	return l
}

// forget lets go of the value, which is loaded again when it is wanted. One that was there from the start stays.
func (l *lazy[T]) forget() {
	if l.load == nil {
		return
	}
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	var none T
	l.v, l.done = none, false
}

// get returns the value. Whoever comes while another loads waits, and loads if that fails.
func (l *lazy[T]) get(ctx context.Context) (v T, err error) {
	if ctx.Err() != nil {
		return v, context.Cause(ctx)
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return v, context.Cause(ctx)
	}
	if !l.done {
		if v, err = l.load(ctx); err != nil {
			return v, err
		}
		l.v, l.done = v, true
	}
	return l.v, nil
}
