//go:build !amd64 || purego

package kernel

// amx says that there are no tiles of bfloat16.
func amx() bool { return false }

func tileBF16(c []float32, ldc int, a, b []uint16, inA, inB, steps int, accumulate bool, soon *byte, soonStep int, later *byte, laterStep int) {
	tileBF16Generic(c, ldc, a, b, inA, inB, steps, accumulate)
}

func splitColumns(dst []uint16, src []float32, ld, steps int) {
	splitColumnsGeneric(dst, src, ld, steps)
}

func splitHalves(dst, src []uint16, steps int) { splitHalvesGeneric(dst, src, steps) }
func splitRows(dst []uint16, src []float32, ld, step, steps int) {
	splitRowsGeneric(dst, src, ld, step, steps)
}

func dotHalves(y []float32, a []uint16, x []float32, steps int) {
	panic("kernel: dotHalves: no such routine")
}
func dotRows(y, a, x []float32, steps int) { panic("kernel: dotRows: no such routine") }
