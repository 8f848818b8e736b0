package transformer

import (
	"encoding/gob"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/normalization/layernorm"

	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
)

var _ nn.Model = &Block{}

// Block is one layer of the transformer, in the pre-norm arrangement.
//
//	x [B·T,C] ─┬─ Norm1 ─ Attn ─⊕─┬─ Norm2 ─ MLP ─⊕─▶ [B·T,C]
//	           └────────────────┘  └───────────────┘
//
// Source: openai/CLIP, clip/model.py, ResidualAttentionBlock.
type Block struct {
	nn.Module
	Norm1 *layernorm.Model // W [C], B [C]
	Attn  *Attention       // [B·T,C] → [B·T,C], of the T tokens of each image or text among themselves
	Norm2 *layernorm.Model // W [C], B [C]
	MLP   *MLP             // [B·T,C] → [B·T,C], of every token by itself

	mixed bool // some products of the tower are rounded and others are not, since Quantize; what learns is not
}

func init() { gob.RegisterName("*clipvit.Block", &Block{}) } // the name in files of versions before

// NewBlock returns a Block whose parameters are zero. It trusts c; see [Config.Check].
func NewBlock(c Config) *Block {
	return &Block{
		Norm1: op.NewLayerNorm(c.Width, c.NormEps),
		Attn:  NewAttention(c),
		Norm2: op.NewLayerNorm(c.Width, c.NormEps),
		MLP:   NewMLP(c),
	}
}

// Forward maps the tokens x [B·T,C] of images of t tokens each to tokens [B·T,C].
func (m *Block) Forward(x mat.Tensor, t int) mat.Tensor { return m.forward(x, t, unseen) }

// ForwardSeen is [Block.Forward] by way of the attention's probabilities [B·H·T,T], which it returns too: a row says how much a
// token takes from each other. Those of head h of image b begin with row (b·H+h)·T. If x wants a gradient they are a node of
// its graph, and have a gradient after ag.Backward. The values are those of Forward but for rounding.
func (m *Block) ForwardSeen(x mat.Tensor, t int) (y, probabilities mat.Tensor) {
	y = m.forwardBy(x, t, unseen, func(qkv mat.Tensor, t int) mat.Tensor {
		probabilities = op.Probabilities(qkv, m.Attn.Heads, t, m.Attn.Causal)
		return op.Mix(probabilities, qkv, m.Attn.Heads, t)
	})
	return y, probabilities
}

func (m *Block) forward(x mat.Tensor, t int, see observer) mat.Tensor {
	return m.forwardBy(x, t, see, m.Attn.attend)
}

func (m *Block) forwardBy(x mat.Tensor, t int, see observer, attend attender) mat.Tensor {
	a := m.laid(x, t, m.Attn.QKV.W, m.Attn.Out.W)            // [B·T,C]
	n := op.LayerNorm(a, m.Norm1)                            // [B·T,C]
	y := op.Release(m.Attn.forward(n, a, t, see, attend), n) // [B·T,C] = x + Attn(Norm1(x))
	if a != x {
		op.Release(y, a)
	}
	return m.transform(y, t, see) // [B·T,C]
}

// transform maps tokens y [B·T,C], which it releases, to y + MLP(Norm2(y)) [B·T,C].
func (m *Block) transform(y mat.Tensor, t int, see observer) mat.Tensor {
	if b := m.laid(y, t, m.MLP.Up.W, m.MLP.Down.W); b != y {
		y = op.Release(b, y)
	}
	n := op.LayerNorm(y, m.Norm2)                     // [B·T,C]
	return op.Release(m.MLP.forward(n, y, see), n, y) // [B·T,C]
}

// ForwardRows returns the given rows of [Block.Forward], one of each image in order, and computes nothing of the
// others but keys and values: a sixth of the work, if there are many others. Where a gradient is wanted, it computes queries, too.
// Otherwise the rows have the bits that they have among all tokens.
//
//	x [B·T,C] ─┬─ Norm1 ─ Attn ─ [B,C] ─⊕─┬─ Norm2 ─ MLP ─⊕─▶ [B,C]
//	           └─ rows ──────── [B,C] ──┘  └───────────────┘
func (m *Block) ForwardRows(x mat.Tensor, t int, rows []int) mat.Tensor {
	if m.learns(x) {
		return m.learnRows(x, t, rows)
	}
	if !m.alone() {
		y := m.Forward(x, t)                     // [B·T,C]
		return op.Release(op.Gather(y, rows), y) // [B,C]
	}
	a := m.laid(x, t, m.Attn.QKV.W, m.Attn.Out.W)                // [B·T,C]
	n := op.LayerNorm(a, m.Norm1)                                // [B·T,C]
	own := op.TokensAt(a, rows)                                  // [B,C]
	y := op.Release(m.Attn.forwardRows(n, own, t, rows), n, own) // [B,C] = x + Attn(Norm1(x))
	if a != x {
		op.Release(y, a)
	}
	return op.FromPanels(m.transform(y, 1, unseen)) // [B,C]
}

// learnRows is ForwardRows where a gradient is wanted.
func (m *Block) learnRows(x mat.Tensor, t int, rows []int) mat.Tensor {
	n := op.LayerNorm(x, m.Norm1)                              // [B·T,C]
	own := op.Gather(x, rows)                                  // [B,C]
	y := op.Release(m.Attn.learnRows(n, own, t, rows), n, own) // [B,C] = x + Attn(Norm1(x))
	return m.transform(y, 1, unseen)                           // [B,C]
}

// learns reports whether a gradient flows through the block, or to its parameters.
func (m *Block) learns(x mat.Tensor) bool { return x.RequiresGrad() || WantsGrad(m) }

// alone reports whether a row of tokens that learn nothing can be computed without the others, and has the same bits then: there is
// no correction of weights, which takes another routine for a few rows. So does AMX in float32.
func (m *Block) alone() bool {
	if len(m.Attn.QKVLoRA)+len(m.Attn.OutLoRA)+len(m.MLP.UpLoRA)+len(m.MLP.DownLoRA) > 0 {
		return false
	}
	return kernel.SameAlone() || !slices.ContainsFunc(m.products(), func(w *nn.Param) bool { return !isRounded(w) })
}

// laid returns tokens x [B·T,C] in the layout that suits products with weights: panels if
// all are frozen in float32, rows otherwise.
func (m *Block) laid(x mat.Tensor, t int, weights ...*nn.Param) mat.Tensor {
	if !m.mixed {
		return x
	}
	rows := slices.ContainsFunc(weights, func(w *nn.Param) bool { return !op.PackedFloat(w) }) || WantsGrad(m)
	return op.Laid(x, t, !rows)
}

// An observer sees a weight of a product and what it is multiplied with [B·T,in].
type observer func(w *nn.Param, x mat.Tensor)

func unseen(*nn.Param, mat.Tensor) {}

// Freeze declares that no parameter of the block wants a gradient, and packs the weights of its matrix
// products for the processor.
func (m *Block) Freeze() { Freeze(m, Weights{Panels: m.products()}) }

// Unfreeze declares that every parameter of the block wants a gradient: it may learn while others do not.
func (m *Block) Unfreeze() { Unfreeze(m) }

func (m *Block) products() []*nn.Param {
	return []*nn.Param{m.Attn.QKV.W, m.Attn.Out.W, m.MLP.Up.W, m.MLP.Down.W}
}
