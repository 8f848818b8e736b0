package kernel

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"
	"weak"
)

// Packed is a weight matrix W [n,k] in the layout that the tile in use reads: for each kcMax of k, panels of rows.
// [Pack] makes panels of as many rows as the tile has columns, for products of rows with Wᵀ. [PackLeft] makes panels
// of as many as the tile has rows, for [PanelLayout.MatMul], or tiles for AMX. If every value of W is a half, as in
// the weights that OpenAI published, it keeps halves, and loses nothing; otherwise it keeps float32.
//
// It is not written after packing, and many goroutines may use it at once.
type Packed struct {
	n, k, panelRows int       // panelRows is how many rows a panel has
	amx             bool      // packed for tileBF16: [n/32][k/32][32][32], and panelRows is 0
	half            []uint16  // [k/kcMax][panels][kc][width]
	full            []float32 // the same; one of the two is nil

	// Of a part of other weights, see Split: what they are, and the rows before the part.
	whole  *Packed
	before int
	parts  atomic.Pointer[packedParts]

	following atomic.Value // see Precedes; a weak.Pointer[Packed], since weights may be replaced
}

// Pack packs w [n,k] as the right operand, for [MatMulPacked].
func Pack(w []float32, n, k int) *Packed {
	_, nr := tileShape()
	return pack(w, n, k, nr)
}

// PackLeft packs w [n,k] as the left operand, for [PanelLayout.MatMul].
func PackLeft(w []float32, n, k int) *Packed {
	if amx() {
		return packAMXTiles(w, n, k)
	}
	mr, _ := tileShape()
	return pack(w, n, k, mr)
}

func pack(w []float32, n, k, panelRows int) *Packed {
	if n < 0 || k < 0 || len(w) < n*k {
		panic(fmt.Sprintf("kernel: Pack: %d weights, want n·k = %d·%d", len(w), n, k))
	}
	p := &Packed{n: n, k: k, panelRows: panelRows}
	var lossy atomic.Bool
	lossy.Store(!beginsWithHalves(w[:n*k]))
	if !lossy.Load() {
		p.half = newOffHeap[uint16](p, roundUp(n, panelRows)*k)
		p.forEachPanel(func(panel []float32, at int) {
			// A single value that is no half makes all halves useless.
			if !lossy.Load() && !narrow(p.half[at:at+len(panel)], panel) {
				lossy.Store(true)
			}
		}, w)
	}
	if lossy.Load() {
		p = &Packed{n: n, k: k, panelRows: panelRows}
		p.full = newOffHeap[float32](p, roundUp(n, panelRows)*k)
		p.forEachPanel(func(panel []float32, at int) { copy(p.full[at:], panel) }, w)
	}
	return p
}

// beginsWithHalves reports whether the first values of w are halves. It tells most weights that are not, before there is memory for them as
// halves, which would stay until the collector comes.
func beginsWithHalves(w []float32) bool {
	var first [64]uint16
	n := min(len(w), len(first))
	return narrow(first[:n], w[:n])
}

// Left reports whether p is packed for [PanelLayout.MatMul] with the implementation in use. That does not change while a
// program runs.
func (p *Packed) Left() bool {
	mr, _ := tileShape()
	return p.amx && amx() || !p.amx && !amx() && p.panelRows == mr
}

// unpacked calls f with the weights [n,k] as they were. f must not keep them.
func (p *Packed) unpacked(f func(w []float32)) {
	w := Get(p.n * p.k)
	defer Put(w)
	p.Unpack(w)
	f(w)
}

// forEachPanel calls f in parallel with every panel of w and its offset in p.
func (p *Packed) forEachPanel(f func(panel []float32, at int), w []float32) {
	panels := (p.n + p.panelRows - 1) / p.panelRows
	parallel(panels, func(j int) {
		panel := Get(p.panelRows * min(kcMax, p.k))
		defer Put(panel)
		for k0 := 0; k0 < p.k; k0 += kcMax {
			d := min(kcMax, p.k-k0)
			matrix{w, p.k, false}.pack(panel, j*p.panelRows, min(p.panelRows, p.n-j*p.panelRows), k0, d, p.panelRows)
			f(panel[:p.panelRows*d], p.at(j*p.panelRows, k0, d))
		}
	})
}

// at returns the offset of the panel of row n0, a multiple of panelRows, at depth k0, a multiple of kcMax.
func (p *Packed) at(n0, k0, d int) int {
	n := p.n
	if p.whole != nil {
		n = p.whole.n
	}
	return roundUp(n, p.panelRows)*k0 + (p.before+n0)*d
}

// Split returns the first n rows of W, and the rows from n on, before which there may be others: a part begins with a panel. They
// have the memory of p, and are the same at the next call. Weights in tiles for AMX are not split.
func (p *Packed) Split(n int) (first, rest *Packed) {
	if n < 0 || n > p.n || p.amx || p.whole != nil {
		panic(fmt.Sprintf("kernel: Packed.Split: %d of %d rows, in tiles for AMX: %v, a part: %v", n, p.n, p.amx, p.whole != nil))
	}
	if parts := p.parts.Load(); parts != nil && parts.first.n == n {
		return parts.first, parts.rest
	}
	part := func(from, to int) *Packed {
		return &Packed{n: to - from, k: p.k, panelRows: p.panelRows, half: p.half, full: p.full, whole: p, before: from}
	}
	parts := &packedParts{part(0, n), part(n/p.panelRows*p.panelRows, p.n)}
	p.parts.Store(parts)
	return parts.first, parts.rest
}

type packedParts struct{ first, rest *Packed }

// Unpack sets w [n,k] to what was packed.
func (p *Packed) Unpack(w []float32) { p.UnpackRows(w, 0, p.n) }

// UnpackRows sets w [rows,k] to rows from..from+rows of what was packed.
func (p *Packed) UnpackRows(w []float32, from, rows int) {
	checkUnpack(len(w), from, rows, p.n, p.k)
	if p.amx {
		p.unpackAMXTiles(w, from, rows)
		return
	}
	eachPanel(from, rows, p.panelRows, func(j, first, last int) {
		scratch := Get(p.panelRows * min(kcMax, p.k))
		defer Put(scratch)
		for k0 := 0; k0 < p.k; k0 += kcMax {
			d := min(kcMax, p.k-k0)
			panel := p.panels(scratch, j*p.panelRows, p.panelRows, k0, d, p.panelRows)
			for n := first; n < last; n++ {
				row := w[(n-from)*p.k+k0:][:d]
				for i := range row {
					row[i] = panel[i*p.panelRows+n-j*p.panelRows]
				}
			}
		}
	})
	runtime.KeepAlive(p)
}

// checkUnpack panics unless rows from..from+rows are among the n, and there is room for them, [rows,k].
func checkUnpack(room, from, rows, n, k int) {
	if from < 0 || rows < 0 || rows > n-from {
		panic(fmt.Sprintf("kernel: Unpack: rows %d to %d of %d", from, from+rows, n))
	}
	if room < rows*k {
		panic(fmt.Sprintf("kernel: Unpack: room for %d weights, want rows·k = %d·%d", room, rows, k))
	}
}

// eachPanel calls f in parallel with every panel of so many rows that has some of the rows from one on, and with the first of these and the
// one behind the last.
func eachPanel(from, rows, panelRows int, f func(j, first, last int)) {
	if rows == 0 {
		return
	}
	start := from / panelRows
	parallel((from+rows-1)/panelRows-start+1, func(i int) {
		j := start + i
		f(j, max(from, j*panelRows), min(from+rows, (j+1)*panelRows))
	})
}

// Precedes says that a product with the weights next follows that with p. The end of that with p then prefetches next. Where
// tokens are few, memory would be idle meanwhile, and each product wait for its first weights.
func (p *Packed) Precedes(next *Packed) {
	if p.follower() != next {
		p.following.Store(weak.Make(next))
	}
}

// follower returns the weights that [Packed.Precedes] has set, or nil.
func (p *Packed) follower() *Packed {
	next, _ := p.following.Load().(weak.Pointer[Packed])
	return next.Value()
}

// Shape returns the rows and columns of W.
func (p *Packed) Shape() (n, k int) { return p.n, p.k }

// Bytes returns the memory that the weights take, without what pads the last panel.
func (p *Packed) Bytes() int {
	if p.half != nil {
		return 2 * p.n * p.k
	}
	return 4 * p.n * p.k
}

// MatMulPacked computes C [m,n] = A [m,k] · Wᵀ: a linear layer whose weights were packed ahead. Weights that were
// packed for another product or implementation are unpacked first.
func MatMulPacked(c, a []float32, w *Packed, m int, e Epilogue) {
	check("MatMulPacked", c, a, nil, m, w.n, 0, e)
	if len(a) < m*w.k {
		panic("kernel: MatMulPacked: a is shorter than m·k")
	}
	if _, nr := tileShape(); nr == w.panelRows {
		gemm(parallel, c, w.n, matrix{a, w.k, false}, w, m, w.n, w.k, false, e)
		runtime.KeepAlive(w)
		return
	}
	w.unpacked(func(unpacked []float32) { MatMulNT(c, a, unpacked, m, w.n, w.k, e) })
}

// MatMulPackedNN computes C [m,k] = A [m,n] · W: the gradient of the input of such a layer.
func MatMulPackedNN(c, a []float32, w *Packed, m int) {
	matMulPackedNN("MatMulPackedNN", c, a, w, m, false)
}

// MatMulPackedNNAdd computes C [m,k] += A [m,n] · W. Where [AddsWhole] says so of n, it has the bits of C +
// [MatMulPackedNN].
func MatMulPackedNNAdd(c, a []float32, w *Packed, m int) {
	matMulPackedNN("MatMulPackedNNAdd", c, a, w, m, true)
}

func matMulPackedNN(name string, c, a []float32, w *Packed, m int, add bool) {
	check(name, c, a, nil, m, w.k, 0, Epilogue{})
	if len(a) < m*w.n {
		panic("kernel: " + name + ": a is shorter than m·n")
	}
	x := matrix{a, w.n, false}
	if _, nr := tileShape(); nr == w.panelRows {
		gemm(parallel, c, w.k, x, packedTransposed{w}, m, w.k, w.n, add, Epilogue{})
		runtime.KeepAlive(w)
		return
	}
	w.unpacked(func(unpacked []float32) {
		gemm(parallel, c, w.k, x, matrix{unpacked, w.k, true}, m, w.k, w.n, add, Epilogue{})
	})
}

// packedTransposed is a packed W as the B of a product that sums over the rows of W. Columns of W become panels.
type packedTransposed struct{ w *Packed }

// panels turns [panel of rows][column][row of it] into [panel of columns][row][column of it], block by block.
func (x packedTransposed) panels(scratch []float32, n0, w, k0, d, nr int) []float32 {
	p := x.w
	block := Get(nr * nr)
	defer Put(block)
	if last := w % nr; last > 0 {
		clear(scratch[(w-last)*d:][:nr*d])
	}
	for r := 0; r < d; r += nr {
		for c := n0; c < n0+w; c += nr { // these blocks lie side by side
			columns, panel := min(nr, n0+w-c), scratch[(c-n0)*d:]
			from := c / kcMax * kcMax
			at, size := p.at(k0+r, from, min(kcMax, p.k-from))+(c-from)*nr, columns*nr
			src := block[:size]
			if p.half != nil {
				widen(src, p.half[at:at+size])
			} else {
				src = p.full[at : at+size]
			}
			packTransposed(panel[r*nr:], nr, src, nr, columns, min(nr, d-r))
		}
	}
	return scratch
}

// prefetchSpan returns nothing: what belongs together lies in many pieces.
func (x packedTransposed) prefetchSpan(n0, w, k0, d, nr int) span { return span{} }

func (x packedTransposed) bf16Terms() int { return x.w.bf16Terms() }

// panels widens halves into scratch, where the second-level cache keeps them. It returns float32 where they lie.
func (p *Packed) panels(scratch []float32, n0, w, k0, d, nr int) []float32 {
	at, size := p.at(n0, k0, d), roundUp(w, nr)*d
	if p.half == nil {
		return p.full[at : at+size]
	}
	widen(scratch[:size], p.half[at:at+size])
	return scratch
}

// halves returns the halves that panels would widen.
func (p *Packed) halves(n0, w, k0, d int) []uint16 {
	return p.half[p.at(n0, k0, d):][:roundUp(w, p.panelRows)*d]
}

// prefetchSpan returns the memory that panels reads.
func (p *Packed) prefetchSpan(n0, w, k0, d, nr int) span {
	i, n := p.at(n0, k0, d), roundUp(w, nr)*d
	switch {
	case n == 0:
		return span{}
	case p.half == nil:
		return span{(*byte)(unsafe.Pointer(&p.full[i])), 4 * n}
	}
	return span{(*byte)(unsafe.Pointer(&p.half[i])), 2 * n}
}
