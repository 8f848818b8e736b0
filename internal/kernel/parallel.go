package kernel

import (
	"runtime"
	"sync/atomic"
	"time"
)

// parallel calls f for every item in [0,items), on as many processors as there are, and returns when all calls have.
// It hands items out one by one, so that cores of different speeds end together.
//
// Where as many goroutines compute as there are processors, each does its items alone; see [Enter].
//
// An image takes hundreds of such calls, a few milliseconds each. Goroutines started for each call would have to wake
// a sleeping core every time, which takes longer than some of the calls. The workers therefore stay, and spin for a
// while before they sleep.
func parallel(items int, f func(item int)) {
	n := min(items, processors())
	if n <= 1 {
		for i := range items {
			f(i)
		}
		return
	}
	j := &job{f: f, items: int64(items), finished: make(chan struct{})}
	j.slots.Store(int64(n - 1))
	workers.post(j, n-1)
	j.work()
	for idle := new(patience); j.done.Load() < j.items; {
		if !idle.wait() {
			<-j.finished
			break
		}
	}
	workers.job.CompareAndSwap(j, nil)
}

// inside is how many goroutines are between [Enter] and [Leave].
var inside atomic.Int64

// Enter says that the calling goroutine computes, one call of this package after the other, until it calls [Leave]. While as many
// goroutines do so as there are processors, no call hands out items: each processor has work of its own, waits for no other, and
// what it computes lies in its own cache. When one of them leaves, the others are helped again. The results have the same bits.
func Enter() { inside.Add(1) }

// Leave ends what [Enter] began.
func Leave() { inside.Add(-1) }

// Idle returns how many processors have no goroutine that has entered.
func Idle() int { return runtime.GOMAXPROCS(0) - int(inside.Load()) }

// processors returns how many processors a call computes on.
func processors() int {
	if n := runtime.GOMAXPROCS(0); int(inside.Load()) < n {
		return n
	}
	return 1
}

const (
	// spinning is how long a worker looks for the next job, and a caller whether its job is done, before it sleeps: a
	// processor that sleeps takes about a hundred microseconds to wake, as long as what lies between two jobs.
	spinning = 300 * time.Microsecond
	// pauses is after how many looks others get the processor: some tens of microseconds.
	pauses = 1 << 10
)

// A patience is that of somebody who looks for something again and again.
type patience struct {
	looks int
	since time.Time // when the clock was read first
}

// wait lets a moment pass, and reports whether to look again. Now and then it lets other goroutines run, and other threads: on a
// processor for which several of them compete, the one that is waited for may be among these.
func (p *patience) wait() bool {
	pause()
	if p.looks++; p.looks%pauses != 0 {
		return true
	}
	runtime.Gosched()
	yield()
	if p.looks == pauses { // not before: the others may have had the processor for longer than all of it
		p.since = time.Now()
		return true
	}
	return time.Since(p.since) < spinning
}

// A job is one call of parallel.
type job struct {
	f          func(item int)
	items      int64
	slots      atomic.Int64 // for workers that have not come yet
	next, done atomic.Int64 // items handed out; items done
	finished   chan struct{}
}

// work does items until none is left.
func (j *job) work() {
	for {
		i := j.next.Add(1) - 1
		if i >= j.items {
			return
		}
		j.f(int(i))
		if j.done.Add(1) == j.items {
			close(j.finished)
		}
	}
}

// open reports whether the job has room for one more worker.
func (j *job) open() bool { return j != nil && j.slots.Load() > 0 && j.next.Load() < j.items }

// workers are the goroutines that help with all jobs. They see one job at a time, the last that was posted: several
// callers keep the processors busy by themselves.
var workers = workerGroup{wake: make(chan struct{}, 1)}

type workerGroup struct {
	job      atomic.Pointer[job]
	started  atomic.Int64 // goroutines
	sleeping atomic.Int64
	wake     chan struct{}
}

// post shows j to n workers, and starts those that are missing.
func (h *workerGroup) post(j *job, n int) {
	for c := h.started.Load(); c < int64(n); c = h.started.Load() {
		if h.started.CompareAndSwap(c, c+1) {
			go h.run()
		}
	}
	h.job.Store(j)
	// A worker that goes to sleep looks once more after it has said so: either it sees j, or we see it sleep.
	if h.sleeping.Load() > 0 {
		h.wakeOne()
	}
}

func (h *workerGroup) wakeOne() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run does the work of a worker. It never returns.
func (h *workerGroup) run() {
	var idle patience
	for {
		if j := h.job.Load(); j.open() && j.slots.Add(-1) >= 0 {
			if j.open() && h.sleeping.Load() > 0 {
				h.wakeOne() // a worker wakes the next
			}
			j.work()
			idle = patience{}
			continue
		}
		if idle.wait() {
			continue
		}
		h.sleeping.Add(1)
		if !h.job.Load().open() {
			<-h.wake
		}
		h.sleeping.Add(-1)
		idle = patience{}
	}
}

// parallelRows calls f for bands [from,to) that cover rows rows of width elements each; a band is
// large enough that handing it out costs nothing.
func parallelRows(rows, width int, f func(from, to int)) {
	const elements = 1 << 14 // about 5 µs of streaming
	band := max(1, elements/max(1, width))
	parallel((rows+band-1)/band, func(i int) {
		f(i*band, min(rows, (i+1)*band))
	})
}
