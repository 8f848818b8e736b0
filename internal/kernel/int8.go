package kernel

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// Int8 is a weight matrix W [n,k] in 8 bits, packed once for the instruction in use at that time. A row
// is an output channel and has a scale of its own:
//
//	W[j,p] ≈ scales[j] · q[j,p],  q a whole number in [-127,127], or [-63,63] where the instruction needs it
//
// It takes a quarter of the memory of float32. It is not written after [PackInt8], and may be used by
// many goroutines at once.
type Int8 struct {
	tile   *int8Tile
	n, k   int
	quads  []uint32  // panels of nr channels, [panels][k/4][nr]: four q of consecutive depths, lowest byte first
	scales []float32 // [n]
	sums   []int32   // [n], Σₚ q[j,p]: what a zero point of the activations must be compensated with
}

// An int8Tile is an implementation of the int8 product: an instruction and the layout that it reads.
type int8Tile struct {
	name      string
	mr, nr    int // rows and columns of the register tile
	block     int // quads of a row of A that lie side by side: a panel is [k/4/block][mr][block]
	kcQuads   int // quads at a time, so that a panel of A stays in the first-level cache; AMX needs no such care
	maxWeight int // the largest magnitude of a weight
}

// The tiles. vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits, with
// saturation: 2·255·127 would not fit, 2·255·63 does.
var (
	int8AMX        = &int8Tile{"amx-int8", 32, 32, 16, 1024, 127}
	int8AVX512VNNI = &int8Tile{"avx512-vnni", 14, 32, 1, 256, 127}
	int8AVXVNNI    = &int8Tile{"avx-vnni", 6, 16, 1, 256, 127}
	int8AVX2       = &int8Tile{"avx2", 6, 16, 1, 256, 63}
	int8Generic    = &int8Tile{"generic", genericMR, genericNR, 1, 256, 127}
)

// int8Skip is how many of the best tiles to pass over. Tests and benchmarks set it to reach the others.
var int8Skip int

// int8Best returns the tile that products use.
func int8Best() *int8Tile { return int8Tiles()[int8Skip] }

// Int8Name says which instruction [PackInt8] packs for: "amx-int8", "avx512-vnni", "avx-vnni", "avx2" or
// "generic". It follows [Use].
func Int8Name() string { return int8Best().name }

// Int8Pays reports whether the product in int8 is faster than that in float32 with the implementation in use. The
// tile of AVX2 is 1.6 times as fast as float32 with AVX2, and slower than float32 with AVX-512.
func Int8Pays() bool {
	t := int8Best()
	return t != int8Generic && (t != int8AVX2 || Name() == "avx2")
}

// Int8MaxK is the largest k of a product in int8: it keeps k·255·127, the largest sum, below 2³¹.
const Int8MaxK = (1<<31 - 1) / (255 * 127)

// PackInt8 quantises the rows of W [n,k] to the nearest, ties to even, and packs them. The largest magnitude of a row
// becomes the end of the range. A row that holds a NaN or an infinity becomes NaN; one below 127·2⁻¹²⁶ becomes 0.
func PackInt8(w []float32, n, k int) *Int8 {
	switch {
	case n < 0 || k < 0:
		panic("kernel: PackInt8: negative size")
	case len(w) < n*k:
		panic(fmt.Sprintf("kernel: PackInt8: %d weights, want n·k = %d·%d", len(w), n, k))
	case k > Int8MaxK:
		panic(fmt.Sprintf("kernel: PackInt8: k is %d, and above %d a sum could overflow", k, Int8MaxK))
	}
	t := int8Best()
	depth := t.depth(k)
	panels := (n + t.nr - 1) / t.nr
	q := &Int8{
		tile: t, n: n, k: k,
		scales: make([]float32, n),
		sums:   make([]int32, n),
	}
	q.quads = newOffHeap[uint32](q, panels*t.nr*depth)
	parallel(panels, func(p int) {
		panel := q.quads[p*t.nr*depth : (p+1)*t.nr*depth]
		cols := min(t.nr, n-p*t.nr)
		for c := range cols {
			j := p*t.nr + c
			row := w[j*k : (j+1)*k]
			lo, hi, finite := int8Limits(row)
			s, inverse := int8Scale(max(-lo, hi)/float32(t.maxWeight), finite)
			q.scales[j] = s
			int8Quantise(panel[c:], t.nr, row, inverse, 128)
		}
		// From unsigned bytes about 128 to signed ones; what is deeper than k is 0.
		for i := range panel[:(k+3)/4*t.nr] {
			panel[i] ^= 0x80808080
		}
		if tail := k % 4; tail != 0 {
			for c := range cols {
				panel[k/4*t.nr+c] &= 1<<(8*tail) - 1
			}
		}
		// The sum of a row is its product with ones.
		ones, acc := asUint32(Get(t.mr*depth)), asInt32(Get(t.mr*t.nr))
		for i := range ones {
			ones[i] = 0x01010101
		}
		clear(acc)
		int8Sums(t, acc, t.nr, ones, panel, depth, asFloat32(acc), 0)
		copy(q.sums[p*t.nr:], acc[:cols])
		Put(asFloat32(ones))
		Put(asFloat32(acc))
	})
	return q
}

// Shape returns the rows and columns of W.
func (w *Int8) Shape() (n, k int) { return w.n, w.k }

// Bytes returns the memory that w holds.
func (w *Int8) Bytes() int { return 4 * (len(w.quads) + len(w.scales) + len(w.sums)) }

// MatMulInt8 computes C [m,n] = A [m,k] · Wᵀ: a linear layer in 8 bits, with the epilogue in float32.
// Each row of A is quantised on the way, over the range from its least to its greatest element, 0
// included:
//
//	A[i,p] ≈ s·(q - z),  q and z whole numbers in [0,255]
//	C[i,j] = s·scales[j]·Σₚ (q[p] - z)·W.q[j,p] = s·scales[j]·(Σₚ q[p]·W.q[j,p] - z·W.sums[j])
//
// so that an element of A is off by s/2 at most. The sums are exact: every implementation gives the same
// C, to the last bit, for the same w, up to the epilogue. A NaN or an infinity in a row of A makes that
// row of the product NaN; a row whose range is below 255·2⁻¹²⁶ counts as 0.
func MatMulInt8(c, a []float32, w *Int8, m int, e Epilogue) {
	n, k, t := w.n, w.k, w.tile
	check("MatMulInt8", c, nil, nil, m, n, 0, e)
	if len(a) < m*k {
		panic("kernel: MatMulInt8: a is shorter than m·k")
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
		// The packed rows, and of each the scale and the zero point. What fills them up to whole panels
		// and blocks may be anything: the weights there are 0, and nobody reads the sums.
		quads := asUint32(Get(panels * t.mr * depth))
		scales, zeroPoints := Get(mc), asInt32(Get(mc))
		run(panels, func(p int) {
			for i := p * t.mr; i < min((p+1)*t.mr, mc); i++ {
				scales[i], zeroPoints[i] = t.packRow(quads[p*t.mr*depth:], i%t.mr, a[(m0+i)*k:(m0+i+1)*k])
			}
		})
		run(len(starts)-1, func(item int) {
			n0 := starts[item]
			width := starts[item+1] - n0
			ld := roundUp(width, t.nr)
			acc := asInt32(Get(t.mr * ld)) // the sums of one panel of A, whole tiles of them
			for p := range panels {
				rows := min(t.mr, mc-p*t.mr)
				clear(acc)
				for q0 := 0; q0 < depth; q0 += t.kcQuads {
					q := min(t.kcQuads, depth-q0)
					for j := 0; j < width; j += t.nr {
						ap, bp := quads[(p*depth+q0)*t.mr:], w.quads[(n0+j)*depth+q0*t.nr:]
						int8Sums(t, acc[j:], ld, ap, bp, q, c[(m0+p*t.mr)*n+n0+j:], n)
					}
				}
				for r := range rows {
					i := p*t.mr + r
					int8Dequantise(c[(m0+i)*n+n0:][:width], acc[r*ld:], w.sums[n0:], w.scales[n0:], zeroPoints[i], scales[i])
				}
				e.apply(c, n, m0+p*t.mr, rows, n0, width, n)
			}
			Put(asFloat32(acc))
		})
		Put(asFloat32(quads))
		Put(scales)
		Put(asFloat32(zeroPoints))
	}
	runtime.KeepAlive(w)
}

// Unpack sets dst [n,k] to the weights as they were rounded.
func (w *Int8) Unpack(dst []float32) {
	if len(dst) < w.n*w.k {
		panic(fmt.Sprintf("kernel: Unpack: room for %d weights, want n·k = %d·%d", len(dst), w.n, w.k))
	}
	depth, nr := w.tile.depth(w.k), w.tile.nr
	parallel(w.n, func(j int) {
		panel := w.quads[j/nr*nr*depth+j%nr:]
		row := dst[j*w.k : (j+1)*w.k]
		for p := range row {
			row[p] = float32(int8(panel[p/4*nr]>>(8*(p%4)))) * w.scales[j]
		}
	})
	runtime.KeepAlive(w)
}

// depth returns how many quads hold k elements: whole blocks of them, and at least one.
func (t *int8Tile) depth(k int) int { return roundUp(max(k, 1), 4*t.block) / 4 }

// packRow quantises a row of activations as row r of a panel and returns how to read it.
func (t *int8Tile) packRow(panel []uint32, r int, row []float32) (scale float32, zero int32) {
	lo, hi, finite := int8Limits(row)
	scale, inverse := int8Scale(hi/255-lo/255, finite) // hi - lo might overflow
	zero = int32(math.RoundToEven(float64(-lo * inverse)))
	if t.block == 1 {
		int8Quantise(panel[r:], t.mr, row, inverse, zero)
		return scale, zero
	}
	for at := r * t.block; len(row) > 0; at += t.mr * t.block {
		n := min(4*t.block, len(row))
		int8Quantise(panel[at:], 1, row[:n], inverse, zero)
		row = row[n:]
	}
	return scale, zero
}

// int8Scale returns the scale s and its inverse. A scale below the normal numbers, whose inverse might
// be infinite, becomes 0. If what is to be scaled is not finite, as int8Limits tells, the scale is NaN.
func int8Scale(s, finite float32) (scale, inverse float32) {
	const smallest = 0x1p-126
	switch {
	case finite != 0:
		return finite, 0
	case s < smallest:
		return 0, 0
	}
	return s, 1 / s
}

// int8TileGeneric is the definition of the tile: acc (mr,nr) += Σ over quads of four products, each of an unsigned
// byte of a with a signed byte of b. Each depth has mr quads of a, in blocks, and nr of b. The rows of acc lie ld
// apart.
func int8TileGeneric(t *int8Tile, acc []int32, ld int, a, b []uint32, quads int) {
	for i := range t.mr {
		row := acc[i*ld : i*ld+t.nr]
		for p := range quads {
			x := a[p/t.block*t.mr*t.block+i*t.block+p%t.block]
			x0, x1, x2, x3 := int32(x&255), int32(x>>8&255), int32(x>>16&255), int32(x>>24)
			for j, w := range b[p*t.nr : (p+1)*t.nr] {
				row[j] += x0*int32(int8(w)) + x1*int32(int8(w>>8)) + x2*int32(int8(w>>16)) + x3*int32(int8(w>>24))
			}
		}
	}
}

// int8LimitsGeneric returns the least and the greatest of 0 and the numbers in x, and Σ 0·x: 0, or NaN
// if an element of x is no finite number.
func int8LimitsGeneric(x []float32) (lo, hi, finite float32) {
	for _, v := range x {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
		finite += 0 * v
	}
	return lo, hi, finite
}

// int8QuantiseGeneric writes round(x·inverse) + zero, held within [0,255], as bytes: four to a quad,
// stride quads apart, with zeros to fill the last.
func int8QuantiseGeneric(dst []uint32, stride int, x []float32, inverse float32, zero int32) {
	for i := 0; i < len(x); i += 4 {
		var quad uint32
		for b, v := range x[i:min(i+4, len(x))] {
			q := int32(math.RoundToEven(float64(v*inverse))) + zero
			quad |= uint32(min(max(q, 0), 255)) << (8 * b)
		}
		dst[i/4*stride] = quad
	}
}

// int8DequantiseGeneric sets y = (acc - zero·sums)·scales·scale.
func int8DequantiseGeneric(y []float32, acc, sums []int32, scales []float32, zero int32, scale float32) {
	for j := range y {
		y[j] = float32(acc[j]-zero*sums[j]) * scales[j] * scale
	}
}

// Scratch memory is shared with floats: a word is a word.

func asUint32(x []float32) []uint32 { return asWords[uint32](x) }
func asInt32(x []float32) []int32   { return asWords[int32](x) }

func asFloat32[T uint32 | int32](x []T) []float32 { return asWords[float32](x) }

func asWords[T, S uint32 | int32 | float32](x []S) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(x))), cap(x))[:len(x)]
}
