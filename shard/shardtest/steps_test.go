package shardtest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/shard"
)

var model = sync.OnceValue(func() *clip.Model {
	m, err := demo.Open()
	if err != nil {
		panic(err)
	}
	return m
})

// shortLease is that of workers whose claims nobody gives back.
const shortLease = 20 * time.Millisecond

// inProcess is a worker that claims shards, from the plan on.
func inProcess(ctx context.Context, o shard.Options, lease time.Duration) (r shard.Report, err error) {
	j, err := shard.Open(ctx, model(), o)
	if err != nil {
		return r, err
	}
	s, end, err := j.Claims(ctx, shard.ClaimOptions{Lease: lease})
	if err != nil {
		return r, err
	}
	defer end()
	return j.Work(ctx, s)
}

// small is a dataset of a few shards with what it has to come to, and the operations of one worker that makes it.
func small(t *testing.T, shards int) (tars []string, want Dataset, ops []Op) {
	t.Helper()
	tars = Tars(t, t.TempDir(), Pictures{Shards: shards, PerShard: 3, Broken: 5})
	want = Reference(t, Options("", tars))
	s, at := NewSteps(t.TempDir())
	var mu sync.Mutex
	s.Before = func(o Op) error {
		mu.Lock()
		defer mu.Unlock()
		ops = append(ops, o)
		return nil
	}
	if r, err := inProcess(t.Context(), Options(at, tars), shortLease); err != nil || r.Done != shards {
		t.Fatalf("%+v, error %v", r, err)
	}
	Whole(t, at, want)
	return tars, want, ops
}

// everywhere does something at each operation, before and behind it: several at a time, since each waits for a disk and for leases.
func everywhere(t *testing.T, ops []Op, readsToo bool, do func(o Op, behind bool, out string) error) {
	t.Helper()
	var all errgroup.Group
	all.SetLimit(24)
	for i, o := range ops {
		for _, behind := range []bool{false, true} {
			if behind && !o.Changes() && !readsToo {
				continue // as before the next
			}
			if !*full && !o.Changes() && i%3 > 0 {
				continue // what only reads is left as it was
			}
			out := filepath.Join(t.TempDir(), "out")
			all.Go(func() error {
				if err := do(o, behind, out); err != nil {
					return fmt.Errorf("%v, behind it %v: %w", o, behind, err)
				}
				return nil
			})
		}
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}

// shards is of how many a dataset of these tests has.
func shards() int {
	if *full {
		return 3
	}
	return 1
}

// at hooks a function in before or behind operations.
func (s *Steps) at(behind bool, hook func(Op) error) {
	if behind {
		s.After = hook
	} else {
		s.Before = hook
	}
}

// A worker ends at every operation, before or behind it, and another makes what is left.
func TestEndsAnywhere(t *testing.T) {
	tars, want, ops := small(t, shards())
	everywhere(t, ops, false, func(o Op, behind bool, out string) error {
		s, at := NewSteps(out)
		s.at(behind, func(x Op) error {
			if x.Number >= o.Number {
				return ErrEnd
			}
			return nil
		})
		if r, err := inProcess(t.Context(), Options(at, tars), shortLease); err != nil && !errors.Is(err, ErrEnd) || err == nil && r.Done+r.Before < want.Shards {
			return fmt.Errorf("%+v, error %v", r, err) //nolint:errorlint // err may be nil, which %w does not write
		}
		if r, err := inProcess(t.Context(), Options(out, tars), shortLease); err != nil || r.Failed > 0 {
			return fmt.Errorf("the next worker: %+v, error %v", r, err) //nolint:errorlint // err may be nil, which %w does not write
		}
		return Compare(t.Context(), out, want)
	})
}

// An operation fails, with or without having been done, as a store does that answers 500: the worker goes on, or says that another attempt may help.
func TestFailsAnywhere(t *testing.T) {
	tars, want, ops := small(t, shards())
	lost := errors.New("500, say")
	everywhere(t, ops, true, func(o Op, behind bool, out string) error {
		s, at := NewSteps(out)
		s.at(behind, func(x Op) error {
			if x.Number == o.Number {
				return lost
			}
			return nil
		})
		if r, err := inProcess(t.Context(), Options(at, tars), shortLease); err != nil && (!errors.Is(err, lost) || shard.Useless(err)) || r.Useless > 0 {
			return fmt.Errorf("%+v, error %v", r, err) //nolint:errorlint // err may be nil, which %w does not write
		}
		if r, err := inProcess(t.Context(), Options(out, tars), shortLease); err != nil || r.Failed > 0 {
			return fmt.Errorf("the second attempt: %+v, error %v", r, err) //nolint:errorlint // err may be nil, which %w does not write
		}
		return Compare(t.Context(), out, want)
	})
}

// A worker stands still at every operation, before or behind it, while another takes over and makes everything; then it goes on.
func TestPausedAnywhere(t *testing.T) {
	tars, want, ops := small(t, shards())
	everywhere(t, ops, false, func(o Op, behind bool, out string) error {
		s, at := NewSteps(out)
		there, goOn := make(chan bool), make(chan bool)
		var once sync.Once
		stand := func(from int) func(Op) error {
			return func(x Op) error {
				if x.Number >= from {
					once.Do(func() { close(there) })
					<-goOn
				}
				return nil
			}
		}
		s.Before = stand(o.Number + 1)
		s.at(behind, stand(o.Number))
		var first shard.Report
		var err error
		ended := make(chan bool)
		go func() {
			defer close(ended)
			first, err = inProcess(t.Context(), Options(at, tars), shortLease)
		}()
		select {
		case <-there:
		case <-ended: // it had fewer operations this time
		}
		second, err2 := inProcess(t.Context(), Options(out, tars), shortLease)
		close(goOn)
		<-ended
		if err2 != nil || second.Failed > 0 {
			return fmt.Errorf("who took over: %+v, error %v", second, err2) //nolint:errorlint // err may be nil, which %w does not write
		}
		if err != nil || first.Failed > 0 {
			return fmt.Errorf("who stood still: %+v, error %v", first, err) //nolint:errorlint // err may be nil, which %w does not write
		}
		return Compare(t.Context(), out, want)
	})
}
