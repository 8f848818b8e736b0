//go:build !purego

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// bf16Tiles lists what [Use] allows and the processor has, best first.
func bf16Tiles() []*bf16Tile {
	tiles := make([]*bf16Tile, 0, 3)
	if bf16Rounds() {
		if useAMX {
			tiles = append(tiles, bf16AMX)
		}
		tiles = append(tiles, bf16AVX512)
	}
	return append(tiles, bf16Generic)
}

// bf16Rounds reports whether there is an instruction that rounds, which every processor with AMX has too.
func bf16Rounds() bool { return useAVX512 && cpu.X86.HasAVX512BF16 }

// bf16FullRate reports whether the processor issues VDPBF16PS as often as VFMADD231PS: AMD's do. On a Zen 5 both were
// measured at two in a cycle, of 512 bits.
func bf16FullRate() bool {
	_, b, c, d := cpuid(0)
	return b == 0x68747541 && d == 0x69746e65 && c == 0x444d4163 // "AuthenticAMD"
}

// bf16Sums computes a tile of t, whatever is in use now: the pairs are packed for t. With add, it adds to C.
func bf16Sums(t *bf16Tile, c []float32, ldc, rows int, a, b []uint32, pairs int, add bool, next *byte, step int) {
	if t != bf16AMX && t != bf16AVX512 {
		bf16TileGeneric(t, c, ldc, rows, a, b, pairs, add)
		return
	}
	_, _, _ = c[(t.mr-1)*ldc+t.nr-1], a[t.mr*pairs-1], b[t.nr*pairs-1] // the assembly checks nothing
	if next == nil {
		next = (*byte)(unsafe.Pointer(&a[0])) // an address that is not mapped would cost a walk through the page table
	}
	switch {
	case t == bf16AMX:
		bf16TileAMX(&c[0], ldc, &a[0], &b[0], pairs, add, next, step)
	case rows <= 4:
		bf16Tile4OfAVX512(&c[0], ldc, &a[0], &b[0], pairs, add, next, step)
	case rows <= 8:
		bf16Tile8OfAVX512(&c[0], ldc, &a[0], &b[0], pairs, add, next, step)
	case rows <= 10:
		bf16Tile10OfAVX512(&c[0], ldc, &a[0], &b[0], pairs, add, next, step)
	case rows <= 12:
		bf16Tile12OfAVX512(&c[0], ldc, &a[0], &b[0], pairs, add, next, step)
	default:
		bf16TileAVX512(&c[0], ldc, &a[0], &b[0], pairs, add, next, step)
	}
}

func bf16Pairs(dst []uint32, x []float32) {
	n := 0
	if bf16Rounds() {
		if n = len(x) &^ 31; n > 0 {
			_ = dst[n/2-1]
			bf16PairsAVX512(&dst[0], &x[0], n)
		}
	}
	bf16PairsGeneric(dst[n/2:], x[n:])
}
