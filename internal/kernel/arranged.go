package kernel

import (
	"math"
	"runtime"
)

// An Order says how the tokens of some images, the rows of X [B·T,n], are arranged for products with packed
// weights: panels of as many tokens as the tile has columns, transposed, image by image, and then the tokens
// of all images that are left over, as rows.
//
//	X ─▶ [B·(T/nr)] panels [n,nr], and [B·(T mod nr)] rows [n]
//
// The tile takes its rows from the weights and its columns from a panel, so that what it writes is a part of a
// panel of the result: products, norms, activations and attention follow each other and nothing is packed in
// between. Two matrices in the same order may be added, or an activation applied, element by element.
type Order struct{ Images, Tokens int }

// panels returns how many panels there are of one image, and how many rows are left of it.
func (o Order) panels() (panels, rest int) {
	_, nr := tileShape()
	return o.Tokens / nr, o.Tokens % nr
}

// Arrange sets y to the rows of x [B·T,n] in this order.
func (o Order) Arrange(y, x []float32, n int) {
	o.each(n, func(panel, rows, count int) {
		packTransposed(y[panel:], count, x[rows:], n, count, n)
	}, func(at, row, count int) { copy(y[at:at+count*n], x[row:]) })
}

// Restore sets y [B·T,n] to the rows of x, which are in this order.
func (o Order) Restore(y, x []float32, n int) {
	o.each(n, func(panel, rows, count int) {
		packTransposed(y[rows:], n, x[panel:], count, n, count)
	}, func(at, row, count int) { copy(y[row:row+count*n], x[at:]) })
}

// each calls panel with where every panel begins, where the rows that it holds do, and how many they are; and
// rest with the same of what is left over.
func (o Order) each(n int, panel, rest func(arranged, rows, count int)) {
	_, nr := tileShape()
	each, left := o.panels()
	parallel(o.Images*each, func(p int) {
		panel(p*nr*n, (p/each*o.Tokens+p%each*nr)*n, nr)
	})
	for i := range o.Images {
		if left > 0 {
			rest((o.Images*each*nr+i*left)*n, (i*o.Tokens+each*nr)*n, left)
		}
	}
}

// Row sets y [n] to row r of x [B·T,n], which is in this order.
func (o Order) Row(y, x []float32, n, r int) {
	_, nr := tileShape()
	each, left := o.panels()
	image, token := r/o.Tokens, r%o.Tokens
	if token >= each*nr {
		copy(y[:n], x[(o.Images*each*nr+image*left+token-each*nr)*n:])
		return
	}
	panel := x[(image*each+token/nr)*nr*n:][:nr*n]
	for i := range y[:n] {
		y[i] = panel[i*nr+token%nr]
	}
}

// MatMul computes Y [B·T,n] = X [B·T,k] · Wᵀ of matrices in this order; so is the residual. W comes from [PackLeft].
func (o Order) MatMul(y, x []float32, w *Packed, e Epilogue) {
	m := o.Images * o.Tokens
	check("Order.MatMul", y, x, nil, m, w.n, 0, e)
	if len(x) < m*w.k {
		panic("kernel: Order.MatMul: x is shorter than B·T·k")
	}
	if !w.Left() {
		panic("kernel: Order.MatMul: weights that were not packed by PackLeft")
	}
	_, nr := tileShape()
	each, left := o.panels()
	panels := o.Images * each
	(&packedProduct{y: y, x: x, rest: x[panels*nr*w.k:], w: w, panels: panels, left: o.Images * left, each: left, e: e}).run()
}

// LayerNorm is [LayerNorm] of the rows of X [B·T,n] in this order.
func (o Order) LayerNorm(y, x, w, b []float32, n int, eps float32) {
	m := o.Images * o.Tokens
	if len(y) < m*n || len(x) < m*n || len(w) < n || len(b) < n {
		panic("kernel: Order.LayerNorm: slice shorter than its shape")
	}
	if n == 0 {
		return
	}
	_, nr := tileShape()
	each, left := o.panels()
	panels := o.Images * each
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
	LayerNorm(y[rest:], x[rest:], w, b, nil, o.Images*left, n, eps)
}

// Attention is [Attention], or [CausalAttention], of qkv [B·T,3C] in this order, and so is out [B·T,C]. Queries are
// a part of a panel as they lie, and so are results.
func (o Order) Attention(out, qkv []float32, heads, headSize int, causal bool) {
	m, d := o.Images*o.Tokens, headSize
	c := heads * d
	if len(out) < m*c || len(qkv) < 3*m*c {
		panic("kernel: Order.Attention: slice shorter than its shape")
	}
	if m*c == 0 {
		return
	}
	mr, nr := tileShape()
	each, left := o.panels()
	groups := each + min(left, 1)
	// One item is a share of the queries of one head; the shares are many enough for all workers.
	items := o.Images * heads
	shares := min(groups, max(1, (4*runtime.GOMAXPROCS(0)+items-1)/items))
	per := (groups + shares - 1) / shares
	a := attend{Order: o, out: out, qkv: qkv, heads: heads, d: d, causal: causal}
	known := make([]*head, items)
	if shares > 1 {
		parallel(items, func(i int) { known[i] = a.pack(i) })
	}
	parallel(items*shares, func(i int) {
		h := known[i/shares]
		if h == nil {
			h = a.pack(i)
			defer h.free()
		}
		score := Get(roundUp(o.Tokens, mr) * max(nr, fewColumns)) // [T,nr]
		defer Put(score)
		for g := i % shares * per; g < min(groups, (i%shares+1)*per); g++ {
			if g < each {
				a.panel(h, g, score)
			} else {
				a.rest(h, left, score)
			}
		}
	})
	for _, h := range known {
		if h != nil {
			h.free()
		}
	}
}

// attend is what all heads have in common.
type attend struct {
	Order
	out, qkv []float32
	heads, d int
	causal   bool
}

// A head holds the keys and values of a head of an image, as panels of rows for the tile.
type head struct {
	image, index int
	keys         []float32 // [T/mr][D][mr]
	values       []float32 // [D/mr][T][mr]
}

func (h *head) free() {
	Put(h.keys)
	Put(h.values)
}

// row returns row r of what is left over of an image in x [B·T,n].
func (a *attend) row(x []float32, n, image, r int) []float32 {
	_, nr := tileShape()
	each, left := a.panels()
	return x[(a.Images*each*nr+image*left+r)*n:][:n]
}

// part returns rows at to at+D of panel g of an image in x, whose panels have n rows.
func (a *attend) part(x []float32, n, image, g, at int) []float32 {
	_, nr := tileShape()
	each, _ := a.panels()
	return x[((image*each+g)*n+at)*nr:][:a.d*nr]
}

// pack packs the keys and values of a head.
func (a *attend) pack(item int) *head {
	mr, nr := tileShape()
	each, _ := a.panels()
	t, d, c := a.Tokens, a.d, a.heads*a.d
	tPad, dPad := roundUp(t, mr), roundUp(d, mr)
	h := &head{item / a.heads, item % a.heads, Get(tPad * d), Get(dPad * t)}
	keys := Get(tPad * d) // [D,tPad]
	defer Put(keys)
	for g := range each {
		copyRows(keys[g*nr:], tPad, a.part(a.qkv, 3*c, h.image, g, c+h.index*d), nr, nr, d)
		v := a.part(a.qkv, 3*c, h.image, g, 2*c+h.index*d)
		for r := 0; r < d; r += mr {
			packTransposed(h.values[r*t+g*nr*mr:], mr, v[r*nr:], nr, min(mr, d-r), nr)
		}
	}
	for i := each * nr; i < tPad; i++ {
		if i >= t {
			for p := range d {
				keys[p*tPad+i] = 0
			}
			continue
		}
		row := a.row(a.qkv, 3*c, h.image, i-each*nr)
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

// panel computes the results of the queries of panel g.
func (a *attend) panel(h *head, g int, score []float32) {
	_, nr := tileShape()
	c := a.heads * a.d
	out := a.part(a.out, c, h.image, g, h.index*a.d)
	a.queries(h, out, a.part(a.qkv, 3*c, h.image, g, h.index*a.d), score, g*nr)
}

// queries computes the results [D,nr] of queries [D,nr], the first of which is the given token.
func (a *attend) queries(h *head, out, queries, score []float32, first int) {
	mr, nr := tileShape()
	t, d := a.Tokens, a.d
	stack(score, h.keys, queries, t, d)
	score = score[:t*nr]
	if a.causal {
		hideLater(score, first, nr)
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

// rest computes the results of what is left over of an image.
func (a *attend) rest(h *head, left int, score []float32) {
	mr, nr := tileShape()
	each, _ := a.panels()
	t, d, c := a.Tokens, a.d, a.heads*a.d
	stride := fewStride()
	if stride == 0 {
		queries, out := Get(d*nr), Get(d*nr)
		defer Put(queries)
		defer Put(out)
		at := a.row(a.qkv, 3*c, h.image, 0)[h.index*d:]
		operand{at[:(left-1)*3*c+d], 3 * c, false}.pack(queries, 0, left, 0, d, nr)
		a.queries(h, out, queries, score, each*nr)
		first := a.row(a.out, c, h.image, 0)[h.index*d:]
		packTransposed(first[:(left-1)*c+d], c, out, nr, d, left)
		return
	}
	tPad := roundUp(t, mr)
	var part [fewColumns * 16]float32
	for i := 0; i < left; i += fewColumns {
		columns := min(fewColumns, left-i)
		queries := a.row(a.qkv, 3*c, h.image, i)[h.index*d:]
		queries = queries[:(columns-1)*3*c+d]
		for k0 := 0; k0 < t; k0 += mr {
			few(part[:], h.keys[k0*d:], queries, 3*c, columns, d)
			for q := range columns {
				copy(score[q*tPad+k0:][:min(mr, t-k0)], part[q*stride:])
			}
		}
		var total [fewColumns]float32
		for q := range columns {
			s := score[q*tPad:][:t]
			seen := s
			if a.causal {
				seen = s[:each*nr+i+q+1]
				clear(s[len(seen):])
			}
			total[q] = expSum(seen, seen, maxOf(seen), float32(1/math.Sqrt(float64(d))))
		}
		for r := 0; r < d; r += mr {
			few(part[:], h.values[r*t:], score, tPad, columns, t)
			for q := range columns {
				y := a.row(a.out, c, h.image, i+q)[h.index*d+r:][:min(mr, d-r)]
				for j := range y {
					y[j] = part[q*stride+j] / total[q]
				}
			}
		}
	}
}
