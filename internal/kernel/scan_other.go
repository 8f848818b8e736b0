//go:build !amd64 || purego

package kernel

func scanBytes(y []int32, rows []int8, x []int16) { scanBytesGeneric(y, rows, len(x), x) }

func hasRowsTile() bool { return false }

func rowsTile(c, a, b []float32, k int, next *byte, step int) {
	mr, nr := tileShape()
	rowsTileGeneric(c, a, b, k, mr, nr)
}
