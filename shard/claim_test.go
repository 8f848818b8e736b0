package shard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitago/vitago/shard/input"
	"github.com/vitago/vitago/shard/store"
)

// claimsOf returns the claims of a job by a clock of its own, which goes on when they wait. After most waits the error is errWaited.
func claimsOf(t *testing.T, j *Job, clock *time.Time, most int) *claims {
	t.Helper()
	unlock, err := markAlive(j.worker)
	if err != nil {
		t.Fatal(err)
	}
	c := &claims{job: j, lease: time.Minute, mine: map[int]*held{}, seen: map[int]sight{}, tried: map[int]bool{}, relist: relistAfter, unlock: unlock,
		now: func() time.Time { return *clock },
		wait: func(_ context.Context, d time.Duration) error {
			if most--; most < 0 {
				return errWaited
			}
			*clock = clock.Add(d)
			return nil
		}}
	t.Cleanup(c.close)
	return c
}

var errWaited = errors.New("waited for long")

// take claims all that there is.
func take(t *testing.T, c *claims, n int) (all []int) {
	t.Helper()
	for range n {
		n, ok, err := c.next(t.Context())
		if err != nil || !ok {
			t.Fatalf("after %v: ok %v, error %v", all, ok, err)
		}
		all = append(all, n)
	}
	return all
}

// TestClaims: what a worker has, no other gets, as long as it renews its claims; and what it does not renew for a lease, another takes over.
func TestClaims(t *testing.T) {
	in, out := photos(t, 3, nil), t.TempDir()
	o := Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 1}, Resume: true}
	clock := time.Now()
	a := claimsOf(t, open(t, o), &clock, 0)
	got := take(t, a, 3)
	slices.Sort(got)
	if !slices.Equal(got, []int{0, 1, 2}) {
		t.Fatalf("claimed are %v, want 0 to 2", got)
	}
	b := claimsOf(t, open(t, o), &clock, 1000)
	before := clock
	wait := b.wait
	b.wait = func(ctx context.Context, d time.Duration) error {
		if clock.Sub(before) < 10*time.Minute {
			for n := range 3 {
				a.renew(t.Context(), n, n)
			}
		}
		return wait(ctx, d)
	}
	n := take(t, b, 1)[0]
	if waited := clock.Sub(before); waited < 11*time.Minute || waited > 12*time.Minute {
		t.Errorf("shard %d was taken over after %v, want a minute after the last renewal, which is after ten", n, waited)
	}
	if _, err := os.Stat(filepath.Join(out, "vitago", "claims", fmt.Sprintf("%d.1.json", n))); err != nil {
		t.Error(err)
	}
	// The one who was paused renews what is not its own any more, and nobody loses anything by it.
	a.renew(t.Context(), n, 5)
	if g, _, err := b.job.latest(t.Context(), "claims", n); err != nil || g != 1 {
		t.Errorf("generation %d, error %v, want 1", g, err)
	}
	b.done(n, &Record{}, nil)
	if left, _ := filepath.Glob(filepath.Join(out, "vitago", "claims", fmt.Sprintf("%d.*", n))); len(left) > 0 {
		t.Errorf("claims %v are left", left)
	}
}

// TestClaimsOfTheDead: what a process of this machine had that is gone is taken over at once.
func TestClaimsOfTheDead(t *testing.T) {
	in, out := photos(t, 2, nil), t.TempDir()
	o := Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 1}, Resume: true}
	clock := time.Now()
	a := claimsOf(t, open(t, o), &clock, 0)
	take(t, a, 2)
	path := lockFile(a.job.worker)
	a.unlock() // as the system does it
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	b := claimsOf(t, open(t, o), &clock, 0)
	if got := take(t, b, 2); len(got) != 2 {
		t.Errorf("taken over are %v, want both", got)
	}
}

// counting is a store that counts requests.
type counting struct {
	store.Store
	n *atomic.Int64
}

func (c counting) Open(ctx context.Context, name string, offset, length int64) (store.Reader, error) {
	c.n.Add(1)
	return c.Store.Open(ctx, name, offset, length)
}

func (c counting) Stat(ctx context.Context, name string) (store.Info, error) {
	c.n.Add(1)
	return c.Store.Stat(ctx, name)
}

func (c counting) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	c.n.Add(1)
	return c.Store.List(ctx, prefix)
}

// TestClaimsPassed: a worker that comes to what another has done meanwhile lists what is left, in place of asking for each, and takes all of it.
func TestClaimsPassed(t *testing.T) {
	in, out := photos(t, 24, nil), t.TempDir()
	o := Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 1}, Resume: true}
	clock := time.Now()
	c := claimsOf(t, open(t, o), &clock, 0)
	c.relist = 3
	first := take(t, c, 1)[0]
	other := open(t, o)
	var left []int
	for n := range 24 {
		if n == first {
			continue
		}
		if n%12 == 5 {
			left = append(left, n)
		} else if _, err := other.Shard(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	var requests atomic.Int64
	c.job.store, c.job.location = counting{c.job.store, &requests}, "bucket://of" // in which Todo goes by names
	got := take(t, c, len(left))
	slices.Sort(got)
	if !slices.Equal(got, left) {
		t.Errorf("claimed are %v, want %v", got, left)
	}
	if n, ok, err := c.next(t.Context()); ok || err != nil {
		t.Errorf("number %d, ok %v, error %v, want nothing to do", n, ok, err)
	}
	// Of each of three that are found done, and of at most two before a claim, its claims, its records, the newest of these, and its two files under two names; the list; and of each that is
	// claimed its claims, its records and its failure. Without the list it were 7 for each of 21.
	if n, most := requests.Load(), (2+3)*7+1+3*len(left); int(n) > most {
		t.Errorf("%d requests, want at most %d", n, most)
	}
}

// TestClaimsDone: a claim whose shard is done is no claim, and one that failed for good is left.
func TestClaimsDone(t *testing.T) {
	in, out := photos(t, 2, func(i int) bool { return i == 1 }), t.TempDir()
	o := Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 1}, Resume: true}
	a := open(t, o)
	clock := time.Now()
	c := claimsOf(t, a, &clock, 0)
	take(t, c, 2)
	if r := all(t, a); r.Done != 1 || r.Useless != 1 || !errors.Is(r.First, ErrThreshold) {
		t.Fatalf("%+v, want one done and one useless", r)
	}
	b := claimsOf(t, open(t, o), &clock, 0)
	if n, ok, err := b.next(t.Context()); ok || err != nil {
		t.Errorf("number %d, ok %v, error %v, want nothing to do", n, ok, err)
	}
	o.RetryFailed, o.MaxErrors = true, 1
	again := open(t, o)
	if todo, err := again.Todo(t.Context()); err != nil || !slices.Equal(todo, []int{1}) {
		t.Errorf("to do are %v, error %v, want 1", todo, err)
	}
	if r := all(t, again); r.Done != 1 || r.Before != 1 || r.Failed != 0 {
		t.Errorf("%+v, want one done now and one before", r)
	}
	if _, err := os.Stat(filepath.Join(out, "vitago", "failed", "1.json")); err == nil {
		t.Error("the failure is left")
	}
}
