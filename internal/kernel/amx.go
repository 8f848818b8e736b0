package kernel

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"unsafe"
)

// With AMX, products of float32 are computed in tiles of bfloat16. A float32 has 24 bits of precision, and is exactly the
// sum of three terms of 8 bits, which are bfloat16:
//
//	x = h + m + l,  h is x truncated to 8 bits, m is x-h truncated, l is the rest
//
// A half has 11 bits, and is the sum of two terms. So x·w is the sum of up to nine products of bfloat16. Each is exact in
// float32, and the tile adds them up in float32:
//
//	x·w = h·h + (h·m + m·h) + (h·l + m·m + l·h) + …
//
// The products left out are as small as what float32 rounds away of one product: 2⁻²⁴ of it. Six products, or five with a
// half, take less time than one of float32, since the tiles are sixteen times as fast. An infinity has no such terms, and
// its products in a tile are NaN. A term below 2⁻¹²⁶ is 0, so that precision falls below 2⁻¹¹⁰, or 1e-33.
//
// Source: Henry, Tang, Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
// Computations", arXiv 1904.06376.

const (
	// amxTile is the number of rows and columns that a call of tileBF16 computes, in two by two tile registers. It is
	// also the number of depths in a step. amxTileLen is the number of elements of such a tile.
	amxTile    = 32
	amxTileLen = amxTile * amxTile
	// maxRestRows is how many rows of a span may be computed as they are, one after the other; more are padded to a panel.
	maxRestRows = 8
)

// packAMXTiles packs w [n,k] in tiles for tileBF16, not split into terms yet.
func packAMXTiles(w []float32, n, k int) *Packed {
	if n < 0 || k < 0 || len(w) < n*k {
		panic(fmt.Sprintf("kernel: Pack: %d weights, want n·k = %d·%d", len(w), n, k))
	}
	p := &Packed{n: n, k: k, amx: true}
	steps := (k + amxTile - 1) / amxTile
	size := roundUp(n, amxTile) * steps * amxTile
	forEachTile := func(f func(part []float32, at int) bool) bool {
		good := make([]bool, roundUp(n, amxTile)/amxTile)
		parallel(len(good), func(j int) {
			var part [amxTileLen]float32
			rows := min(amxTile, n-j*amxTile)
			good[j] = true
			for s := 0; s < steps && good[j]; s++ {
				from := w[j*amxTile*k+s*amxTile:]
				if d := min(amxTile, k-s*amxTile); rows == amxTile && d == amxTile {
					for r := range amxTile { // of a length that the compiler knows
						*(*[amxTile]float32)(part[r*amxTile:]) = *(*[amxTile]float32)(from[r*k:])
					}
				} else {
					clear(part[:])
					copyRows(part[:], amxTile, from, k, d, rows)
				}
				good[j] = f(part[:], (j*steps+s)*amxTileLen)
			}
		})
		return !slices.Contains(good, false)
	}
	half := beginsWithHalves(w[:n*k])
	if half {
		p.half = newOffHeap[uint16](p, size)
	}
	if !half || !forEachTile(func(part []float32, at int) bool { return narrow(p.half[at:at+amxTileLen], part) }) {
		p = &Packed{n: n, k: k, amx: true}
		p.full = newOffHeap[float32](p, size)
		forEachTile(func(part []float32, at int) bool { copy(p.full[at:], part); return true })
	}
	return p
}

// unpackAMXTiles sets w [rows,k] to rows of what packAMXTiles packed.
func (p *Packed) unpackAMXTiles(w []float32, from, rows int) {
	steps := (p.k + amxTile - 1) / amxTile
	eachPanel(from, rows, amxTile, func(j, first, last int) {
		var wide [amxTileLen]float32
		for s := range steps {
			at := (j*steps + s) * amxTileLen
			part := wide[:]
			if p.half != nil {
				widen(part, p.half[at:at+amxTileLen])
			} else {
				part = p.full[at : at+amxTileLen]
			}
			for n := first; n < last; n++ {
				r := n - j*amxTile
				copy(w[(n-from)*p.k+s*amxTile:(n-from+1)*p.k], part[r*amxTile:(r+1)*amxTile])
			}
		}
	})
	runtime.KeepAlive(p)
}

// bf16Terms returns of how many bfloat16 a weight is the sum.
func (p *Packed) bf16Terms() int {
	if p.half != nil {
		return 2
	}
	return 3
}

// splitBF16 sets dst to the terms of panel j of the weights at steps s0..s0+steps.
func (p *Packed) splitBF16(dst []uint16, j, s0, steps int) {
	at, size := (j*((p.k+amxTile-1)/amxTile)+s0)*amxTileLen, steps*amxTileLen
	if p.half != nil {
		splitHalvesBF16(dst, p.half[at:at+size], steps)
	} else {
		splitRowsBF16(dst, p.full[at:at+size], amxTile, amxTileLen, steps)
	}
}

// dot sets y [32] to the products of panel j of the weights at steps s0..s0+steps with x.
func (p *Packed) dot(y []float32, j, s0, steps int, x []float32) {
	at, size := (j*((p.k+amxTile-1)/amxTile)+s0)*amxTileLen, steps*amxTileLen
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

// splitPanelBF16 sets dst to the terms of 32 columns of k rows of x, ld apart. It pads the last step with zeros.
func splitPanelBF16(dst []uint16, x []float32, ld, k int) {
	whole := k / amxTile
	if whole > 0 {
		splitColumnsBF16(dst, x, ld, whole)
	}
	if rest := k % amxTile; rest > 0 {
		var last [amxTileLen]float32
		copyRows(last[:], amxTile, x[whole*amxTile*ld:], ld, amxTile, rest)
		splitColumnsBF16(dst[whole*3*amxTileLen:], last[:], amxTile, 1)
	}
}

// runAMX is run in tiles of bfloat16. It splits X first, all of it, and then W block by block.
func (p *panelProduct) runAMX() {
	n, k := p.w.n, p.w.k
	steps, terms := (k+amxTile-1)/amxTile, p.w.bf16Terms()
	extra := 0
	if p.restPerSpan > maxRestRows {
		extra = (p.restRows + amxTile - 1) / amxTile
	}
	xs := getWords((p.panels + extra) * steps * 3 * amxTileLen)
	defer putWords(xs)
	of := func(q int) []uint16 { return xs[q*steps*3*amxTileLen:][:steps*3*amxTileLen] }
	rest := p.rest // rows of whole steps
	if extra == 0 && p.restRows > 0 && k%amxTile != 0 {
		rest = Get(p.restRows * steps * amxTile)
		defer Put(rest)
		clear(rest)
		for r := range p.restRows {
			copy(rest[r*steps*amxTile:], p.rest[r*k:(r+1)*k])
		}
	}
	run := parallel
	if m := p.panels*amxTile + p.restRows; float64(m)*float64(n)*float64(k) < 1<<16 {
		run = serial
	}
	run(p.panels+extra, func(q int) {
		if q < p.panels {
			splitPanelBF16(of(q), p.x[q*k*amxTile:], amxTile, k)
			return
		}
		at := (q - p.panels) * amxTile
		panel := Get(k * amxTile)
		defer Put(panel)
		matrix{p.rest, k, false}.pack(panel, at, min(amxTile, p.restRows-at), 0, k, amxTile)
		splitPanelBF16(of(q), panel, amxTile, k)
	})
	starts := partitionRows(n, amxTile, ncMax)
	const maxSteps = kcMax / amxTile // steps at a time
	run(len(starts)-1, func(i int) {
		b := &amxBlock{productBlock: p.newBlock(starts, i, amxTile), terms: terms}
		room := b.count * amxTileLen
		b.broadcastBias()
		defer Put(b.bias)
		staged := Get(extra * room)
		defer Put(staged)
		weights := getWords(b.count * min(maxSteps, steps) * terms * amxTileLen)
		defer putWords(weights)
		for s0 := 0; s0 < steps; s0 += maxSteps {
			b.steps = min(maxSteps, steps-s0)
			b.first, b.last = s0 == 0, s0+b.steps == steps
			for j := range b.count {
				p.w.splitBF16(weights[j*b.steps*terms*amxTileLen:], b.n0/amxTile+j, s0, b.steps)
			}
			next := p.w.nextAMXSpan(starts, i, s0+b.steps, maxSteps)
			share := next.size / max(p.panels, 1)
			for q := range p.panels + extra {
				x := of(q)[s0*3*amxTileLen:]
				if q >= p.panels {
					b.multiplyRest(q, staged[(q-p.panels)*room:], weights, x)
					continue
				}
				var ahead prefetch
				if q+1 < p.panels {
					ahead.a = span{(*byte)(unsafe.Pointer(&of(q + 1)[s0*3*amxTileLen])), b.steps * 6 * amxTileLen}
				}
				if share > 0 {
					ahead.b = span{(*byte)(unsafe.Add(unsafe.Pointer(next.at), q*share)), share}
				}
				at := (q*n + b.n0) * amxTile
				var residual []float32
				if b.e.Residual != nil {
					residual = b.e.Residual[at:]
				}
				b.multiply(p.y[at:], weights, x, residual, ahead)
			}
			if extra == 0 {
				b.dots(rest, steps, s0)
			}
		}
	})
	runtime.KeepAlive(p.w)
}

// nextAMXSpan returns the memory of W that is split next, after step s of item i.
func (p *Packed) nextAMXSpan(starts []int, i, s, maxSteps int) span {
	steps := (p.k + amxTile - 1) / amxTile
	if s >= steps {
		if i += runtime.GOMAXPROCS(0); i >= len(starts)-1 {
			return span{}
		}
		s = 0
	}
	if maxSteps < steps { // panels lie apart: the first of them
		starts = []int{starts[i], starts[i] + amxTile}
		i = 0
	}
	at := (starts[i]/amxTile*steps + s) * amxTileLen
	size := (starts[i+1] - starts[i] + amxTile - 1) / amxTile * min(maxSteps, steps-s) * amxTileLen
	if p.half != nil {
		return span{(*byte)(unsafe.Pointer(&p.half[at])), 2 * size}
	}
	return span{(*byte)(unsafe.Pointer(&p.full[at])), 4 * size}
}

// An amxBlock is a worker's part of a product in tiles of bfloat16.
type amxBlock struct {
	*productBlock
	terms, steps int
}

// multiply is productBlock.multiply: it computes y, width rows of a panel, from the terms of the weights and of a
// panel of X.
func (b *amxBlock) multiply(y []float32, weights, x []uint16, residual []float32, ahead prefetch) {
	for j := range b.count {
		w := weights[j*b.steps*b.terms*amxTileLen:]
		near, nearStep := ahead.a.share(j, b.count, b.steps, nearLines*64)
		far, farStep := ahead.b.share(j, b.count, b.steps, farLines*64)
		if rows := b.width - j*amxTile; rows < amxTile {
			var whole [amxTileLen]float32
			out := y[j*amxTileLen : j*amxTileLen+rows*amxTile]
			if !b.first {
				copy(whole[:], out)
			}
			tileBF16(whole[:], amxTile, w, x, b.terms, 3, b.steps, !b.first, near, nearStep, far, farStep)
			copy(out, whole[:])
			continue
		}
		tileBF16(y[j*amxTileLen:], amxTile, w, x, b.terms, 3, b.steps, !b.first, near, nearStep, far, farStep)
	}
	if b.last {
		b.applyEpilogue(y[:b.width*amxTile], residual, 0)
	}
}

// share returns where call i of n begins to prefetch s, and how many bytes further it goes in each step. A call has
// the given steps, and prefetches at most the given bytes in each.
func (s span) share(i, n, steps, most int) (at *byte, step int) {
	if s.at == nil {
		return nil, 0
	}
	step = min((s.size+n*steps-1)/(n*steps), most)
	return (*byte)(unsafe.Add(unsafe.Pointer(s.at), min(i*step*steps, s.size-1))), step
}

// multiplyRest is productBlock.multiplyRest.
func (b *amxBlock) multiplyRest(q int, staged []float32, weights, x []uint16) {
	b.multiply(staged, weights, x, nil, prefetch{})
	if b.last {
		b.storeRest(q, staged)
	}
}

// dots computes the block's part of the rows of Y that belong to the rows rest of X, padded to whole steps.
func (b *amxBlock) dots(rest []float32, steps, s0 int) {
	n := b.panelProduct.w.n
	var out [amxTile]float32
	for j := range b.count {
		for r := range b.restRows {
			b.panelProduct.w.dot(out[:], b.n0/amxTile+j, s0, b.steps, rest[(r*steps+s0)*amxTile:])
			y := b.y[(b.panels*amxTile+r)*n+b.n0+j*amxTile:][:min(amxTile, b.width-j*amxTile)]
			if b.first {
				copy(y, out[:])
			} else {
				addBias(y, out[:len(y)])
			}
		}
	}
	if b.last && b.restRows > 0 {
		b.e.apply(b.y, n, b.panels*amxTile, b.restRows, b.n0, b.width, n)
	}
}

// tileBF16Generic is the definition of tileBF16: C [32,32] = or += Σ a·b over steps of 32 depths. The terms of A lie
// as [steps][inA][32][32]. Those of B lie as [steps][3][16][32][2], two depths side by side, and only the first inB
// of them count. The product of term i of a and term j of b is taken if i+j < 3; the others are too small.
func tileBF16Generic(c []float32, ldc int, a, b []uint16, inA, inB, steps int, accumulate bool) {
	for r := range amxTile {
		row := c[r*ldc:][:amxTile]
		if !accumulate {
			clear(row)
		}
		for s := range steps {
			for i := range inA {
				for j := range min(inB, 3-i) {
					for p := range amxTile {
						x := fromBF16(a[((s*inA+i)*amxTile+r)*amxTile+p])
						for col := range row {
							row[col] += x * fromBF16(b[((s*3+j)*16+p/2)*2*amxTile+2*col+p%2])
						}
					}
				}
			}
		}
	}
}

func fromBF16(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }

// truncBF16 returns x truncated to 8 bits, and the rest.
func truncBF16(x float32) (h uint16, rest float32) {
	h = uint16(math.Float32bits(x) >> 16)
	return h, x - fromBF16(h)
}

// splitColumnsBF16Generic sets dst [steps][3][16][32][2] to the terms of 32 columns of 32·steps rows of src, ld
// apart.
func splitColumnsBF16Generic(dst []uint16, src []float32, ld, steps int) {
	for s := range steps {
		for p := range amxTile {
			for c, x := range src[(s*amxTile+p)*ld:][:amxTile] {
				for t := range 3 {
					dst[((s*3+t)*16+p/2)*2*amxTile+2*c+p%2], x = truncBF16(x)
				}
			}
		}
	}
}

// splitRowsBF16Generic sets dst [steps][3][32][32] to the terms of 32 rows of src. Rows lie ld apart, and the 32
// numbers of each in a step lie step apart.
func splitRowsBF16Generic(dst []uint16, src []float32, ld, step, steps int) {
	for s := range steps {
		for r := range amxTile {
			for p, x := range src[s*step+r*ld:][:amxTile] {
				for t := range 3 {
					dst[((s*3+t)*amxTile+r)*amxTile+p], x = truncBF16(x)
				}
			}
		}
	}
}

// splitHalvesBF16Generic sets dst [steps][2][32][32] to the terms of the halves src [steps][32][32].
func splitHalvesBF16Generic(dst, src []uint16, steps int) {
	for i, h := range src[:steps*amxTileLen] {
		x := FromHalf(h)
		for t := range 2 {
			dst[(i/amxTileLen*2+t)*amxTileLen+i%amxTileLen], x = truncBF16(x)
		}
	}
}
