package transformer

import (
	"encoding/gob"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/internal/op"
)

var _ nn.Model = &MLP{}

// MLP transforms every token by itself.
//
//	x [B·T,C] ── Up ──▶ [B·T,F] ── activation ──▶ [B·T,F] ── Down ──▶ [B·T,C]
//
// Source: openai/CLIP, clip/model.py, ResidualAttentionBlock.mlp.
type MLP struct {
	nn.Module
	Activation Activation    // what stands between the two products; one of [Activations]
	Up         *linear.Model // W [F,C], B [F]
	Down       *linear.Model // W [C,F], B [C]

	// Corrections of the weights; nil unless the model learns or has learnt by LoRA.
	UpLoRA, DownLoRA []*LoRA
}

func init() { gob.RegisterName("*clipvit.MLP", &MLP{}) } // the name in files of versions before

// NewMLP returns an MLP whose parameters are zero. It trusts c; see [Config.Check].
func NewMLP(c Config) *MLP {
	return &MLP{
		Activation: c.Activation,
		Up:         op.NewLinear(c.Width, c.MLPWidth),
		Down:       op.NewLinear(c.MLPWidth, c.Width),
	}
}

// Forward maps the tokens x [B·T,C] to residual + MLP(x) [B·T,C].
func (m *MLP) Forward(x, residual mat.Tensor) mat.Tensor { return m.forward(x, residual, unseen) }

func (m *MLP) forward(x, residual mat.Tensor, see observer) mat.Tensor {
	see(m.Up.W, x)
	h := correctedAct(x, m.Up, m.UpLoRA, m.Activation) // [B·T,F]
	see(m.Down.W, h)
	y := corrected(op.LinearAdd(h, m.Down, residual), h, m.DownLoRA) // [B·T,C]
	return op.Release(y, h)
}
