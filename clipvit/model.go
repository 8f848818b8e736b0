package clipvit

import (
	"context"
	"encoding/gob"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/normalization/layernorm"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/kernel"
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
	Config   Config             // sizes, and how pictures are prepared; do not change it
	Embed    *Embed             // patches [B·G²,3P²] → tokens [B·T,C]
	PreNorm  *layernorm.Model   // W [C], B [C]
	Blocks   transformer.Blocks // [L], of [B·T,C] → [B·T,C]
	PostNorm *layernorm.Model   // W [C], B [C]; nil if [Config.NoPostNorm]
	Proj     *nn.Param          // [E,C]; nil if the tower has no projection

	// Recompute makes every block keep only its input for the gradient and compute the rest again,
	// which takes a third more time and a sixteenth of the memory.
	Recompute bool
}

func init() { gob.Register(&Model{}) }

// New returns a model of configuration c whose parameters are zero.
func New(c Config) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &Model{
		Config:  c,
		Embed:   NewEmbed(c),
		PreNorm: op.NewLayerNorm(c.Width, c.NormEps),
		Blocks:  transformer.NewBlocks(c.Transformer()),
	}
	if !c.NoPostNorm {
		m.PostNorm = op.NewLayerNorm(c.Width, c.NormEps)
	}
	if c.EmbedDim > 0 {
		m.Proj = op.NewParam(c.EmbedDim, c.Width)
	}
	return m, nil
}

// NewFrozen returns a frozen model of configuration c. It calls fill once for every parameter, with the path of Go
// field names that leads to it, such as Blocks.3.Attn.QKV.W. fill has to set all values, which hold anything before. No
// more than one large parameter is in memory in plain form at a time.
func NewFrozen(c Config, fill func(path string, values []float32) error) (*Model, error) {
	m, err := New(c)
	if err != nil {
		return nil, err
	}
	if err := transformer.FillFrozen(m, m.weights(), fill); err != nil {
		return nil, err
	}
	return m, nil
}

// Freeze declares that no parameter of the model wants a gradient, and packs the weights of the
// matrix products for the processor: in half precision if that loses nothing, as with the weights
// that OpenAI published, which then take half the memory; that of the plain matrices goes back to the
// system. Until [Model.Unfreeze] nothing can write to them, and a reader gets a copy. It must not
// run beside any other use of the model.
//
// Weights are packed in one of two ways, for images alone or for where a gradient flows as well, to the images or
// to something of the model that learns, and anew when the use changes: who has both by turns does better with two models.
func (m *Model) Freeze() { transformer.Freeze(m, m.weights()) }

// Quantize freezes the model and rounds the weights of the blocks' products to 8 bits; what enters a
// product is rounded as well, row by row, when it is computed. That takes a quarter of the memory of
// float32, and depending on the processor a third to two thirds of the time: see [Int8Pays]. Embeddings
// are then near those of float32, and no longer equal to six digits. What was rounded stays so,
// [Model.Unfreeze] or not; gob keeps it in float32. It must not run beside any other use of the model.
//
// Before, it measures a few pictures that it draws itself, which takes as long as encoding them some three times,
// and some thirty times where 8 bits throughout are not enough. So it
// finds the channels that are too large to be rounded with the others, and products that need 16 bits or float32; see
// [transformer.Blocks.Quantize].
// [Model.Precision] says what was chosen.
func (m *Model) Quantize() {
	m.Freeze()
	t := m.Config.Tokens()
	m.Blocks.Quantize(t, func() mat.Tensor {
		return m.embed(drawnPictures(m.Config), transformer.Visit(nil)) // [B·T,C]
	}, m.head)
}

// Precision says how the weights of the blocks' products are kept, as [transformer.Blocks.Precision].
func (m *Model) Precision() string { return m.Blocks.Precision() }

// head makes embeddings [B,E] of the tokens [B·T,C] that leave the blocks, and releases them. Of a tower without post-norm it
// returns the class rows and the means of the patches [2·B,C].
func (m *Model) head(x mat.Tensor) mat.Tensor {
	if m.PostNorm == nil {
		x = op.FromPanels(x)
		means := patchMeans(x.Value().Data().F32(), m.Config).Data().F32()
		both := append(slices.Clone(m.Config.classRows(x).Value().Data().F32()), means...)
		return mat.NewDense[float32](mat.WithShape(len(both)/m.Config.Width, m.Config.Width), mat.WithBacking(both))
	}
	step := transformer.Visit(nil)
	return m.embedding(m.pooled(x, step), step) // [B,E]
}

// pooled makes one row for each image [B,C] of the tokens [B·T,C] that leave the blocks.
func (m *Model) pooled(x mat.Tensor, step transformer.Step) mat.Tensor {
	return step("class", pools[m.Config.Pool](m.Config, x), x) // [B,C]
}

// embedding makes embeddings [B,E] of one row for each image [B,C].
func (m *Model) embedding(x mat.Tensor, step transformer.Step) mat.Tensor {
	x = step("post_norm", op.LayerNorm(x, m.PostNorm), x) // [B,C]
	if m.Proj != nil {
		x = step("embedding", op.Project(x, m.Proj), x) // [B,E]
	}
	return x
}

// Int8Pays reports whether this processor is faster with 8 bits than with float32.
func Int8Pays() bool { return kernel.Int8Pays() }

// ToBF16 freezes the model and rounds the weights of the blocks' products to bfloat16, whose 8 bits of precision stand
// between int8 and float32; what enters a product is rounded as well, and the sums are float32. That takes half the memory of
// float32, and six to seven tenths of the time with AVX512-BF16 of AMD. Embeddings have a cosine of 0.9999 and more with those of float32.
// What was rounded stays so, [Model.Unfreeze] or not; gob keeps it in float32. It must not run beside any other use of the
// model.
func (m *Model) ToBF16() {
	m.Freeze()
	m.Blocks.RoundBF16()
}

// BF16Pays reports whether this processor is faster with bfloat16 than with float32: those with AMX, and AMD's with
// AVX512-BF16. Without either instruction the results are the same, and take many times as long.
func BF16Pays() bool { return kernel.BF16Pays() }

// Unfreeze declares that every parameter of the model wants a gradient, and makes them all plain
// matrices again, with the same values.
func (m *Model) Unfreeze() { transformer.Unfreeze(m) }

// Stem returns the parameters that come before the blocks.
func (m *Model) Stem() (ps []*nn.Param) {
	nn.ForEachParam(m.Embed, func(p *nn.Param) { ps = append(ps, p) })
	nn.ForEachParam(m.PreNorm, func(p *nn.Param) { ps = append(ps, p) })
	return ps
}

// Head returns the parameters that come after the blocks: of what makes an embedding of the last tokens.
func (m *Model) Head() (ps []*nn.Param) {
	if m.PostNorm != nil {
		ps = append(ps, m.PostNorm.W, m.PostNorm.B)
	}
	if m.Proj != nil {
		ps = append(ps, m.Proj)
	}
	return ps
}

// weights returns those of matrix products. Only the blocks' meet tokens in panels.
func (m *Model) weights() transformer.Weights {
	w := transformer.Weights{Rows: []*nn.Param{m.Embed.Patch}, Panels: m.Blocks.Products()}
	if m.Proj != nil {
		w.Rows = append(w.Rows, m.Proj)
	}
	return w
}

// Embedding maps the patches [B·G²,3P²] of B images to their embeddings [B,E], as OpenAI's
// encode_image does: not normalised. A tower without a projection gives the post-normed class
// rows [B,C]. Patches come from [Preprocess]; other shapes are a mistake of the program and panic, and
// so is a tower without post-norm ([Config.NoPostNorm]), which has no embedding.
func (m *Model) Embedding(patches mat.Tensor) mat.Tensor {
	y, _ := m.inParts(patches, func(x mat.Tensor) (mat.Tensor, error) { return m.Probe(x, nil), nil })
	return y
}

// Features maps the patches [B·G²,3P²] of B images to the tokens [B·T,C] that leave the given
// layer, counted like Hugging Face's hidden_states: 0 is the output of the pre-norm, L and -1 that
// of the last block, before any post-norm. It returns an error if there is no such layer.
func (m *Model) Features(patches mat.Tensor, layer int) (mat.Tensor, error) {
	return Features{AllTokens, layer}.Of(m, patches)
}

// part returns how many images go through a frozen tower together at most.
func (c Config) part() int { return transformer.Part(c.Tokens()) }

// inParts applies f, which maps images to rows, to the patches of a few images after the other, if no
// gradient has to flow through all of them: then a large batch takes no more memory than a small one. The first error of f ends it.
func (m *Model) inParts(patches mat.Tensor, f func(mat.Tensor) (mat.Tensor, error)) (mat.Tensor, error) {
	n, length, g := patches.Shape()[0], patches.Shape()[1], m.Config.Patches()
	if n%g != 0 || m.wantsGrad(patches) {
		return f(patches)
	}
	if n <= m.Config.part()*g { // as they are: no rows are copied
		kernel.Enter()
		defer kernel.Leave()
		return f(patches)
	}
	values := patches.Value().Data().F32()
	return transformer.InParts(n/g, m.Config.Tokens(), func(from, to int) (mat.Tensor, error) {
		return f(mat.NewDense[float32](mat.WithShape((to-from)*g, length), mat.WithBacking(values[from*g*length:to*g*length])))
	})
}

// wantsGrad reports whether the patches or any parameter want a gradient.
func (m *Model) wantsGrad(patches mat.Tensor) bool {
	return patches.RequiresGrad() || transformer.WantsGrad(m)
}

// Probe computes the [Model.Embedding] of patches and calls visit, if it is not nil, with every
// intermediate on the way, to be read and not to be written to:
//
//	embed, pre_norm, block00, block01, …  [B·T,C]
//	class, post_norm                      [B,C]
//	embedding                             [B,E]
func (m *Model) Probe(patches mat.Tensor, visit func(stage string, x mat.Tensor)) mat.Tensor {
	if m.PostNorm == nil {
		panic("clipvit: an embedding of a tower without post-norm, which has Features only")
	}
	ctx, step := context.Background(), transformer.Visit(visit) // that context does not end
	if visit == nil {
		x, _ := m.rows(ctx, patches) // [B,C]
		return m.embedding(x, step)  // [B,E]
	}
	x, _ := m.tokens(ctx, patches, len(m.Blocks), step) // [B·T,C]
	return m.embedding(m.pooled(x, step), step)         // [B,E]
}

// tokens maps patches [B·G²,3P²] to the tokens [B·T,C] after the first n blocks, or ends with the cause of ctx's end before one of
// them.
func (m *Model) tokens(ctx context.Context, patches mat.Tensor, n int, step transformer.Step) (mat.Tensor, error) {
	x := m.embed(patches, step)                                                      // [B·T,C]
	return m.Blocks[:n].ForwardContext(ctx, x, m.Config.Tokens(), m.Recompute, step) // [B·T,C]
}

// rows maps patches [B·G²,3P²] to one row for each image [B,C], of the tokens that leave the blocks.
func (m *Model) rows(ctx context.Context, patches mat.Tensor) (mat.Tensor, error) {
	if m.Config.Pool == PoolClass {
		return m.classes(ctx, patches, len(m.Blocks)) // [B,C]
	}
	step := transformer.Visit(nil)
	x, err := m.tokens(ctx, patches, len(m.Blocks), step) // [B·T,C]
	if err != nil {
		return nil, err
	}
	return m.pooled(x, step), nil // [B,C]
}

// classes maps patches [B·G²,3P²] to the class tokens [B,C] after the first n blocks, as tokens does to all. The last of these blocks
// computes no others; see [transformer.Block.ForwardRows].
func (m *Model) classes(ctx context.Context, patches mat.Tensor, n int) (mat.Tensor, error) {
	x := m.embed(patches, transformer.Visit(nil))                                                     // [B·T,C]
	return m.Blocks[:n].ForwardRows(ctx, x, m.Config.Tokens(), m.Config.classNumbers(x), m.Recompute) // [B,C]
}

// embed maps patches [B·G²,3P²] to the tokens [B·T,C] that enter the blocks.
func (m *Model) embed(patches mat.Tensor, step transformer.Step) mat.Tensor {
	x := step("embed", m.Embed.Forward(patches), nil) // [B·T,C]
	normed := op.LayerNorm(x, m.PreNorm)
	if m.Blocks.InPanels() && !m.wantsGrad(patches) {
		normed = op.ToPanels(normed, m.Config.Tokens())
	}
	return step("pre_norm", normed, x) // [B·T,C]
}
