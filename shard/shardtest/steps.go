package shardtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/vitago/vitago/shard/store"
)

// An Op is what a worker does to its store.
type Op struct {
	Number int    // from 0, in the order in which the operations of a [Steps] begin
	Kind   string // "open", "stat", "list", "put", "rename", "delete"
	Name   string // of a rename that which is renamed
}

// Changes says whether the operation changes the store.
func (o Op) Changes() bool { return o.Kind == "put" || o.Kind == "rename" || o.Kind == "delete" }

// String returns it in a line, for messages of tests.
func (o Op) String() string { return fmt.Sprintf("%d: %s %s", o.Number, o.Kind, o.Name) }

// ErrEnd is what a worker gets of its store once that has ended for it. It is a [context.Canceled], so that nobody waits and tries again.
var ErrEnd = fmt.Errorf("shardtest: this worker has ended: %w", context.Canceled)

// Steps is a store, at a location of its own, whose operations a test sees: before each of them it can wait, and the store can end for the
// worker, as if it had been killed there. It is no folder of this machine to a job, and so all goes through it.
type Steps struct {
	// Before and After are called around every operation, from the worker's goroutines; nil is fine. An error is returned in the place of
	// the operation, or of its result: after ErrEnd every later operation returns it as well, without being done.
	Before, After func(Op) error

	root string
	id   string
	mu   sync.Mutex
	n    int
	end  bool
}

const stepsScheme = "steps"

var (
	stepsMu  sync.Mutex
	allSteps = map[string]*Steps{}
)

func init() { store.Register(stepsScheme, openSteps) }

// NewSteps returns the location of a store that is another one, of a folder or of any scheme, and what its operations go through.
func NewSteps(root string) (*Steps, string) {
	stepsMu.Lock()
	defer stepsMu.Unlock()
	s := &Steps{root: root, id: fmt.Sprint(len(allSteps))}
	allSteps[s.id] = s
	return s, stepsScheme + "://" + s.id
}

func openSteps(ctx context.Context, location string) (store.Store, error) {
	id, below, _ := strings.Cut(strings.TrimPrefix(location, stepsScheme+"://"), "/")
	stepsMu.Lock()
	s := allSteps[id]
	stepsMu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("shardtest: %s: there is none", location)
	}
	root := s.root
	if below = strings.TrimSuffix(below, "/"); below != "" {
		root += "/" + below
		below += "/"
	}
	inner, err := store.Open(ctx, root)
	if err != nil {
		return nil, err
	}
	return steps{s, inner, below, location}, nil
}

// Operations returns how many have begun.
func (s *Steps) Operations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// begin counts an operation and returns its end.
func (s *Steps) begin(kind, name string) (after func(error) error, err error) {
	s.mu.Lock()
	o := Op{s.n, kind, name}
	s.n++
	end := s.end
	s.mu.Unlock()
	if end {
		return nil, ErrEnd
	}
	call := func(f func(Op) error) error {
		if f == nil {
			return nil
		}
		err := f(o)
		if errors.Is(err, ErrEnd) {
			s.mu.Lock()
			s.end = true
			s.mu.Unlock()
		}
		return err
	}
	if err := call(s.Before); err != nil {
		return nil, err
	}
	return func(err error) error {
		if e := call(s.After); e != nil {
			return e
		}
		return err
	}, nil
}

// steps is a folder of a [Steps].
type steps struct {
	*Steps
	inner    store.Store
	below    string // with a slash at its end, or ""
	location string
}

func (s steps) String() string { return s.location }

func (s steps) Open(ctx context.Context, name string, offset, length int64) (r store.Reader, err error) {
	after, err := s.begin("open", s.below+name)
	if err != nil {
		return nil, err
	}
	r, err = s.inner.Open(ctx, name, offset, length)
	if e := after(err); e != nil {
		if r != nil && err == nil {
			r.Close()
		}
		return nil, e
	}
	return r, nil
}

func (s steps) Stat(ctx context.Context, name string) (store.Info, error) {
	after, err := s.begin("stat", s.below+name)
	if err != nil {
		return store.Info{}, err
	}
	i, err := s.inner.Stat(ctx, name)
	return i, after(err)
}

func (s steps) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		after, err := s.begin("list", s.below+prefix)
		if err != nil {
			yield(store.Info{}, err)
			return
		}
		for i, err := range s.inner.List(ctx, prefix) {
			if !yield(i, err) {
				return
			}
		}
		if err := after(nil); err != nil {
			yield(store.Info{}, err)
		}
	}
}

func (s steps) Put(ctx context.Context, name string, content io.ReadSeeker, size int64, o store.PutOptions) error {
	after, err := s.begin("put", s.below+name)
	if err != nil {
		return err
	}
	return after(s.inner.Put(ctx, name, content, size, o))
}

func (s steps) Rename(ctx context.Context, from, to string) error {
	after, err := s.begin("rename", s.below+from)
	if err != nil {
		return err
	}
	return after(s.inner.Rename(ctx, from, to))
}

func (s steps) Delete(ctx context.Context, name string) error {
	after, err := s.begin("delete", s.below+name)
	if err != nil {
		return err
	}
	return after(s.inner.Delete(ctx, name))
}
