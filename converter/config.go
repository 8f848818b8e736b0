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
	Vocab      int                    `json:"vocab"`   // words
	Context    int                    `json:"context"` // tokens
	Width      int                    `json:"width"`
	Heads      int                    `json:"heads"`
	Layers     int                    `json:"layers"`
	MLPWidth   int                    `json:"mlp_width"`
	EmbedDim   int                    `json:"embed_dim"` // E, as the vision tower's
	Activation transformer.Activation `json:"activation"`
	NormEps    float64                `json:"norm_eps"`
	BOS        int                    `json:"bos"` // the word that begins a text
	EOS        int                    `json:"eos"` // the word that ends it
	// PoolLargest says that a text's embedding is what stands at the first of its largest ids, where others than EOS may be that.
	PoolLargest bool `json:"pool_largest,omitempty"`
}
