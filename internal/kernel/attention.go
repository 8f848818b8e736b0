package kernel

import (
	"math"
)

// Attention sets out [B·T,C] to softmax(q·kᵀ/√D)·v, for every head of every image. A row of qkv [B·T,3C] holds q, k
// and v of a token. In each of them, H heads of D = C/H columns lie side by side. If stats [B·T,H,2] is not nil, it
// receives the largest q·k and the sum of the exponentials, for every row and head. A gradient needs no more to
// compute the probabilities again.
//
// No T×T matrix is kept. A worker takes as many queries as a tile has columns and computes everything transposed, so
// that nothing is packed twice. The scores come out of the first product as the panel that the second one reads, and
// softmax goes down their columns.
//
//	keys [T,D] · queriesᵀ [D,nr] ─▶ scores [T,nr] ─ softmax ─▶ valuesᵀ [D,T] · [T,nr] ─▶ outᵀ [D,nr]
//
// A worker packs the keys and values of a head just before it needs them, or all workers those of all heads before, if
// several of them share a head. They and nr·T scores stay in the second-level cache, those of a text in the first. Where the tokens
// fit into a panel and stats is nil, attendShort takes the place of all this, if it may: see short.
func Attention(out, qkv, stats []float32, images, tokens, heads, headSize int) {
	attention(out, qkv, stats, images, tokens, heads, headSize, false)
}

// CausalAttention is [Attention] in which a token sees itself and those before it. It computes the scores of later
// tokens too and drops them: texts are short.
func CausalAttention(out, qkv, stats []float32, images, tokens, heads, headSize int) {
	attention(out, qkv, stats, images, tokens, heads, headSize, true)
}

func attention(out, qkv, stats []float32, images, tokens, heads, headSize int, causal bool) {
	t, d := tokens, headSize
	c := heads * d
	if len(out) < images*t*c || len(qkv) < 3*images*t*c || (stats != nil && len(stats) < 2*images*t*heads) {
		panic("kernel: Attention: slice shorter than its shape")
	}
	if images*t*c == 0 {
		return
	}
	// A span of one row fills no panel.
	rows := panelAttention{PanelLayout: PanelLayout{images * t, 1}, out: out, qkv: qkv, n: 3 * c, tokens: t, heads: heads, d: d, causal: causal}
	if stats == nil && rows.short() {
		rows.eachShort(images, rows.attendShort)
		return
	}
	mr, nr := tileShape()
	tPad, dPad := roundUp(t, mr), roundUp(d, mr)
	groups := (t + nr - 1) / nr
	// One item is a share of the queries of one head; the shares are many enough for all workers.
	items := images * heads
	shares := min(groups, max(1, (4*processors()+items-1)/items))
	per := (groups + shares - 1) / shares
	temperature := float32(1 / math.Sqrt(float64(d)))
	pack := func(item int) *packedHead {
		h := &packedHead{item / heads, item % heads, Get(tPad * d), Get(dPad * t)}
		head := qkv[h.image*t*3*c+h.index*d:]
		matrix{head[c:], 3 * c, false}.pack(h.keys, 0, t, 0, d, mr)
		matrix{head[2*c:], 3 * c, true}.pack(h.values, 0, d, 0, t, mr)
		return h
	}
	var packed []*packedHead
	if shares > 1 {
		packed = make([]*packedHead, items)
		parallel(items, func(i int) { packed[i] = pack(i) })
	}

	parallel(items*shares, func(item int) {
		var h *packedHead
		if packed != nil {
			h = packed[item/shares]
		} else {
			h = pack(item)
			defer h.release()
		}
		row0, column := h.image*t, h.index*d // in out
		scratch := Get((tPad + dPad + d) * nr)
		defer Put(scratch)
		score := scratch[:tPad*nr]          // [T,nr], then exponentials
		mix := scratch[tPad*nr:][:dPad*nr]  // [D,nr]
		queries := scratch[(tPad+dPad)*nr:] // [D,nr]
		var ofTile [2][maxColumns]float32
		peak, total := ofTile[0][:nr], ofTile[1][:nr]
		for g := item % shares * per; g < min(groups, (item%shares+1)*per); g++ {
			count := min(nr, t-g*nr)
			matrix{qkv[row0*3*c+column:], 3 * c, false}.pack(queries, g*nr, count, 0, d, nr)
			tileColumn(score, h.keys, queries, t, d)
			if causal {
				maskLater(score[:t*nr], g*nr, nr)
			}
			columnMax(peak, score[:t*nr])
			columnExp(score[:t*nr], peak, total, temperature)
			tileColumn(mix, h.values, score, d, t)
			for i := range count {
				if stats != nil {
					at := 2 * ((row0+g*nr+i)*heads + h.index)
					stats[at], stats[at+1] = peak[i], total[i]
				}
				total[i] = 1 / total[i]
			}
			scaleColumns(mix[:d*nr], total)
			packTransposed(out[(row0+g*nr)*c+column:], c, mix, nr, d, count)
		}
	})
	for _, h := range packed {
		h.release()
	}
}

// maskLater sets the scores [T,nr] of keys that come after a query to -∞, whose exponential is 0. The first query of
// the panel is the token with the number query, below 0 if there are columns before those of the image.
func maskLater(score []float32, query, nr int) {
	for key := max(0, query+1); key*nr < len(score); key++ {
		row := score[key*nr : (key+1)*nr]
		for i := range row[:min(nr, key-query)] {
			row[i] = float32(math.Inf(-1))
		}
	}
}

// tileColumn sets y [rows,nr] to a·b, one tile below the other. A lies in panels of mr rows, and b is one panel, both
// of depth k.
func tileColumn(y, a, b []float32, rows, k int) {
	mr, nr := tileShape()
	for r := 0; r < rows; r += mr {
		tile(y[r*nr:], nr, min(mr, rows-r), a[r*k:], b, k, false, nil, 0)
	}
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

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
