//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

// int8Tiles lists what [Use] allows and the processor has, best first. A processor with AVX-512 but
// without VNNI takes the tile of AVX2.
func int8Tiles() []*int8Tile {
	var tiles []*int8Tile
	add := func(ok bool, t *int8Tile) {
		if ok {
			tiles = append(tiles, t)
		}
	}
	add(useAMX && cpu.X86.HasAMXInt8, int8AMX)
	add(useAVX512 && cpu.X86.HasAVX512VNNI, int8AVX512VNNI)
	add((useAVX512 || useAVX2) && cpu.X86.HasAVXVNNI, int8AVXVNNI)
	add(useAVX512 || useAVX2, int8AVX2)
	add(true, int8Generic)
	return tiles
}

// int16Best returns the tile for words. AMX has none.
func int16Best() *int8Tile {
	switch best := int8Best(); {
	case best == int8AVXVNNI:
		return int16AVXVNNI
	case best == int8Generic:
		return int16Generic
	case best != int8AVX2 && cpu.X86.HasAVX512VNNI:
		return int16AVX512VNNI
	}
	return int16AVX2
}

// int8Sums computes a tile of t, whatever is in use now: the quads are packed for t. Rows of next, ldc
// apart, will be written next.
func int8Sums(t *int8Tile, acc []int32, ld int, a, b []uint32, quads int, next []float32, ldc int) {
	_ = acc[(t.mr-1)*ld+t.nr-1]
	if t == int8Generic || t == int16Generic {
		int8TileGeneric(t, acc, ld, a, b, quads)
		return
	}
	_, _ = a[t.mr*quads-1], b[t.nr*quads-1] // the assembly checks nothing
	switch t {
	case int8AMX:
		int8TileAMX(&acc[0], ld, &a[0], &b[0], quads, &next[0], ldc)
	case int8AVX512VNNI:
		int8TileAVX512VNNI(&acc[0], ld, &a[0], &b[0], quads, &next[0], ldc)
	case int8AVXVNNI:
		int8TileAVXVNNI(&acc[0], ld, &a[0], &b[0], quads, &next[0], ldc)
	case int16AVX512VNNI:
		int16TileAVX512VNNI(&acc[0], ld, &a[0], &b[0], quads, &next[0], ldc)
	case int16AVXVNNI:
		int16TileAVXVNNI(&acc[0], ld, &a[0], &b[0], quads, &next[0], ldc)
	case int16AVX2:
		int16TileAVX2(&acc[0], ld, &a[0], &b[0], quads, &next[0], ldc)
	default:
		int8TileAVX2(&acc[0], ld, &a[0], &b[0], quads, &next[0], ldc)
	}
}

// The loops over rows wait for memory: AVX2 is as fast there as AVX-512.

func int8VectorLen(n, unit int) int {
	if useAVX2 || useAVX512 {
		return n &^ (unit - 1)
	}
	return 0
}

func int8Limits(x []float32) (lo, hi, finite float32) {
	n := int8VectorLen(len(x), 16)
	lo, hi, finite = int8LimitsGeneric(x[n:])
	if n > 0 {
		l, h, f := int8LimitsAVX2(&x[0], n)
		return min(lo, l), max(hi, h), finite + f
	}
	return lo, hi, finite
}

func int8Factors(y, x, f []float32) (lo, hi, finite float32) {
	n := int8VectorLen(len(x), 16)
	lo, hi, finite = int8FactorsGeneric(y[n:], x[n:], f[n:])
	if n > 0 {
		_, _ = y[n-1], f[n-1]
		l, h, ok := int8FactorsAVX2(&y[0], &x[0], &f[0], n)
		return min(lo, l), max(hi, h), finite + ok
	}
	return lo, hi, finite
}

func int16Quantise(dst []uint32, stride int, x []float32, inverse float32) {
	n := int8VectorLen(len(x), 16)
	if n > 0 {
		_ = dst[(n/2-1)*stride]
		int16QuantiseAVX2(&dst[0], stride, &x[0], n, inverse)
	}
	if n < len(x) {
		int16QuantiseGeneric(dst[n/2*stride:], stride, x[n:], inverse)
	}
}

func int8Quantise(dst []uint32, stride int, x []float32, inverse float32, zero int32) {
	n := int8VectorLen(len(x), 32)
	if n > 0 {
		_ = dst[(n/4-1)*stride]
		int8QuantiseAVX2(&dst[0], stride, &x[0], n, inverse, zero)
	}
	if n < len(x) {
		int8QuantiseGeneric(dst[n/4*stride:], stride, x[n:], inverse, zero)
	}
}

func int8Dequantise(y []float32, acc, sums []int32, scales []float32, zero int32, scale float32) {
	n := int8VectorLen(len(y), 16)
	if n > 0 {
		_, _, _ = acc[n-1], sums[n-1], scales[n-1]
		int8DequantiseAVX2(&y[0], &acc[0], &sums[0], &scales[0], n, zero, scale)
	}
	int8DequantiseGeneric(y[n:], acc[n:], sums[n:], scales[n:], zero, scale)
}
