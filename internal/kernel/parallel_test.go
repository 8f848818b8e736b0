package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestEnter: while as many goroutines have entered as there are processors, items are done in their order by who calls; they are
// handed out before and after.
func TestEnter(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	handedOut := func() bool {
		var together sync.WaitGroup
		together.Add(3)
		parallel(3, func(int) {
			together.Done()
			together.Wait() // for ever if one goroutine does all
		})
		return true
	}
	for entered := range 3 {
		if idle := Idle(); idle != 3-entered || !handedOut() {
			t.Fatalf("%d goroutines have entered: %d processors are idle", entered, idle)
		}
		Enter()
	}
	var order []int
	parallel(100, func(i int) { order = append(order, i) })
	for i, got := range order {
		if got != i {
			t.Fatalf("item %d is done as number %d", got, i)
		}
	}
	if len(order) != 100 || Idle() != 0 {
		t.Errorf("%d items of 100, %d processors are idle", len(order), Idle())
	}
	Leave()
	handedOut()
	Leave()
	Leave()
}

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

// TestPatience: whoever waits is told to look again until the time is over, which may be later where others get the processor.
func TestPatience(t *testing.T) {
	start := time.Now()
	var p patience
	for p.wait() {
	}
	if took := time.Since(start); took < spinning || p.looks%pauses != 0 || p.looks < 2*pauses {
		t.Errorf("patience ends after %v and %d looks, want at least %v and 2·%d", took, p.looks, spinning, pauses)
	}
}
