package clipvit

import (
	"encoding/gob"
	"fmt"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/normalization/layernorm"

	"github.com/vitago/vitago/internal/op"
)

var _ nn.Model = &Model{}

// Model is the vision tower.
//
//	patches [B·G²,3P²] ─▶ Embed ─▶ PreNorm ─▶ Blocks ─▶ class rows ─▶ PostNorm ─▶ Proj ─▶ [B,E]
//
// Its parameters require gradients, as all of spago's do, until [Model.Freeze] is called; a frozen
// model keeps no graph and recycles its buffers, and may be used by many goroutines at once.
//
// Source: openai/CLIP, clip/model.py, VisionTransformer.
type Model struct {
	nn.Module
	Config   Config
	Embed    *Embed
	PreNorm  *layernorm.Model // W [C], B [C]
	Blocks   []*Block
	PostNorm *layernorm.Model // W [C], B [C]
	Proj     *nn.Param        // [E,C]; nil if the tower has no projection
}

func init() { gob.Register(&Model{}) }

// New returns a model of configuration c whose parameters are zero.
func New(c Config) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &Model{
		Config:   c,
		Embed:    NewEmbed(c),
		PreNorm:  op.NewLayerNorm(c.Width, c.NormEps),
		Blocks:   make([]*Block, c.Layers),
		PostNorm: op.NewLayerNorm(c.Width, c.NormEps),
	}
	for i := range m.Blocks {
		m.Blocks[i] = NewBlock(c)
	}
	if c.EmbedDim > 0 {
		m.Proj = op.NewParam(c.EmbedDim, c.Width)
	}
	return m, nil
}

// Freeze declares that no parameter of the model wants a gradient.
func (m *Model) Freeze() { m.setGrad(false) }

// Unfreeze declares that every parameter of the model wants a gradient.
func (m *Model) Unfreeze() { m.setGrad(true) }

func (m *Model) setGrad(v bool) {
	nn.ForEachParam(m, func(p *nn.Param) { p.SetRequiresGrad(v) })
}

// Embedding maps the patches [B·G²,3P²] of B images to their embeddings [B,E], as OpenAI's
// encode_image does: not normalised. A tower without a projection gives the post-normed class
// rows [B,C]. Patches come from [Preprocess]; other shapes are a mistake of the program and panic.
func (m *Model) Embedding(patches mat.Tensor) mat.Tensor {
	return m.Probe(patches, nil)
}

// Features maps the patches [B·G²,3P²] of B images to the tokens [B·T,C] that leave the given
// layer, counted like Hugging Face's hidden_states: 0 is the output of the pre-norm, L and -1 that
// of the last block, before any post-norm. It returns an error if there is no such layer.
func (m *Model) Features(patches mat.Tensor, layer int) (mat.Tensor, error) {
	n := len(m.Blocks)
	if layer < -(n+1) || layer > n {
		return nil, fmt.Errorf("clipvit: layer is %d, want %d to %d", layer, -(n + 1), n)
	}
	if layer < 0 {
		layer += n + 1
	}
	return m.tokens(patches, layer, newStep(nil)), nil
}

// Probe computes the [Model.Embedding] of patches and calls visit, if it is not nil, with every
// intermediate on the way:
//
//	embed, pre_norm, block00, block01, …  [B·T,C]
//	class, post_norm                      [B,C]
//	embedding                             [B,E]
func (m *Model) Probe(patches mat.Tensor, visit func(stage string, x mat.Tensor)) mat.Tensor {
	step := newStep(visit)
	x := m.tokens(patches, len(m.Blocks), step)             // [B·T,C]
	x = step("class", op.EveryRow(x, m.Config.Tokens()), x) // [B,C]
	x = step("post_norm", op.LayerNorm(x, m.PostNorm), x)   // [B,C]
	if m.Proj != nil {
		x = step("embedding", op.Project(x, m.Proj), x) // [B,E]
	}
	return x
}

// tokens maps patches [B·G²,3P²] to the tokens [B·T,C] after the first n blocks.
func (m *Model) tokens(patches mat.Tensor, n int, step step) mat.Tensor {
	x := step("embed", m.Embed.Forward(patches), nil)   // [B·T,C]
	x = step("pre_norm", op.LayerNorm(x, m.PreNorm), x) // [B·T,C]
	for i, b := range m.Blocks[:n] {
		x = step(fmt.Sprintf("block%02d", i), b.Forward(x, m.Config.Tokens()), x) // [B·T,C]
	}
	return x
}

// A step names the intermediate x and returns it; old, what x was computed from, has served.
type step func(stage string, x, old mat.Tensor) mat.Tensor

func newStep(visit func(string, mat.Tensor)) step {
	return func(stage string, x, old mat.Tensor) mat.Tensor {
		if visit == nil {
			return op.Done(x, old)
		}
		visit(stage, x)
		return x
	}
}
