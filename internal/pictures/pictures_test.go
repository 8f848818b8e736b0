package pictures

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// settled fails the test if there are more goroutines than before, after a while.
func settled(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines are left, there were %d", now, before)
	}
}

type item struct {
	number int
	parts  []int
}

// TestInOrder: items come in order and whole, however long each takes. No more is done at a time than there are
// workers, and no more is begun than may be.
func TestInOrder(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, c := range []struct{ items, ahead, workers int }{{0, 1, 1}, {1, 0, 1}, {30, 0, 1}, {30, 1, 4}, {30, 5, 2}, {5, 100, 100}} {
		var begun, busy atomic.Int64
		used := int64(0)
		w := Work[*item]{
			Items: c.items, Ahead: c.ahead, Workers: c.workers,
			Begin: func(i int) (*item, int) {
				if n := begun.Add(1); n != int64(i+1) {
					t.Errorf("item %d is begun as number %d", i, n)
				}
				return &item{i, make([]int, i%4)}, i % 4
			},
			Do: func(x *item, part int) {
				if n := busy.Add(1); n > int64(c.workers) {
					t.Errorf("%d parts at a time, want at most %d", n, c.workers)
				}
				defer busy.Add(-1)
				time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
				x.parts[part]++
			},
		}
		for x, err := range InOrder(t.Context(), w) {
			if err != nil || x.number != int(used) {
				t.Fatalf("got item %d, want %d: %v", x.number, used, err)
			}
			for part, n := range x.parts {
				if n != 1 {
					t.Errorf("part %d of item %d is done %d times", part, x.number, n)
				}
			}
			used++
			if n := begun.Load(); n > used+int64(c.ahead) {
				t.Errorf("%d are begun, %d ahead, want at most %d", n, n-used, c.ahead)
			}
		}
		if used != int64(c.items) {
			t.Errorf("%d items, want %d", used, c.items)
		}
	}
	settled(t, before)
}

// TestAhead: what may be made ahead is made while the caller works.
func TestAhead(t *testing.T) {
	const ahead = 3
	var done atomic.Int64
	w := Work[int]{
		Items: 10, Ahead: ahead, Workers: 2,
		Begin: func(i int) (int, int) { return i, 1 }, Do: func(int, int) { done.Add(1) },
	}
	for i, err := range InOrder(t.Context(), w) {
		if err != nil {
			t.Fatal(err)
		}
		want := int64(min(i+1+ahead, w.Items))
		for deadline := time.Now().Add(10 * time.Second); done.Load() < want && time.Now().Before(deadline); {
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Millisecond) // for one too many
		if n := done.Load(); n != want {
			t.Errorf("%d are done at %d, want %d", n, i, want)
		}
	}
}

// TestEarlyEnd: when the loop is left, or the context ends, all that was started has ended.
func TestEarlyEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	why := errors.New("why")
	for stop := range 12 {
		for _, end := range []string{"break", "context", "context in the work"} {
			ctx, cancel := context.WithCancelCause(context.Background())
			var busy atomic.Int64
			w := Work[int]{
				Items: 20, Ahead: 4, Workers: 3,
				Begin: func(i int) (int, int) { return i, 2 },
				Do: func(i, _ int) {
					busy.Add(1)
					defer busy.Add(-1)
					if i == stop && end == "context in the work" {
						cancel(why)
					}
					time.Sleep(100 * time.Microsecond)
				},
			}
			var last error
			n := 0
			for i, err := range InOrder(ctx, w) {
				if last = err; err != nil {
					break
				}
				n++
				if i == stop {
					if end == "break" {
						break
					}
					cancel(why)
				}
			}
			if b := busy.Load(); b != 0 {
				t.Errorf("%s at %d: %d parts are still being done", end, stop, b)
			}
			if want := stop + 1; n > want || end != "context in the work" && n != want {
				t.Errorf("%s at %d: %d items", end, stop, n)
			}
			if (end == "break") != (last == nil) || last != nil && !errors.Is(last, why) {
				t.Errorf("%s at %d: error is %v", end, stop, last)
			}
			cancel(nil)
		}
	}
	settled(t, before)
}

// TestAbandon: a part that does not end keeps nobody waiting, and its goroutine ends with it.
func TestAbandon(t *testing.T) {
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	release := make(chan struct{})
	w := Work[int]{
		Items: 3, Ahead: 1, Workers: 1, Abandon: true,
		Begin: func(i int) (int, int) { return i, 1 },
		Do:    func(int, int) { cancel(); <-release },
	}
	n := 0
	for _, err := range InOrder(ctx, w) {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want %v", err, context.Canceled)
		}
	}
	if n != 1 {
		t.Errorf("%d yielded, want 1", n)
	}
	close(release)
	settled(t, before)
}

// TestCallerPanics: a loop that panics leaves nothing running.
func TestCallerPanics(t *testing.T) {
	before := runtime.NumGoroutine()
	var busy atomic.Int64
	w := Work[int]{
		Items: 20, Ahead: 4, Workers: 3,
		Begin: func(i int) (int, int) { return i, 2 },
		Do: func(int, int) {
			busy.Add(1)
			defer busy.Add(-1)
			time.Sleep(100 * time.Microsecond)
		},
	}
	func() {
		defer func() {
			if got := recover(); got != "mine" || busy.Load() != 0 {
				t.Errorf("panic is %v, want mine; %d parts are still being done", got, busy.Load())
			}
		}()
		for i := range InOrder(t.Context(), w) {
			if i == 2 {
				panic("mine")
			}
		}
	}()
	settled(t, before)
}

// TestTooFew: work that nobody could do is a mistake of the program, not a loop that never ends.
func TestTooFew(t *testing.T) {
	for _, w := range []Work[int]{{Items: 1}, {Items: 1, Workers: -1}, {Items: 1, Workers: 1, Ahead: -1}} {
		func() {
			defer func() {
				if got, _ := recover().(string); !strings.Contains(got, "want at least 1 and 0") {
					t.Errorf("%d workers, %d ahead: panic is %q", w.Workers, w.Ahead, got)
				}
			}()
			InOrder(t.Context(), w)
		}()
	}
}
