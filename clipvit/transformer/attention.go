package transformer

import (
	"encoding/gob"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/internal/op"
)

var _ nn.Model = &Attention{}

// Attention lets every token of an image look at every other.
//
//	x [B·T,C] ── QKV ──▶ [B·T,3C] ── softmax(q·kᵀ/√D)·v, head by head ──▶ [B·T,C] ── Out ──▶ [B·T,C]
//
// There is no mask: a picture has no future. A text has, and its blocks are Causal (package cliptext).
//
// Source: openai/CLIP, clip/model.py, ResidualAttentionBlock.attention.
type Attention struct {
	nn.Module
	Heads  int           // H
	Causal bool          // a token sees itself and those before it
	QKV    *linear.Model // W [3C,C], B [3C]; rows of q, then k, then v
	Out    *linear.Model // W [C,C], B [C]

	// Corrections of the weights; nil unless the model learns or has learnt by LoRA.
	QKVLoRA, OutLoRA []*LoRA
}

func init() { gob.RegisterName("*clipvit.Attention", &Attention{}) } // the name in files of versions before

// NewAttention returns an Attention whose parameters are zero. It trusts c; see [Config.Check].
func NewAttention(c Config) *Attention {
	return &Attention{
		Heads:  c.Heads,
		Causal: c.Causal,
		QKV:    op.NewLinear(c.Width, 3*c.Width),
		Out:    op.NewLinear(c.Width, c.Width),
	}
}

// Forward maps the tokens x [B·T,C] of images of t tokens each to residual + attention [B·T,C].
func (m *Attention) Forward(x, residual mat.Tensor, t int) mat.Tensor {
	return m.forward(x, residual, t, unseen, m.attend)
}

func (m *Attention) forward(x, residual mat.Tensor, t int, see observer, attend attender) mat.Tensor {
	see(m.QKV.W, x)
	qkv := corrected(op.Linear(x, m.QKV), x, m.QKVLoRA) // [B·T,3C]
	mix := attend(qkv, t)                               // [B·T,C]
	see(m.Out.W, mix)
	y := corrected(op.LinearAdd(mix, m.Out, residual), mix, m.OutLoRA) // [B·T,C]
	return op.Release(y, qkv, mix)
}

// forwardRows is forward of given rows of x alone, one of each image, whose residual [B,C] is given:
//
//	x [B·T,C] ─┬─ rows ─▶ [B,C] ─ Q ─▶ [B,C] ──┬─ softmax(q·kᵀ/√D)·v ──▶ [B,C] ── Out ──▶ [B,C]
//	           └─ KV ─▶ [B·T,2C] ──────────────┘
//
// Keys and values are of all tokens.
func (m *Attention) forwardRows(x, residual mat.Tensor, t int, rows []int) mat.Tensor {
	toQ, toKV := op.SplitLinear(m.QKV, x, x.Shape()[1])
	at := op.TokensAt(x, rows)                                            // [B,C]
	q := op.Linear(at, toQ)                                               // [B,C]
	kv := op.Linear(x, toKV)                                              // [B·T,2C], and some columns before
	mix := op.AttentionAt(q, kv, m.Heads, t, rows, m.Causal)              // [B,C]
	return op.Release(op.LinearAdd(mix, m.Out, residual), at, q, kv, mix) // [B,C]
}

// learnRows is forwardRows where a gradient is wanted. Queries are of all tokens, so that the weights of one product learn by one
// product, and those of one token an image are read:
//
//	x [B·T,C] ── QKV ──▶ [B·T,3C] ── softmax(q·kᵀ/√D)·v of the rows ──▶ [B,C] ── Out ──▶ [B,C]
func (m *Attention) learnRows(x, residual mat.Tensor, t int, rows []int) mat.Tensor {
	return m.forward(x, residual, t, unseen, func(qkv mat.Tensor, t int) mat.Tensor {
		return op.AttentionRows(qkv, m.Heads, t, rows, m.Causal) // [B,C]
	})
}

// An attender mixes projections [B·T,3C] of images of t tokens into [B·T,C].
type attender func(qkv mat.Tensor, t int) mat.Tensor

func (m *Attention) attend(qkv mat.Tensor, t int) mat.Tensor {
	if m.Causal {
		return op.CausalAttention(qkv, m.Heads, t)
	}
	return op.SelfAttention(qkv, m.Heads, t)
}
