//go:build !amd64 || purego

package kernel

func int8Tiles() []*int8Tile { return []*int8Tile{int8Generic} }

func int16Best() *int8Tile { return int16Generic }

func int8Sums(t *int8Tile, acc []int32, ld, rows int, a, b []uint32, quads int, add bool, f *int8Finish) {
	int8TileGeneric(t, acc, ld, a, b, quads, add)
	if f != nil {
		int8FinishGeneric(t, acc, ld, rows, f)
	}
}

func int8Limits(x []float32) (lo, hi, finite float32) { return int8LimitsGeneric(x) }

func int8Factors(y, x, f []float32) (lo, hi, finite float32) { return int8FactorsGeneric(y, x, f) }

func int16Quantise(dst []uint32, stride int, x []float32, inverse float32) {
	int16QuantiseGeneric(dst, stride, x, inverse)
}

func int8Quantise(dst []uint32, stride int, x []float32, inverse float32, zero int32) {
	int8QuantiseGeneric(dst, stride, x, inverse, zero)
}
