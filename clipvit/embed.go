package clipvit

import (
	"encoding/gob"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/op"
)

var _ nn.Model = &Embed{}

// Embed turns the patches of images into tokens: a convolution with stride P is one product
// with the flattened kernel, a class token goes in front, and every place adds its position.
//
//	patches [B·G²,3P²] ── Patch ──▶ [B·G²,C] ── Class in front ──▶ [B·T,C] ── + Position ──▶ [B·T,C]
//
// Source: openai/CLIP, clip/model.py, VisionTransformer.forward up to ln_pre.
type Embed struct {
	nn.Module
	Patch    *nn.Param // [C,3P²]; columns by channel, then row, then column of the patch
	Class    *nn.Param // [1,C]
	Position *nn.Param // [T,C]; the class token first, then the patches row by row
}

func init() { gob.Register(&Embed{}) }

// NewEmbed returns an Embed whose parameters are zero. It trusts c; see [Config.Validate].
func NewEmbed(c Config) *Embed {
	return &Embed{
		Patch:    op.NewParam(c.Width, c.PatchLen()),
		Class:    op.NewParam(1, c.Width),
		Position: op.NewParam(c.Tokens(), c.Width),
	}
}

// Forward maps patches [B·G²,3P²] to tokens [B·T,C].
func (m *Embed) Forward(patches mat.Tensor) mat.Tensor {
	return op.PatchEmbed(patches, m.Patch, m.Class, m.Position) // [B·T,C]
}
