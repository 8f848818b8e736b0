package shardtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// A Fleet is processes that work at one dataset, and what is done to them.
//
// When is a matter of how many shards are done, not of time: a fault comes when a number of them is, which is drawn at random, and so
// faults lie over the whole work, on any machine.
type Fleet struct {
	Workers int // 0, 1, …; those of an Indexed Job are its indexes
	AtOnce  int // at most so many at the same time; 0: all
	Shards  int // of the dataset
	// Start returns the process of a worker, not yet started. It ends with status 0 when it has nothing left to do.
	Start func(worker int) *exec.Cmd
	// Done returns how many shards are done.
	Done func(ctx context.Context) (int, error)
	// After says what becomes of a worker whose process has ended; nil starts it again unless its status is 0, 2 or 42.
	After func(Exit) Next
	// Driver returns a process that hands out shards, not yet started, nil if there is none. It is there until the workers are done.
	// It may end with status 0 before that, when it has nothing left to hand out.
	Driver func() *exec.Cmd
	// Tick is called when the number of shards that are done has changed, and before the first is; nil is fine. An error ends the run.
	Tick func(done int) error

	Seed        uint64 // of the moments of faults, and whom they meet
	Kills       int    // with SIGKILL, of workers
	Pauses      int    // with SIGSTOP; it ends when a few more shards are done, or nothing happens any more
	Twins       int    // a second process of a worker that has one
	DriverKills int    // with SIGKILL, of the driver
}

// An Exit is the end of a worker's process.
type Exit struct {
	Worker int    // its number
	Status int    // -1 after a signal
	Killed bool   // by the fleet
	Output string // the end of what it wrote
}

// Next is what becomes of a worker.
type Next int

const (
	Again    Next = iota // it is started again
	Finished             // it has nothing left to do
	Failed               // it is not started again, and the run goes on
)

// after is the default: 2 is wrong usage and 42 bad input, of which the same would come again.
func after(e Exit) Next {
	switch e.Status {
	case 0:
		return Finished
	case 2, 42:
		return Failed
	}
	return Again
}

// Faults are what a fleet did, and what became of its workers.
type Faults struct {
	Kills, Pauses, Twins, DriverKills int    // how often each was done
	Ended                             []Exit // those that were not killed by the fleet and whose status was not 0
	Failed                            []Exit // those whose worker was not started again, for a fault
}

// kinds of faults
const (
	kill = iota
	pause
	twin
	killDriver
)

// A fault comes when so many shards are done.
type fault struct{ kind, at int }

// A process is a worker's.
type process struct {
	worker int
	cmd    *exec.Cmd
	out    *tail
	killed bool
	until  int // paused until so many shards are done; 0 if it is not
	twin   bool
	err    error
}

// stalled is how long nothing may happen until paused processes go on.
const stalled = time.Second

// starts bounds the attempts of a worker that were not ended by the fleet.
const starts = 100

// Run starts the workers and returns when each has finished or failed. An error is of the fleet: a process cannot be started, a worker never
// ends, the driver ended by itself, or ctx has ended.
func (f Fleet) Run(ctx context.Context) (faults Faults, err error) {
	if f.Pauses > 0 && !canPause {
		return faults, fmt.Errorf("shardtest: pauses: %w", errors.ErrUnsupported)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rng := rand.New(rand.NewPCG(f.Seed, 18))
	var plan []fault
	for kind, n := range []int{f.Kills, f.Pauses, f.Twins, f.DriverKills} {
		for range n {
			plan = append(plan, fault{kind, rng.IntN(max(f.Shards*9/10, 1))}) // towards the end nobody may be at work
		}
	}
	slices.SortStableFunc(plan, func(a, b fault) int { return cmp.Compare(a.at, b.at) })

	ends := make(chan *process)
	var waits sync.WaitGroup
	var live []*process
	launch := func(worker int, cmd *exec.Cmd) (*process, error) {
		p := &process{worker: worker, cmd: cmd, out: &tail{}}
		cmd.Stdout, cmd.Stderr = p.out, p.out
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("shardtest: %w", err)
		}
		waits.Go(func() { p.err = cmd.Wait(); ends <- p })
		return p, nil
	}
	var driver *process
	defer func() { // whatever happens, no process is left
		all := live
		if driver != nil {
			all = append(all, driver)
		}
		for _, p := range all {
			_ = p.cmd.Process.Kill() // one that has ended is what is wanted
		}
		go func() { waits.Wait(); close(ends) }()
		for range ends {
		}
	}()
	startDriver := func() (err error) {
		if f.Driver != nil {
			driver, err = launch(-1, f.Driver())
		}
		return err
	}
	if err := startDriver(); err != nil {
		return faults, err
	}
	var waiting []int // workers that are to be started
	for i := range f.Workers {
		waiting = append(waiting, i)
	}
	tries := make([]int, f.Workers)
	done, told, changed := 0, -1, time.Now()
	// do does what a fault says, if there is somebody to do it to.
	do := func(x fault) (bool, error) {
		if x.kind == killDriver {
			if driver == nil || driver.killed {
				return driver == nil, nil
			}
			driver.killed = true
			faults.DriverKills++
			return true, driver.cmd.Process.Kill()
		}
		var may []*process
		for _, p := range live {
			if !p.killed && p.until == 0 {
				may = append(may, p)
			}
		}
		if len(may) == 0 {
			return false, nil
		}
		p := may[rng.IntN(len(may))]
		switch x.kind {
		case kill:
			p.killed = true
			faults.Kills++
			return true, ended(p.cmd.Process.Kill())
		case pause:
			p.until = done + 1 + rng.IntN(4)
			faults.Pauses++
			return true, ended(stop(p.cmd.Process))
		default:
			t, err := launch(p.worker, f.Start(p.worker))
			if err == nil {
				t.twin = true
				live = append(live, t)
				faults.Twins++
			}
			return true, err
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		for len(waiting) > 0 && (f.AtOnce == 0 || len(live) < f.AtOnce) {
			p, err := launch(waiting[0], f.Start(waiting[0]))
			if err != nil {
				return faults, err
			}
			live, waiting = append(live, p), waiting[1:]
		}
		if len(live) == 0 {
			return faults, nil
		}
		select {
		case <-ctx.Done():
			return faults, fmt.Errorf("shardtest: %d of %d shards are done, and %d processes at work: %w", done, f.Shards, len(live), context.Cause(ctx))
		case p := <-ends:
			changed = time.Now()
			if p == driver {
				if !p.killed && p.err == nil {
					driver = nil
					continue
				}
				if !p.killed {
					return faults, fmt.Errorf("shardtest: the driver ended by itself: %w: %s", p.err, p.out)
				}
				if err := startDriver(); err != nil {
					return faults, err
				}
				continue
			}
			live = slices.DeleteFunc(live, func(o *process) bool { return o == p })
			e := Exit{Worker: p.worker, Status: p.cmd.ProcessState.ExitCode(), Killed: p.killed, Output: p.out.String()}
			if e.Status != 0 && !p.killed {
				faults.Ended = append(faults.Ended, e)
			}
			decide := f.After
			if decide == nil {
				decide = after
			}
			if p.twin {
				continue // its other half decides
			}
			switch decide(e) {
			case Failed:
				faults.Failed = append(faults.Failed, e)
			case Again:
				if !p.killed {
					if tries[p.worker]++; tries[p.worker] > starts {
						return faults, fmt.Errorf("shardtest: worker %d has ended %d times by itself, with status %d: %s", p.worker, starts, e.Status, e.Output)
					}
				}
				waiting = append(waiting, p.worker)
			}
		case <-tick.C:
			n, err := f.Done(ctx)
			if err != nil {
				return faults, err
			}
			if n != told {
				if told = n; f.Tick != nil {
					if err := f.Tick(n); err != nil {
						return faults, err
					}
				}
			}
			if n != done {
				done, changed = n, time.Now()
			}
			for len(plan) > 0 && plan[0].at <= done {
				did, err := do(plan[0])
				if err != nil {
					return faults, err
				}
				if !did {
					break
				}
				plan = plan[1:]
			}
			for _, p := range live {
				if p.until > 0 && (done >= p.until || time.Since(changed) > stalled) {
					p.until = 0
					if err := ended(proceed(p.cmd.Process)); err != nil {
						return faults, err
					}
				}
			}
		}
	}
}

// ended leaves out the error of a process that has just ended.
func ended(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// A tail keeps the end of what a process writes.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

const tailSize = 1 << 12

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b.Write(p)
	if over := t.b.Len() - tailSize; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}
