//go:build !purego

package kernel

// scanHalves multiplies rows with x, which has an element at least: as many as are whole registers by assembly.
func scanHalves(y []float32, rows []uint16, x []float32) {
	n := vectorLen(len(x))
	switch {
	case n == 0:
		scanHalvesGeneric(y, rows, len(x), x)
		return
	case useAVX512:
		scanHalvesAVX512(&y[0], &rows[0], len(x), len(y), &x[0], n)
	default:
		scanHalvesAVX2(&y[0], &rows[0], len(x), len(y), &x[0], n)
	}
	if n < len(x) {
		addHalves(y, rows[n:], len(x), x[n:])
	}
}

// scanBytes is scanHalves for bytes.
func scanBytes(y []int32, rows []int8, x []int16) {
	n := int8VectorLen(len(x), 16)
	if n == 0 {
		scanBytesGeneric(y, rows, len(x), x)
		return
	}
	scanBytesAVX2(&y[0], &rows[0], len(x), len(y), &x[0], n)
	if n < len(x) {
		addBytes(y, rows[n:], len(x), x[n:])
	}
}

// hasRowsTile reports whether there is a routine for rowsTile. Where there is none, rows are packed for tile.
func hasRowsTile() bool { return useAVX512 || useAVX2 }

// rowsTile computes a whole tile of C from rows of A, which lie one behind the other, and a panel. It prefetches from next on,
// step bytes for every k.
func rowsTile(c, a, b []float32, k int, next *byte, step int) {
	mr, nr := tileShape()
	_, _, _ = c[mr*nr-1], a[mr*k-1], b[nr*k-1] // the assembly checks nothing
	switch {
	case useAVX512:
		rowsTileAVX512(&c[0], &a[0], k, &b[0], k, next, step)
	case useAVX2:
		rowsTileAVX2(&c[0], &a[0], k, &b[0], k, next, step)
	default:
		rowsTileGeneric(c, a, b, k, mr, nr)
	}
}
