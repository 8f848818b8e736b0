//go:build !purego

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

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

// int8Args are the arguments of a tile, which the assembly knows by their order: those of int8TileGeneric, and of
// int8FinishGeneric if finish is 1.
type int8Args struct {
	acc               *int32
	ld                int
	a, b              *uint32
	quads, add        int
	c                 *float32
	ldc, finish       int
	scales, rowScales *float32
	sums, zeroPoints  *int32
	depth             int
	fa, fb            *float32
	bias, residual    *float32
	rows              int
}

// words returns the arguments as the assembly takes them.
func (x *int8Args) words() *uintptr { return (*uintptr)(unsafe.Pointer(x)) }

// finishing sets the arguments for making rows of C of the sums, from row r of the tile on.
func (x *int8Args) finishing(t *int8Tile, acc []int32, ld, r, rows int, f *int8Finish) {
	x.rows = rows
	x.acc, x.ld = &acc[r*ld:][:(rows-1)*ld+t.nr][0], ld
	x.c, x.ldc, x.finish = &f.c[r*f.ldc:][:(rows-1)*f.ldc+t.nr][0], f.ldc, 1
	x.scales, x.rowScales = &f.scales[:t.nr][0], &f.rowScales[r:][:rows][0]
	x.sums, x.zeroPoints = &f.sums[:t.nr][0], &f.zeroPoints[r:][:rows][0]
	if x.depth = f.depth; f.depth > 0 {
		x.fa, x.fb = &f.a[r*f.depth:][:t.finished*f.depth][0], &f.b[:t.nr*f.depth][0]
	}
	if f.bias != nil {
		x.bias = &f.bias[:t.nr][0]
	}
	if f.residual != nil {
		x.residual = &f.residual[r*f.ldc:][:(rows-1)*f.ldc+t.nr][0]
	}
}

// int8Sums computes the first rows of a tile of t, whatever is in use now: the quads are packed for t. If f is not nil, it
// makes C of the sums.
func int8Sums(t *int8Tile, acc []int32, ld, rows int, a, b []uint32, quads int, add bool, f *int8Finish) {
	var x int8Args
	switch t {
	case int8AVX512VNNI, int8AVXVNNI, int8AVX2, int16AVX512VNNI, int16AVXVNNI, int16AVX2:
		x.a, x.b, x.quads = &a[0], &b[0], quads
		if add {
			x.add = 1
		}
		if f != nil {
			x.finishing(t, acc, ld, 0, rows, f)
		} else {
			x.acc, x.ld = &acc[0], ld
			x.c, x.ldc = (*float32)(unsafe.Pointer(x.acc)), ld // it is prefetched
		}
	case int8AMX:
		for i := 0; i < t.mr && !add; i++ {
			clear(acc[i*ld : i*ld+t.nr])
		}
		next, ldc := asFloat32(acc), ld
		if f != nil {
			next, ldc = f.c, f.ldc
		}
		int8TileAMX(&acc[0], ld, &a[0], &b[0], quads, &next[0], ldc)
		int8SumsFinish(t, acc, ld, rows, f)
		return
	default:
		int8TileGeneric(t, acc, ld, a, b, quads, add)
		int8SumsFinish(t, acc, ld, rows, f)
		return
	}
	switch few := t.mr == 14 && rows <= 12; {
	case t == int8AVXVNNI:
		int8TileAVXVNNI(x.words())
	case t == int16AVXVNNI:
		int16TileAVXVNNI(x.words())
	case t == int8AVX2:
		int8TileAVX2(x.words())
	case t == int16AVX2:
		int16TileAVX2(x.words())
	case few && rows <= 4 && t.words:
		int16Tile4OfAVX512VNNI(x.words())
	case few && rows <= 4:
		int8Tile4OfAVX512VNNI(x.words())
	case few && rows <= 8 && t.words:
		int16Tile8OfAVX512VNNI(x.words())
	case few && rows <= 8:
		int8Tile8OfAVX512VNNI(x.words())
	case few && rows <= 10 && t.words:
		int16Tile10OfAVX512VNNI(x.words())
	case few && rows <= 10:
		int8Tile10OfAVX512VNNI(x.words())
	case few && t.words:
		int16Tile12OfAVX512VNNI(x.words())
	case few:
		int8Tile12OfAVX512VNNI(x.words())
	case t.words:
		int16TileAVX512VNNI(x.words())
	default:
		int8TileAVX512VNNI(x.words())
	}
}

// int8SumsFinish makes C of sums that lie in memory.
func int8SumsFinish(t *int8Tile, acc []int32, ld, rows int, f *int8Finish) {
	switch {
	case f == nil:
	case useAVX512 && t.finished == 8 && t.nr == 32:
		for r := 0; r < rows; r += t.finished {
			var x int8Args
			x.finishing(t, acc, ld, r, min(t.finished, rows-r), f)
			int8FinishAVX512(x.words())
		}
	default:
		int8FinishGeneric(t, acc, ld, rows, f)
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
