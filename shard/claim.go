package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/shard/store"
)

// A Claim is what vitago/claims/N.GENERATION.json says: which worker has a shard. It is a hint, and saves work: two workers on one shard damage nothing.
type Claim struct {
	Version int       `json:"version"` // of the format
	Shard   int       `json:"shard"`   // its number
	Worker  string    `json:"worker"`  // who has it, by name
	Lease   float64   `json:"lease"`   // seconds after which it is another's, if it does not change
	Beat    int       `json:"beat"`    // how often it was renewed
	Rows    int       `json:"rows"`    // so far
	Since   time.Time `json:"since"`   // by the clock of the worker, for people
}

// parseClaim reads a claim.
func parseClaim(text []byte, n int) (*Claim, error) {
	c := &Claim{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if c.Version != version || c.Shard != n || unfit.MatchString(c.Worker) || c.Worker == "" || !(c.Lease > 0 && c.Lease <= maxLease.Seconds()) || c.Rows < 0 {
		return nil, fmt.Errorf("%w: version %d, shard %d, worker %.100q, lease %v s, %d rows", ErrDamaged, c.Version, c.Shard, c.Worker, c.Lease, c.Rows)
	}
	return c, nil
}

// DefaultLease is how long a claim lasts that is not renewed. A worker renews its own three times in that.
const DefaultLease = time.Minute

const maxLease = 24 * time.Hour

// ClaimOptions are choices of [Job.Claims]. The zero value is fine.
type ClaimOptions struct {
	Lease time.Duration // 0 is [DefaultLease]
}

// Claims is a source of the shards that no other worker has, by files in the output: the first that puts the claim has the shard. Another takes it
// over when it has seen the claim unchanged for a whole lease by its own clock, or at once if the worker was a process of this machine that is
// gone. While others have all that is left, Next waits. end gives back the claims that are left, and says that this worker is gone.
func (j *Job) Claims(ctx context.Context, o ClaimOptions) (s Source, end func(), err error) {
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Lease < 0 || o.Lease > maxLease {
		return s, nil, fmt.Errorf("shard: a lease of %v, want more than 0 and at most %v", o.Lease, maxLease)
	}
	c := &claims{job: j, lease: o.Lease, mine: map[int]*held{}, seen: map[int]sight{}, tried: map[int]bool{}, now: time.Now, wait: wait}
	if !store.IsLocal(j.location) {
		c.relist = relistAfter
	}
	if c.unlock, err = markAlive(j.worker); err != nil {
		return s, nil, err
	}
	return Source{Next: c.next, Alive: func(n, rows int) error { c.renew(ctx, n, rows); return nil }, Done: c.done, Beat: o.Lease / 3}, c.close, nil
}

// claims are those of a worker, and what it has seen of others'.
type claims struct {
	job    *Job
	lease  time.Duration
	unlock func()
	now    func() time.Time
	wait   func(ctx context.Context, d time.Duration) error
	relist int // relistAfter, or 0 for never, in a folder, where asking for each is as fast

	todo  []int // numbers in the order in which this worker tries them; nil before the first
	mu    sync.Mutex
	mine  map[int]*held
	seen  map[int]sight // of others
	tried map[int]bool  // has failed in this process
}

// held is a claim of this worker.
type held struct {
	generation int
	mu         sync.Mutex // of what follows, and of the file
	claim      Claim
	released   bool
}

// A sight is a claim of another worker, and since when it is unchanged by the clock of this one.
type sight struct {
	generation int
	version    string
	since      time.Time
	lease      time.Duration
	dead       bool
}

// next claims a shard.
func (c *claims) next(ctx context.Context) (int, bool, error) {
	if c.todo == nil {
		all, err := c.job.Todo(ctx)
		if err != nil {
			return 0, false, err
		}
		h := fnv.New64a()
		h.Write([]byte(c.job.worker))
		at := 0
		if len(all) > 0 { // workers begin at different places, and each goes on through consecutive shards
			at = int(h.Sum64() % uint64(len(all)))
		}
		c.todo = append(append(make([]int, 0, len(all)), all[at:]...), all[:at]...)
	}
	passed := 0
	pause := firstPause
pass:
	for {
		left := c.todo[:0:0]
		soonest := c.lease / 3 // what another has done, it has for no longer than that
		for i, n := range c.todo {
			got, free, err := c.claim(ctx, n)
			if err != nil {
				return 0, false, err
			}
			switch {
			case got:
				c.todo = append(left, c.todo[i+1:]...)
				return n, true, nil
			case free >= 0: // another has it
				left = append(left, n)
				soonest = min(soonest, free)
			default: // it is done
				if passed++; passed == c.relist {
					passed = 0
					if c.todo, err = c.still(ctx, append(left, c.todo[i+1:]...)); err != nil {
						return 0, false, err
					}
					continue pass
				}
			}
		}
		if c.todo = left; len(left) == 0 {
			return 0, false, nil
		}
		if err := c.wait(ctx, min(max(soonest, firstPause), pause)); err != nil {
			return 0, false, err
		}
		pause = min(2*pause, c.lease)
	}
}

// relistAfter is how many shards in a row a worker finds done before it lists what is left: each is some eight requests, and a list of a thousand
// names is one, so that this is less for a hundred thousand shards too.
const relistAfter = 64

// still returns those of some shards that are to be done still.
func (c *claims) still(ctx context.Context, some []int) ([]int, error) {
	all, err := c.job.Todo(ctx) // sorted
	return slices.DeleteFunc(some, func(n int) bool { _, is := slices.BinarySearch(all, n); return !is }), err
}

// firstPause is how long a worker waits for others at first: small shards are done in that. It doubles.
const firstPause = 100 * time.Millisecond

// claim tries to get a shard. If another has it, free is how long it will be until the claim can be taken over; it is negative if there is nothing
// left to do.
func (c *claims) claim(ctx context.Context, n int) (got bool, free time.Duration, err error) {
	c.mu.Lock()
	tried := c.tried[n]
	c.mu.Unlock()
	if tried {
		return false, -1, nil
	}
	generation, info, err := c.job.latest(ctx, "claims", n)
	if err != nil {
		return false, 0, err
	}
	if generation >= 0 {
		if free, err := c.look(ctx, n, generation, info); err != nil || free > 0 {
			if err == nil && c.finished(ctx, n) {
				return false, -1, nil
			}
			return false, free, err
		}
	}
	if s, err := c.job.state(ctx, n); err != nil {
		return false, 0, err
	} else if s.record != nil || s.failure != nil && s.failure.Useless && !c.job.o.RetryFailed {
		return false, -1, nil
	}
	h := &held{generation: generation + 1, claim: Claim{version, n, c.job.worker, c.lease.Seconds(), 0, 0, c.now().UTC()}}
	err = store.Write(ctx, c.job.store, c.job.claimName(n, h.generation), folder.MustJSON(&h.claim), store.PutOptions{IfAbsent: true})
	if errors.Is(err, store.ErrExists) {
		return false, c.lease, nil // another was faster
	}
	if err != nil {
		return false, 0, err
	}
	c.mu.Lock()
	c.mine[n] = h
	delete(c.seen, n)
	c.mu.Unlock()
	return true, 0, nil
}

// finished says whether a shard that another has is done: who died behind its record left the claim.
func (c *claims) finished(ctx context.Context, n int) bool {
	generation, _, err := c.job.latest(ctx, "shards", n)
	if err != nil || generation < 0 {
		return false
	}
	s, err := c.job.state(ctx, n)
	return err == nil && s.record != nil
}

// look returns how long it will be until the claim of another can be taken over, by what this worker has seen of it.
func (c *claims) look(ctx context.Context, n, generation int, info store.Info) (time.Duration, error) {
	now, was := c.now(), c.seen[n]
	if was.version != info.Version || was.generation != generation {
		text, _, err := store.Read(ctx, c.job.store, c.job.claimName(n, generation), maxSmall)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil // it was given up meanwhile
		}
		if err != nil {
			return 0, err
		}
		was = sight{generation: generation, version: info.Version, since: now, lease: c.lease}
		if claim, err := parseClaim(text, n); err == nil { // or it is damaged, and nobody renews it
			was.lease = max(was.lease, time.Duration(claim.Lease*float64(time.Second)))
			was.dead = isDead(claim.Worker)
		}
		c.seen[n] = was
	}
	if was.dead {
		return 0, nil
	}
	return max(was.lease-now.Sub(was.since), 0), nil
}

// renew says that this worker is at work.
func (c *claims) renew(ctx context.Context, n, rows int) {
	c.mu.Lock()
	h := c.mine[n]
	c.mu.Unlock()
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		return
	}
	h.claim.Beat++
	h.claim.Rows = rows
	// That it could not be renewed may cost the claim, and harms nothing else.
	_ = store.Write(ctx, c.job.store, c.job.claimName(n, h.generation), folder.MustJSON(&h.claim), store.PutOptions{})
}

// done gives a claim up.
func (c *claims) done(n int, _ *Record, err error) {
	c.mu.Lock()
	h := c.mine[n]
	delete(c.mine, n)
	c.tried[n] = err != nil
	c.mu.Unlock()
	if h == nil {
		return
	}
	c.release(n, h)
}

// release deletes a claim and those that it has taken over.
func (c *claims) release(n int, h *held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.released = true
	ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
	defer cancel()
	for g := h.generation; g >= 0; g-- {
		if c.job.store.Delete(ctx, c.job.claimName(n, g)) != nil {
			return // it ends by itself
		}
	}
}

// releaseTime bounds how long the end of a worker takes.
const releaseTime = 5 * time.Second

func (c *claims) close() {
	c.mu.Lock()
	all := c.mine
	c.mine = map[int]*held{}
	c.mu.Unlock()
	for n, h := range all {
		c.release(n, h)
	}
	c.unlock()
}

// wait waits, or returns the cause of ctx's end.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A worker locks a file of this machine by its name while it lives. The system lets go of the lock of a process that has died, whatever it died of,
// and a process that is paused keeps it.
func lockFile(worker string) string {
	return filepath.Join(os.TempDir(), "vitago-worker-"+worker+".lock")
}

// markAlive locks the file of a worker.
func markAlive(worker string) (unlock func(), err error) {
	unlock, err = folder.Lock(lockFile(worker))
	if err != nil {
		return nil, fmt.Errorf("shard: %w", err)
	}
	return unlock, nil
}

// isDead says whether a worker was a process of this machine that is gone. Nobody knows of one of another machine.
func isDead(worker string) bool {
	path := lockFile(worker)
	if _, err := os.Stat(path); err != nil {
		return false
	}
	l := flock.New(path)
	ok, err := l.TryLock()
	if err != nil || !ok {
		return false
	}
	_ = l.Unlock() // the file stays: others want to know it too
	return true
}
