//go:build poison

package kernel

import (
	"math"
	"strings"
	"testing"
)

// TestPoison: what [Get] hands out and what [Put] took back is NaN, whatever it was; a second Put and a late write are
// found.
func TestPoison(t *testing.T) {
	nan := func(when string, x []float32) {
		t.Helper()
		for i, v := range x[:cap(x)] {
			if v == v {
				t.Fatalf("%s: element %d of %d is %v, want NaN", when, i, cap(x), v)
			}
		}
	}
	panics := func(want string, f func()) {
		t.Helper()
		defer func() {
			if got, _ := recover().(string); !strings.Contains(got, want) {
				t.Errorf("panicked with %q, want %q", got, want)
			}
		}()
		f()
	}
	for _, n := range []int{1, 8, 100, 1 << 21} { // 2²¹ may come from a larger class
		for range 2 { // fresh, then recycled
			x := Get(n)
			nan("Get", x)
			clear(x[:cap(x)])
			Put(x)
			nan("Put", x)
		}
	}
	elsewhere := make([]float32, 7) // not the size of a class: the garbage collector has it
	Put(elsewhere)
	nan("Put of memory from elsewhere", elsewhere)

	x := Get(100)
	Put(x)
	panics("handed back before", func() { Put(x) })
	panics("written after Put", func() {
		y := make([]float32, 100)
		poisonPut(y)
		y[99] = 1
		poisonGet(y)
	})
	words := getWords(9)
	for _, w := range words {
		if v := fromBF16(w); v == v || !math.IsNaN(float64(FromHalf(w))) {
			t.Fatalf("word %#x is %v in bfloat16 and %v in half precision, want NaN", w, v, FromHalf(w))
		}
	}
	putWords(words)
	Reserve([]int{1000})
	y := Get(1000)
	nan("Get of what was reserved", y)
	Put(y)
}
