package kernel

import "math"

// LayerNormGrad computes the gradients of [LayerNorm] from gy [m,n] and the stats [m,2] it left:
//
//	x̂ = (x-mean)·scale   g = gy·w   gx = scale·(g - mean(g) - x̂·mean(g·x̂))   gw = Σ gy·x̂   gb = Σ gy
//
// gx [m,n] and the pair gw, gb [n] may each be nil.
func LayerNormGrad(gx, gw, gb, gy, x, w, stats []float32, m, n int) {
	layerNormGrad(gx, gw, gb, gy, x, w, stats, m, n, false)
}

// LayerNormGradAdd adds the gradient gx of [LayerNormGrad] to what gx [m,n] holds.
func LayerNormGradAdd(gx, gy, x, w, stats []float32, m, n int) {
	layerNormGrad(gx, nil, nil, gy, x, w, stats, m, n, true)
}

func layerNormGrad(gx, gw, gb, gy, x, w, stats []float32, m, n int, add bool) {
	if len(gy) < m*n || len(x) < m*n || len(w) < n || len(stats) < 2*m || (gx != nil && len(gx) < m*n) || (gw != nil && (len(gw) < n || len(gb) < n)) {
		panic("kernel: LayerNormGrad: slice shorter than its shape")
	}
	if gx != nil {
		parallelRows(m, n, func(from, to int) {
			var change []float32
			if add {
				change = Get(n)
				defer Put(change)
			}
			for r := from; r < to; r++ {
				mean, scale := stats[2*r], stats[2*r+1]
				row, g, out := x[r*n:(r+1)*n], gy[r*n:(r+1)*n], gx[r*n:(r+1)*n]
				sg, sgx := normSums(g, w, row, mean, scale)
				if add {
					normGrad(change, g, w, row, mean, scale, sg/float32(n), sgx/float32(n))
					addBias(out, change)
				} else {
					normGrad(out, g, w, row, mean, scale, sg/float32(n), sgx/float32(n))
				}
			}
		})
	}
	if gw != nil {
		parallelColumns(n, func(from, to int) {
			clear(gw[from:to])
			clear(gb[from:to])
			for r := range m {
				mean, scale := stats[2*r], stats[2*r+1]
				normWeights(gw[from:to], gb[from:to], gy[r*n+from:r*n+to], x[r*n+from:r*n+to], mean, scale)
			}
		})
	}
}

// normSumsGeneric returns Σ g·w and Σ g·w·x̂.
func normSumsGeneric(g, w, x []float32, mean, scale float32) (sg, sgx float32) {
	for i, v := range x {
		t := g[i] * w[i]
		sg += t
		sgx += t * ((v - mean) * scale)
	}
	return sg, sgx
}

// normGradGeneric sets gx = scale·(g·w - mg - x̂·mgx).
func normGradGeneric(gx, g, w, x []float32, mean, scale, mg, mgx float32) {
	for i, v := range x {
		gx[i] = scale * (g[i]*w[i] - mg - (v-mean)*scale*mgx)
	}
}

// normWeightsGeneric adds g·x̂ to gw, and g to gb.
func normWeightsGeneric(gw, gb, g, x []float32, mean, scale float32) {
	for i, v := range x {
		gw[i] += g[i] * ((v - mean) * scale)
		gb[i] += g[i]
	}
}

// parallelColumns calls f for bands of n columns. A band is 1 KB of a row, which suits what the processor fetches
// ahead.
func parallelColumns(n int, f func(from, to int)) {
	const band = 256
	parallel((n+band-1)/band, func(i int) { f(i*band, min(n, (i+1)*band)) })
}

// SumRows sets y [n] to the sum of the rows of X [m,n]: the gradient of a bias.
func SumRows(y, x []float32, m, n int) {
	if len(y) < n || len(x) < m*n {
		panic("kernel: SumRows: slice shorter than its shape")
	}
	parallelColumns(n, func(from, to int) {
		clear(y[from:to])
		for r := range m {
			addBias(y[from:to], x[r*n+from:r*n+to])
		}
	})
}

// ActivateGrad sets gx = gy·f'(x), element by element.
func ActivateGrad(gx, gy, x []float32, f Activation) {
	if len(gx) < len(x) || len(gy) < len(x) {
		panic("kernel: ActivateGrad: slice shorter than x")
	}
	how := f.of()
	parallelRows((len(x)+ncMax-1)/ncMax, ncMax, func(from, to int) {
		from, to = from*ncMax, min(to*ncMax, len(x))
		if how == nil {
			copy(gx[from:to], gy[from:to])
		} else {
			how.grad(gx[from:to], gy[from:to], x[from:to])
		}
	})
}

// flush returns x, or 0 if it is below 10⁻³⁰. The gradient of a saturated activation is that small, and its products
// would be below 10⁻³⁸. Processors take a hundred times as long for such subnormal numbers. The product of two larger
// numbers with weights or activations is still normal.
func flush(x float32) float32 {
	if x < 1e-30 && x > -1e-30 {
		return 0
	}
	return x
}

// quickGELUGradGeneric sets gx = gy·quickGELU'(x) = gy·(σ + 1.702·x·σ·(1-σ)). It computes 1-σ as e·σ, which loses
// nothing where σ is near 1. The clamp at 87 keeps e and 1/e finite; beyond it, σ is 0 or 1.
func quickGELUGradGeneric(gx, gy, x []float32) {
	for i, v := range x {
		e := exp(min(max(-quickGELUSlope*v, -87), 87))
		s := 1 / (1 + e)
		gx[i] = flush(gy[i] * (s + quickGELUSlope*v*s*(e*s)))
	}
}

// geluGradGeneric sets gx = gy·gelu'(x) = gy·(Φ(x) + x·φ(x)). Beyond where φ is 10⁻³⁸ it stays that.
func geluGradGeneric(gx, gy, x []float32) {
	for i, v := range x {
		phi := exp(max(-0.5*v*v, -87)) * float32(1/math.Sqrt(2*math.Pi))
		gx[i] = flush(gy[i] * (0.5*(1+erf(v*float32(1/math.Sqrt2))) + v*phi))
	}
}

// scoreGradGeneric replaces the scores p [rows,nr] by probabilities, and gs, the gradients of the probabilities, by
// those of the scores. Of each row, stats [rows,3] holds the largest score, the inverse of the sum of the
// exponentials, and δ. The latter is the sum of the probabilities times their gradients.
func scoreGradGeneric(p, gs, stats []float32, nr int, scale float32) {
	for r := range len(stats) / 3 {
		peak, inverse, delta := stats[3*r], stats[3*r+1], stats[3*r+2]
		p, gs := p[r*nr:(r+1)*nr], gs[r*nr:(r+1)*nr]
		expSum(p, p, peak, scale)
		for i := range p {
			p[i] *= inverse
			gs[i] = p[i] * (gs[i] - delta) * scale
		}
	}
}

// AttentionGrad computes the gradient gqkv [B·T,3C] of [Attention] from gout [B·T,C], its output out [B·T,C] and the
// stats [B·T,H,2] it left. No T×T matrix is kept: the probabilities are computed again, for as many keys at a time as
// a tile has columns. They come out as a panel, which the next products read as it lies.
//
//	p = exp((q·kᵀ-max)/√D)/sum   gp = gout·vᵀ   gs = p·(gp - δ)/√D, δ = Σ gout·out
//	gv = pᵀ·gout   gk = gsᵀ·q   gq = Σ gs·k over the keys, some panels at a time
//
// Source: Dao et al., "FlashAttention", arXiv 2205.14135, appendix B.2.
func AttentionGrad(gqkv, gout, qkv, out, stats []float32, images, tokens, heads, headSize int) {
	attentionGrad(gqkv, gout, qkv, out, stats, images, tokens, heads, headSize, false)
}

// CausalAttentionGrad computes the gradient of [CausalAttention] as [AttentionGrad] does.
func CausalAttentionGrad(gqkv, gout, qkv, out, stats []float32, images, tokens, heads, headSize int) {
	attentionGrad(gqkv, gout, qkv, out, stats, images, tokens, heads, headSize, true)
}

const (
	// gradKeys is about how many keys the gradient of the queries is summed over at a time.
	gradKeys = 128
	// gradTiles is how many tiles of scores are computed at a time: they are still in the first-level cache when they
	// become probabilities.
	gradTiles = 3
)

func attentionGrad(gqkv, gout, qkv, out, stats []float32, images, tokens, heads, headSize int, causal bool) {
	t, d := tokens, headSize
	c := heads * d
	if n := images * t * c; len(gqkv) < 3*n || len(gout) < n || len(qkv) < 3*n || len(out) < n || len(stats) < 2*images*t*heads {
		panic("kernel: AttentionGrad: slice shorter than its shape")
	}
	if images*t*c == 0 {
		return
	}
	// For scoreGrad: [B·H,T,3]. This reads whole rows, one after the other.
	rows := Get(3 * images * heads * t)
	defer Put(rows)
	parallelRows(images*t, c, func(from, to int) {
		for r := from; r < to; r++ {
			for h := range heads {
				y := out[r*c+h*d:][:d]
				delta, _ := normSums(gout[r*c+h*d:][:d], y, y, 0, 0) // Σ gout·out
				s, row := stats[2*(r*heads+h):], rows[3*((r/t*heads+h)*t+r%t):]
				row[0], row[1], row[2] = s[0], 1/s[1], delta
			}
		}
	})
	parallel(images*heads, func(item int) {
		at := item/heads*t*3*c + item%heads*d
		newHeadGrad(gqkv[at:], qkv[at:], gout[item/heads*t*c+item%heads*d:], rows[3*item*t:][:3*t], t, d, c).compute(causal)
	})
}

// A headGrad computes the gradient of one head of one image.
type headGrad struct {
	t, d, c     int
	mr, nr      int
	dCols       int // d in whole panels
	temperature float32

	gqkv         []float32 // of the first token, this head's columns; rows lie 3c apart
	row          []float32 // [T,3]; see scoreGradGeneric
	q, k, g      []float32 // of the queries, the keys and gout: panels [dCols/nr][T][nr]
	keys, values []float32 // [T/nr][D][nr]
	p            []float32 // [tRows,nr]
	gs           []float32 // panels like p
	gq           []float32 // [tRows,dCols]
	buffers      [][]float32
}

func newHeadGrad(gqkv, qkv, gout, row []float32, t, d, c int) *headGrad {
	mr, nr := tileShape()
	h := &headGrad{t: t, d: d, c: c, mr: mr, nr: nr, dCols: roundUp(d, nr), temperature: float32(1 / math.Sqrt(float64(d))), gqkv: gqkv, row: row}
	// The rows of a head lie far apart, and are read once: copyPanels asks for them in advance.
	h.q = h.panels(matrix{qkv, 3 * c, true})
	h.k = h.panels(matrix{qkv[c:], 3 * c, true})
	h.g = h.panels(matrix{gout, c, true})
	h.keys = h.turned(h.k)
	h.values = h.turned(h.panels(matrix{qkv[2*c:], 3 * c, true}))
	return h
}

// panels packs the columns [T,D] of a head.
func (h *headGrad) panels(x matrix) []float32 {
	y := h.get(h.dCols*h.t + h.mr*h.nr) // a tile may read rows behind the last
	clear(y[h.dCols*h.t:])
	x.pack(y, 0, h.d, 0, h.t, h.nr)
	return y
}

// turned packs the rows [T,D] of a head from panels of its columns.
func (h *headGrad) turned(x []float32) []float32 {
	nr := h.nr
	y := h.get(roundUp(h.t, nr) * h.d)
	for key := 0; key < h.t; key += nr {
		n := min(nr, h.t-key)
		if n < nr {
			clear(y[key*h.d:])
		}
		for p := 0; p < h.d; p += nr {
			packTransposed(y[key*h.d+p*nr:], nr, x[p*h.t+key*nr:], nr, n, min(nr, h.d-p))
		}
	}
	return y
}

func (h *headGrad) get(n int) []float32 {
	b := Get(n)
	h.buffers = append(h.buffers, b)
	return b
}

// compute goes over groups of panels of keys, and returns the buffers.
func (h *headGrad) compute(causal bool) {
	t, nr, tRows := h.t, h.nr, roundUp(h.t, h.mr)
	panels := (t + nr - 1) / nr
	groups := (panels*nr + gradKeys - 1) / gradKeys
	group := (panels + groups - 1) / groups
	h.p, h.gs = h.get(tRows*nr), h.get(group*tRows*nr)
	h.gq = h.get(tRows * h.dCols)
	for k0 := 0; k0 < t; k0 += group * nr {
		count := min(group*nr, t-k0)
		for j := 0; j < count; j += nr {
			h.panel(h.gs[j*tRows:], k0+j, min(nr, count-j), causal)
		}
		for r := 0; r < t; r += h.mr {
			tileRows(h.gq[r*h.dCols:], h.dCols, min(h.mr, t-r), h.gs[r*nr:], tRows*nr, h.k[k0*nr:], t*nr, h.d, count, k0 > 0)
		}
	}
	for p := 0; p < h.d; p += nr {
		copyColumns(h.gqkv[p:], 3*h.c, h.gq[p:], h.dCols, min(nr, h.d-p), t)
	}
	for _, b := range h.buffers {
		Put(b)
	}
}

// panel computes the gradients of n keys and their values, from the token key on, and those of their scores.
func (h *headGrad) panel(gs []float32, key, n int, causal bool) {
	t, d, nr := h.t, h.d, h.nr
	for r := 0; r < t; r += gradTiles * h.mr {
		rows := min(gradTiles*h.mr, t-r)
		for i := r; i < r+rows; i += h.mr {
			tileRows(h.p[i*nr:], nr, min(h.mr, t-i), h.q[i*nr:], t*nr, h.keys[key*d:], 0, n, d, false)
		}
		for i := r; i < r+rows; i += h.mr {
			tileRows(gs[i*nr:], nr, min(h.mr, t-i), h.g[i*nr:], t*nr, h.values[key*d:], 0, n, d, false)
		}
		scoreGrad(h.p[r*nr:], gs[r*nr:], h.row[3*r:][:3*rows], h.temperature)
	}
	if causal {
		zeroLater(h.p, key, nr)
		zeroLater(gs[:len(h.p)], key, nr)
	}
	tileTurned(h.gqkv[key*3*h.c+2*h.c:], 3*h.c, n, h.p, h.g, t*nr, d, t)
	tileTurned(h.gqkv[key*3*h.c+h.c:], 3*h.c, n, gs, h.q, t*nr, d, t)
}

// AttentionAtGrad computes the gradient gqkv [B·T,3C] of [PanelLayout.AttentionAt] from gout [B,C], of one query an image: that of the
// token that is a row of qkv [B·T,3C], the first of image 0. The queries of other tokens have gradients of 0. It computes with rows,
// since there is one of a head, and the probabilities again as [AttentionGrad] does, whose formulas these are.
func AttentionAtGrad(gqkv, gout, qkv []float32, rows []int, tokens, heads, headSize int, causal bool) {
	t, d := tokens, headSize
	c := heads * d
	if n := len(rows) * t * c; len(gqkv) < 3*n || len(qkv) < 3*n || len(gout) < len(rows)*c {
		panic("kernel: AttentionAtGrad: slice shorter than its shape")
	}
	if c == 0 {
		return
	}
	temperature := float32(1 / math.Sqrt(float64(d)))
	parallel(len(rows)*heads, func(item int) {
		image, at := item/heads, item%heads*d
		first := image * t * 3 * c // of the image
		own := rows[image]*3*c + at
		seen := t
		if causal {
			seen = rows[image] - image*t + 1
		}
		q, g := qkv[own:][:d], gout[image*c+at:][:d]
		scratch := Get(2 * seen)
		defer Put(scratch)
		p, gp := scratch[:seen], scratch[seen:]
		peak := float32(math.Inf(-1))
		for j := range seen {
			key, value := qkv[first+j*3*c+c+at:][:d], qkv[first+j*3*c+2*c+at:][:d]
			p[j], _ = normSums(q, key, key, 0, 0)      // q·k
			gp[j], _ = normSums(g, value, value, 0, 0) // gout·v
			peak = max(peak, p[j])
		}
		inverse := 1 / expSum(p, p, peak, temperature)
		delta := float32(0)
		for j := range p {
			p[j] *= inverse
			delta += p[j] * gp[j]
		}
		for j := range t {
			clear(gqkv[first+j*3*c+at:][:d])
		}
		gq := gqkv[own:][:d]
		for j := range t {
			row := first + j*3*c + at
			gk, gv := gqkv[row+c:][:d], gqkv[row+2*c:][:d]
			if j >= seen {
				clear(gk)
				clear(gv)
				continue
			}
			gs := p[j] * (gp[j] - delta) * temperature
			key := qkv[row+c:][:d]
			for i := range d {
				gv[i] = p[j] * g[i]
				gk[i] = gs * q[i]
				gq[i] += gs * key[i]
			}
		}
	})
}

// zeroLater sets the probabilities [T,nr] of keys that come after their query to 0. The first key of the panel is the
// token with the number key.
func zeroLater(p []float32, key, nr int) {
	for query := 0; query < key+nr && query*nr < len(p); query++ {
		clear(p[query*nr : (query+1)*nr][min(nr, max(0, query-key+1)):])
	}
}
