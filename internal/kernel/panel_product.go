package kernel

import (
	"runtime"
	"unsafe"
)

// A panelProduct is Y [m,n] = X [m,k] · Wᵀ with X and Y in a [PanelLayout]: panels [k,nr] of rows of X, transposed,
// and then the rows that fill no panel.
type panelProduct struct {
	y, x, rest       []float32
	w                *Packed
	panels, restRows int // of all spans
	restPerSpan      int // of each span; AMX's routine depends on it alone
	e                Epilogue
}

// run computes the product.
//
//	for every nc rows of W:          in parallel; each worker for itself:
//	  for every kc of k:             nc·kc of W, widened: a panel beside the tile of the panel before
//	    for every panel of X:        for every panel of W, one tile
//	                                 at the last kc, the epilogue of rows that are still warm
//	    for the rows of X:           tileStrip of half a panel, for every two panels of W; then few
//
// While a worker computes with one panel of X and one block of W, it prefetches the next of both, and beside its last
// block the first of the product that follows; see [Packed.Precedes]. Every element is a sum over kc of k, in order, and
// then over these sums, whatever routine computes it. Where there is no routine few, the rows that fill no panel are
// padded to panels. Where few computes all rows, it reads halves as they lie.
func (p *panelProduct) run() {
	n, k := p.w.n, p.w.k
	mr, nr := tileShape()
	switch {
	case n == 0 || p.panels+p.restRows == 0:
		return
	case p.w.amx && k > 0:
		p.runAMX()
		return
	case k == 0: // nothing to sum is a zero
		q := *p
		q.w = PackLeft(make([]float32, n), n, 1)
		q.x, q.rest = make([]float32, p.panels*nr), make([]float32, p.restRows)
		q.run()
		return
	}
	rest, extra := p.restRows, 0
	halves := p.panels == 0 && p.w.half != nil && fewReadsHalves()
	var strips, inStrips int
	if !halves { // which would have to be widened for strips alone
		strips, inStrips = cutStrips(p.restRows)
	}
	var padded []float32 // extra panels, or strips
	if !hasFew() {
		rest, extra = 0, (p.restRows+nr-1)/nr
		padded = Get(extra * nr * k)
		defer Put(padded)
		matrix{p.rest, k, false}.pack(padded, 0, p.restRows, 0, k, nr)
	}
	if strips > 0 {
		padded = Get(strips * nr / 2 * k)
		defer Put(padded)
		matrix{p.rest, k, false}.pack(padded, 0, inStrips, 0, k, nr/2)
	}
	starts := partitionRows(n, mr, p.widest(halves))
	follower, followerStarts := p.w.follower(), []int(nil)
	if follower != nil && follower.Left() {
		followerStarts = partitionRows(follower.n, mr, p.widest(halves))
	}
	run := parallel
	if m := p.panels*nr + p.restRows; float64(m)*float64(n)*float64(k) < 1<<16 {
		run = serial
	}
	kc := min(kcMax, k)
	run(len(starts)-1, func(i int) {
		b := p.newBlock(starts, i, mr)
		room := b.count * mr * nr
		var scratch []float32
		if p.w.half != nil && !halves {
			scratch = Get(b.count * mr * kc)
			defer Put(scratch)
		}
		defer func() { Put(b.bias) }() // which broadcastBias makes
		var staged []float32
		if extra+strips > 0 {
			staged = Get(extra*room + strips*room/2)
			defer Put(staged)
		}
		for k0 := 0; k0 < k; k0 += kc {
			b.d = min(kc, k-k0)
			b.first, b.last = k0 == 0, k0+b.d == k
			next := p.w.nextSpan(starts, i, k0+b.d)
			if next.at == nil && followerStarts != nil {
				next = follower.nextSpan(followerStarts, i-(len(starts)-1), follower.k)
			}
			if halves {
				b.multiplyRows(nil, p.w.halves(b.n0, b.width, k0, b.d), 0, p.rest[k0:], next)
				b.finishRows()
				continue
			}
			if p.w.half != nil && p.panels > 0 && canWiden(b.d) {
				b.w, b.narrow = scratch[:b.count*mr*b.d], p.w.halves(b.n0, b.width, k0, b.d)
				widen(b.w[:mr*b.d], b.narrow[:mr*b.d])
			} else {
				b.w = p.w.panels(scratch, b.n0, b.width, k0, b.d, mr)
			}
			share := next.size * nr / ((p.panels+extra)*nr + rest)
			for q := range p.panels {
				var ahead prefetch
				if q+1 < p.panels {
					ahead.a = span{(*byte)(unsafe.Pointer(&p.x[((q+1)*k+k0)*nr])), 4 * nr * b.d}
				}
				ahead.b = next.cut(share)
				b.multiplyPanel(q, p.x[(q*k+k0)*nr:], ahead)
				b.narrow = nil
			}
			for q := range extra {
				b.multiplyRest(p.panels+q, staged[q*room:], padded[(q*k+k0)*nr:])
			}
			if rest == 0 {
				continue
			}
			for q := range strips {
				ahead := next
				if q+1 < strips || inStrips < rest {
					ahead = next.cut(share / 2)
				}
				b.multiplyStrip(q, staged[q*room/2:], padded[(q*k+k0)*nr/2:], ahead)
			}
			if inStrips < rest {
				b.multiplyRows(b.w, nil, inStrips, p.rest[inStrips*k+k0:], next)
			}
			b.finishRows()
		}
	})
	runtime.KeepAlive(p.w)
	runtime.KeepAlive(follower)
}

// cutStrips returns how many strips [k,nr/2] the first of the rows that fill no panel are turned to, the last of them perhaps
// padded, and how many rows that is. The others are for few.
func cutStrips(rows int) (strips, inStrips int) {
	_, nr := tileShape()
	least := leastOfStrip()
	if least == 0 {
		return 0, 0
	}
	strips = (rows + nr/2 - least) / (nr / 2)
	return strips, min(rows, strips*nr/2)
}

// widest returns how many rows of W an item has at most. Where X is small, W comes from memory as fast as it is
// multiplied: items are small, so that what is multiplied and what is prefetched fit into the second-level cache together.
// Halves that are read as they lie take half the room.
func (p *panelProduct) widest(halves bool) int {
	mr, _ := tileShape()
	switch {
	case halves:
		return ncMax / 2 / mr * mr * 2
	case p.panels <= 2:
		return ncMax / 2
	}
	return ncMax
}

// partitionRows returns where the items of a product begin in the n rows of W, whose panels have mr rows, and n at
// last. A worker reads all of X for each item, so that items are as large as they may be: widest. With several workers
// the last items are smaller, since workers may run at different speeds.
func partitionRows(n, mr, widest int) []int {
	workers := processors()
	left := (n + mr - 1) / mr // panels
	even := left
	if items := (left*mr + widest - 1) / (widest / mr * mr); workers == 1 {
		even = (left + items - 1) / items
	}
	starts := make([]int, 1, left+1)
	for at := 0; at < n; {
		w := even
		if workers > 1 {
			w = max(left/(2*workers), min(2, left/workers), 1)
		}
		w = min(w, widest/mr)
		left -= w
		at = min(at+w*mr, n)
		starts = append(starts, at)
	}
	return starts
}

// nextSpan returns the memory of W that the worker of item i needs after depth k0. It is that of the same rows or,
// after the last depth, of the item that the worker will most likely get next. Items below 0 are of the product before.
func (p *Packed) nextSpan(starts []int, i, k0 int) span {
	if k0 >= p.k {
		if i += processors(); i < 0 || i >= len(starts)-1 {
			return span{}
		}
		k0 = 0
	}
	return p.prefetchSpan(starts[i], starts[i+1]-starts[i], k0, min(kcMax, p.k-k0), p.panelRows)
}

// A productBlock is a worker's part of a product: rows n0..n0+width of W, which are count panels, at d depths.
type productBlock struct {
	*panelProduct
	n0, width, count, d int
	w                   []float32 // [count][d][mr]
	narrow              []uint16  // the same as halves, of which the first panel has been widened; or nil
	bias                []float32 // [width,nr]: that of the epilogue, in every column; nil until it is needed
	first, last         bool      // of the depths
}

// newBlock returns item i of a product whose panels of W have mr rows.
func (p *panelProduct) newBlock(starts []int, i, mr int) *productBlock {
	width := starts[i+1] - starts[i]
	return &productBlock{panelProduct: p, n0: starts[i], width: width, count: (width + mr - 1) / mr}
}

// broadcastBias sets bias to the epilogue's, once for every column of the tile.
func (b *productBlock) broadcastBias() {
	_, nr := tileShape()
	b.bias = Get(b.width * nr)
	x := b.bias
	if b.e.Bias == nil {
		clear(x)
		return
	}
	for i, v := range b.e.Bias[b.n0 : b.n0+b.width] {
		row := x[i*nr : (i+1)*nr]
		for j := range row {
			row[j] = v
		}
	}
}

// forEachTile calls f with every panel of W, its number of rows, and what to prefetch beside it. The first three
// quarters of the calls prefetch X, which is more, and the others W; without X all do.
func (b *productBlock) forEachTile(ahead prefetch, f func(j, rows int, next *byte, step int)) {
	mr, _ := tileShape()
	ofX := (3*b.count + 3) / 4
	if ahead.a.at == nil {
		ofX = 0
	}
	for j := range b.count {
		next, step := ahead.a.part(j, ofX, b.d)
		if j >= ofX {
			next, step = ahead.b.part(j-ofX, b.count-ofX, b.d)
		}
		f(j, min(mr, b.width-j*mr), next, step)
	}
}

// multiplyPanel computes the block's part of panel q of Y from panel x of X.
func (b *productBlock) multiplyPanel(q int, x []float32, ahead prefetch) {
	_, nr := tileShape()
	at := (q*b.panelProduct.w.n + b.n0) * nr
	y := b.y[at:]
	var residual []float32
	if b.e.Residual != nil {
		residual = b.e.Residual[at:]
	}
	b.multiply(y, x, residual, ahead)
}

// multiplyRest computes the block's part of the rows of Y that belong to panel q of X, which is x. It computes them
// in staged, as a panel, and stores them as rows after the last depth.
func (b *productBlock) multiplyRest(q int, staged, x []float32) {
	b.multiply(staged, x, nil, prefetch{})
	if b.last {
		b.storeRest(q, staged)
	}
}

// storeRest writes the panel staged to the rows of Y that belong to panel q of X, and adds the residual.
func (b *productBlock) storeRest(q int, staged []float32) {
	_, nr := tileShape()
	n := b.panelProduct.w.n
	rows := min(nr, (b.panels-q)*nr+b.restRows)
	packTransposed(b.y[q*nr*n+b.n0:], n, staged, nr, b.width, rows)
	(&Epilogue{Residual: b.e.Residual}).apply(b.y, n, q*nr, rows, b.n0, b.width, n)
}

// multiply computes y, width rows of a panel, from panel x of X. It sets y at the first depths, and adds to it at
// others. At the last depths it applies the epilogue, with this residual.
func (b *productBlock) multiply(y, x, residual []float32, ahead prefetch) {
	mr, nr := tileShape()
	fused := b.last && b.e.Activation == None
	b.forEachTile(ahead, func(j, rows int, next *byte, step int) {
		row := j * mr
		y, w := y[row*nr:], b.w[row*b.d:]
		var add, biasColumn []float32
		if fused && residual != nil {
			add = residual[row*nr:]
		}
		if rows < mr {
			edgeTile(y, nr, w, x, rows, nr, b.d, !b.first)
		} else {
			if fused && b.e.Bias != nil {
				biasColumn = b.e.Bias[b.n0+row:]
			}
			if b.narrow != nil && j+1 < b.count {
				after := (j + 1) * mr * b.d
				tileWidening(y, nr, w, x, b.d, !b.first, next, step, add, biasColumn, b.w[after:], b.narrow[after:])
				return
			}
			if tileAdd(y, nr, mr, w, x, b.d, !b.first, next, step, nil, add, biasColumn) {
				return
			}
		}
		if fused {
			b.applyEpilogue(y[:rows*nr], add, row)
		}
	})
	if b.last && !fused {
		b.applyEpilogue(y[:b.width*nr], nil, 0)
	}
}

// applyEpilogue applies the epilogue to y, whole rows of a panel from the block's given row on, with this residual.
func (b *productBlock) applyEpilogue(y, residual []float32, row int) {
	_, nr := tileShape()
	f := b.e.Activation.of()
	if f == nil && residual == nil && b.e.Bias == nil {
		return
	}
	if b.bias == nil {
		b.broadcastBias()
	}
	bias := b.bias[row*nr:][:len(y)]
	switch {
	case f != nil:
		f.bias(y, y, bias)
	case residual != nil:
		addBias2(y, bias, residual[:len(y)])
	default:
		addBias(y, bias)
	}
}

// multiplyStrip computes the block's part of the rows of Y that belong to strip q of the rows that fill no panel, which is
// x. It computes them in staged, as a strip, and stores them as rows after the last depth.
func (b *productBlock) multiplyStrip(q int, staged, x []float32, ahead span) {
	mr, nr := tileShape()
	n, columns := b.panelProduct.w.n, nr/2
	for j := 0; j < b.count; j += 2 {
		next, step := ahead.part(j/2, (b.count+1)/2, b.d)
		tileStrip(staged[j*mr*columns:], b.w[j*mr*b.d:], x, min(2, b.count-j), b.d, !b.first, next, step)
	}
	if b.last {
		row := b.panels*nr + q*columns
		packTransposed(b.y[row*n+b.n0:], n, staged, columns, b.width, min(columns, b.restRows-q*columns))
	}
}

// multiplyRows computes the block's part of the rows of Y from the given one of those that fill no panel on, which belong to
// the rows x of X, from weights of either kind.
func (b *productBlock) multiplyRows(w []float32, halves []uint16, from int, x []float32, ahead span) {
	mr, nr := tileShape()
	n, k := b.panelProduct.w.n, b.panelProduct.w.k
	y, rowsOfLast := b.y[(b.panels*nr+from)*n+b.n0:], b.width-(b.count-1)*mr
	few(y, n, w, halves, b.count, rowsOfLast, x, k, b.restRows-from, b.d, !b.first, ahead)
}

// finishRows applies the epilogue, after the last depth, to the rows of Y that fill no panel.
func (b *productBlock) finishRows() {
	_, nr := tileShape()
	if b.last {
		b.e.apply(b.y, b.panelProduct.w.n, b.panels*nr, b.restRows, b.n0, b.width, b.panelProduct.w.n)
	}
}
