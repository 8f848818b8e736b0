package kernel

import (
	"math"
	"runtime"
)

// A PanelLayout says how the tokens of some images, the rows of X [B·T,n], lie for products with packed weights. A
// panel holds nr tokens of one image, transposed, where the tile has nr columns. The panels of all images come first,
// and after them, as rows, the tokens that fill no panel.
//
//	X [B·T,n] ─▶ B·⌊T/nr⌋ panels [n,nr], then B·(T mod nr) rows [n]
//
// The tile takes its rows from the weights and its columns from a panel: it writes a part of a panel of the result.
// Products, norms, activations and attention therefore follow each other without packing in between. Matrices of the
// same layout may be added, and an activation applied, element by element.
type PanelLayout struct{ Images, Tokens int }

// perImage returns how many panels an image has, and how many of its tokens fill none.
func (o PanelLayout) perImage() (panels, rest int) {
	_, nr := tileShape()
	return o.Tokens / nr, o.Tokens % nr
}

// ToPanels sets y to the rows of x [B·T,n] in this layout.
func (o PanelLayout) ToPanels(y, x []float32, n int) {
	o.forEach(n, func(panel, rows, count int) {
		packTransposed(y[panel:], count, x[rows:], n, count, n)
	}, func(at, row, count int) { copy(y[at:at+count*n], x[row:]) })
}

// FromPanels sets y [B·T,n] to the rows of x, which has this layout.
func (o PanelLayout) FromPanels(y, x []float32, n int) {
	o.forEach(n, func(panel, rows, count int) {
		packTransposed(y[rows:], n, x[panel:], count, n, count)
	}, func(at, row, count int) { copy(y[row:row+count*n], x[at:]) })
}

// forEach calls panel with every panel's offset, the offset of its first row in a plain matrix, and its number of
// rows. It calls rest with the same of the rows of each image that fill no panel.
func (o PanelLayout) forEach(n int, panel, rest func(at, row, count int)) {
	_, nr := tileShape()
	perImage, restRows := o.perImage()
	parallel(o.Images*perImage, func(p int) {
		panel(p*nr*n, (p/perImage*o.Tokens+p%perImage*nr)*n, nr)
	})
	for i := range o.Images {
		if restRows > 0 {
			rest((o.Images*perImage*nr+i*restRows)*n, (i*o.Tokens+perImage*nr)*n, restRows)
		}
	}
}

// Row sets y [n] to row r of x [B·T,n], which has this layout.
func (o PanelLayout) Row(y, x []float32, n, r int) {
	_, nr := tileShape()
	perImage, restRows := o.perImage()
	image, token := r/o.Tokens, r%o.Tokens
	if token >= perImage*nr {
		copy(y[:n], x[(o.Images*perImage*nr+image*restRows+token-perImage*nr)*n:])
		return
	}
	panel := x[(image*perImage+token/nr)*nr*n:][:nr*n]
	for i := range y[:n] {
		y[i] = panel[i*nr+token%nr]
	}
}

// MatMul computes Y [B·T,n] = X [B·T,k] · Wᵀ. X, Y and the residual have this layout, and W comes from [PackLeft].
func (o PanelLayout) MatMul(y, x []float32, w *Packed, e Epilogue) {
	m := o.Images * o.Tokens
	check("PanelLayout.MatMul", y, x, nil, m, w.n, 0, e)
	if len(x) < m*w.k {
		panic("kernel: PanelLayout.MatMul: x is shorter than B·T·k")
	}
	if !w.Left() {
		panic("kernel: PanelLayout.MatMul: weights that were not packed by PackLeft")
	}
	_, nr := tileShape()
	perImage, restRows := o.perImage()
	panels := o.Images * perImage
	(&panelProduct{y: y, x: x, rest: x[panels*nr*w.k:], w: w, panels: panels, restRows: o.Images * restRows, restPerImage: restRows, e: e}).run()
}

// LayerNorm is [LayerNorm] of the rows of X [B·T,n] in this layout.
func (o PanelLayout) LayerNorm(y, x, w, b []float32, n int, eps float32) {
	m := o.Images * o.Tokens
	if len(y) < m*n || len(x) < m*n || len(w) < n || len(b) < n {
		panic("kernel: PanelLayout.LayerNorm: slice shorter than its shape")
	}
	if n == 0 {
		return
	}
	_, nr := tileShape()
	perImage, restRows := o.perImage()
	panels := o.Images * perImage
	parallel(panels, func(p int) {
		from := x[p*nr*n : (p+1)*nr*n]
		var ofTile [2][maxColumns]float32
		mean, scale := ofTile[0][:nr], ofTile[1][:nr]
		columnSum(mean, from)
		for j := range mean {
			mean[j] /= float32(n)
		}
		columnSquares(scale, from, mean)
		for j, v := range scale {
			scale[j] = float32(1 / math.Sqrt(float64(v/float32(n)+eps)))
		}
		columnNormalize(y[p*nr*n:], from, mean, scale, w[:n], b[:n])
	})
	rest := panels * nr * n
	LayerNorm(y[rest:], x[rest:], w, b, nil, o.Images*restRows, n, eps)
}

// Attention is [Attention], or [CausalAttention], of qkv [B·T,3C] in this layout; out [B·T,C] has it too. The queries
// of a head are a part of a panel as they lie, and so are its results.
func (o PanelLayout) Attention(out, qkv []float32, heads, headSize int, causal bool) {
	m, d := o.Images*o.Tokens, headSize
	c := heads * d
	if len(out) < m*c || len(qkv) < 3*m*c {
		panic("kernel: PanelLayout.Attention: slice shorter than its shape")
	}
	if m*c == 0 {
		return
	}
	mr, nr := tileShape()
	perImage, restRows := o.perImage()
	groups := perImage + min(restRows, 1)
	// One item is a share of the queries of one head; the shares are many enough for all workers.
	items := o.Images * heads
	shares := min(groups, max(1, (4*runtime.GOMAXPROCS(0)+items-1)/items))
	perShare := (groups + shares - 1) / shares
	a := panelAttention{PanelLayout: o, out: out, qkv: qkv, heads: heads, d: d, causal: causal}
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
		score := Get(roundUp(o.Tokens, mr) * max(nr, smallNColumns)) // [T,nr]
		defer Put(score)
		for g := i % shares * perShare; g < min(groups, (i%shares+1)*perShare); g++ {
			if g < perImage {
				a.attendPanel(h, g, score)
			} else {
				a.attendRest(h, restRows, score)
			}
		}
	})
	for _, h := range packed {
		if h != nil {
			h.release()
		}
	}
}

// panelAttention is what all heads of a call have in common.
type panelAttention struct {
	PanelLayout
	out, qkv []float32
	heads, d int
	causal   bool
}

// A packedHead holds the keys and values of one head of an image, as panels of mr rows for the tile.
type packedHead struct {
	image, index int
	keys         []float32 // [T/mr][D][mr]
	values       []float32 // [D/mr][T][mr]
}

func (h *packedHead) release() {
	Put(h.keys)
	Put(h.values)
}

// restRow returns row r of those of an image in x [B·T,n] that fill no panel.
func (a *panelAttention) restRow(x []float32, n, image, r int) []float32 {
	_, nr := tileShape()
	perImage, restRows := a.perImage()
	return x[(a.Images*perImage*nr+image*restRows+r)*n:][:n]
}

// headPart returns rows at to at+D of panel g of an image in x, whose panels have n rows.
func (a *panelAttention) headPart(x []float32, n, image, g, at int) []float32 {
	_, nr := tileShape()
	perImage, _ := a.perImage()
	return x[((image*perImage+g)*n+at)*nr:][:a.d*nr]
}

// packHead packs the keys and values of a head.
func (a *panelAttention) packHead(item int) *packedHead {
	mr, nr := tileShape()
	perImage, _ := a.perImage()
	t, d, c := a.Tokens, a.d, a.heads*a.d
	tPad, dPad := roundUp(t, mr), roundUp(d, mr)
	h := &packedHead{item / a.heads, item % a.heads, Get(tPad * d), Get(dPad * t)}
	keys := Get(tPad * d) // [D,tPad]
	defer Put(keys)
	for g := range perImage {
		copyRows(keys[g*nr:], tPad, a.headPart(a.qkv, 3*c, h.image, g, c+h.index*d), nr, nr, d)
		v := a.headPart(a.qkv, 3*c, h.image, g, 2*c+h.index*d)
		for r := 0; r < d; r += mr {
			packTransposed(h.values[r*t+g*nr*mr:], mr, v[r*nr:], nr, min(mr, d-r), nr)
		}
	}
	for i := perImage * nr; i < tPad; i++ {
		if i >= t {
			for p := range d {
				keys[p*tPad+i] = 0
			}
			continue
		}
		row := a.restRow(a.qkv, 3*c, h.image, i-perImage*nr)
		for p, v := range row[c+h.index*d:][:d] {
			keys[p*tPad+i] = v
		}
		for p, v := range row[2*c+h.index*d:][:d] {
			h.values[p/mr*mr*t+i*mr+p%mr] = v
		}
	}
	copyPanels(h.keys, mr, keys, tPad, d, tPad/mr, mr*d)
	return h
}

// attendPanel computes the results of the queries of panel g.
func (a *panelAttention) attendPanel(h *packedHead, g int, score []float32) {
	_, nr := tileShape()
	c := a.heads * a.d
	out := a.headPart(a.out, c, h.image, g, h.index*a.d)
	a.attendQueries(h, out, a.headPart(a.qkv, 3*c, h.image, g, h.index*a.d), score, g*nr)
}

// attendQueries computes the results [D,nr] of queries [D,nr], whose first is the token with the number first.
func (a *panelAttention) attendQueries(h *packedHead, out, queries, score []float32, first int) {
	mr, nr := tileShape()
	t, d := a.Tokens, a.d
	tileColumn(score, h.keys, queries, t, d)
	score = score[:t*nr]
	if a.causal {
		maskLater(score, first, nr)
	}
	var ofTile [2][maxColumns]float32
	peak, total := ofTile[0][:nr], ofTile[1][:nr]
	columnMax(peak, score)
	columnExp(score, peak, total, float32(1/math.Sqrt(float64(d))))
	for r := 0; r < d; r += mr {
		if rows := min(mr, d-r); rows < mr {
			edgeTile(out[r*nr:], nr, h.values[r*t:], score, rows, nr, t, false)
		} else {
			tile(out[r*nr:], nr, mr, h.values[r*t:], score, t, false, nil, 0)
		}
	}
	for i, v := range total {
		total[i] = 1 / v
	}
	scaleColumns(out, total)
}

// attendRest computes the results of the tokens of an image that fill no panel.
func (a *panelAttention) attendRest(h *packedHead, restRows int, score []float32) {
	mr, nr := tileShape()
	perImage, _ := a.perImage()
	t, d, c := a.Tokens, a.d, a.heads*a.d
	stride := smallNStride()
	if stride == 0 {
		queries, out := Get(d*nr), Get(d*nr)
		defer Put(queries)
		defer Put(out)
		at := a.restRow(a.qkv, 3*c, h.image, 0)[h.index*d:]
		matrix{at[:(restRows-1)*3*c+d], 3 * c, false}.pack(queries, 0, restRows, 0, d, nr)
		a.attendQueries(h, out, queries, score, perImage*nr)
		first := a.restRow(a.out, c, h.image, 0)[h.index*d:]
		packTransposed(first[:(restRows-1)*c+d], c, out, nr, d, restRows)
		return
	}
	tPad := roundUp(t, mr)
	var part [smallNColumns * 16]float32
	for i := 0; i < restRows; i += smallNColumns {
		columns := min(smallNColumns, restRows-i)
		queries := a.restRow(a.qkv, 3*c, h.image, i)[h.index*d:]
		queries = queries[:(columns-1)*3*c+d]
		for k0 := 0; k0 < t; k0 += mr {
			smallN(part[:], h.keys[k0*d:], queries, 3*c, columns, d)
			for q := range columns {
				copy(score[q*tPad+k0:][:min(mr, t-k0)], part[q*stride:])
			}
		}
		var total [smallNColumns]float32
		for q := range columns {
			s := score[q*tPad:][:t]
			seen := s
			if a.causal {
				seen = s[:perImage*nr+i+q+1]
				clear(s[len(seen):])
			}
			total[q] = expSum(seen, seen, maxOf(seen), float32(1/math.Sqrt(float64(d))))
		}
		for r := 0; r < d; r += mr {
			smallN(part[:], h.values[r*t:], score, tPad, columns, t)
			for q := range columns {
				y := a.restRow(a.out, c, h.image, i+q)[h.index*d+r:][:min(mr, d-r)]
				for j := range y {
					y[j] = part[q*stride+j] / total[q]
				}
			}
		}
	}
}
