//go:build !amd64 || purego

package kernel

// amx returns false: there are no tiles of bfloat16.
func amx() bool { return false }

func tileBF16(c []float32, ldc int, a, b []uint16, inA, inB, steps int, accumulate bool, near *byte, nearStep int, far *byte, farStep int) {
	tileBF16Generic(c, ldc, a, b, inA, inB, steps, accumulate)
}

func splitColumnsBF16(dst []uint16, src []float32, ld, steps int) {
	splitColumnsBF16Generic(dst, src, ld, steps)
}

func splitHalvesBF16(dst, src []uint16, steps int) { splitHalvesBF16Generic(dst, src, steps) }
func splitRowsBF16(dst []uint16, src []float32, ld, step, steps int) {
	splitRowsBF16Generic(dst, src, ld, step, steps)
}

func dotHalves(y []float32, a []uint16, x []float32, steps int) {
	panic("kernel: dotHalves: no such routine")
}
func dotRows(y, a, x []float32, steps int) { panic("kernel: dotRows: no such routine") }
