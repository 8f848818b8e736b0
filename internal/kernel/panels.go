package kernel

import (
	"math"
)

// A PanelLayout says how the rows of X [m,n], which are tokens, lie for products with packed weights: in spans of as
// many rows each. A panel holds nr rows of one span, transposed, where the tile has nr columns. The panels of all
// spans come first, and after them, as rows, those that fill no panel.
//
//	X [S·R,n] ─▶ S·⌊R/nr⌋ panels [n,nr], then S·(R mod nr) rows [n]
//
// The tile takes its rows from the weights and its columns from a panel: it writes a part of a panel of the result.
// Products, norms, activations and attention therefore follow each other without packing in between. Matrices of the
// same layout may be added, and an activation applied, element by element. Where a row lies changes no bit of what it
// becomes, except with AMX.
type PanelLayout struct{ Spans, Rows int }

// LayoutOf returns the layout of the tokens [B·T,n] of some images. All of them are one span, so that less than a panel
// is left over; only attention knows where an image ends. With AMX each image is a span: it has other routines for
// rows than for panels, whose bits are others.
func LayoutOf(images, tokens int) PanelLayout {
	if amx() {
		return PanelLayout{images, tokens}
	}
	return PanelLayout{1, images * tokens}
}

// SameAlone reports whether each element of a product in float32 has the same bits whatever others are computed, in rows or in
// panels. With AMX they tell which routine it is.
func SameAlone() bool { return !amx() }

// perSpan returns how many panels a span has, and how many of its rows fill none.
func (o PanelLayout) perSpan() (panels, rest int) {
	_, nr := tileShape()
	return o.Rows / nr, o.Rows % nr
}

// ToPanels sets y to the rows of x [S·R,n] in this layout.
func (o PanelLayout) ToPanels(y, x []float32, n int) {
	o.forEach(n, func(panel, rows, count int) {
		packTransposed(y[panel:], count, x[rows:], n, count, n)
	}, func(at, row, count int) { copy(y[at:at+count*n], x[row:]) })
}

// FromPanels sets y [S·R,n] to the rows of x, which has this layout.
func (o PanelLayout) FromPanels(y, x []float32, n int) {
	o.forEach(n, func(panel, rows, count int) {
		packTransposed(y[rows:], n, x[panel:], count, n, count)
	}, func(at, row, count int) { copy(y[row:row+count*n], x[at:]) })
}

// forEach calls panel with every panel's offset, the offset of its first row in a plain matrix, and its number of
// rows. It calls rest with the same of the rows of each span that fill no panel.
func (o PanelLayout) forEach(n int, panel, rest func(at, row, count int)) {
	_, nr := tileShape()
	perSpan, restRows := o.perSpan()
	parallel(o.Spans*perSpan, func(p int) {
		panel(p*nr*n, (p/perSpan*o.Rows+p%perSpan*nr)*n, nr)
	})
	for i := range o.Spans {
		if restRows > 0 {
			rest((o.Spans*perSpan*nr+i*restRows)*n, (i*o.Rows+perSpan*nr)*n, restRows)
		}
	}
}

// Row sets y [n] to row r of x [S·R,n], which has this layout.
func (o PanelLayout) Row(y, x []float32, n, r int) {
	_, nr := tileShape()
	o.forEachPart(n, r, 1, func(at, _, _ int, inPanel bool) {
		if !inPanel {
			copy(y[:n], x[at:])
			return
		}
		for i := range y[:n] {
			y[i] = x[at+i*nr]
		}
	})
}

// forEachPart calls f with the pieces of rows from..from+count of a matrix [S·R,n]: those that lie in one panel, or in
// none. It passes the offset of a piece's first element, which of the count rows it begins with, and how many it has.
func (o PanelLayout) forEachPart(n, from, count int, f func(at, first, rows int, inPanel bool)) {
	_, nr := tileShape()
	perSpan, restRows := o.perSpan()
	if perSpan == 0 { // nothing but rows
		f(from*n, 0, count, false)
		return
	}
	for done := 0; done < count; {
		span, row := (from+done)/o.Rows, (from+done)%o.Rows
		at, rows, inPanel := 0, 0, row < perSpan*nr
		if inPanel {
			at, rows = ((span*perSpan+row/nr)*n)*nr+row%nr, nr-row%nr
		} else {
			at, rows = (o.Spans*perSpan*nr+span*restRows+row-perSpan*nr)*n, o.Rows-row
		}
		rows = min(rows, count-done)
		f(at, done, rows, inPanel)
		done += rows
	}
}

// gather sets y [D,count], whose rows lie ld apart, to columns at..at+D of rows from..from+count of x [S·R,n],
// transposed.
func (o PanelLayout) gather(y []float32, ld int, x []float32, n, from, count, at, d int) {
	_, nr := tileShape()
	o.forEachPart(n, from, count, func(i, first, rows int, inPanel bool) {
		if inPanel {
			copyColumns(y[first:], ld, x[i+at*nr:], nr, rows, d)
		} else {
			packTransposed(y[first:], ld, x[i+at:], n, rows, d)
		}
	})
}

// scatter is the inverse of gather: it sets those rows and columns of x to y.
func (o PanelLayout) scatter(x []float32, n, from, count, at, d int, y []float32, ld int) {
	_, nr := tileShape()
	o.forEachPart(n, from, count, func(i, first, rows int, inPanel bool) {
		if inPanel {
			copyColumns(x[i+at*nr:], nr, y[first:], ld, rows, d)
		} else {
			packTransposed(x[i+at:], n, y[first:], ld, d, rows)
		}
	})
}

// MatMul computes Y [S·R,n] = X [S·R,k] · Wᵀ. X, Y and the residual have this layout, and W comes from [PackLeft].
func (o PanelLayout) MatMul(y, x []float32, w *Packed, e Epilogue) {
	m := o.Spans * o.Rows
	check("PanelLayout.MatMul", y, x, nil, m, w.n, 0, e)
	if len(x) < m*w.k {
		panic("kernel: PanelLayout.MatMul: x is shorter than S·R·k")
	}
	if !w.Left() {
		panic("kernel: PanelLayout.MatMul: weights that were not packed by PackLeft")
	}
	_, nr := tileShape()
	perSpan, restRows := o.perSpan()
	panels := o.Spans * perSpan
	(&panelProduct{y: y, x: x, rest: x[panels*nr*w.k:], w: w, panels: panels, restRows: o.Spans * restRows, restPerSpan: restRows, e: e}).run()
}

// LayerNorm is [LayerNorm] of the rows of X [S·R,n] in this layout. The rows that fill no panel are padded to one.
func (o PanelLayout) LayerNorm(y, x, w, b []float32, n int, eps float32) {
	m := o.Spans * o.Rows
	if len(y) < m*n || len(x) < m*n || len(w) < n || len(b) < n {
		panic("kernel: PanelLayout.LayerNorm: slice shorter than its shape")
	}
	if n == 0 {
		return
	}
	_, nr := tileShape()
	perSpan, _ := o.perSpan()
	panels := o.Spans * perSpan
	parallel((m+nr-1)/nr, func(p int) {
		from, to := x[p*nr*n:], y[p*nr*n:]
		if p < panels {
			normalizePanel(to, from[:nr*n], w[:n], b[:n], eps)
			return
		}
		rows := min(nr, m-p*nr)
		panel := Get(nr * n)
		defer Put(panel)
		matrix{from, n, false}.pack(panel, 0, rows, 0, n, nr)
		normalizePanel(panel, panel, w[:n], b[:n], eps)
		packTransposed(to, n, panel, nr, n, rows)
	})
}

// normalizePanel sets the panel y to the layer norm of the panel x [n,nr].
func normalizePanel(y, x, w, b []float32, eps float32) {
	_, nr := tileShape()
	n := float32(len(w))
	var ofTile [2][maxColumns]float32
	mean, scale := ofTile[0][:nr], ofTile[1][:nr]
	columnSum(mean, x)
	for j := range mean {
		mean[j] /= n
	}
	columnSquares(scale, x, mean)
	for j, v := range scale {
		scale[j] = float32(1 / math.Sqrt(float64(v/n+eps)))
	}
	columnNormalize(y, x, mean, scale, w, b)
}

// Attention is [Attention], or [CausalAttention], of qkv [B·T,3C] in this layout; out [B·T,C] has it too. It takes the
// queries of a head of an image nr at a time, from the first one on, so that the bits of its results do not depend on
// where the image lies. If it fills panels, they are read and written as they lie. Short images are for attendShort.
func (o PanelLayout) Attention(out, qkv []float32, images, tokens, heads, headSize int, causal bool) {
	m, d := images*tokens, headSize
	c := heads * d
	if len(out) < m*c || len(qkv) < 3*m*c || o.Spans*o.Rows < m {
		panic("kernel: PanelLayout.Attention: slice shorter than its shape")
	}
	if m*c == 0 {
		return
	}
	mr, nr := tileShape()
	groups := (tokens + nr - 1) / nr
	// One item is a share of the queries of one head; the shares are many enough for all workers.
	items := images * heads
	shares := min(groups, max(1, (4*processors()+items-1)/items))
	perShare := (groups + shares - 1) / shares
	a := panelAttention{PanelLayout: o, out: out, qkv: qkv, n: 3 * c, tokens: tokens, heads: heads, d: d, causal: causal}
	if a.short() {
		a.eachShort(images, a.attendShort)
		return
	}
	packed := make([]*packedHead, items)
	if shares > 1 {
		parallel(items, func(i int) { packed[i] = a.packHead(i) })
	}
	parallel(items*shares, func(i int) {
		h := packed[i/shares]
		if h == nil {
			h = a.packHead(i)
			defer h.release()
		}
		score := Get(roundUp(tokens, mr) * nr) // [T,nr]
		defer Put(score)
		for g := i % shares * perShare; g < min(groups, (i%shares+1)*perShare); g++ {
			a.attend(h, g*nr, score)
		}
	})
	for _, h := range packed {
		if h != nil {
			h.release()
		}
	}
}

// AttentionAt is [PanelLayout.Attention] of one query an image: q [B,C] has those of the tokens that are rows of kv, the first of
// image 0. kv [B·T,n] has this layout; the last 2C of its columns are keys and values. out [B,C] are rows, as q. Each has the bits
// that it has among the results of all tokens.
func (o PanelLayout) AttentionAt(out, q, kv []float32, n int, rows []int, tokens, heads, headSize int, causal bool) {
	t, d := tokens, headSize
	c := heads * d
	if len(out) < len(rows)*c || len(q) < len(rows)*c || o.Spans*o.Rows < len(rows)*t || len(kv) < len(rows)*t*n || n < 2*c {
		panic("kernel: PanelLayout.AttentionAt: slice shorter than its shape")
	}
	if len(rows)*c == 0 {
		return
	}
	mr, nr := tileShape()
	a := panelAttention{PanelLayout: o, qkv: kv, n: n, tokens: t, heads: heads, d: d, causal: causal}
	if a.short() {
		a.eachShort(len(rows), func(image, head int, scratch []float32) {
			at := image*c + head*d
			a.attendShortAt(out[at:], q[at:], image, head, rows[image]-image*t, scratch)
		})
		return
	}
	parallel(len(rows)*heads, func(i int) {
		h := a.packHead(i)
		defer h.release()
		scratch := Get((roundUp(t, mr) + 2*d) * nr)
		defer Put(scratch)
		query, mix, score := scratch[:d*nr], scratch[d*nr:2*d*nr], scratch[2*d*nr:]
		clear(query)
		for p, v := range q[h.image*c+h.index*d:][:d] {
			query[p*nr] = v
		}
		a.attendQueries(h, mix, query, score, rows[h.image]-h.image*t)
		for p := range d {
			out[h.image*c+h.index*d+p] = mix[p*nr]
		}
	})
}

// panelAttention is what all heads of a call have in common.
type panelAttention struct {
	PanelLayout
	out, qkv         []float32
	n                int // columns of qkv, the last 2C of which are keys and values
	tokens, heads, d int
	causal           bool
}

// packHead packs the keys and values of a head.
func (a *panelAttention) packHead(item int) *packedHead {
	mr, _ := tileShape()
	t, d, c := a.tokens, a.d, a.heads*a.d
	tPad, dPad := roundUp(t, mr), roundUp(d, mr)
	h := &packedHead{item / a.heads, item % a.heads, Get(tPad * d), Get(dPad * t)}
	part := Get(d * tPad) // [D,T], of keys and then of values
	defer Put(part)
	a.gather(part, tPad, a.qkv, a.n, h.image*t, t, a.n-2*c+h.index*d, d)
	for p := range d {
		clear(part[p*tPad+t : (p+1)*tPad])
	}
	copyPanels(h.keys, mr, part, tPad, d, tPad/mr, mr*d)
	a.gather(part, tPad, a.qkv, a.n, h.image*t, t, a.n-c+h.index*d, d)
	for r := 0; r < d; r += mr {
		packTransposed(h.values[r*t:], mr, part[r*tPad:], tPad, min(mr, d-r), t)
	}
	return h
}

// attend computes the results of at most nr queries of a head, from the image's token first on.
func (a *panelAttention) attend(h *packedHead, first int, score []float32) {
	_, nr := tileShape()
	t, d, c := a.tokens, a.d, a.heads*a.d
	row, at, count := h.image*t+first, h.index*d, min(nr, t-first)
	if panel, ok := a.panelAt(row); ok && count == nr {
		a.attendQueries(h, a.out[(panel*c+at)*nr:][:d*nr], a.qkv[(panel*3*c+at)*nr:][:d*nr], score, first)
		return
	}
	queries, out := Get(d*nr), Get(d*nr)
	defer Put(queries)
	defer Put(out)
	if count < nr {
		clear(queries)
	}
	a.gather(queries, nr, a.qkv, 3*c, row, count, at, d)
	a.attendQueries(h, out, queries, score, first)
	a.scatter(a.out, c, row, count, at, d, out, nr)
}

// panelAt returns the panel that begins with row r of a matrix, if one does.
func (o PanelLayout) panelAt(r int) (panel int, ok bool) {
	_, nr := tileShape()
	perSpan, _ := o.perSpan()
	span, row := r/o.Rows, r%o.Rows
	return span*perSpan + row/nr, row%nr == 0 && row/nr < perSpan
}

// attendQueries computes the results [D,nr] of queries [D,nr], whose first is the token with the number first.
func (a *panelAttention) attendQueries(h *packedHead, out, queries, score []float32, first int) {
	mr, nr := tileShape()
	t, d := a.tokens, a.d
	tileColumn(score, h.keys, queries, t, d)
	score = score[:t*nr]
	if a.causal {
		maskLater(score, first, nr)
	}
	var ofTile [maxColumns]float32
	scale := ofTile[:nr]
	exponentiate(score, scale, d)
	for r := 0; r < d; r += mr {
		if rows := min(mr, d-r); rows < mr {
			edgeTile(out[r*nr:], nr, h.values[r*t:], score, rows, nr, t, false)
		} else {
			tile(out[r*nr:], nr, mr, h.values[r*t:], score, t, false, nil, 0)
		}
	}
	scaleColumns(out, scale)
}

// exponentiate makes exponentials of the scores [T,nr] of a head of size d, and sets scale [nr] to what makes the sum of each column 1.
func exponentiate(score, scale []float32, d int) {
	var ofTile [maxColumns]float32
	peak := ofTile[:len(scale)]
	columnMax(peak, score)
	columnExp(score, peak, scale, float32(1/math.Sqrt(float64(d))))
	for i, total := range scale {
		scale[i] = 1 / total
	}
}
