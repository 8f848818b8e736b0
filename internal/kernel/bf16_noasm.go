//go:build !amd64 || purego

package kernel

func bf16Tiles() []*bf16Tile { return []*bf16Tile{bf16Generic} }

func bf16FullRate() bool { return false }

func bf16Sums(t *bf16Tile, c []float32, ldc, rows int, a, b []uint32, pairs int, add bool, next *byte, step int) {
	bf16TileGeneric(t, c, ldc, rows, a, b, pairs, add)
}

func bf16Pairs(dst []uint32, x []float32) { bf16PairsGeneric(dst, x) }
