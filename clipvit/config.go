package clipvit

import (
	"errors"
	"fmt"

	"github.com/vitago/vitago/clipvit/transformer"
)

// Config says which vision transformer a [Model] is. The letters are those of the package's legend.
type Config struct {
	ImageSize  int                    `json:"image_size"` // pixels per side of the square input, G·P
	PatchSize  int                    `json:"patch_size"` // P
	Width      int                    `json:"width"`      // C
	Heads      int                    `json:"heads"`      // H
	Layers     int                    `json:"layers"`     // L
	MLPWidth   int                    `json:"mlp_width"`  // F
	EmbedDim   int                    `json:"embed_dim"`  // E; 0 if the tower has no projection
	Activation transformer.Activation `json:"activation"` // of the MLP
	NormEps    float64                `json:"norm_eps"`   // added to the variance by every layer norm
	// NoPostNorm says that the tower ends with its last block, as in language models that take the
	// tokens of a layer: it has [Model.Features], but no [Model.Embedding].
	NoPostNorm bool `json:"no_post_norm,omitempty"`
	// Pool is what an embedding is made of. Pool, NoClassToken and NoPreNorm describe towers of other forms. Only zero is
	// implemented: [Config.Validate] refuses all else.
	Pool         Pool `json:"pool,omitempty"`
	NoClassToken bool `json:"no_class_token,omitempty"`
	NoPreNorm    bool `json:"no_pre_norm,omitempty"`
	// Transform is what images go through first; zero is OpenAI's.
	Transform Transform `json:"transform,omitzero"`
}

// The towers that OpenAI released. Source: openai/CLIP, model-card.md and clip/model.py.
var (
	ViTB32    = Config{ImageSize: 224, PatchSize: 32, Width: 768, Heads: 12, Layers: 12, MLPWidth: 3072, EmbedDim: 512, Activation: transformer.QuickGELU, NormEps: 1e-5}
	ViTB16    = Config{ImageSize: 224, PatchSize: 16, Width: 768, Heads: 12, Layers: 12, MLPWidth: 3072, EmbedDim: 512, Activation: transformer.QuickGELU, NormEps: 1e-5}
	ViTL14    = Config{ImageSize: 224, PatchSize: 14, Width: 1024, Heads: 16, Layers: 24, MLPWidth: 4096, EmbedDim: 768, Activation: transformer.QuickGELU, NormEps: 1e-5}
	ViTL14336 = Config{ImageSize: 336, PatchSize: 14, Width: 1024, Heads: 16, Layers: 24, MLPWidth: 4096, EmbedDim: 768, Activation: transformer.QuickGELU, NormEps: 1e-5}
)

// Bounds far above any real tower, so that no Config asks for more memory than a machine has: the pixels per
// side, and the elements of the position embedding.
const (
	maxImageSize = 1 << 12
	maxPositions = 1 << 28
)

// Grid returns G, the number of patches per side.
func (c Config) Grid() int { return c.ImageSize / c.PatchSize }

// Patches returns G², the number of patches of an image.
func (c Config) Patches() int { return c.Grid() * c.Grid() }

// Transformer returns what the blocks are made by.
func (c Config) Transformer() transformer.Config {
	return transformer.Config{Width: c.Width, Heads: c.Heads, Layers: c.Layers, MLPWidth: c.MLPWidth, Activation: c.Activation, NormEps: c.NormEps}
}

// HeadSize returns D = C/H.
func (c Config) HeadSize() int { return c.Width / c.Heads }

// PatchLen returns 3P², the number of values of a patch.
func (c Config) PatchLen() int { return 3 * c.PatchSize * c.PatchSize }

// OutputDim returns the length of an embedding: E, or C if the tower has no projection.
func (c Config) OutputDim() int {
	if c.EmbedDim > 0 {
		return c.EmbedDim
	}
	return c.Width
}

// Validate returns nil if c describes a tower, and otherwise an error with everything that is
// wrong with it.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("clipvit: "+format, args...)) }
	for _, f := range []struct {
		name  string
		least int
		v     int
	}{{"image size", 1, c.ImageSize}, {"patch size", 1, c.PatchSize}, {"embedding size", 0, c.EmbedDim}} {
		if f.v < f.least || f.v > transformer.MaxDim {
			add("%s is %d, want %d to %d", f.name, f.v, f.least, transformer.MaxDim)
		}
	}
	if c.ImageSize > maxImageSize && c.ImageSize <= transformer.MaxDim {
		add("image size is %d, want at most %d", c.ImageSize, maxImageSize)
	}
	if pools[c.Pool] == nil {
		add("pool is %q, want %q, the class token: no other can be computed yet", c.Pool, PoolClass)
	}
	if c.NoClassToken {
		add("the tower has no class token, want 1: towers without one cannot be computed yet")
	}
	if c.NoPreNorm {
		add("the tower has no norm before its blocks, want one: towers without it cannot be computed yet")
	}
	if err := errors.Join(c.Transform.Validate(), c.Transform.validateFor(c.ImageSize)); err != nil {
		errs = append(errs, err)
	}
	if c.NoPostNorm && c.EmbedDim > 0 {
		add("embedding size is %d, want 0 for a tower without post-norm", c.EmbedDim)
	}
	if len(errs) == 0 {
		if n := float64(c.Tokens()) * float64(c.Width); n > maxPositions {
			add("%d tokens of width %d, want a product of at most %d", c.Tokens(), c.Width, maxPositions)
		}
		if c.ImageSize%c.PatchSize != 0 {
			add("image size %d is not a multiple of patch size %d", c.ImageSize, c.PatchSize)
		}
	}
	return errors.Join(append(errs, c.Transformer().Check("clipvit")...)...)
}
