package cliptext

import (
	"context"
	"encoding/gob"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/normalization/layernorm"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/op"
)

var _ nn.Model = &Model{}

// Model is the text tower.
//
//	token ids [B·T] ─▶ Token + Position ─▶ Blocks, causal ─▶ rows of the end of text ─▶ FinalNorm ─▶ Proj ─▶ [B,E]
//
// Its parameters require gradients, as all of spago's do, until [Model.Freeze] is called; a frozen
// model keeps no graph and recycles its buffers, and may be used by many goroutines at once.
//
// Source: openai/CLIP, clip/model.py, CLIP.encode_text.
type Model struct {
	nn.Module
	Config     Config             // sizes; do not change it
	Token      *nn.Param          // [V,C]
	Position   *nn.Param          // [N,C]
	Blocks     transformer.Blocks // causal
	FinalNorm  *layernorm.Model   // W [C], B [C]
	Proj       *nn.Param          // [E,C]
	LogitScale *nn.Param          // [1,1], the logarithm of what cosines are multiplied with; no part of an embedding

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
		Config:     c,
		Token:      op.NewParam(c.Vocab, c.Width),
		Position:   op.NewParam(c.Context, c.Width),
		Blocks:     transformer.NewBlocks(c.Transformer()),
		FinalNorm:  op.NewLayerNorm(c.Width, c.NormEps),
		Proj:       op.NewParam(c.EmbedDim, c.Width),
		LogitScale: op.NewParam(1, 1),
	}
	return m, nil
}

// NewFrozen returns a frozen model of configuration c. It calls fill once for every parameter, with the path of Go
// field names that leads to it, such as Blocks.3.Attn.QKV.W. fill has to set all values, which hold anything before. No
// more than one packed parameter is in memory in plain form at a time.
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
// matrix products for the processor, as [clipvit.Model.Freeze] does. It must not run beside any other
// use of the model.
func (m *Model) Freeze() { transformer.Freeze(m, m.weights()) }

// ToBF16 freezes the model and rounds the weights of the blocks' products to bfloat16, as [clipvit.Model.ToBF16] does.
func (m *Model) ToBF16() {
	m.Freeze()
	m.Blocks.RoundBF16()
}

// Quantize freezes the model and rounds the weights of the blocks' products to 8 bits, as [clipvit.Model.Quantize] does. It
// measures a few texts of random words.
func (m *Model) Quantize() {
	m.Freeze()
	const texts, length = 8, 16 // as long as captions are
	t := min(length, m.Config.Context)
	rng := rand.New(rand.NewPCG(1, 1))
	words, ends := make([]int, texts*t), make([]int, texts)
	for i := range words {
		words[i] = rng.IntN(m.Config.Vocab)
	}
	for i := range ends {
		ends[i] = (i+1)*t - 1
		words[ends[i]] = m.Config.End
	}
	m.Blocks.Quantize(t, func() mat.Tensor {
		return op.WordEmbed(words, t, m.Token, m.Position) // [B·T,C]
	}, func(x mat.Tensor) mat.Tensor { return m.head(x, ends, transformer.Visit(nil)) })
}

// Precision says how the weights of the blocks' products are kept, as [transformer.Blocks.Precision].
func (m *Model) Precision() string { return m.Blocks.Precision() }

// Unfreeze declares that every parameter of the model wants a gradient, and makes them all plain
// matrices again, with the same values.
func (m *Model) Unfreeze() { transformer.Unfreeze(m) }

// weights returns those of matrix products. Token is none: its rows are looked up.
func (m *Model) weights() transformer.Weights {
	return transformer.Weights{Rows: []*nn.Param{m.Proj}, Panels: m.Blocks.Products()}
}

// Scale returns what a cosine of an image and a text is multiplied with before softmax, 100 in what
// OpenAI released.
func (m *Model) Scale() float64 { return math.Exp(float64(mat.Data[float32](m.LogitScale)[0])) }

// Forward maps texts, each the ids of its tokens from that which starts it to [Config.End], to
// their embeddings [B,E], as OpenAI's encode_text does: not normalised. What comes after the end of a
// text, such as zeros up to the context, changes nothing and is not computed. It returns an error if there
// are no texts, or for one that has no end within the context, or an id outside of the vocabulary.
func (m *Model) Forward(texts [][]int) (mat.Tensor, error) {
	return m.ForwardContext(context.Background(), texts)
}

// ForwardContext is [Model.Forward], and computes no further block once ctx has ended: its error is then the cause.
func (m *Model) ForwardContext(ctx context.Context, texts [][]int) (mat.Tensor, error) {
	ends, err := m.ends(texts)
	if err != nil {
		return nil, err
	}
	if transformer.WantsGrad(m) {
		return m.probe(ctx, texts, ends, nil)
	}
	return transformer.InParts(len(texts), 1+slices.Max(ends), func(from, to int) (mat.Tensor, error) {
		return m.probe(ctx, texts[from:to], ends[from:to], nil) // [B,E]
	})
}

// Probe computes [Model.Forward] of texts and calls visit with every intermediate on the way:
//
//	embed, block00, block01, …  [B·T,C]
//	end, final_norm             [B,C]
//	embedding                   [B,E]
func (m *Model) Probe(texts [][]int, visit func(stage string, x mat.Tensor)) (mat.Tensor, error) {
	return m.ProbeContext(context.Background(), texts, visit)
}

// ProbeContext is [Model.Probe], and computes no further block once ctx has ended: its error is then the cause.
func (m *Model) ProbeContext(ctx context.Context, texts [][]int, visit func(stage string, x mat.Tensor)) (mat.Tensor, error) {
	ends, err := m.ends(texts)
	if err != nil {
		return nil, err
	}
	return m.probe(ctx, texts, ends, visit)
}

// ends returns the place of the end of every text.
func (m *Model) ends(texts [][]int) ([]int, error) {
	if len(texts) == 0 {
		return nil, fmt.Errorf("cliptext: got 0 texts, want at least 1")
	}
	c := m.Config
	ends := make([]int, len(texts))
	for i, text := range texts {
		ends[i] = slices.Index(text, c.End)
		if c.PoolLargest && ends[i] >= 0 {
			ends[i] = slices.Index(text, slices.Max(text))
		}
		if ends[i] < 0 || ends[i] >= c.Context {
			return nil, fmt.Errorf("cliptext: text %d: no token %d, the end, among the first %d of %d tokens", i, c.End, min(c.Context, len(text)), len(text))
		}
		for j, w := range text[:ends[i]] {
			if w < 0 || w >= c.Vocab {
				return nil, fmt.Errorf("cliptext: text %d: token %d is %d, want 0 to %d", i, j, w, c.Vocab-1)
			}
		}
	}
	return ends, nil
}

// probe computes the embeddings [B,E] of texts that end at ends.
func (m *Model) probe(ctx context.Context, texts [][]int, ends []int, visit func(string, mat.Tensor)) (mat.Tensor, error) {
	step := transformer.Visit(visit)
	t := 1 + slices.Max(ends)
	words, rows := make([]int, len(texts)*t), make([]int, len(texts)) // zeros fill the shorter texts
	for i, text := range texts {
		copy(words[i*t:], text[:ends[i]+1])
		rows[i] = i*t + ends[i]
	}
	grad := transformer.WantsGrad(m)
	x := op.WordEmbed(words, t, m.Token, m.Position) // [B·T,C]
	if m.Blocks.InPanels() && !grad {
		x = op.ToPanels(x, t)
	}
	x = step("embed", x, nil) // [B·T,C]
	if visit == nil {
		x, err := m.Blocks.ForwardRows(ctx, x, t, rows, m.Recompute) // [B,C]
		if err != nil {
			return nil, err
		}
		return m.embedding(x, step), nil // [B,E]
	}
	x, err := m.Blocks.ForwardContext(ctx, x, t, m.Recompute, step) // [B·T,C]
	if err != nil {
		return nil, err
	}
	return m.head(x, rows, step), nil // [B,E]
}

// head makes embeddings [B,E] of given rows of the tokens x [B·T,C] that leave the blocks.
func (m *Model) head(x mat.Tensor, rows []int, step transformer.Step) mat.Tensor {
	return m.embedding(step("end", op.Gather(x, rows), x), step) // [B,E]
}

// embedding makes embeddings [B,E] of the ends of texts [B,C].
func (m *Model) embedding(x mat.Tensor, step transformer.Step) mat.Tensor {
	x = step("final_norm", op.LayerNorm(x, m.FinalNorm), x) // [B,C]
	return step("embedding", op.Project(x, m.Proj), x)      // [B,E]
}
