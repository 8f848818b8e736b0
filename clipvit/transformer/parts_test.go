package transformer

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// numbersOf returns rows of two for each input from to to: its number and that of the row, and -1.
func numbersOf(from, to, rows int) *mat.Dense[float32] {
	var values []float32
	for i := from; i < to; i++ {
		for r := range rows {
			values = append(values, float32(10*i+r), -1)
		}
	}
	return mat.NewDense[float32](mat.WithShape((to-from)*rows, 2), mat.WithBacking(values))
}

// withProcessors sets GOMAXPROCS until the test ends.
func withProcessors(t *testing.T, n int) {
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() {
		runtime.GOMAXPROCS(before)
		if idle := kernel.Idle(); idle != before {
			t.Errorf("%d of %d processors are idle at the end", idle, before)
		}
	})
}

// A part is an argument of the function that InParts calls.
type part struct{ from, to int }

// inParts returns the parts that InParts makes of n inputs of t tokens and of rows rows each, and the most inputs at a time; it
// compares the result.
func inParts(t *testing.T, n, tokens, rows int) (all []part, most int) {
	t.Helper()
	var mu sync.Mutex
	now := 0
	y, err := InParts(n, tokens, func(from, to int) (mat.Tensor, error) {
		mu.Lock()
		all = append(all, part{from, to})
		now += to - from
		most = max(most, now)
		mu.Unlock()
		runtime.Gosched()
		y := numbersOf(from, to, rows)
		mu.Lock()
		now -= to - from
		mu.Unlock()
		return y, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(y.Shape(), []int{n * rows, 2}) || !slices.Equal(y.Value().Data().F32(), numbersOf(0, n, rows).Data().F32()) {
		t.Fatalf("%d inputs of %d tokens and %d rows: shape %v, values %v", n, tokens, rows, y.Shape(), y.Value().Data().F32())
	}
	slices.SortFunc(all, func(a, b part) int { return a.from - b.from })
	return all, most
}

func TestInParts(t *testing.T) {
	withProcessors(t, 1)
	for _, c := range []struct{ n, tokens, rows, calls int }{
		{5, 400, 1, 3}, {4, 400, 3, 2}, {1, 400, 2, 1}, {2, 400, 1, 1}, {3, 800, 2, 3},
	} {
		if all, _ := inParts(t, c.n, c.tokens, c.rows); len(all) != c.calls {
			t.Errorf("%+v: parts are %v", c, all)
		}
	}
	for tokens, want := range map[int]int{50: 16, 257: 4, 577: 2, 800: 1, 1200: 1, 5000: 1} {
		if got := Part(tokens); got != want {
			t.Errorf("%d images of %d tokens go together, want %d", got, tokens, want)
		}
	}
}

// Where each processor can have a part, it gets one, and all together have no more at a time than one would have alone.
func TestInPartsOfProcessors(t *testing.T) {
	if kernel.Name() == "amx" {
		t.Skip("with AMX a batch is not divided")
	}
	for _, c := range []struct {
		processors, n, tokens int
		want                  []part
	}{
		{2, 16, 50, []part{{0, 8}, {8, 16}}},
		{2, 8, 50, []part{{0, 4}, {4, 8}}},
		{2, 7, 50, []part{{0, 4}, {4, 7}}},
		{2, 5, 50, []part{{0, 5}}}, // fewer than 150 tokens for one of them
		{2, 20, 50, []part{{0, 8}, {8, 16}, {16, 20}}},
		{2, 24, 50, []part{{0, 8}, {8, 16}, {16, 20}, {20, 24}}},
		{2, 32, 50, []part{{0, 8}, {8, 16}, {16, 24}, {24, 32}}},
		{2, 5, 197, []part{{0, 2}, {2, 4}, {4, 5}}},
		{2, 3, 577, []part{{0, 1}, {1, 2}, {2, 3}}},
		{2, 2, 577, []part{{0, 1}, {1, 2}}},
		{2, 1, 577, []part{{0, 1}}},
		{3, 16, 50, []part{{0, 5}, {5, 10}, {10, 15}, {15, 16}}},
		{4, 16, 50, []part{{0, 4}, {4, 8}, {8, 12}, {12, 16}}},
		{4, 4, 577, []part{{0, 2}, {2, 4}}},      // two are all that memory is for
		{7, 160, 10, []part{{0, 80}, {80, 160}}}, // each would have fewer than 150
		{5, 80, 10, []part{{0, 16}, {16, 32}, {32, 48}, {48, 64}, {64, 80}}},
	} {
		t.Run(fmt.Sprintf("%d processors, %d of %d", c.processors, c.n, c.tokens), func(t *testing.T) {
			withProcessors(t, c.processors)
			if all, _ := inParts(t, c.n, c.tokens, 1); !slices.Equal(all, c.want) {
				t.Errorf("parts are %v, want %v", all, c.want)
			}
		})
	}
	for _, processors := range []int{1, 2, 3, 7} {
		t.Run(fmt.Sprint(processors), func(t *testing.T) {
			withProcessors(t, processors)
			for _, tokens := range []int{5, 10, 50, 197, 577, 1200} {
				for n := range 2*Part(tokens) + 3 {
					all, most := inParts(t, n+1, tokens, 2)
					for i, p := range all {
						if p.from != 0 && p.from != all[i-1].to || p.from == p.to {
							t.Fatalf("%d of %d tokens: parts are %v", n+1, tokens, all)
						}
					}
					if last := all[len(all)-1].to; last != n+1 || most > Part(tokens) {
						t.Fatalf("%d of %d tokens: parts are %v, %d at a time, want at most %d", n+1, tokens, all, most, Part(tokens))
					}
				}
			}
		})
	}
}

// Two parts are computed at the same time, each on its own goroutine: no kernel hands out items. When one goroutine has ended, it
// is no longer so.
func TestInPartsAtOnce(t *testing.T) {
	if kernel.Name() == "amx" {
		t.Skip("with AMX a batch is not divided")
	}
	withProcessors(t, 2)
	var both sync.WaitGroup
	both.Add(2)
	seen := make(chan struct{})
	_, err := InParts(16, 50, func(from, to int) (mat.Tensor, error) {
		both.Done()
		both.Wait() // for ever if there is one goroutine
		if from > 0 {
			<-seen
			return numbersOf(from, to, 1), nil
		}
		if idle := kernel.Idle(); idle != 0 {
			t.Errorf("%d processors are idle, want none", idle)
		}
		if all, _ := inParts(t, 16, 50, 1); len(all) != 1 {
			t.Errorf("a part is divided into %v", all)
		}
		close(seen)
		for kernel.Idle() == 0 { // until the other goroutine has ended
			runtime.Gosched()
		}
		return numbersOf(from, to, 1), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An error of any part ends it, and is the first. A panic of any part reaches the caller as it is.
func TestInPartsEnds(t *testing.T) {
	for _, processors := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(processors), func(t *testing.T) {
			withProcessors(t, processors)
			failure := errors.New("failure")
			for at := range 64 {
				var calls atomic.Int32
				y, err := InParts(64, 50, func(from, to int) (mat.Tensor, error) {
					calls.Add(1)
					if at >= from && at < to {
						return nil, failure
					}
					return numbersOf(from, to, 1), nil
				})
				if !errors.Is(err, failure) || y != nil {
					t.Fatalf("image %d fails: %v and error %v", at, y, err)
				}
				if n := int(calls.Load()); processors == 1 && n != at/16+1 {
					t.Errorf("image %d fails: %d parts are computed", at, n)
				}
				func() {
					defer func() {
						if v := recover(); v != any(failure) {
							t.Errorf("image %d panics: the caller recovers %v", at, v)
						}
					}()
					_, err := InParts(64, 50, func(from, to int) (mat.Tensor, error) {
						if at >= from && at < to {
							panic(failure)
						}
						return numbersOf(from, to, 1), nil
					})
					t.Errorf("image %d panics: error %v", at, err)
				}()
			}
		})
	}
}
