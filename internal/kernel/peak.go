package kernel

import "runtime"

// FMAs keeps every processor busy with n turns of nothing but independent multiply-adds of the
// implementation in use, and returns how many floating-point operations that was. Divided by the
// time it takes, it is the peak that benchmarks are measured against.
func FMAs(n int) (flops int) {
	workers := runtime.GOMAXPROCS(0)
	total := make([]int, workers)
	parallel(workers, func(i int) { total[i] = fmas(max(n, 1)) })
	for _, t := range total {
		flops += t
	}
	return flops
}

// sink keeps the compiler from dropping fmasGeneric.
var sink [8]float32

func fmasGeneric(n int) (flops int) {
	var a, b, c, d, e, f, g, h float32
	x := float32(n & 1)
	for range n {
		a, b, c, d = a*x+x, b*x+x, c*x+x, d*x+x
		e, f, g, h = e*x+x, f*x+x, g*x+x, h*x+x
	}
	sink = [8]float32{a, b, c, d, e, f, g, h}
	return n * 16
}
