package op

import (
	"fmt"
	"math"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// Probabilities returns softmax(q·kᵀ/√D) [B·H·T,T] of the packed projections qkv [B·T,3C] of images of t tokens: what
// [SelfAttention] or, if causal, [CausalAttention] mixes the values by. Those of head h of image b begin with row (b·H+h)·T.
// [Mix] does the rest. The two take as many times more memory as T is larger than D, and are for who wants to see them.
func Probabilities(qkv mat.Tensor, heads, t int, causal bool) mat.Tensor {
	s := headsOf("Probabilities", qkv, heads, t)
	return run(&probabilitiesOp{headShape: s, qkv: qkv, causal: causal})
}

// Mix returns p·v [B·T,C], head by head, of probabilities p [B·H·T,T] and the values in qkv [B·T,3C].
func Mix(p, qkv mat.Tensor, heads, t int) mat.Tensor {
	s := headsOf("Mix", qkv, heads, t)
	requireShape("Mix probabilities", p, s.images*heads*t, t)
	return run(&mixOp{headShape: s, p: p, qkv: qkv})
}

// A headShape is how the heads of images lie in qkv [B·T,3C], in what is mixed [B·T,C], and in probabilities [B·H·T,T].
type headShape struct{ images, tokens, heads, size int }

func headsOf(name string, qkv mat.Tensor, heads, t int) headShape {
	m, c3 := dims(qkv)
	if t < 1 || heads < 1 || m%t != 0 || c3%(3*heads) != 0 {
		panic(&ShapeError{name, qkv.Shape(), fmt.Sprintf("[B·%d,3·%d·D]", t, heads)})
	}
	return headShape{m / t, t, heads, c3 / 3 / heads}
}

// part returns q, k or v [T,D] of a head, which of 0, 1 or 2.
func (s headShape) part(qkv []float32, head, which int) kernel.Strided {
	c := s.heads * s.size
	return kernel.Strided{Data: qkv[head/s.heads*s.tokens*3*c+which*c+head%s.heads*s.size:], Stride: 3 * c}
}

// mixed returns what is mixed [T,D] for a head.
func (s headShape) mixed(y []float32, head int) kernel.Strided {
	c := s.heads * s.size
	return kernel.Strided{Data: y[head/s.heads*s.tokens*c+head%s.heads*s.size:], Stride: c}
}

// square returns the probabilities [T,T] of a head.
func (s headShape) square(p []float32, head int) []float32 {
	return p[head*s.tokens*s.tokens:][:s.tokens*s.tokens]
}

func (s headShape) strided(square []float32, transposed bool) kernel.Strided {
	return kernel.Strided{Data: square, Stride: s.tokens, Transposed: transposed}
}

// each calls f for every head of every image.
func (s headShape) each(f func(head int)) {
	for head := range s.images * s.heads {
		f(head)
	}
}

// temperature is what scores are multiplied with.
func (s headShape) temperature() float32 { return float32(1 / math.Sqrt(float64(s.size))) }

func transposed(x kernel.Strided) kernel.Strided {
	x.Transposed = !x.Transposed
	return x
}

type probabilitiesOp struct {
	headShape
	qkv    mat.Tensor // [B·T,3C]
	causal bool
	p      []float32 // [B·H·T,T], kept only for Backward
}

func (f *probabilitiesOp) Operands() []mat.Tensor { return []mat.Tensor{f.qkv} }

func (f *probabilitiesOp) Forward() (mat.Tensor, error) {
	t, d, qkv := f.tokens, f.size, data(f.qkv)
	y := fresh(f.images*f.heads*t, t)
	p := data(y)
	f.each(func(head int) {
		kernel.MatMulStrided(f.strided(f.square(p, head), false), f.part(qkv, head, 0), transposed(f.part(qkv, head, 1)), t, t, d, false)
	})
	scaleBy(p, f.temperature())
	if f.causal {
		later := float32(math.Inf(-1))
		for i := range p {
			if query, key := i/t%t, i%t; key > query {
				p[i] = later
			}
		}
	}
	kernel.Softmax(p, p, f.images*f.heads*t, t)
	if f.qkv.RequiresGrad() {
		f.p = p
	}
	return y, nil
}

// Backward: with s the scores and g the gradient of p,
//
//	gs = p·(g - Σ p·g) along a row,  gq = gs·k/√D,  gk = gsᵀ·q/√D
func (f *probabilitiesOp) Backward(gy mat.Tensor) error {
	t, d, qkv, g := f.tokens, f.size, data(f.qkv), data(gy)
	accumulate(f.qkv, func(gx []float32) {
		clear(gx) // the values have none
		gs := kernel.Get(t * t)
		defer kernel.Put(gs)
		f.each(func(head int) {
			p, g := f.square(f.p, head), f.square(g, head)
			for from := 0; from < t*t; from += t {
				p, g, gs := p[from:from+t], g[from:from+t], gs[from:from+t]
				sum := 0.0
				for i, v := range p {
					sum += float64(v) * float64(g[i])
				}
				for i, v := range p {
					gs[i] = f.temperature() * v * (g[i] - float32(sum))
				}
			}
			kernel.MatMulStrided(f.part(gx, head, 0), f.strided(gs, false), f.part(qkv, head, 1), t, d, t, false)
			kernel.MatMulStrided(f.part(gx, head, 1), f.strided(gs, true), f.part(qkv, head, 0), t, d, t, false)
		})
	})
	return nil
}

type mixOp struct {
	headShape
	p, qkv mat.Tensor // [B·H·T,T], [B·T,3C]
}

func (f *mixOp) Operands() []mat.Tensor { return []mat.Tensor{f.p, f.qkv} }

func (f *mixOp) Forward() (mat.Tensor, error) {
	t, d, p, qkv := f.tokens, f.size, data(f.p), data(f.qkv)
	y := fresh(f.images*t, f.heads*d)
	f.each(func(head int) {
		kernel.MatMulStrided(f.mixed(data(y), head), f.strided(f.square(p, head), false), f.part(qkv, head, 2), t, d, t, false)
	})
	return y, nil
}

// Backward: with g the gradient of what is mixed,
//
//	gp = g·vᵀ,  gv = pᵀ·g
func (f *mixOp) Backward(gy mat.Tensor) error {
	t, d, g := f.tokens, f.size, data(gy)
	accumulate(f.p, func(gp []float32) {
		qkv := data(f.qkv)
		f.each(func(head int) {
			kernel.MatMulStrided(f.strided(f.square(gp, head), false), f.mixed(g, head), transposed(f.part(qkv, head, 2)), t, t, d, false)
		})
	})
	accumulate(f.qkv, func(gx []float32) {
		clear(gx) // queries and keys have none
		p := data(f.p)
		f.each(func(head int) {
			kernel.MatMulStrided(f.part(gx, head, 2), f.strided(f.square(p, head), true), f.mixed(g, head), t, d, t, false)
		})
	})
	return nil
}
