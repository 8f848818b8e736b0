package kernel

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"unsafe"
)

// Int8 is a weight matrix W [n,k] in 8 bits, packed once for the instruction in use at that time. A row
// is an output channel and has a scale of its own:
//
//	W[j,p] ≈ scales[j] · q[j,p],  q a whole number in [-127,127], or [-63,63] where the instruction needs it
//
// It takes a quarter of the memory of float32. It is not written after [PackRounded], and may be used by
// many goroutines at once. A [Rounding] makes it more exact.
type Int8 struct {
	tile    *int8Tile
	n, k    int
	quads   []uint32  // panels of nr channels, [panels][k/4][nr]: four q of consecutive depths, lowest byte first
	scales  []float32 // [n]
	sums    []int32   // [n], Σₚ q[j,p]: what a zero point of the activations must be compensated with
	factors []float32 // [k], of the columns of A: 1/s, and 0 for those apart; nil if all are 1
	columns []int     // the columns apart
	apart   []float32 // W[:,columns] as panels [panels][columns][nr]
	whole   *Int8     // what it is a part of, or nil; see Split
}

// A Rounding says how [PackRounded] rounds weights W [n,k], and [MatMulInt8] what they are multiplied with. The zero value is
// the fastest.
//
// Sources: Dettmers et al., "LLM.int8()", arXiv 2208.07339, for columns apart; Xiao et al., "SmoothQuant",
// arXiv 2211.10438, for scales.
type Rounding struct {
	Apart  []int     // columns that are multiplied in float32, ascending; few, since 16 take as long as 64 others
	Scales []float32 // [k], or nil: a column of A is divided by its scale s > 0, and that of W multiplied with it
	Words  bool      // 13 bits in 16 instead of 8, for twice the memory and twice the time
}

// An int8Tile is an implementation of the int8 product: an instruction and the layout that it reads. Of a tile for words,
// read pairs of two for quads of four.
type int8Tile struct {
	name      string
	words     bool
	mr, nr    int // rows and columns of the tile of sums
	finished  int // how many rows of it become rows of C at a time
	block     int // quads of a row of A that lie side by side: a panel is [k/4/block][mr][block]
	kcQuads   int // quads at a time, so that a panel of A stays in the first-level cache; AMX needs no such care
	maxWeight int // the largest magnitude of a weight
}

// The tiles. vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits, with
// saturation: 2·255·127 would not fit, 2·255·63 does.
var (
	int8AMX        = &int8Tile{"amx-int8", false, 32, 32, 8, 16, 1024, 127}
	int8AVX512VNNI = &int8Tile{"avx512-vnni", false, 14, 32, 14, 1, 256, 127}
	int8AVXVNNI    = &int8Tile{"avx-vnni", false, 6, 16, 6, 1, 256, 127}
	int8AVX2       = &int8Tile{"avx2", false, 6, 16, 6, 1, 256, 63}
	int8Generic    = &int8Tile{"generic", false, genericMR, genericNR, genericMR, 1, 256, 127}

	int16AVX512VNNI = &int8Tile{"avx512-vnni", true, 14, 32, 14, 1, 256, 32767}
	int16AVXVNNI    = &int8Tile{"avx-vnni", true, 6, 16, 6, 1, 256, 32767}
	int16AVX2       = &int8Tile{"avx2", true, 6, 16, 6, 1, 256, 32767}
	int16Generic    = &int8Tile{"generic", true, genericMR, genericNR, genericMR, 1, 256, 32767}
)

// wordNorm bounds the Euclidean norm of a row of words before it is rounded, of A as of W. Rounding adds √k/2 at most, so
// that the norm stays below 2^15.5 and, by Cauchy and Schwarz, a sum below 2³¹. What a partial sum wraps around comes
// back.
const wordNorm = 46200

// int8Chosen is the tile that tests and benchmarks choose in the place of the best.
var int8Chosen *int8Tile

// int8Best returns the tile that products use.
func int8Best() *int8Tile {
	if int8Chosen != nil {
		return int8Chosen
	}
	return int8Tiles()[0]
}

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
func PackInt8(w []float32, n, k int) *Int8 { return PackRounded(w, n, k, Rounding{}) }

// PackRounded is [PackInt8] with a choice of how.
func PackRounded(w []float32, n, k int, how Rounding) *Int8 {
	switch {
	case n < 0 || k < 0:
		panic("kernel: PackInt8: negative size")
	case len(w) < n*k:
		panic(fmt.Sprintf("kernel: PackInt8: %d weights, want n·k = %d·%d", len(w), n, k))
	case k > Int8MaxK:
		panic(fmt.Sprintf("kernel: PackInt8: k is %d, and above %d a sum could overflow", k, Int8MaxK))
	case how.Scales != nil && len(how.Scales) != k:
		panic(fmt.Sprintf("kernel: PackInt8: %d scales, want k = %d", len(how.Scales), k))
	}
	t := int8Best()
	if how.Words {
		t = int16Best()
	}
	depth := t.depth(k)
	panels := (n + t.nr - 1) / t.nr
	q := &Int8{
		tile: t, n: n, k: k,
		scales: make([]float32, panels*t.nr),
		sums:   make([]int32, panels*t.nr),
	}
	multiply := q.setColumns(w, how)
	q.quads = newOffHeap[uint32](q, panels*t.nr*depth)
	parallel(panels, func(p int) {
		panel := q.quads[p*t.nr*depth : (p+1)*t.nr*depth]
		cols := min(t.nr, n-p*t.nr)
		scratch := Get(k)
		for c := range cols {
			j := p*t.nr + c
			row := w[j*k : (j+1)*k]
			if multiply != nil {
				int8Factors(scratch, row, multiply)
				row = scratch
			}
			q.scales[j] = t.packWeights(panel[c:], row)
		}
		Put(scratch)
		if t.words {
			return // without a zero point the sums are of no use
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
		t.multiply(acc, t.nr, t.mr, ones, panel, depth, false, nil)
		copy(q.sums[p*t.nr:], acc[:cols])
		Put(asFloat32(ones))
		Put(asFloat32(acc))
	})
	return q
}

// setColumns sets what w does with the columns of A. It returns what those of W [n,k], the values, are multiplied with, or
// nil if with 1.
func (w *Int8) setColumns(values []float32, how Rounding) (multiply []float32) {
	if len(how.Apart) == 0 && how.Scales == nil {
		return nil
	}
	w.factors, multiply = make([]float32, w.k), make([]float32, w.k)
	for p := range multiply {
		w.factors[p], multiply[p] = 1, 1
		if how.Scales != nil {
			w.factors[p], multiply[p] = 1/how.Scales[p], how.Scales[p]
		}
	}
	if len(how.Apart) == 0 {
		return multiply
	}
	w.columns = slices.Clone(how.Apart)
	apart := Get(w.n * len(w.columns))
	defer Put(apart)
	for i, p := range w.columns {
		w.factors[p], multiply[p] = 0, 0
		for j := range w.n {
			apart[j*len(w.columns)+i] = values[j*w.k+p]
		}
	}
	w.apart = make([]float32, roundUp(w.n, w.tile.nr)*len(w.columns))
	matrix{apart, len(w.columns), false}.pack(w.apart, 0, w.n, 0, len(w.columns), w.tile.nr)
	return multiply
}

// packWeights quantises a row of weights into a panel, as unsigned bytes about 128 or as words, and returns its scale.
func (t *int8Tile) packWeights(panel []uint32, row []float32) (scale float32) {
	lo, hi, finite := int8Limits(row)
	largest := max(-lo, hi)
	if t.words {
		scale, inverse := int8Scale(wordScale(row, largest), finite)
		int16Quantise(panel, t.nr, row, inverse)
		return scale
	}
	scale, inverse := int8Scale(largest/float32(t.maxWeight), finite)
	int8Quantise(panel, t.nr, row, inverse, 128)
	return scale
}

// wordScale returns the scale of a row as words, whose largest magnitude is given.
func wordScale(row []float32, largest float32) float32 {
	// Squares of larger numbers might overflow, and of smaller ones vanish: √k times the largest is no less than the norm.
	norm := float64(largest) * math.Sqrt(float64(len(row))) // which may not fit a float32
	if 1e-12 < largest && largest < 1e12 {
		norm = math.Sqrt(float64(sumSquares(row, 0)))
	}
	return max(float32(norm/wordNorm), largest/32767)
}

// Shape returns the rows and columns of W.
func (w *Int8) Shape() (n, k int) { return w.n, w.k }

// Bytes returns the memory that w holds.
func (w *Int8) Bytes() int {
	return 4 * (len(w.quads) + len(w.scales) + len(w.sums) + len(w.factors) + len(w.apart))
}

// Words reports whether the weights are words.
func (w *Int8) Words() bool { return w.tile.words }

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
//
// With a [Rounding], the columns of A are scaled before, and those apart are multiplied in float32 and added after. Words
// have no zero point: their range is given by the norm of the row, and by its largest magnitude.
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
	depth, columns := t.depth(k), len(w.columns)
	starts := partitionColumns(n, t.nr)
	for m0 := 0; m0 < m; m0 += mcMax {
		mc := min(mcMax, m-m0)
		panels := (mc + t.mr - 1) / t.mr
		// The packed rows, and of each the scale, the zero point and the columns apart, [panels][mr/finished][columns][finished].
		// What fills them up to whole panels and blocks may be anything: the weights there are 0, and nobody reads the sums.
		quads := asUint32(Get(panels * t.mr * depth))
		scales, zeroPoints := Get(panels*t.mr), asInt32(Get(panels*t.mr))
		floats := Get(panels * t.mr * columns)
		run(panels, func(p int) {
			var scratch []float32
			if w.factors != nil {
				scratch = Get(k)
				defer Put(scratch)
			}
			for i := p * t.mr; i < min((p+1)*t.mr, mc); i++ {
				row := a[(m0+i)*k : (m0+i+1)*k]
				for o, column := range w.columns {
					floats[(i/t.finished*columns+o)*t.finished+i%t.finished] = row[column]
				}
				scales[i], zeroPoints[i] = t.packRow(quads[p*t.mr*depth:], i%t.mr, row, w.factors, scratch)
			}
		})
		run(len(starts)-1, func(item int) {
			n0 := starts[item]
			width := starts[item+1] - n0
			ld := roundUp(width, t.nr)
			acc := asInt32(Get(t.mr * ld)) // the sums of one panel of A, whole tiles of them
			f := int8Finish{ldc: n, depth: columns}
			for p := range panels {
				m1, rows := m0+p*t.mr, min(t.mr, mc-p*t.mr)
				f.rowScales, f.zeroPoints, f.a = scales[p*t.mr:], zeroPoints[p*t.mr:], floats[p*t.mr*columns:]
				for q0 := 0; q0 < depth; q0 += t.kcQuads {
					q := min(t.kcQuads, depth-q0)
					for j := n0; j < n0+width; j += t.nr {
						var last *int8Finish
						if q0+q == depth {
							last = &f
							f.c, f.columns = c[m1*n+j:], min(t.nr, n0+width-j)
							f.scales, f.sums, f.b = w.scales[j:], w.sums[j:], w.apart[j*columns:]
							if e.Activation == None && e.Bias != nil {
								f.bias = e.Bias[j:]
							}
							if e.Residual != nil {
								f.residual = e.Residual[m1*n+j:]
							}
						}
						t.multiply(acc[j-n0:], ld, rows, quads[(p*depth+q0)*t.mr:], w.quads[j*depth+q0*t.nr:], q, q0 > 0, last)
					}
				}
				if e.Activation != None {
					e.apply(c, n, m1, rows, n0, width, n)
				}
			}
			Put(asFloat32(acc))
		})
		Put(asFloat32(quads))
		Put(scales)
		Put(asFloat32(zeroPoints))
		Put(floats)
	}
	runtime.KeepAlive(w)
}

// An int8Finish is what makes a part of C of a tile of sums, rows of A by columns of W. Slices begin with the tile.
type int8Finish struct {
	c                 []float32 // [rows,columns], rows ldc apart
	ldc, columns      int
	scales, rowScales []float32 // of W and of A
	sums, zeroPoints  []int32   // of W and of A
	depth             int       // columns apart
	a, b              []float32 // them, [mr/finished][depth][finished] and [depth][nr]
	bias, residual    []float32 // [columns] and as c, or nil
}

// multiply sets the sums acc of the first rows of a panel of A, or adds to them; see int8TileGeneric. If f is not nil, it
// makes C of them, and acc may be anything after it.
func (t *int8Tile) multiply(acc []int32, ld, rows int, a, b []uint32, quads int, add bool, f *int8Finish) {
	_ = acc[(t.mr-1)*ld+t.nr-1]
	_, _ = a[t.mr*quads-1], b[t.nr*quads-1] // the assembly checks nothing
	if f == nil || f.columns == t.nr {
		int8Sums(t, acc, ld, rows, a, b, quads, add, f)
		return
	}
	// A tile with columns beyond those of C is finished beside it.
	var whole [amxTileLen]float32 // the largest tile
	g := *f
	g.c, g.ldc, g.columns, g.bias, g.residual = whole[:], t.nr, t.nr, nil, nil
	int8Sums(t, acc, ld, rows, a, b, quads, add, &g)
	for r := range rows {
		row := f.c[r*f.ldc:][:f.columns]
		copy(row, whole[r*t.nr:])
		if f.bias != nil {
			addBias(row, f.bias[:f.columns])
		}
		if f.residual != nil {
			addBias(row, f.residual[r*f.ldc:][:f.columns])
		}
	}
}

// Split returns the first n rows of W, and the rows from n on, before which there may be others: a part begins with a panel. They
// have the memory of w.
func (w *Int8) Split(n int) (first, rest *Int8) {
	if n < 0 || n > w.n {
		panic(fmt.Sprintf("kernel: Int8.Split: %d of %d rows", n, w.n))
	}
	part := func(from, to int) *Int8 {
		p := *w
		p.n, p.whole = to-from, w
		p.quads, p.scales, p.sums = w.quads[from*w.tile.depth(w.k):], w.scales[from:], w.sums[from:]
		p.apart = w.apart[from*len(w.columns):]
		return &p
	}
	return part(0, n), part(n/w.tile.nr*w.tile.nr, w.n)
}

// Unpack sets dst [n,k] to the weights as they were rounded.
func (w *Int8) Unpack(dst []float32) { w.UnpackRows(dst, 0, w.n) }

// UnpackRows sets dst [rows,k] to rows of the weights as they were rounded, from one on.
func (w *Int8) UnpackRows(dst []float32, from, rows int) {
	checkUnpack(len(dst), from, rows, w.n, w.k)
	depth, nr := w.tile.depth(w.k), w.tile.nr
	parallel(rows, func(i int) {
		j := from + i
		panel := w.quads[j/nr*nr*depth+j%nr:]
		row := dst[i*w.k : (i+1)*w.k]
		for p := range row {
			if w.tile.words {
				row[p] = float32(int16(panel[p/2*nr]>>(16*(p%2)))) * w.scales[j]
			} else {
				row[p] = float32(int8(panel[p/4*nr]>>(8*(p%4)))) * w.scales[j]
			}
			if w.factors != nil {
				row[p] *= w.factors[p]
			}
		}
	})
	for o, p := range w.columns {
		for i := range rows {
			j := from + i
			dst[i*w.k+p] = w.apart[j/nr*nr*len(w.columns)+o*nr+j%nr]
		}
	}
	runtime.KeepAlive(w)
}

// per returns how many elements are in a quad.
func (t *int8Tile) per() int {
	if t.words {
		return 2
	}
	return 4
}

// depth returns how many quads hold k elements: whole blocks of them, and at least one.
func (t *int8Tile) depth(k int) int { return roundUp(max(k, 1), t.per()*t.block) / t.per() }

// packRow quantises a row of activations, or its products with factors, as row r of a panel, and returns how to read it.
// There is scratch for a row if there are factors.
func (t *int8Tile) packRow(panel []uint32, r int, row, factors, scratch []float32) (scale float32, zero int32) {
	var lo, hi, finite float32
	if factors == nil {
		lo, hi, finite = int8Limits(row)
	} else {
		lo, hi, finite = int8Factors(scratch, row, factors)
		row = scratch
	}
	if t.words {
		scale, inverse := int8Scale(wordScale(row, max(-lo, hi)), finite)
		int16Quantise(panel[r:], t.mr, row, inverse)
		return scale, 0
	}
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

// int8TileGeneric is the definition of the tile: acc (mr,nr) = or += Σ over quads of four products, each of an unsigned
// byte of a with a signed byte of b. Each depth has mr quads of a, in blocks, and nr of b. The rows of acc lie ld
// apart.
func int8TileGeneric(t *int8Tile, acc []int32, ld int, a, b []uint32, quads int, add bool) {
	for i := range t.mr {
		row := acc[i*ld : i*ld+t.nr]
		if !add {
			clear(row)
		}
		for p := range quads {
			x := a[p/t.block*t.mr*t.block+i*t.block+p%t.block]
			if t.words {
				x0, x1 := int32(int16(x)), int32(int16(x>>16))
				for j, w := range b[p*t.nr : (p+1)*t.nr] {
					row[j] += x0*int32(int16(w)) + x1*int32(int16(w>>16))
				}
				continue
			}
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

// int8FactorsGeneric sets y = x·f and returns the limits of y.
func int8FactorsGeneric(y, x, f []float32) (lo, hi, finite float32) {
	for i, v := range x {
		y[i] = v * f[i]
	}
	return int8LimitsGeneric(y[:len(x)])
}

// int16QuantiseGeneric writes round(x·inverse), held within 16 bits, as words: two to a pair, stride pairs apart, with
// zeros to fill the last.
func int16QuantiseGeneric(dst []uint32, stride int, x []float32, inverse float32) {
	for i := 0; i < len(x); i += 2 {
		var pair uint32
		for b, v := range x[i:min(i+2, len(x))] {
			q := int32(math.RoundToEven(float64(v * inverse)))
			pair |= uint32(uint16(min(max(q, -1<<15), 1<<15-1))) << (16 * b)
		}
		dst[i/2*stride] = pair
	}
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

// int8FinishGeneric sets the first rows of a tile of C to the float32 that its sums stand for,
//
//	C = (acc - zeroPoints·sums)·scales·rowScales + a·b + bias + residual
//
// in this order, rounded after each step.
func int8FinishGeneric(t *int8Tile, acc []int32, ld, rows int, f *int8Finish) {
	for i := range rows {
		row := f.c[i*f.ldc:][:t.nr]
		for j := range row {
			row[j] = float32(acc[i*ld+j]-f.zeroPoints[i]*f.sums[j]) * f.scales[j] * f.rowScales[i]
		}
		at := i / t.finished * t.finished * f.depth
		for p := range f.depth {
			x := f.a[at+p*t.finished+i%t.finished]
			for j, v := range f.b[p*t.nr : (p+1)*t.nr] {
				row[j] += x * v
			}
		}
		if f.bias != nil {
			addBiasGeneric(row, f.bias[:t.nr])
		}
		if f.residual != nil {
			addBiasGeneric(row, f.residual[i*f.ldc:][:t.nr])
		}
	}
}

// Scratch memory is shared with floats: a word is a word.

func asUint32(x []float32) []uint32 { return asWords[uint32](x) }
func asInt32(x []float32) []int32   { return asWords[int32](x) }

func asFloat32[T uint32 | int32](x []T) []float32 { return asWords[float32](x) }

func asWords[T, S uint32 | int32 | float32](x []S) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(x))), cap(x))[:len(x)]
}
