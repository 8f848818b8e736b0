package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f for every item in [0,items), on as many goroutines as there are processors, and
// returns when all calls have. Items are handed out one by one: cores that run at different speeds
// end together.
func parallel(items int, f func(item int)) {
	workers := min(items, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		for i := range items {
			f(i)
		}
		return
	}
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= items {
				return
			}
			f(i)
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
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
