package optim

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// A piece is a range of elements of one of many slices.
type piece struct{ item, from, to int }

// pieceLen is long enough that handing a piece out costs nothing, and short enough that the processors
// end together: 32,768 elements are some 30 µs of streaming. Sums are taken by piece, so it also decides
// about their last bits.
const pieceLen = 1 << 15

// cut returns the pieces of all slices, in order.
func cut(xs [][]float32) []piece {
	var ps []piece
	for i, x := range xs {
		for from := 0; from < len(x); from += pieceLen {
			ps = append(ps, piece{i, from, min(len(x), from+pieceLen)})
		}
	}
	return ps
}

// sweep calls f for every piece and its index, on as many goroutines as there are processors, and returns
// when all calls have.
func sweep(ps []piece, f func(i int, p piece)) {
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(ps) {
				return
			}
			f(i, ps[i])
		}
	}
	var wg sync.WaitGroup
	for range min(len(ps), runtime.GOMAXPROCS(0)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
