package op

import (
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn/normalization/layernorm"

	"github.com/vitago/vitago/internal/kernel"
)

// LayerNorm normalises every row of x [m,n] to mean 0 and variance 1, and scales and shifts its
// columns by W and B [n].
func LayerNorm(x mat.Tensor, m *layernorm.Model) mat.Tensor {
	_, n := dims(x)
	requireShape("LayerNorm weight", m.W, n, 1)
	requireShape("LayerNorm bias", m.B, n, 1)
	return run(&layerNormOp{x: x, w: m.W, b: m.B, eps: m.Eps.Item().F32()})
}

type layerNormOp struct {
	x, w, b mat.Tensor // [m,n], [n,1], [n,1]
	eps     float32
	stats   []float32 // [m,2], kept only for Backward
}

func (f *layerNormOp) Operands() []mat.Tensor { return []mat.Tensor{f.x, f.w, f.b} }

func (f *layerNormOp) Forward() (mat.Tensor, error) {
	m, n := dims(f.x)
	if wantsGrad(f.x, f.w, f.b) {
		f.stats = make([]float32, 2*m)
	}
	y := fresh(m, n)
	kernel.LayerNorm(data(y), data(f.x), data(f.w), data(f.b), f.stats, m, n, f.eps)
	return y, nil
}

func (f *layerNormOp) recompute(y []float32) {
	m, n := dims(f.x)
	kernel.LayerNorm(y, data(f.x), data(f.w), data(f.b), nil, m, n, f.eps)
}

func (f *layerNormOp) Backward(gy mat.Tensor) error {
	m, n := dims(f.x)
	g := data(gy)
	accumulateAdd(f.x, func(gx []float32, add bool) {
		if add {
			kernel.LayerNormGradAdd(gx, g, data(f.x), data(f.w), f.stats, m, n)
		} else {
			kernel.LayerNormGrad(gx, nil, nil, g, data(f.x), data(f.w), f.stats, m, n)
		}
	})
	if wantsGrad(f.w, f.b) {
		gw, gb := kernel.Get(n), kernel.Get(n)
		defer kernel.Put(gw)
		defer kernel.Put(gb)
		kernel.LayerNormGrad(nil, gw, gb, g, data(f.x), data(f.w), f.stats, m, n)
		accumulate(f.w, func(y []float32) { copy(y, gw) })
		accumulate(f.b, func(y []float32) { copy(y, gb) })
	}
	return nil
}
