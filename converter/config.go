package converter

import (
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
)

// Config says which CLIP a checkpoint holds.
type Config struct {
	Vision clipvit.Config `json:"vision,omitzero"` // zero without a tower
	Text   *TextConfig    `json:"text,omitempty"`  // nil without a text tower
}

// TextConfig says which text tower a checkpoint holds. Sizes are numbers of elements.
type TextConfig struct {
	Vocab      int                    `json:"vocab"`      // words
	Context    int                    `json:"context"`    // tokens
	Width      int                    `json:"width"`      // C, columns of a token
	Heads      int                    `json:"heads"`      // H of attention, which divides Width
	Layers     int                    `json:"layers"`     // L blocks
	MLPWidth   int                    `json:"mlp_width"`  // F, columns between the two products of an MLP
	EmbedDim   int                    `json:"embed_dim"`  // E, as the vision tower's
	Activation transformer.Activation `json:"activation"` // of the MLPs
	NormEps    float64                `json:"norm_eps"`   // added to the variance by every layer norm
	BOS        int                    `json:"bos"`        // the word that begins a text
	EOS        int                    `json:"eos"`        // the word that ends it
	// PoolLargest says that a text's embedding is what stands at the first of its largest ids, where others than EOS may be that.
	PoolLargest bool `json:"pool_largest,omitempty"`
}
