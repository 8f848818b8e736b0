package probe

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
)

// A Kind is what of a tower's output is taken for the features of a picture.
type Kind string

const (
	// Embedding [E] is what OpenAI's encode_image gives.
	Embedding Kind = "embedding"
	// PostNorm [C] is what the embedding is projected from: the features of the CLIP paper's probes.
	PostNorm Kind = "post_norm"
	// ClassToken [C] is the class token of a layer.
	ClassToken Kind = "cls"
	// PatchMean [C] is the mean of a layer's patches.
	PatchMean Kind = "mean"
	// Patches [T-1,C] are the patches of a layer: what a projector takes.
	Patches Kind = "patches"
	// AllTokens [T,C] are the class token and the patches of a layer: what the next block takes.
	AllTokens Kind = "all"
)

// Features says what of a tower's output is taken.
type Features struct {
	Kind Kind `json:"kind"`
	// Layer of the last four kinds, counted like Hugging Face's hidden_states: 0 is the output of the
	// pre-norm, -1 that of the last block. The others have none.
	Layer int `json:"layer"`
}

// String returns "embedding" or "cls of layer -2".
func (f Features) String() string {
	if k := kinds[f.Kind]; k.layer {
		return fmt.Sprintf("%s of layer %d", f.Kind, f.Layer)
	}
	return string(f.Kind)
}

// kinds says of every kind whether it has a layer, its shape, and how it is made of the tokens [B·T,C]
// of the layer or, if it has none, of the last one.
var kinds = map[Kind]struct {
	layer bool
	shape func(c clipvit.Config) []int
	make  func(m *clipvit.Model, tokens mat.Tensor) []float32 // of B pictures
}{
	Embedding: {false, func(c clipvit.Config) []int {
		if c.EmbedDim == 0 {
			return []int{c.Width}
		}
		return []int{c.EmbedDim}
	}, func(m *clipvit.Model, tokens mat.Tensor) []float32 {
		x := postNorm(m, tokens) // [B,C]
		if m.Proj != nil {
			x = op.Project(x, m.Proj) // [B,E]
		}
		return values(x)
	}},
	PostNorm: {false, width, func(m *clipvit.Model, tokens mat.Tensor) []float32 {
		return values(postNorm(m, tokens)) // [B,C]
	}},
	ClassToken: {true, width, func(m *clipvit.Model, tokens mat.Tensor) []float32 {
		return values(op.ClassRows(tokens, m.Config.Tokens())) // [B,C]
	}},
	PatchMean: {true, width, func(m *clipvit.Model, tokens mat.Tensor) []float32 {
		var y []float32 // [B,C]
		for picture := range slices.Chunk(values(tokens), m.Config.Tokens()*m.Config.Width) {
			y = append(y, mean(picture[m.Config.Width:], m.Config.Width)...)
		}
		return y
	}},
	Patches: {true, func(c clipvit.Config) []int { return []int{c.Patches(), c.Width} }, func(m *clipvit.Model, tokens mat.Tensor) []float32 {
		var y []float32 // [B·(T-1),C]
		for picture := range slices.Chunk(values(tokens), m.Config.Tokens()*m.Config.Width) {
			y = append(y, picture[m.Config.Width:]...)
		}
		return y
	}},
	AllTokens: {true, func(c clipvit.Config) []int { return []int{c.Tokens(), c.Width} }, func(_ *clipvit.Model, tokens mat.Tensor) []float32 {
		return values(tokens) // [B·T,C]
	}},
}

func width(c clipvit.Config) []int { return []int{c.Width} }

func values(x mat.Tensor) []float32 { return mat.Data[float32](x.Value().(mat.Matrix)) }

// postNorm maps the tokens [B·T,C] of the last layer to the post-normed class tokens [B,C].
func postNorm(m *clipvit.Model, tokens mat.Tensor) mat.Tensor {
	return op.LayerNorm(op.ClassRows(tokens, m.Config.Tokens()), m.PostNorm)
}

// mean returns the mean of the rows of x [n,cols].
func mean(x []float32, cols int) []float32 {
	sums := make([]float64, cols)
	for row := range slices.Chunk(x, cols) {
		for i, v := range row {
			sums[i] += float64(v)
		}
	}
	y := make([]float32, cols)
	for i, s := range sums {
		y[i] = float32(s / float64(len(x)/cols))
	}
	return y
}

// Shape returns the shape of the features of one picture: one number, or rows and columns. It returns
// an error if a tower of configuration c does not have them.
func (f Features) Shape(c clipvit.Config) ([]int, error) {
	k, ok := kinds[f.Kind]
	switch n := c.Layers + 1; {
	case !ok:
		return nil, fmt.Errorf("probe: features are %q, want %s, %s, %s, %s, %s or %s", f.Kind, Embedding, PostNorm, ClassToken, PatchMean, Patches, AllTokens)
	case !k.layer && f.Layer != 0:
		return nil, fmt.Errorf("probe: layer is %d, but %s has none", f.Layer, f.Kind)
	case !k.layer && c.NoPostNorm:
		return nil, fmt.Errorf("probe: the tower has no post-norm and so no %s: take %s, %s, %s or %s of a layer", f.Kind, ClassToken, PatchMean, Patches, AllTokens)
	case k.layer && (f.Layer < -n || f.Layer >= n):
		return nil, fmt.Errorf("probe: layer is %d, want %d to %d for this tower", f.Layer, -n, n-1)
	}
	return k.shape(c), nil
}

// vector returns D if the features are one vector a picture.
func (f Features) vector(c clipvit.Config) (int, error) {
	shape, err := f.Shape(c)
	if err != nil {
		return 0, err
	}
	if len(shape) != 1 {
		return 0, fmt.Errorf("probe: %s are %d vectors a picture, want one: take %s, %s, %s or %s", f.Kind, shape[0], Embedding, PostNorm, ClassToken, PatchMean)
	}
	return shape[0], nil
}

// blocks returns how many blocks of the tower the features depend on.
func (f Features) blocks(c clipvit.Config) int {
	switch {
	case !kinds[f.Kind].layer:
		return c.Layers
	case f.Layer < 0:
		return f.Layer + c.Layers + 1
	}
	return f.Layer
}

// Of returns the features of the pictures whose patches [B·G²,3P²] these are, one picture after the
// other. The patches come from [clipvit.Preprocess].
func (f Features) Of(m *clipvit.Model, patches mat.Tensor) ([]float32, error) {
	if _, err := f.Shape(m.Config); err != nil {
		return nil, err
	}
	tokens, err := m.Features(patches, f.blocks(m.Config)) // [B·T,C]
	if err != nil {
		return nil, err
	}
	return kinds[f.Kind].make(m, tokens), nil
}

// Fingerprint returns 64 hexadecimal digits that change with anything of the tower that the features
// depend on, and with nothing else: two towers whose first blocks are the same have the same for the tokens
// that leave those blocks. Which precision the weights are kept in does not matter, but what
// [clipvit.Model.Quantize] made of them does.
func Fingerprint(m *clipvit.Model, f Features) (string, error) {
	if _, err := f.Shape(m.Config); err != nil {
		return "", err
	}
	c, n := m.Config, f.blocks(m.Config)
	c.Layers = n
	if f.Kind != Embedding {
		c.EmbedDim = 0
	}
	c.NoPostNorm = kinds[f.Kind].layer
	if c.NoPostNorm {
		c.EmbedDim = 0
	}
	config, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("probe: %w", err)
	}
	h := sha256.New()
	h.Write(config)
	for i, b := range m.Blocks[:n] {
		for _, l := range slices.Concat(b.Attn.QKVLoRA, b.Attn.OutLoRA, b.MLP.UpLoRA, b.MLP.DownLoRA) {
			fmt.Fprintf(h, "\n%d %v %d", i, l.Scale, l.At) // which are no parameters
		}
	}
	chunk := make([]byte, 0, 1<<16)
	params.Walk(m, func(path string, p *nn.Param) {
		if !f.uses(path, n) {
			return
		}
		fmt.Fprintf(h, "\n%s %v %t\n", path, p.Shape(), op.Quantized(p))
		for part := range slices.Chunk(values(p), cap(chunk)/4) {
			chunk = chunk[:0]
			for _, v := range part {
				chunk = binary.LittleEndian.AppendUint32(chunk, math.Float32bits(v))
			}
			h.Write(chunk)
		}
	})
	return hex.EncodeToString(h.Sum(nil)), nil
}

// uses says whether the features depend on a parameter, if they do on n blocks.
func (f Features) uses(path string, n int) bool {
	switch first, rest, _ := strings.Cut(path, "."); first {
	case "Blocks":
		number, _, _ := strings.Cut(rest, ".")
		i, err := strconv.Atoi(number)
		return err != nil || i < n
	case "PostNorm":
		return !kinds[f.Kind].layer
	case "Proj":
		return f.Kind == Embedding
	}
	return true
}
