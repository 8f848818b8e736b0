package kernel

import (
	"math"
	"runtime"
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
// The keys and values of one head and nr·T scores stay in the second-level cache.
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
	_, nr := tileShape()
	p := packHeads(qkv, images, t, heads, d)
	defer p.release()
	groups := (t + nr - 1) / nr
	// One item is a share of the queries of one head; the shares are many enough for all workers.
	shares := min(groups, max(1, (4*runtime.GOMAXPROCS(0)+images*heads-1)/(images*heads)))
	per := (groups + shares - 1) / shares
	temperature := float32(1 / math.Sqrt(float64(d)))

	parallel(images*heads*shares, func(item int) {
		head := item / shares
		row0, column := head/heads*t, head%heads*d // in out
		keys, values, queries := p.of(head)
		score := Get(p.tPad * nr) // [T,nr], then exponentials
		mix := Get(p.dPad * nr)   // [D,nr]
		peak, total := Get(nr), Get(nr)
		for g := item % shares * per; g < min(groups, (item%shares+1)*per); g++ {
			count := min(nr, t-g*nr)
			tileColumn(score, keys, queries[g*nr*d:], t, d)
			if causal {
				maskLater(score[:t*nr], g*nr, nr)
			}
			columnMax(peak, score[:t*nr])
			columnExp(score[:t*nr], peak, total, temperature)
			tileColumn(mix, values, score, d, t)
			for i := range count {
				if stats != nil {
					at := 2 * ((row0+g*nr+i)*heads + head%heads)
					stats[at], stats[at+1] = peak[i], total[i]
				}
				total[i] = 1 / total[i]
			}
			scaleColumns(mix[:d*nr], total)
			packTransposed(out[(row0+g*nr)*c+column:], c, mix, nr, d, count)
		}
		for _, b := range [][]float32{score, mix, peak, total} {
			Put(b)
		}
	})
}

// maskLater sets the scores [T,nr] of keys that come after a query to -∞, whose exponential is 0. The first query of
// the panel is the token with the number query.
func maskLater(score []float32, query, nr int) {
	for key := query + 1; key*nr < len(score); key++ {
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

// packedHeads holds queries, keys and values as panels, head by head and image by image.
type packedHeads struct {
	heads, tPad, dPad int       // heads of all images
	keys              []float32 // of each head [tPad/mr][D][mr]
	values            []float32 // [dPad/mr][T][mr]: the columns of v
	queries           []float32 // [tokens/nr][D][nr]
}

// packHeads packs a few rows of qkv at a time, with all their heads: a head's part of a row is short, and the
// processor fetches ahead along a limited number of rows.
func packHeads(qkv []float32, images, t, heads, d int) *packedHeads {
	mr, nr := tileShape()
	n := images * heads
	p := &packedHeads{heads: n, tPad: roundUp(t, mr), dPad: roundUp(d, mr)}
	p.keys, p.values, p.queries = Get(n*p.tPad*d), Get(n*p.dPad*t), Get(n*roundUp(t, nr)*d)
	c := heads * d
	width := [3]int{nr, mr, mr} // rows of a panel of queries and of keys; of values, any number
	const panels = 8            // of one item
	items := (t + panels*min(mr, nr) - 1) / (panels * min(mr, nr))
	parallel(3*images*items, func(item int) {
		image, part := item/3/items, item%3
		w := width[part]
		for t0 := item / 3 % items * panels * w; t0 < min(t, (item/3%items+1)*panels*w); t0 += w {
			rows := min(w, t-t0)
			for h := range heads {
				x := matrix{qkv[image*t*3*c+part*c+h*d:], 3 * c, part == 2}
				keys, values, queries := p.of(image*heads + h)
				switch part {
				case 0:
					x.pack(queries[t0*d:], t0, rows, 0, d, nr)
				case 1:
					x.pack(keys[t0*d:], t0, rows, 0, d, mr)
				case 2:
					for c0 := 0; c0 < d; c0 += mr {
						x.pack(values[c0*t+t0*mr:], c0, min(mr, d-c0), t0, rows, mr)
					}
				}
			}
		}
	})
	return p
}

// of returns the panels of a head.
func (p *packedHeads) of(head int) (keys, values, queries []float32) {
	part := func(x []float32) []float32 {
		n := len(x) / p.heads
		return x[head*n : (head+1)*n]
	}
	return part(p.keys), part(p.values), part(p.queries)
}

func (p *packedHeads) release() {
	Put(p.keys)
	Put(p.values)
	Put(p.queries)
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
