package clipvit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/op"
)

// A FeatureKind is what of a tower's output is taken for the features of an image.
type FeatureKind string

const (
	// Embedding [E] is what OpenAI's encode_image gives.
	Embedding FeatureKind = "embedding"
	// PostNorm [C] is what the embedding is projected from: the features of the CLIP paper's probes.
	PostNorm FeatureKind = "post_norm"
	// ClassToken [C] is the class token of a layer.
	ClassToken FeatureKind = "cls"
	// PatchMean [C] is the mean of a layer's patches.
	PatchMean FeatureKind = "mean"
	// Patches [G²,C] are the patches of a layer: what a projector takes.
	Patches FeatureKind = "patches"
	// AllTokens [T,C] are all tokens of a layer: what the next block takes.
	AllTokens FeatureKind = "all"
)

// Features says what of a tower's output is taken. The zero value is none.
type Features struct {
	Kind FeatureKind `json:"kind"` // what is taken: the embedding, the class token, patches, …
	// Layer of the last four kinds, counted like Hugging Face's hidden_states: 0 is the output of the
	// pre-norm, -1 that of the last block. The others have none.
	Layer int `json:"layer"`
}

// ofLayer stands between kind and layer in a text.
const ofLayer = " of layer "

// String returns "embedding" or "cls of layer -2".
func (f Features) String() string {
	if f.HasLayer() {
		return string(f.Kind) + ofLayer + strconv.Itoa(f.Layer)
	}
	return string(f.Kind)
}

// ParseFeatures returns the features that [Features.String] writes as s.
func ParseFeatures(s string) (Features, error) {
	kind, layer, said := strings.Cut(s, ofLayer)
	f := Features{Kind: FeatureKind(kind)}
	k, known := featureKinds[f.Kind]
	if !known {
		return Features{}, f.unknown()
	}
	if k.layer != said {
		return Features{}, fmt.Errorf("clipvit: features are %.40q, want %q", s, Features{Kind: f.Kind, Layer: -1})
	}
	if said {
		n, err := strconv.Atoi(layer)
		if err != nil || strconv.Itoa(n) != layer { // +1 and 01 are numbers to Atoi
			return Features{}, fmt.Errorf("clipvit: layer is %.40q, want a number, such as -1 for the last", layer)
		}
		f.Layer = n
	}
	return f, nil
}

// featureKinds says of every kind whether it has a layer, its shape, whether one row of each image is enough for it, and how it is computed
// of these [B,C], or else of all tokens [B·T,C]. The row is the class token of that layer; of kinds without a layer it is what
// [Config.Pool] makes of the last. They are released.
var featureKinds = map[FeatureKind]struct {
	layer bool
	shape func(c Config) []int
	row   bool
	of    func(m *Model, x mat.Tensor) mat.Tensor
}{
	Embedding: {false, func(c Config) []int { return []int{c.OutputDim()} }, true, func(m *Model, row mat.Tensor) mat.Tensor {
		return m.embedding(row, transformer.Visit(nil)) // [B,E]
	}},
	PostNorm: {false, widthOnly, true, func(m *Model, row mat.Tensor) mat.Tensor {
		return op.Release(op.LayerNorm(row, m.PostNorm), row) // [B,C]
	}},
	ClassToken: {true, widthOnly, true, func(_ *Model, class mat.Tensor) mat.Tensor { return class }}, // [B,C]
	PatchMean: {true, widthOnly, false, func(m *Model, tokens mat.Tensor) mat.Tensor {
		x := op.FromPanels(tokens)
		y := patchMeans(x.Value().Data().F32(), m.Config)
		return op.Release(y, x) // [B,C]
	}},
	Patches: {true, func(c Config) []int { return []int{c.Patches(), c.Width} }, false, func(m *Model, tokens mat.Tensor) mat.Tensor {
		x := op.FromPanels(tokens)
		y := m.Config.PatchRows(x)
		if y == x {
			return y
		}
		return op.Release(y, x) // [B·G²,C]
	}},
	AllTokens: {true, func(c Config) []int { return []int{c.Tokens(), c.Width} }, false, func(_ *Model, tokens mat.Tensor) mat.Tensor {
		return op.FromPanels(tokens) // [B·T,C]
	}},
}

func widthOnly(c Config) []int { return []int{c.Width} }

// patchMeans returns the means [B,C] of the patches of tokens x [B·T,C].
func patchMeans(x []float32, c Config) *mat.Dense[float32] {
	var y []float32
	sums := make([]float64, c.Width)
	for tokens := range slices.Chunk(x, c.Tokens()*c.Width) {
		clear(sums)
		for row := range slices.Chunk(tokens[c.ClassTokens()*c.Width:], c.Width) {
			for i, v := range row {
				sums[i] += float64(v)
			}
		}
		for _, s := range sums {
			y = append(y, float32(s/float64(c.Patches())))
		}
	}
	return mat.NewDense[float32](mat.WithShape(len(y)/c.Width, c.Width), mat.WithBacking(y))
}

func (f Features) unknown() error {
	return fmt.Errorf("clipvit: features are %.40q, want %s, %s, %s, %s, %s or %s", f.Kind, Embedding, PostNorm, ClassToken, PatchMean, Patches, AllTokens)
}

// HasLayer reports whether the features are those of a layer, and not of all the tower.
func (f Features) HasLayer() bool { return featureKinds[f.Kind].layer }

// ErrLayer is of features of a layer that a tower does not have.
var ErrLayer = errors.New("the tower has no such layer")

// A layerError is an [ErrLayer] of a layer of so many.
type layerError struct{ layer, of int }

func (e layerError) Error() string {
	return fmt.Sprintf("clipvit: layer is %d, want %d to %d for this tower", e.layer, -e.of, e.of-1)
}

func (e layerError) Is(target error) bool { return target == ErrLayer }

// Validate returns nil if a tower of configuration c has the features, and otherwise an error that says what
// is wrong.
func (f Features) Validate(c Config) error {
	k, ok := featureKinds[f.Kind]
	switch n := c.Layers + 1; {
	case !ok:
		return f.unknown()
	case !k.layer && f.Layer != 0:
		return fmt.Errorf("clipvit: layer is %d, but %s has none", f.Layer, f.Kind)
	case !k.layer && c.NoPostNorm:
		return fmt.Errorf("clipvit: the tower has no post-norm and so no %s: take %s, %s, %s or %s of a layer", f.Kind, ClassToken, PatchMean, Patches, AllTokens)
	case f.Kind == ClassToken && c.NoClassToken:
		return fmt.Errorf("clipvit: the tower has no class token and so no %s: take %s, %s or %s of a layer", f.Kind, PatchMean, Patches, AllTokens)
	case k.layer && (f.Layer < -n || f.Layer >= n):
		return layerError{f.Layer, n}
	}
	return nil
}

// Shape returns the shape of the features of one image: one number, or rows and columns. It returns
// an error if a tower of configuration c does not have them.
func (f Features) Shape(c Config) ([]int, error) {
	if err := f.Validate(c); err != nil {
		return nil, err
	}
	return featureKinds[f.Kind].shape(c), nil
}

// Blocks returns how many blocks of a tower of configuration c the features depend on.
func (f Features) Blocks(c Config) int {
	switch {
	case !f.HasLayer():
		return c.Layers
	case f.Layer < 0:
		return f.Layer + c.Layers + 1
	}
	return f.Layer
}

// Of returns the features of the B images whose patches [B·G²,3P²] these are, as [Preprocess] makes them:
// [B,D] or, of several rows an image, [B·R,D]. It returns an error if the tower m does not have them. No
// gradient flows through [PatchMean].
func (f Features) Of(m *Model, patches mat.Tensor) (mat.Tensor, error) {
	return f.OfContext(context.Background(), m, patches)
}

// OfContext is [Features.Of], and computes no further block once ctx has ended: its error is then the cause.
func (f Features) OfContext(ctx context.Context, m *Model, patches mat.Tensor) (mat.Tensor, error) {
	if err := f.Validate(m.Config); err != nil {
		return nil, err
	}
	kind, n := featureKinds[f.Kind], f.Blocks(m.Config)
	return m.inParts(patches, func(x mat.Tensor) (mat.Tensor, error) {
		var err error
		switch {
		case kind.row && kind.layer:
			x, err = m.classes(ctx, x, n) // [B,C]
		case kind.row:
			x, err = m.rows(ctx, x) // [B,C]
		default:
			x, err = m.tokens(ctx, x, n, transformer.Visit(nil)) // [B·T,C]
		}
		if err != nil {
			return nil, err
		}
		return kind.of(m, x), nil
	})
}
