package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestParallel: every item is done once, and before parallel returns: with more callers than processors, with calls within
// calls, and with an item for which the others wait longer than they spin.
func TestParallel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, processors := range []int{1, 2, 3} {
		runtime.GOMAXPROCS(processors)
		var callers sync.WaitGroup
		for caller := range 4 * processors {
			callers.Go(func() {
				for turn := range 20 {
					items, inner := (caller+turn)%9, turn%3
					done := make([]atomic.Int32, max(1, items*inner))
					parallel(items, func(i int) {
						if i == 1 && turn == 10 {
							time.Sleep(5 * time.Millisecond)
						}
						parallel(inner, func(j int) { done[i*inner+j].Add(1) })
					})
					for i := range items * inner {
						if n := done[i].Load(); n != 1 {
							t.Errorf("%d processors, caller %d, %d by %d items: item %d was done %d times", processors, caller, items, inner, i, n)
						}
					}
				}
			})
		}
		callers.Wait()
	}
}
