//go:build !purego

package kernel

// scanHalves multiplies rows with x, which has an element at least: as many as are whole registers by assembly.
func scanHalves(y []float32, rows []uint16, x []float32) {
	n := vectorLen(len(x), 8)
	if n == 0 {
		scanHalvesGeneric(y, rows, len(x), x)
		return
	}
	scanHalvesNEON(&y[0], &rows[0], len(x), len(y), &x[0], n)
	if n < len(x) {
		addHalves(y, rows[n:], len(x), x[n:])
	}
}
