package kernel

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"unsafe"
)

// Products of float32 in tiles of bfloat16, AMX's. A float32 has 24 bits, and is the sum of three numbers of 8 bits:
//
//	x = h + m + l,  h is x cut off behind 8 bits, m is x-h cut off, l is what is left
//
// all of them bfloat16, and exactly. A half has 11 bits and is the sum of two. So x·w is the sum of up to nine products
// of bfloat16, each exact in float32, and in float32 the tile adds them up:
//
//	x·w = h·h + (h·m + m·h) + (h·l + m·m + l·h) + …
//
// What is left out is as small as what float32 rounds away of a single product, 2⁻²⁴ of it; the sums are float32's. Six
// products, or five with a half, take less time than one of float32: the tiles are sixteen times as fast. An infinity
// has no parts, and its products in a tile are NaN. A term below 2⁻¹²⁶ is 0, so that precision falls below 2⁻¹¹⁰, 1e-33.
//
// The idea is that of Henry, Tang, Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For
// Higher-Precision Computations", arXiv 1904.06376.

const (
	side   = 32 // rows and columns of what a call of the tile computes, and depths of a step
	square = side * side
	// fewest is how many columns of an image may be left over and be computed one after the other; more are a panel.
	fewest = 8
)

// packSquares packs w [n,k] for tileBF16, before it is split.
func packSquares(w []float32, n, k int) *Packed {
	if n < 0 || k < 0 || len(w) < n*k {
		panic(fmt.Sprintf("kernel: Pack: %d weights, want n·k = %d·%d", len(w), n, k))
	}
	p := &Packed{n: n, k: k, squares: true}
	steps := (k + side - 1) / side
	size := roundUp(n, side) * steps * side
	each := func(f func(part []float32, at int) bool) bool {
		good := make([]bool, roundUp(n, side)/side)
		parallel(len(good), func(j int) {
			var part [square]float32
			rows := min(side, n-j*side)
			good[j] = true
			for s := 0; s < steps && good[j]; s++ {
				from := w[j*side*k+s*side:]
				if d := min(side, k-s*side); rows == side && d == side {
					for r := range side { // of a length that the compiler knows
						*(*[side]float32)(part[r*side:]) = *(*[side]float32)(from[r*k:])
					}
				} else {
					clear(part[:])
					copyRows(part[:], side, from, k, d, rows)
				}
				good[j] = f(part[:], (j*steps+s)*square)
			}
		})
		return !slices.Contains(good, false)
	}
	p.half = newBlock[uint16](p, size)
	if !each(func(part []float32, at int) bool { return narrow(p.half[at:at+square], part) }) {
		p = &Packed{n: n, k: k, squares: true}
		p.full = newBlock[float32](p, size)
		each(func(part []float32, at int) bool { copy(p.full[at:], part); return true })
	}
	return p
}

// unpackSquares sets w [n,k] to what was packed.
func (p *Packed) unpackSquares(w []float32) {
	steps := (p.k + side - 1) / side
	parallel(roundUp(p.n, side)/side, func(j int) {
		var wide [square]float32
		for s := range steps {
			at := (j*steps + s) * square
			part := wide[:]
			if p.half != nil {
				widen(part, p.half[at:at+square])
			} else {
				part = p.full[at : at+square]
			}
			for r := range min(side, p.n-j*side) {
				copy(w[(j*side+r)*p.k+s*side:(j*side+r+1)*p.k], part[r*side:(r+1)*side])
			}
		}
	})
	runtime.KeepAlive(p)
}

// terms is of how many bfloat16 a weight is the sum.
func (p *Packed) terms() int {
	if p.half != nil {
		return 2
	}
	return 3
}

// split sets dst to the terms of panel j of the weights at steps s0..s0+steps.
func (p *Packed) split(dst []uint16, j, s0, steps int) {
	at, size := (j*((p.k+side-1)/side)+s0)*square, steps*square
	if p.half != nil {
		splitHalves(dst, p.half[at:at+size], steps)
	} else {
		splitRows(dst, p.full[at:at+size], side, square, steps)
	}
}

// dot sets y [32] to the products of panel j of the weights at steps s0..s0+steps with x.
func (p *Packed) dot(y []float32, j, s0, steps int, x []float32) {
	at, size := (j*((p.k+side-1)/side)+s0)*square, steps*square
	if p.half != nil {
		dotHalves(y, p.half[at:at+size], x, steps)
	} else {
		dotRows(y, p.full[at:at+size], x, steps)
	}
}

// getWords is [Get] of n 16-bit words.
func getWords(n int) []uint16 {
	x := Get((n + 1) / 2)
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), 2*cap(x))[:n]
}

// putWords gives memory from getWords back.
func putWords(x []uint16) {
	if cap(x) > 0 {
		Put(unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), cap(x)/2))
	}
}

// splitPanel sets dst to the terms of 32 columns of k rows of x, ld apart, with zeros up to whole steps.
func splitPanel(dst []uint16, x []float32, ld, k int) {
	whole := k / side
	if whole > 0 {
		splitColumns(dst, x, ld, whole)
	}
	if rest := k % side; rest > 0 {
		var last [square]float32
		copyRows(last[:], side, x[whole*side*ld:], ld, side, rest)
		splitColumns(dst[whole*3*square:], last[:], side, 1)
	}
}

// runAMX is run in tiles of bfloat16: X is split first, all of it, and W block by block.
func (p *packedProduct) runAMX() {
	n, k := p.w.n, p.w.k
	steps, terms := (k+side-1)/side, p.w.terms()
	extra := 0
	if p.each > fewest {
		extra = (p.left + side - 1) / side
	}
	xs := getWords((p.panels + extra) * steps * 3 * square)
	defer putWords(xs)
	of := func(q int) []uint16 { return xs[q*steps*3*square:][:steps*3*square] }
	rest := p.rest // rows of whole steps
	if extra == 0 && p.left > 0 && k%side != 0 {
		rest = Get(p.left * steps * side)
		defer Put(rest)
		clear(rest)
		for r := range p.left {
			copy(rest[r*steps*side:], p.rest[r*k:(r+1)*k])
		}
	}
	run := parallel
	if m := p.panels*side + p.left; float64(m)*float64(n)*float64(k) < 1<<16 {
		run = serial
	}
	run(p.panels+extra, func(q int) {
		if q < p.panels {
			splitPanel(of(q), p.x[q*k*side:], side, k)
			return
		}
		at := (q - p.panels) * side
		panel := Get(k * side)
		defer Put(panel)
		operand{p.rest, k, false}.pack(panel, at, min(side, p.left-at), 0, k, side)
		splitPanel(of(q), panel, side, k)
	})
	cuts := cutRows(n, side)
	const most = kcMax / side // steps at a time
	run(len(cuts)-1, func(i int) {
		b := &block16{block: p.block(cuts, i, side), terms: terms}
		room := b.count * square
		b.bias = Get(room)
		defer Put(b.bias)
		b.spreadBias()
		turned := Get(extra * room)
		defer Put(turned)
		weights := getWords(b.count * min(most, steps) * terms * square)
		defer putWords(weights)
		for s0 := 0; s0 < steps; s0 += most {
			b.steps = min(most, steps-s0)
			b.first, b.last = s0 == 0, s0+b.steps == steps
			for j := range b.count {
				p.w.split(weights[j*b.steps*terms*square:], b.n0/side+j, s0, b.steps)
			}
			next := p.w.readsSquares(cuts, i, s0+b.steps, most)
			share := next.size / max(p.panels, 1)
			for q := range p.panels + extra {
				x := of(q)[s0*3*square:]
				if q >= p.panels {
					b.turn(q, turned[(q-p.panels)*room:], weights, x)
					continue
				}
				var soon prefetch
				if q+1 < p.panels {
					soon.a = span{(*byte)(unsafe.Pointer(&of(q + 1)[s0*3*square])), b.steps * 6 * square}
				}
				if share > 0 {
					soon.b = span{(*byte)(unsafe.Add(unsafe.Pointer(next.at), q*share)), share}
				}
				at := (q*n + b.n0) * side
				var residual []float32
				if b.e.Residual != nil {
					residual = b.e.Residual[at:]
				}
				b.multiply(p.y[at:], weights, x, residual, soon)
			}
			if extra == 0 {
				b.dots(rest, steps, s0)
			}
		}
	})
	runtime.KeepAlive(p.w)
}

// readsSquares returns the memory of W that is split next, after step s of item i.
func (p *Packed) readsSquares(cuts []int, i, s, block int) span {
	steps := (p.k + side - 1) / side
	if s >= steps {
		if i += runtime.GOMAXPROCS(0); i >= len(cuts)-1 {
			return span{}
		}
		s = 0
	}
	if block < steps { // panels lie apart: the first of them
		cuts = []int{cuts[i], cuts[i] + side}
		i = 0
	}
	at := (cuts[i]/side*steps + s) * square
	size := (cuts[i+1] - cuts[i] + side - 1) / side * min(block, steps-s) * square
	if p.half != nil {
		return span{(*byte)(unsafe.Pointer(&p.half[at])), 2 * size}
	}
	return span{(*byte)(unsafe.Pointer(&p.full[at])), 4 * size}
}

// A block16 is a worker's part of a product in tiles of bfloat16.
type block16 struct {
	*block
	terms, steps int
}

// multiply computes y, width rows of a panel, from the terms of weights and of a panel of X; see block.multiply.
func (b *block16) multiply(y []float32, weights, x []uint16, residual []float32, soon prefetch) {
	for j := range b.count {
		w := weights[j*b.steps*b.terms*square:]
		near, nearStep := soon.a.share(j, b.count, b.steps, soonLines*64)
		far, farStep := soon.b.share(j, b.count, b.steps, laterLines*64)
		if rows := b.width - j*side; rows < side {
			var whole [square]float32
			out := y[j*square : j*square+rows*side]
			if !b.first {
				copy(whole[:], out)
			}
			tileBF16(whole[:], side, w, x, b.terms, 3, b.steps, !b.first, near, nearStep, far, farStep)
			copy(out, whole[:])
			continue
		}
		tileBF16(y[j*square:], side, w, x, b.terms, 3, b.steps, !b.first, near, nearStep, far, farStep)
	}
	if b.last {
		b.finish(y[:b.width*side], residual, 0)
	}
}

// share returns where the i-th of n calls of so many steps begins to ask for s, and how far it goes in each, at most
// so many bytes.
func (s span) share(i, n, steps, most int) (at *byte, step int) {
	if s.at == nil {
		return nil, 0
	}
	step = min((s.size+n*steps-1)/(n*steps), most)
	return (*byte)(unsafe.Add(unsafe.Pointer(s.at), min(i*step*steps, s.size-1))), step
}

// turn is block.turn.
func (b *block16) turn(q int, turned []float32, weights, x []uint16) {
	b.multiply(turned, weights, x, nil, prefetch{})
	if b.last {
		b.settle(q, turned)
	}
}

// dots computes the block's part of the rows of Y that belong to the rows of X, of whole steps.
func (b *block16) dots(rest []float32, steps, s0 int) {
	n := b.packedProduct.w.n
	var out [side]float32
	for j := range b.count {
		for r := range b.left {
			b.packedProduct.w.dot(out[:], b.n0/side+j, s0, b.steps, rest[(r*steps+s0)*side:])
			y := b.y[(b.panels*side+r)*n+b.n0+j*side:][:min(side, b.width-j*side)]
			if b.first {
				copy(y, out[:])
			} else {
				addBias(y, out[:len(y)])
			}
		}
	}
	if b.last && b.left > 0 {
		b.e.apply(b.y, n, b.panels*side, b.left, b.n0, b.width, n)
	}
}

// tileBF16Generic is the definition of the tile: C [32,32] = or += Σ a·b over steps of 32 depths, where a square of A
// lies in terms [steps][inA][32][32], and B in [steps][3][16][32][2], two depths side by side, of which the first inB
// terms are not 0. The product of the i-th term of a and the j-th of b is taken if it is not too small: i+j < 3.
func tileBF16Generic(c []float32, ldc int, a, b []uint16, inA, inB, steps int, accumulate bool) {
	for r := range side {
		row := c[r*ldc:][:side]
		if !accumulate {
			clear(row)
		}
		for s := range steps {
			for i := range inA {
				for j := range min(inB, 3-i) {
					for p := range side {
						x := fromBF16(a[((s*inA+i)*side+r)*side+p])
						for col := range row {
							row[col] += x * fromBF16(b[((s*3+j)*16+p/2)*2*side+2*col+p%2])
						}
					}
				}
			}
		}
	}
}

func fromBF16(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }

// cut returns x cut off behind 8 bits, and what is left.
func cut(x float32) (h uint16, rest float32) {
	h = uint16(math.Float32bits(x) >> 16)
	return h, x - fromBF16(h)
}

// splitColumnsGeneric sets dst [steps][3][16][32][2] to the terms of 32 columns of 32·steps rows of src, ld apart.
func splitColumnsGeneric(dst []uint16, src []float32, ld, steps int) {
	for s := range steps {
		for p := range side {
			for c, x := range src[(s*side+p)*ld:][:side] {
				for t := range 3 {
					dst[((s*3+t)*16+p/2)*2*side+2*c+p%2], x = cut(x)
				}
			}
		}
	}
}

// splitRowsGeneric sets dst [steps][3][32][32] to the terms of 32 rows of src, ld apart, 32 numbers of each in a step, and
// step apart.
func splitRowsGeneric(dst []uint16, src []float32, ld, step, steps int) {
	for s := range steps {
		for r := range side {
			for p, x := range src[s*step+r*ld:][:side] {
				for t := range 3 {
					dst[((s*3+t)*side+r)*side+p], x = cut(x)
				}
			}
		}
	}
}

// splitHalvesGeneric sets dst [steps][2][32][32] to the terms of the halves src [steps][32][32].
func splitHalvesGeneric(dst, src []uint16, steps int) {
	for i, h := range src[:steps*square] {
		x := FromHalf(h)
		for t := range 2 {
			dst[(i/square*2+t)*square+i%square], x = cut(x)
		}
	}
}
