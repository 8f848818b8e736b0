package cliptext

import (
	"errors"
	"fmt"

	"github.com/vitago/vitago/clipvit/transformer"
)

// Config says which text transformer a [Model] is. The letters are those of the package's legend.
type Config struct {
	Vocab      int                    `json:"vocab"`      // V
	Context    int                    `json:"context"`    // N
	Width      int                    `json:"width"`      // C
	Heads      int                    `json:"heads"`      // H
	Layers     int                    `json:"layers"`     // L
	MLPWidth   int                    `json:"mlp_width"`  // F
	EmbedDim   int                    `json:"embed_dim"`  // E
	Activation transformer.Activation `json:"activation"` // of the MLP
	NormEps    float64                `json:"norm_eps"`   // added to the variance by every layer norm
	// End is the id of the token that ends a text. A text's embedding is what stands at the first of them, which
	// is the argmax of OpenAI's code, where it is the last token of the vocabulary.
	End int `json:"end"`
	// PoolLargest takes what stands at the first of the largest ids instead. It differs for tokens that were added after End, in
	// the models whose config.json says that eos_token_id is 2.
	//
	// Source: huggingface/transformers, models/clip/modeling_clip.py, CLIPTextTransformer.forward.
	PoolLargest bool `json:"pool_largest,omitempty"`
}

// The text towers that OpenAI released: ViT-B/16 has that of ViT-B/32, and ViT-L/14-336 that of ViT-L/14. Source: openai/CLIP, model-card.md and clip/model.py.
var (
	ViTB32 = Config{Vocab: 49408, Context: 77, Width: 512, Heads: 8, Layers: 12, MLPWidth: 2048, EmbedDim: 512, Activation: transformer.QuickGELU, NormEps: 1e-5, End: 49407}
	ViTL14 = Config{Vocab: 49408, Context: 77, Width: 768, Heads: 12, Layers: 12, MLPWidth: 3072, EmbedDim: 768, Activation: transformer.QuickGELU, NormEps: 1e-5, End: 49407}
)

// maxEmbedding bounds the elements of the two embeddings, so that no Config asks for more memory than a machine has.
// Those of real towers are far below.
const maxEmbedding = 1 << 30

// Transformer returns what the blocks are made by.
func (c Config) Transformer() transformer.Config {
	return transformer.Config{Width: c.Width, Heads: c.Heads, Layers: c.Layers, MLPWidth: c.MLPWidth, Activation: c.Activation, NormEps: c.NormEps, Causal: true}
}

// Validate returns nil if c describes a tower, and otherwise an error with everything that is wrong
// with it.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("cliptext: "+format, args...)) }
	for _, f := range []struct {
		name string
		v    int
	}{{"vocabulary", c.Vocab}, {"context", c.Context}, {"embedding size", c.EmbedDim}} {
		if f.v < 1 || f.v > transformer.MaxDim {
			add("%s is %d, want 1 to %d", f.name, f.v, transformer.MaxDim)
		}
	}
	if len(errs) == 0 {
		if n := float64(max(c.Vocab, c.Context)) * float64(c.Width); n > maxEmbedding {
			add("%d tokens and %d positions of width %d, want a product of at most %d", c.Vocab, c.Context, c.Width, maxEmbedding)
		}
		if c.End < 0 || c.End >= c.Vocab {
			add("the token that ends a text is %d, want 0 to %d", c.End, c.Vocab-1)
		}
	}
	return errors.Join(append(errs, c.Transformer().Check("cliptext")...)...)
}
