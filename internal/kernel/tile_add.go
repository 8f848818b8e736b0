//go:build !amd64 || purego

package kernel

// tileAdd is tile; it adds nothing.
func tileAdd(c []float32, ldc, rows int, a, b []float32, k int, accumulate bool, next *byte, step int, bias, residual, biasColumn []float32) bool {
	tile(c, ldc, rows, a, b, k, accumulate, next, step)
	return false
}

// canWiden says that there is no tileWidening.
func canWiden(int) bool { return false }

func tileWidening(c []float32, ldc int, a, b []float32, k int, accumulate bool, next *byte, step int, residual, biasColumn, wide []float32, halves []uint16) {
	panic("kernel: tileWidening: no such routine")
}

func tileRows(c []float32, ldc, rows int, a []float32, apart int, b []float32, bApart, cols, k int, accumulate bool) {
	tileRowsGeneric(c, ldc, rows, a, apart, b, bApart, cols, k, accumulate)
}

// readsPanels says that tileRows and tileTurned pack what they read.
func readsPanels() bool { return false }

func tileTurned(c []float32, ldc, rows int, a, b []float32, bApart, cols, k int) {
	tileTurnedGeneric(c, ldc, rows, a, b, bApart, cols, k)
}

// tileStrip does not exist here.
func tileStrip(c, a, b []float32, panels, k int, accumulate bool, next *byte, step int) {
	panic("kernel: tileStrip: no such routine")
}

// leastOfStrip says that there is no tileStrip.
func leastOfStrip() int { return 0 }

// hasFew says that there is no few.
func hasFew() bool { return false }

func fewReadsHalves() bool { return false }

func few(y []float32, ldy int, w []float32, halves []uint16, panels, rowsOfLast int, x []float32, ldx, columns, k int, accumulate bool, ahead span) {
	panic("kernel: few: no such routine")
}

func copyColumns(dst []float32, ldd int, src []float32, lds, columns, rows int) {
	copyRows(dst, ldd, src, lds, columns, rows)
}
