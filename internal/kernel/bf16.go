package kernel

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// BF16 is a weight matrix W [n,k] rounded to bfloat16, packed once for the instruction in use at that time: the upper
// 16 bits of a float32, with 8 bits of precision. It takes half the memory of float32. It is not written after
// [PackBF16], and may be used by many goroutines at once.
//
// Source: Intel, "BFLOAT16 – Hardware Numerics Definition", 2018.
type BF16 struct {
	tile  *bf16Tile
	n, k  int
	pairs []uint32 // panels of nr rows, [panels][depth][nr]: two numbers of consecutive depths, the first in the lower half
	whole *BF16    // what it is a part of, or nil; see Split
}

// A bf16Tile is an implementation of the product in bfloat16: an instruction and the layout that it reads.
type bf16Tile struct {
	name   string
	mr, nr int // rows and columns of the register tile
	block  int // pairs of a row of A that lie side by side: a panel is [depth/block][mr][block]
}

var (
	bf16AMX     = &bf16Tile{"amx-bf16", 32, 32, 16}
	bf16AVX512  = &bf16Tile{"avx512-bf16", 14, 32, 1}
	bf16Generic = &bf16Tile{"generic", genericMR, genericNR, 1}
)

// bf16KC is how many pairs are summed up at a time, from 0 on. The sums of these parts are added in order, so that it is
// the same for all tiles: an element has the same bits. A panel of A stays in the first-level cache.
const bf16KC = 512

// bf16Chosen is the tile that tests and benchmarks choose in the place of the best.
var bf16Chosen *bf16Tile

// bf16Best returns the tile that products use.
func bf16Best() *bf16Tile {
	if bf16Chosen != nil {
		return bf16Chosen
	}
	return bf16Tiles()[0]
}

// BF16Name says which instruction [PackBF16] packs for: "amx-bf16", "avx512-bf16" or "generic". It follows [Use].
func BF16Name() string { return bf16Best().name }

// BF16Pays reports whether the product in bfloat16 is faster than that in float32 with the implementation in use. A tile of
// AMX takes one product where float32 takes five or six. VDPBF16PS does two multiply-adds in the time of one on AMD's
// processors, which issue it as often as VFMADD231PS; Intel's issue it half as often.
func BF16Pays() bool { return bf16Best() != bf16Generic && (bf16Best() == bf16AMX || bf16FullRate()) }

// PackBF16 rounds W [n,k] to the nearest, ties to even, and packs it. A NaN stays one, and so does an infinity. Numbers
// below 2⁻¹²⁶ become 0, and those that round to 2¹²⁸ infinite.
func PackBF16(w []float32, n, k int) *BF16 {
	switch {
	case n < 0 || k < 0:
		panic("kernel: PackBF16: negative size")
	case len(w) < n*k:
		panic(fmt.Sprintf("kernel: PackBF16: %d weights, want n·k = %d·%d", len(w), n, k))
	}
	t := bf16Best()
	depth := t.depth(k)
	panels := (n + t.nr - 1) / t.nr
	p := &BF16{tile: t, n: n, k: k}
	p.pairs = newOffHeap[uint32](p, panels*t.nr*depth)
	parallel(panels, func(i int) {
		bf16Panel(p.pairs[i*t.nr*depth:(i+1)*t.nr*depth], t.nr, depth, w[i*t.nr*k:], min(t.nr, n-i*t.nr), k)
	})
	return p
}

// Shape returns the rows and columns of W.
func (w *BF16) Shape() (n, k int) { return w.n, w.k }

// Bytes returns the memory that w holds.
func (w *BF16) Bytes() int { return 4 * len(w.pairs) }

// Split returns the first n rows of W, and the rows from n on, before which there may be others: a part begins with a panel. They
// have the memory of w.
func (w *BF16) Split(n int) (first, rest *BF16) {
	if n < 0 || n > w.n {
		panic(fmt.Sprintf("kernel: BF16.Split: %d of %d rows", n, w.n))
	}
	part := func(from, to int) *BF16 {
		return &BF16{tile: w.tile, n: to - from, k: w.k, pairs: w.pairs[from*w.tile.depth(w.k):], whole: w}
	}
	return part(0, n), part(n/w.tile.nr*w.tile.nr, w.n)
}

// Unpack sets dst [n,k] to the weights as they were rounded.
func (w *BF16) Unpack(dst []float32) { w.UnpackRows(dst, 0, w.n) }

// UnpackRows sets dst [rows,k] to rows of the weights as they were rounded, from one on.
func (w *BF16) UnpackRows(dst []float32, from, rows int) {
	checkUnpack(len(dst), from, rows, w.n, w.k)
	depth, nr := w.tile.depth(w.k), w.tile.nr
	parallel(rows, func(i int) {
		j := from + i
		panel := w.pairs[j/nr*nr*depth+j%nr:]
		row := dst[i*w.k : (i+1)*w.k]
		for p := range row {
			row[p] = fromBF16(uint16(panel[p/2*nr] >> (16 * (p % 2))))
		}
	})
	runtime.KeepAlive(w)
}

// MatMulBF16 computes C [m,n] = A [m,k] · Wᵀ: a linear layer in bfloat16, with sums and epilogue in float32. A is rounded
// on the way, as [PackBF16] rounds W. Products of two bfloat16 are exact in float32; their sum is rounded after each of
// them, in the order of bf16TileGeneric, and every implementation but AMX gives the same C to the last bit, up to the
// epilogue. A row has the same bits whatever m is, and with any number of threads.
func MatMulBF16(c, a []float32, w *BF16, m int, e Epilogue) {
	n, k, t := w.n, w.k, w.tile
	check("MatMulBF16", c, nil, nil, m, n, 0, e)
	if len(a) < m*k {
		panic("kernel: MatMulBF16: a is shorter than m·k")
	}
	if m == 0 || n == 0 {
		return
	}
	run := parallel
	if float64(m)*float64(n)*float64(k) < 1<<16 {
		run = serial
	}
	depth := t.depth(k)
	starts := partitionColumns(n, t.nr)
	for m0 := 0; m0 < m; m0 += mcMax {
		mc := min(mcMax, m-m0)
		panels := (mc + t.mr - 1) / t.mr
		pairs := asUint32(Get(panels * t.mr * depth))
		run(panels, func(p int) {
			rows := min(t.mr, mc-p*t.mr)
			t.packRows(pairs[p*t.mr*depth:(p+1)*t.mr*depth], depth, a[(m0+p*t.mr)*k:], rows, k)
		})
		run(len(starts)-1, func(item int) {
			n0 := starts[item]
			width := starts[item+1] - n0
			for q0 := 0; q0 < depth; q0 += bf16KC {
				d := min(bf16KC, depth-q0)
				for p := range panels {
					rows, at := min(t.mr, mc-p*t.mr), (p*depth+q0)*t.mr
					var ahead span
					if p+1 < panels {
						ahead = span{(*byte)(unsafe.Pointer(&pairs[at+depth*t.mr])), 4 * t.mr * d}
					}
					count := (width + t.nr - 1) / t.nr
					for j := range count {
						next, step := ahead.part(j, count, d)
						out := c[(m0+p*t.mr)*n+n0+j*t.nr:]
						bf16Clipped(t, out, n, rows, min(t.nr, width-j*t.nr), pairs[at:], w.pairs[(n0+j*t.nr)*depth+q0*t.nr:], d, q0 > 0, next, step)
					}
					if q0+d == depth {
						e.apply(c, n, m0+p*t.mr, rows, n0, width, n)
					}
				}
			}
		})
		Put(asFloat32(pairs))
	}
	runtime.KeepAlive(w)
}

// bf16Clipped computes the first rows and columns of a tile of C, or adds to them.
func bf16Clipped(t *bf16Tile, c []float32, ldc, rows, columns int, a, b []uint32, pairs int, add bool, next *byte, step int) {
	if rows == t.mr && columns == t.nr {
		bf16Sums(t, c, ldc, rows, a, b, pairs, add, next, step)
		return
	}
	var whole [amxTileLen]float32 // the largest tile
	bf16Sums(t, whole[:], t.nr, rows, a, b, pairs, false, next, step)
	for r := range rows {
		dst, src := c[r*ldc:][:columns], whole[r*t.nr:][:columns]
		if add {
			addBias(dst, src)
		} else {
			copy(dst, src)
		}
	}
}

// depth returns how many pairs hold k elements: whole blocks of them, and at least one.
func (t *bf16Tile) depth(k int) int { return roundUp(max(k, 1), 2*t.block) / 2 }

// packRows rounds rows of activations [rows,k] as a panel.
func (t *bf16Tile) packRows(panel []uint32, depth int, x []float32, rows, k int) {
	if t.block == 1 {
		bf16Panel(panel, t.mr, depth, x, rows, k)
		return
	}
	for r := range rows {
		row := x[r*k : (r+1)*k]
		for at := r * t.block; at < len(panel); at += t.mr * t.block {
			n := min(2*t.block, len(row))
			clear(panel[at+(n+1)/2 : at+t.block])
			bf16Pairs(panel[at:], row[:n])
			row = row[n:]
		}
	}
}

// bf16Panel rounds rows [rows,k] as a panel [depth][width]. What fills it up is 0.
func bf16Panel(panel []uint32, width, depth int, x []float32, rows, k int) {
	words := Get(rows * depth)
	for r := range rows {
		row := asUint32(words[r*depth : (r+1)*depth])
		bf16Pairs(row, x[r*k:(r+1)*k])
		clear(row[(k+1)/2:])
	}
	if rows < width {
		clear(panel)
	}
	packTransposed(asFloat32(panel), width, words, depth, rows, depth)
	Put(words)
}

// toBF16 rounds x to the nearest, ties to even, as VCVTNEPS2BF16 does.
func toBF16(x float32) uint16 {
	b := math.Float32bits(x)
	switch {
	case x != x:
		return uint16(b>>16) | 0x40 // quiet
	case b&0x7f800000 == 0:
		return uint16(b >> 16 & 0x8000)
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// bf16PairsGeneric writes x, rounded, two numbers to a word, with a 0 to fill the last.
func bf16PairsGeneric(dst []uint32, x []float32) {
	for i := 0; i < len(x); i += 2 {
		pair := uint32(toBF16(x[i]))
		if i+1 < len(x) {
			pair |= uint32(toBF16(x[i+1])) << 16
		}
		dst[i/2] = pair
	}
}

// bf16TileGeneric is the definition of the tile: C = or += the sums of products of the first rows of a panel of A, and of a
// panel of B. A sum begins with 0. To it are added, pair by pair, the product of the second numbers and that of the first;
// it is rounded to the nearest each time, and becomes 0 below 2⁻¹²⁶.
//
// Source: Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2, VDPBF16PS.
func bf16TileGeneric(t *bf16Tile, c []float32, ldc, rows int, a, b []uint32, pairs int, add bool) {
	var sums [amxTile]float32
	for i := range rows {
		row := sums[:t.nr]
		clear(row)
		for p := range pairs {
			x := a[p/t.block*t.mr*t.block+i*t.block+p%t.block]
			first, second := bf16Value(x), bf16Value(x>>16)
			for j, w := range b[p*t.nr : (p+1)*t.nr] {
				row[j] = bf16Add(bf16Add(row[j], second, bf16Value(w>>16)), first, bf16Value(w))
			}
		}
		out := c[i*ldc:][:t.nr]
		for j, s := range row {
			if add {
				s += out[j]
			}
			out[j] = s
		}
	}
}

// bf16Value returns the number in the lower half of a word, or 0 if it is below 2⁻¹²⁶.
func bf16Value(pair uint32) float64 {
	if pair&0x7f80 == 0 {
		pair &= 0x8000
	}
	return float64(fromBF16(uint16(pair)))
}

// bf16Add returns s + x·y, rounded once: a float64 holds the product, and what it rounds of the sum is too small to
// count.
func bf16Add(s float32, x, y float64) float32 {
	s = float32(float64(s) + x*y)
	if math.Float32bits(s)&0x7f800000 == 0 {
		return math.Float32frombits(math.Float32bits(s) & (1 << 31))
	}
	return s
}
