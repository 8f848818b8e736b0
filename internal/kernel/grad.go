package kernel

import "math"

// LayerNormGrad computes the gradients of [LayerNorm] from gy [m,n] and the stats [m,2] it left:
//
//	x̂ = (x-mean)·scale   g = gy·w   gx = scale·(g - mean(g) - x̂·mean(g·x̂))   gw = Σ gy·x̂   gb = Σ gy
//
// gx [m,n] and the pair gw, gb [n] may each be nil.
func LayerNormGrad(gx, gw, gb, gy, x, w, stats []float32, m, n int) {
	if len(gy) < m*n || len(x) < m*n || len(w) < n || len(stats) < 2*m || (gx != nil && len(gx) < m*n) || (gw != nil && (len(gw) < n || len(gb) < n)) {
		panic("kernel: LayerNormGrad: slice shorter than its shape")
	}
	if gx != nil {
		parallelRows(m, n, func(from, to int) {
			for r := from; r < to; r++ {
				mean, scale := stats[2*r], stats[2*r+1]
				row, g, out := x[r*n:(r+1)*n], gy[r*n:(r+1)*n], gx[r*n:(r+1)*n]
				var sg, sgx float64
				for i, v := range row {
					t := g[i] * w[i]
					sg += float64(t)
					sgx += float64(t * (v - mean) * scale)
				}
				mg, mgx := float32(sg/float64(n)), float32(sgx/float64(n))
				for i, v := range row {
					out[i] = scale * (g[i]*w[i] - mg - (v-mean)*scale*mgx)
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
				for i := from; i < to; i++ {
					g := gy[r*n+i]
					gw[i] += g * (x[r*n+i] - mean) * scale
					gb[i] += g
				}
			}
		})
	}
}

// parallelColumns calls f for bands of n columns.
func parallelColumns(n int, f func(from, to int)) {
	const band = 64
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
	parallelRows((len(x)+ncMax-1)/ncMax, ncMax, func(from, to int) {
		from, to = from*ncMax, min(to*ncMax, len(x))
		switch f {
		case QuickGELU:
			quickGELUGrad(gx[from:to], gy[from:to], x[from:to])
		case GELU:
			for i := from; i < to; i++ {
				gx[i] = gy[i] * geluDerivative(x[i])
			}
		default:
			copy(gx[from:to], gy[from:to])
		}
	})
}

// quickGELUGradGeneric sets gx = gy·quickGELU'(x).
func quickGELUGradGeneric(gx, gy, x []float32) {
	for i, v := range x {
		s := 1 / (1 + exp(-quickGELUSlope*v))
		gx[i] = gy[i] * (s + quickGELUSlope*v*s*(1-s))
	}
}

func geluDerivative(x float32) float32 {
	return 0.5*(1+erf(x*float32(1/math.Sqrt2))) + x*exp(-0.5*x*x)*float32(1/math.Sqrt(2*math.Pi))
}

// scoreGradGeneric makes probabilities of the exponentials p, whose sum's inverse is given, and sets gs,
// the gradients of the probabilities, to those of the scores.
func scoreGradGeneric(p, gs []float32, inverse, delta, temperature float32) {
	for i := range p {
		p[i] *= inverse
		gs[i] = p[i] * (gs[i] - delta) * temperature
	}
}

// AttentionGrad computes the gradient gqkv [B·T,3C] of [Attention] from gout [B·T,C], its output
// out [B·T,C] and the stats [B·T,H,2] it left. The probabilities are made again, a block of rows at
// a time; no T×T matrix is kept.
//
//	p = exp((s-max)/√D)/sum   δ = Σ gout·out   gs = p·(gout·vᵀ - δ)/√D   gq = gs·k   gk = gsᵀ·q   gv = pᵀ·gout
//
// Source: Dao et al., "FlashAttention", arXiv 2205.14135, appendix B.2.
func AttentionGrad(gqkv, gout, qkv, out, stats []float32, images, tokens, heads, headSize int) {
	attentionGrad(gqkv, gout, qkv, out, stats, images, tokens, heads, headSize, false)
}

// CausalAttentionGrad computes the gradient of [CausalAttention] as [AttentionGrad] does.
func CausalAttentionGrad(gqkv, gout, qkv, out, stats []float32, images, tokens, heads, headSize int) {
	attentionGrad(gqkv, gout, qkv, out, stats, images, tokens, heads, headSize, true)
}

func attentionGrad(gqkv, gout, qkv, out, stats []float32, images, tokens, heads, headSize int, causal bool) {
	t, d := tokens, headSize
	c := heads * d
	if n := images * t * c; len(gqkv) < 3*n || len(gout) < n || len(qkv) < 3*n || len(out) < n || len(stats) < 2*images*t*heads {
		panic("kernel: AttentionGrad: slice shorter than its shape")
	}
	const block = 64
	temperature := float32(1 / math.Sqrt(float64(d)))
	parallel(images*heads, func(item int) {
		head, image := item%heads, item/heads
		// The first elements of q, k and v of this head in qkv and gqkv; of its output in out and gout.
		iq := image*t*3*c + head*d
		ik, iv, io := iq+c, iq+2*c, image*t*c+head*d
		for r := range t {
			clear(gqkv[ik+r*3*c:][:d])
			clear(gqkv[iv+r*3*c:][:d])
		}
		p, gs := Get(block*t), Get(block*t)
		defer Put(p)
		defer Put(gs)
		for r0 := 0; r0 < t; r0 += block {
			rows := min(block, t-r0)
			q := operand{qkv[iq+r0*3*c:], 3 * c, false}
			g := operand{gout[io+r0*c:], c, false}
			gemm(serial, p, t, q, operand{qkv[ik:], 3 * c, false}, rows, t, d, false, Epilogue{})  // q·kᵀ
			gemm(serial, gs, t, g, operand{qkv[iv:], 3 * c, false}, rows, t, d, false, Epilogue{}) // gout·vᵀ
			for r := range rows {
				s := 2 * ((image*t+r0+r)*heads + head)
				peak, total := stats[s], stats[s+1]
				var delta float32
				for j, o := range out[io+(r0+r)*c:][:d] {
					delta += o * gout[io+(r0+r)*c+j]
				}
				row := p[r*t : (r+1)*t]
				seen := t
				if causal {
					seen = r0 + r + 1
				}
				expSum(row[:seen], row[:seen], peak, temperature)
				clear(row[seen:])
				scoreGrad(row, gs[r*t:(r+1)*t], 1/total, delta, temperature)
			}
			prob, gscore := operand{p, t, true}, operand{gs, t, true}
			gemm(serial, gqkv[iq+r0*3*c:], 3*c, operand{gs, t, false}, operand{qkv[ik:], 3 * c, true}, rows, d, t, false, Epilogue{}) // gs·k
			q.deep, g.deep = true, true
			gemm(serial, gqkv[ik:], 3*c, gscore, q, t, d, rows, true, Epilogue{}) // gsᵀ·q
			gemm(serial, gqkv[iv:], 3*c, prob, g, t, d, rows, true, Epilogue{})   // pᵀ·gout
		}
	})
}
