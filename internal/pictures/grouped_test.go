package pictures

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// TestGrouped: items come in order, in full groups but for the last, and no more are begun than a group ahead of the one that
// is being filled, nor more made at a time than there are workers.
func TestGrouped(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, c := range []struct{ items, size, workers int }{{0, 1, 1}, {1, 3, 1}, {30, 1, 1}, {30, 4, 2}, {30, 30, 4}, {31, 7, 100}, {5, 100, 100}} {
		var begun, busy, taken atomic.Int64
		source := func(yield func(int) bool) {
			for i := range c.items {
				// One may wait for its place while all others have theirs.
				if n := begun.Add(1); n > taken.Load()+2*int64(c.size)+1 {
					t.Errorf("%+v: %d are begun and %d taken", c, n, taken.Load())
				}
				if !yield(10 * i) {
					return
				}
			}
		}
		do := func(i, s int) int {
			if n := busy.Add(1); n > int64(c.workers) {
				t.Errorf("%+v: %d at a time", c, n)
			}
			defer busy.Add(-1)
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			return s + i
		}
		var got []int
		for group, err := range Grouped(t.Context(), source, c.size, c.workers, do) {
			if err != nil || len(group) == 0 || len(group) > c.size {
				t.Fatalf("%+v: a group of %d, %v", c, len(group), err)
			}
			taken.Add(int64(len(group)))
			got = append(got, group...)
		}
		var want []int
		for i := range c.items {
			want = append(want, 11*i)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: got %v, want %v", c, got, want)
		}
	}
	settled(t, before)
}

func same(_ int, s int) int { return s }

// TestGroupedWaits: who feeds a source gets what it has fed before it feeds more.
func TestGroupedWaits(t *testing.T) {
	before := runtime.NumGoroutine()
	feed := make(chan int)
	source := func(yield func(int) bool) {
		for s := range feed {
			if !yield(s) {
				return
			}
		}
	}
	go func() { feed <- 1; feed <- 2 }()
	n := 0
	for group, err := range Grouped(t.Context(), source, 10, 2, same) {
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range group {
			if n++; v != n {
				t.Fatalf("got %d, want %d", v, n)
			}
		}
		switch n {
		case 2:
			go func() { feed <- 3 }()
		case 3:
			close(feed)
		}
	}
	if n != 3 {
		t.Errorf("got %d items, want 3", n)
	}
	settled(t, before)
}

// TestGroupedFull: a group is full if so many are begun while the caller has the one before it, however long each takes.
func TestGroupedFull(t *testing.T) {
	const size, items = 4, 18
	more := make(chan struct{}, items)
	source := func(yield func(int) bool) {
		for i := range items {
			if !yield(i) {
				return
			}
			more <- struct{}{} // it has its place
		}
	}
	slow := func(_, s int) int {
		time.Sleep(2 * grace)
		return s
	}
	placed, taken, ahead := 0, 0, false
	for group, err := range Grouped(t.Context(), source, size, 1, slow) {
		if err != nil {
			t.Fatal(err)
		}
		if ahead && len(group) != min(size, items-taken) {
			t.Errorf("after %d items a group of %d, want %d", taken, len(group), size)
		}
		taken += len(group)
		for ahead = true; placed < min(taken+size, items); placed++ {
			<-more
		}
	}
	if taken != items {
		t.Errorf("%d items, want %d", taken, items)
	}
}

// TestGroupedEnds: a loop that is left, or whose context ends, waits neither for the source nor for an item.
func TestGroupedEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, blocked := range []string{"source", "item"} {
		for _, left := range []bool{true, false} {
			release := make(chan struct{})
			source := func(yield func(int) bool) {
				for i := range 10 {
					if i == 3 && blocked == "source" {
						<-release
					}
					if !yield(i) {
						return
					}
				}
			}
			do := func(i, s int) int {
				if i == 3 && blocked == "item" {
					<-release
				}
				return s
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			n := 0
			for group, err := range Grouped(ctx, source, 1, 1, do) {
				if err != nil {
					if left || !errors.Is(err, io.ErrClosedPipe) {
						t.Errorf("error is %v", err)
					}
					break
				}
				if n += len(group); n == 3 {
					if left {
						break
					}
					cancel(io.ErrClosedPipe)
				}
			}
			if n != 3 {
				t.Errorf("%s: got %d items, want 3", blocked, n)
			}
			cancel(nil)
			close(release)
		}
	}
	settled(t, before)
}

// TestGroupedPanic: a panic of the source or of an item is that of who ranges.
func TestGroupedPanic(t *testing.T) {
	wrong := errors.New("wrong")
	sources := func(at int) iter.Seq[int] {
		return func(yield func(int) bool) {
			for i := range 5 {
				if i == at {
					panic(wrong)
				}
				if !yield(i) {
					return
				}
			}
		}
	}
	for _, c := range []struct{ source, item int }{{3, -1}, {0, -1}, {-1, 3}, {-1, 0}} {
		n := 0
		got := func() (p any) {
			defer func() { p = recover() }()
			for group := range Grouped(t.Context(), sources(c.source), 1, 2, func(i, s int) int {
				if i == c.item {
					panic(wrong)
				}
				return s
			}) {
				n += len(group)
			}
			return nil
		}()
		if want := max(c.source, c.item); got != any(wrong) || n != want {
			t.Errorf("%+v: panic %v after %d items, want %v after %d", c, got, n, wrong, want)
		}
	}
	if fmt.Sprint(func() (p any) {
		defer func() { p = recover() }()
		for range Grouped(t.Context(), sources(-1), 0, 1, same) {
		}
		return nil
	}()) == "<nil>" {
		t.Error("no panic for groups of 0")
	}
}
