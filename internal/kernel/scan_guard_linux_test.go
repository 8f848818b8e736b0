package kernel

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestScanFence: no routine of scans reads or writes beyond its slices, whatever the tail.
func TestScanFence(t *testing.T) {
	a, b, c := newFence(t), newFence(t), newFence(t)
	bytes := func(f *fence, n int) []int8 { return unsafe.Slice((*int8)(unsafe.Pointer(&f.page[len(f.page)-n])), n) }
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		mr, nr := tileShape()
		for n := 1; n < 12; n++ {
			for k := 1; k < 70; k++ {
				rows := a.halves(n * k)
				someHalves(rng, rows)
				DotHalves(c.last(rng, n), rows, b.last(rng, k))
				words := unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(b.halves(k)))), k)
				DotBytes(asInt32(c.last(rng, n)), bytes(a, n*k), words)
			}
		}
		for k := 1; k < 20; k++ {
			if hasRowsTile() {
				x := a.last(rng, mr*k)
				rowsTile(c.last(rng, mr*nr), x, b.last(rng, nr*k), k, (*byte)(unsafe.Pointer(&x[0])), 0)
			}
			for n := 1; n <= mr; n++ {
				q, rows := PackQueries(b.last(rng, 2*nr*k), 2*nr, k), a.halves(n*k)
				someHalves(rng, rows)
				q.Dot(c.last(rng, 2*mr*nr), rows, n, rows)
			}
		}
	})
}
