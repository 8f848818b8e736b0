package kernel

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestShelf: a large piece that one goroutine puts back is found by another, on whatever processor, and nothing is found twice.
func TestShelf(t *testing.T) {
	const n = 1<<20 + 3
	x := Get(n)
	if len(x) != n {
		t.Fatalf("%d floats, want %d", len(x), n)
	}
	first := &x[0]
	if poisoned {
		clear(x[:cap(x)])
	}
	Put(x)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				y := Get(n)
				if poisoned {
					clear(y[:cap(y)])
				}
				runtime.Gosched()
				Put(y)
			}
		})
	}
	all.Wait()
	found, held := false, [][]float32{}
	seen := map[*float32]bool{}
	for range 10 {
		y := Get(n)
		if seen[&y[0]] {
			t.Fatal("a piece was handed out twice")
		}
		seen[&y[0]] = true
		found = found || &y[0] == first
		held = append(held, y)
	}
	if !found {
		t.Error("the first piece is lost")
	}
	for _, y := range held {
		if poisoned {
			clear(y[:cap(y)])
		}
		Put(y)
	}
}

// TestPoolAllocates: what comes from the pool and goes back to it costs no allocation.
func TestPoolAllocates(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		x := Get(300)
		if poisoned {
			clear(x[:cap(x)])
		}
		Put(x)
	}); n > 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestShelfTidy: the second run of the collector lets go of what has lain idle, and of nothing else.
func TestShelfTidy(t *testing.T) {
	s := shelf{watched: true}
	class, size := classOf(shared)
	s.put(class, make([]float32, 0, size))
	now := time.Now()
	for _, at := range []time.Duration{2 * idle, 0} { // just seen; too young, beside the next
		s.tidy(now.Add(at))
		if len(s.pieces[class]) != 1 {
			t.Fatalf("after %v: %d pieces, want 1", at, len(s.pieces[class]))
		}
	}
	s.put(class, make([]float32, 0, size))
	if s.tidy(now.Add(2 * idle)); len(s.pieces[class]) != 1 {
		t.Fatalf("%d pieces, want the new one", len(s.pieces[class]))
	}
	if x := s.take(class, shared); cap(x) != size || s.take(class, shared) != nil {
		t.Error("a piece is not found, or twice")
	}
	// A smaller one of many floats may come from a larger class.
	class, size = classOf(2 * large)
	s.put(class, make([]float32, 0, size))
	smaller, _ := classOf(large + 1)
	if x := s.take(smaller, large+1); cap(x) != size {
		t.Error("no larger piece was taken")
	}
	s.put(class, make([]float32, 0, size))
	if s.tidy(now); len(s.pieces[class]) != 1 {
		t.Error("a piece was let go of before it was seen")
	}
}

// TestDrain: what lies unused is gone at once.
func TestDrain(t *testing.T) {
	Put(make([]float32, shared))
	Drain()
	class, _ := classOf(shared)
	if x := shelves.take(class, shared); x != nil {
		t.Error("a piece is there after Drain")
	}
	x := Get(shared)
	if len(x) != shared {
		t.Errorf("%d floats, want %d", len(x), shared)
	}
	Put(x)
}
