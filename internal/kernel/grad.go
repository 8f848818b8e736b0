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
// a tile has columns. They come out as the panel that the next products read.
//
//	p = exp((q·kᵀ-max)/√D)/sum   gp = gout·vᵀ   gs = p·(gp - δ)/√D, δ = Σ gout·out
//	gvᵀ = goutᵀ·p   gkᵀ = qᵀ·gs   gq = Σ gs·k over the keys, some panels at a time
//
// Source: Dao et al., "FlashAttention", arXiv 2205.14135, appendix B.2.
func AttentionGrad(gqkv, gout, qkv, out, stats []float32, images, tokens, heads, headSize int) {
	attentionGrad(gqkv, gout, qkv, out, stats, images, tokens, heads, headSize, false)
}

// CausalAttentionGrad computes the gradient of [CausalAttention] as [AttentionGrad] does.
func CausalAttentionGrad(gqkv, gout, qkv, out, stats []float32, images, tokens, heads, headSize int) {
	attentionGrad(gqkv, gout, qkv, out, stats, images, tokens, heads, headSize, true)
}

// gradKeys is about how many keys the gradient of the queries is summed over at a time.
const gradKeys = 128

func attentionGrad(gqkv, gout, qkv, out, stats []float32, images, tokens, heads, headSize int, causal bool) {
	t, d := tokens, headSize
	c := heads * d
	if n := images * t * c; len(gqkv) < 3*n || len(gout) < n || len(qkv) < 3*n || len(out) < n || len(stats) < 2*images*t*heads {
		panic("kernel: AttentionGrad: slice shorter than its shape")
	}
	if images*t*c == 0 {
		return
	}
	mr, nr := tileShape()
	tRows, tCols, dRows, dCols := roundUp(t, mr), roundUp(t, nr), roundUp(d, mr), roundUp(d, nr)
	group := roundUp(gradKeys, nr)
	temperature := float32(1 / math.Sqrt(float64(d)))
	parallel(images*heads, func(item int) {
		head, image := item%heads, item/heads
		part := func(i int, deep bool) matrix { return matrix{qkv[image*t*3*c+i*c+head*d:], 3 * c, deep} }
		grad := func(i, row int) []float32 { return gqkv[(image*t+row)*3*c+i*c+head*d:] }
		o, g := out[image*t*c+head*d:], gout[image*t*c+head*d:]

		var buffers [][]float32
		get := func(n int) []float32 {
			buffers = append(buffers, Get(n))
			return buffers[len(buffers)-1]
		}
		defer func() {
			for _, b := range buffers {
				Put(b)
			}
		}()
		qRows, gRows := get(tRows*d), get(tRows*d) // [tRows/mr][D][mr]
		qCols, gCols := get(dRows*t), get(dRows*t) // [dRows/mr][T][mr]
		keys, values := get(tCols*d), get(tCols*d) // [tCols/nr][D][nr]
		part(0, false).pack(qRows, 0, t, 0, d, mr)
		part(0, true).pack(qCols, 0, d, 0, t, mr)
		part(1, false).pack(keys, 0, t, 0, d, nr)
		part(2, false).pack(values, 0, t, 0, d, nr)
		matrix{g, c, false}.pack(gRows, 0, t, 0, d, mr)
		matrix{g, c, true}.pack(gCols, 0, d, 0, t, mr)

		row := get(3 * t) // see scoreGradGeneric
		for r := range t {
			y := o[r*c:][:d]
			delta, _ := normSums(g[r*c:][:d], y, y, 0, 0) // Σ gout·out
			s := 2 * ((image*t+r)*heads + head)
			row[3*r], row[3*r+1], row[3*r+2] = stats[s], 1/stats[s+1], delta
		}

		p, allGS := get(tRows*nr), get(tRows*group)        // [T,nr] and panels of it
		mix := get(dRows * nr)                             // [D,nr]
		gsRows, deep := get(tRows*group), get(dCols*group) // [tRows/mr][keys][mr], [dCols/nr][keys][nr]
		gq := get(t * d)
		for k0 := 0; k0 < t; k0 += group {
			count := min(group, t-k0)
			for j := 0; j < count; j += nr {
				n, gs := min(nr, count-j), allGS[j*tRows:][:tRows*nr]
				tileColumn(p, qRows, keys[(k0+j)*d:], t, d)
				tileColumn(gs, gRows, values[(k0+j)*d:], t, d)
				scoreGrad(p, gs, row, temperature)
				if causal {
					zeroLater(p, k0+j, nr)
					zeroLater(gs, k0+j, nr)
				}
				tileColumn(mix, gCols, p, d, t)
				packTransposed(grad(2, k0+j), 3*c, mix, nr, d, n)
				tileColumn(mix, qCols, gs, d, t)
				packTransposed(grad(1, k0+j), 3*c, mix, nr, d, n)
				for r := 0; r < t; r += mr {
					packTransposed(gsRows[r*count+j*mr:], mr, gs[r*nr:], nr, min(mr, t-r), n)
				}
			}
			part(1, true).pack(deep, 0, d, k0, count, nr)
			for r := 0; r < t; r += mr {
				tiles(gq, d, r, min(mr, t-r), 0, d, d, gsRows[r*count:], deep, count, k0 > 0, prefetch{}, nil)
			}
		}
		for r := range t {
			copy(grad(0, r)[:d], gq[r*d:])
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
