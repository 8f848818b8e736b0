package op

import (
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// SelfAttention mixes the packed projections qkv [B·T,3C] of images of t tokens into [B·T,C], head
// by head: softmax(q·kᵀ/√D)·v.
func SelfAttention(qkv mat.Tensor, heads, t int) mat.Tensor {
	return attend("SelfAttention", qkv, heads, t, false)
}

// CausalAttention is [SelfAttention] in which a token sees itself and those before it, as in texts.
func CausalAttention(qkv mat.Tensor, heads, t int) mat.Tensor {
	return attend("CausalAttention", qkv, heads, t, true)
}

func attend(name string, qkv mat.Tensor, heads, t int, causal bool) mat.Tensor {
	s := headsOf(name, qkv, heads, t)
	return run(&attentionOp{qkv: qkv, images: s.images, tokens: t, heads: heads, size: s.size, causal: causal})
}

type attentionOp struct {
	qkv                         mat.Tensor // [B·T,3C]
	images, tokens, heads, size int
	causal                      bool
	out, stats                  []float32 // [B·T,C], [B·T,H,2]; kept only for Backward
}

func (f *attentionOp) Operands() []mat.Tensor { return []mat.Tensor{f.qkv} }

func (f *attentionOp) Forward() (mat.Tensor, error) {
	m := f.images * f.tokens
	y := fresh(m, f.heads*f.size)
	if f.qkv.RequiresGrad() {
		f.out = data(y)
		f.stats = make([]float32, 2*m*f.heads)
	}
	attention := kernel.Attention
	if f.causal {
		attention = kernel.CausalAttention
	}
	attention(data(y), data(f.qkv), f.stats, f.images, f.tokens, f.heads, f.size)
	return y, nil
}

func (f *attentionOp) Backward(gy mat.Tensor) error {
	gradient := kernel.AttentionGrad
	if f.causal {
		gradient = kernel.CausalAttentionGrad
	}
	accumulate(f.qkv, func(g []float32) {
		gradient(g, data(gy), data(f.qkv), f.out, f.stats, f.images, f.tokens, f.heads, f.size)
	})
	return nil
}
