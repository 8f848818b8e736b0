package kernel

// short reports whether the tokens of an image fit into a panel, a head is at least as large as the tile has rows, and there are tiles
// that read panels as they lie: then keys and values need no packing.
func (a *panelAttention) short() bool {
	mr, nr := tileShape()
	return readsPanels() && a.tokens <= nr && a.d >= mr
}

// shortWidth returns how many columns are computed for so many queries: those of a panel, or half of them.
func shortWidth(queries int) int {
	_, nr := tileShape()
	if queries <= nr/2 {
		return nr / 2
	}
	return nr
}

// eachShort calls f with every head of every image, and with memory for attendShort or attendShortAt.
func (a *panelAttention) eachShort(images int, f func(image, head int, scratch []float32)) {
	mr, nr := tileShape()
	each := 1 // heads of an item: all of an image, if there are many
	if images >= 4*processors() {
		each = a.heads
	}
	parallel(images*a.heads/each, func(i int) {
		scratch := Get((4*a.d + max(a.tokens, mr)) * nr)
		defer Put(scratch)
		for j := i * each; j < (i+1)*each; j++ {
			f(j/a.heads, j%a.heads, scratch)
		}
	})
}

// attendShort computes the results of a head of an image whose tokens fit into a panel. Its queries, keys and values are columns of
// one panel, which tiles read as they lie, or they are gathered into one.
//
//	panel [D,nr] of queries:    · · · q₀ q₁ … q₉ · · · ·     width columns from q₀ on, or the last; what others become is dropped
//	panel [D,nr] of keys:       · · · k₀ k₁ … k₉ · · · ·
func (a *panelAttention) attendShort(image, head int, scratch []float32) {
	_, nr := tileShape()
	t, d, c := a.tokens, a.d, a.heads*a.d
	row, at := image*t, head*d
	q, first := a.operand(scratch, a.qkv, a.n, row, at)
	k, _ := a.operand(scratch[d*nr:], a.qkv, a.n, row, c+at)
	v, _ := a.operand(scratch[2*d*nr:], a.qkv, a.n, row, 2*c+at)
	width := shortWidth(t)
	from := min(first, nr-width)
	mix := a.mixShort(scratch[3*d*nr:], q[from:], k[first:], v[first:], from-first, width)
	a.scatter(a.out, c, row, t, at, d, mix[first-from:], width)
}

// attendShortAt sets out [D] to the result of one query [D] of a head, the image's token with the number token.
func (a *panelAttention) attendShortAt(out, query []float32, image, head, token int, scratch []float32) {
	_, nr := tileShape()
	t, d, c := a.tokens, a.d, a.heads*a.d
	row, at := image*t, head*d
	for p, x := range query[:d] {
		scratch[p*nr] = x
	}
	k, first := a.operand(scratch[d*nr:], a.qkv, a.n, row, a.n-2*c+at)
	v, _ := a.operand(scratch[2*d*nr:], a.qkv, a.n, row, a.n-c+at)
	width := shortWidth(1)
	mix := a.mixShort(scratch[3*d*nr:], scratch, k[first:], v[first:], token, width)
	for p := range out[:d] {
		out[p] = mix[p*width]
	}
}

// operand returns columns at..at+D of x [B·T,n] for the T tokens from row on, as columns of a panel [D,nr] from first on. It is a
// part of x if one of its panels has them all, and y otherwise. More of x or y follows it.
func (a *panelAttention) operand(y, x []float32, n, row, at int) (panel []float32, first int) {
	_, nr := tileShape()
	perSpan, _ := a.perSpan()
	span, r := row/a.Rows, row%a.Rows
	if first := r % nr; r/nr < perSpan && first+a.tokens <= nr {
		return x[((span*perSpan+r/nr)*n+at)*nr:], first
	}
	a.gather(y, nr, x, n, row, a.tokens, at, a.d)
	return y, 0
}

// mixShort returns the results [D,width] of a head for the first width queries of a panel. The first is the token with the number
// query; tokens below 0 and from T on may become anything. The keys and values are the first T columns of theirs.
func (a *panelAttention) mixShort(scratch, queries, keys, values []float32, query, width int) []float32 {
	mr, nr := tileShape()
	t, d := a.tokens, a.d
	mix, score := scratch[:d*nr], scratch[d*nr:]
	tileTurned(score, nr, max(t, mr), keys, queries, 0, width, d) // rows from T on are of what follows the keys
	score = score[:t*nr]
	if a.causal {
		maskLater(score, query, nr)
	}
	var ofTile [maxColumns]float32
	scale := ofTile[:nr]
	exponentiate(score, scale, d)
	for r := 0; r < d; r += mr {
		r := min(r, d-mr) // the last tile may compute some rows once more
		tileRows(mix[r*width:], width, mr, values[r*nr:], 0, score, 0, width, t, false)
	}
	copy(scale[width:], scale[:width])
	scaleColumns(mix[:roundUp(d*width, nr)], scale) // nr columns are one row of mix, or two
	return mix
}
