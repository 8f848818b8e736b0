package kernel

import (
	"runtime"
	"time"
)

// Peak measures the float32 peak of the machine as it is right now, in operations per second. That is what all
// processors reach together with nothing but independent multiply-adds of the implementation in use. Benchmarks
// report ratios to it, measured in the same run. It returns the best of several tries, of some milliseconds each,
// since machines are shared.
func Peak() float64 {
	best := 0.0
	workers := runtime.GOMAXPROCS(0)
	flops := make([]int, workers)
	for range 5 {
		start := time.Now()
		parallel(workers, func(i int) { flops[i] = fmas(1 << 20) })
		total := 0
		for _, n := range flops {
			total += n
		}
		best = max(best, float64(total)/time.Since(start).Seconds())
	}
	return best
}

func fmasGeneric(n int) (flops int) {
	var a, b, c, d, e, f, g, h float32
	x := float32(n & 1)
	for range n {
		a, b, c, d = a*x+x, b*x+x, c*x+x, d*x+x
		e, f, g, h = e*x+x, f*x+x, g*x+x, h*x+x
	}
	runtime.KeepAlive([...]float32{a, b, c, d, e, f, g, h})
	return n * 16
}
