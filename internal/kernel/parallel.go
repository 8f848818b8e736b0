package kernel

import (
	"runtime"
	"sync/atomic"
)

// parallel calls f for every item in [0,items), on as many processors as there are, and returns when all
// calls have. Items are handed out one by one: cores that run at different speeds end together.
//
// An image takes hundreds of such calls, a few milliseconds each. To start goroutines for each would wake a
// sleeping core every time, which takes it longer than some of the calls; so the goroutines that help stay,
// and look out for the next call a while before they sleep.
func parallel(items int, f func(item int)) {
	n := min(items, runtime.GOMAXPROCS(0))
	if n <= 1 {
		for i := range items {
			f(i)
		}
		return
	}
	j := &job{f: f, items: int64(items), finished: make(chan struct{})}
	j.places.Store(int64(n - 1))
	workers.post(j, n-1)
	j.work()
	for range spins {
		if j.done.Load() == j.items {
			break
		}
	}
	<-j.finished
	workers.job.CompareAndSwap(j, nil)
}

// spins is how often a goroutine looks before it sleeps: for some tens of microseconds.
const spins = 1 << 15

// A job is one call of parallel.
type job struct {
	f          func(item int)
	items      int64
	places     atomic.Int64 // for workerGroup that have not come yet
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

// open reports whether a helper is wanted.
func (j *job) open() bool { return j != nil && j.places.Load() > 0 && j.next.Load() < j.items }

// workers are the goroutines that help. They see one job at a time, the last that was posted: callers
// beside each other keep the processors busy by themselves.
var workers = workerGroup{wake: make(chan struct{}, 1)}

type workerGroup struct {
	job      atomic.Pointer[job]
	count    atomic.Int64 // of goroutines
	sleeping atomic.Int64
	wake     chan struct{}
}

// post shows j to n workerGroup.
func (h *workerGroup) post(j *job, n int) {
	for c := h.count.Load(); c < int64(n); c = h.count.Load() {
		if h.count.CompareAndSwap(c, c+1) {
			go h.run()
		}
	}
	h.job.Store(j)
	// A helper that goes to sleep looks once more after it has said so: either it sees j or we see it.
	if h.sleeping.Load() > 0 {
		h.rouse()
	}
}

func (h *workerGroup) rouse() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run helps for ever.
func (h *workerGroup) run() {
	for idle := 0; ; idle++ {
		if j := h.job.Load(); j.open() && j.places.Add(-1) >= 0 {
			if j.open() && h.sleeping.Load() > 0 {
				h.rouse() // one wakes the other
			}
			j.work()
			idle = 0
			continue
		}
		if idle < spins {
			continue
		}
		h.sleeping.Add(1)
		if !h.job.Load().open() {
			<-h.wake
		}
		h.sleeping.Add(-1)
		idle = 0
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
