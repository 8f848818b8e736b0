package explain

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/pillow"
)

// A Method is how a map is made.
type Method string

const (
	// Relevance is attention times its gradient, by Chefer et al.: R ← R + mean over heads of max(0, P·∂score/∂P)·R, block by
	// block from the identity on; the map is the class token's row of R. The score is the logit: the cosine times the scale that
	// the model has learnt.
	Relevance Method = "relevance"
	// Rollout is the product of the blocks' attention, each (mean over heads of P + identity)/2, by Abnar and Zuidema.
	Rollout Method = "rollout"
	// Similarity is the cosine of the caption with each patch that leaves the last block, through post-norm and projection.
	Similarity Method = "similarity"
)

// Methods returns all methods.
func Methods() []Method { return []Method{Relevance, Rollout, Similarity} }

// Options say how maps are made.
type Options struct {
	// Method is [Relevance] if it is empty.
	Method Method
	// Blocks is how many blocks take part, the last ones: the authors' start_layer is L-Blocks. Zero is all for Rollout. For
	// Relevance it is 1 of 12 or more, which the authors chose for CLIP's ViT-B/32, and all of fewer: in scenes to
	// validate on the model in package demo points about as well with all 4 as with 2, and worse with 1. Similarity has no choice and
	// wants zero.
	Blocks int
}

// manyBlocks is how many blocks the tower has for which the authors of Relevance chose the last one.
const manyBlocks = 12

// blocks returns how many of n blocks take part.
func (o Options) blocks(n int) (int, error) {
	switch {
	case o.Method == Similarity && o.Blocks != 0:
		return 0, badRequest("%d blocks for %s, which is of the last block's patches alone: want 0", o.Blocks, o.Method)
	case o.Blocks < 0 || o.Blocks > n:
		return 0, badRequest("%d blocks, want 1 to %d for this tower, or 0 for the method's own", o.Blocks, n)
	case o.Method == Similarity:
		return 0, nil
	case o.Blocks != 0:
		return o.Blocks, nil
	case o.Method == Relevance && n >= manyBlocks:
		return 1, nil
	}
	return n, nil
}

// check returns the options with what their zero fields stand for, or what is wrong with them for a method of a caption or a class.
func (o Options) check() (Options, error) {
	switch o.Method {
	case "":
		o.Method = Relevance
	case Relevance, Similarity:
	case Rollout:
		return o, badRequest("%s is the same for every caption and class: Attention makes it", Rollout)
	default:
		return o, badRequest("method is %.40q, want one of %q", o.Method, Methods())
	}
	return o, nil
}

// embedding is what a caption is compared with.
var embedding = clipvit.Features{Kind: clipvit.Embedding}

// Caption returns the map of a picture for one caption, as [Captions] does.
func Caption(ctx context.Context, m *clip.Model, p clip.Picture, caption string, o Options) (*Map, error) {
	maps, err := Captions(ctx, m, p, []string{caption}, o)
	if err != nil {
		return nil, err
	}
	return maps[0], nil
}

// Captions returns a map of a picture for each caption, by [Relevance] or [Similarity]. Both towers must be frozen, as those of
// [clip.Open] are. In bfloat16 or int8 the gradients are those of the rounded weights, as if nothing else were rounded.
//
// No captions, a tower that is not frozen and options that the tower does not have are a [clip.ErrRequest]. A model without a
// text tower is a [clip.ErrNoText], and a caption that the tokenizer does not take a [clip.ErrText]. Errors of the picture are
// those of [clip.Model.Encode].
func Captions(ctx context.Context, m *clip.Model, p clip.Picture, captions []string, o Options) ([]*Map, error) {
	o, err := o.check()
	if err != nil {
		return nil, err
	}
	if len(captions) == 0 {
		return nil, badRequest("got 0 captions, want at least 1")
	}
	tokenizer, _, err := m.Tokenizer()
	if err != nil {
		return nil, err
	}
	text, err := m.Text(ctx)
	if err != nil {
		return nil, err
	}
	if transformer.WantsGrad(text) {
		return nil, unfrozen("text")
	}
	tower, err := m.Vision(ctx)
	if err != nil {
		return nil, err
	}
	blocks, err := o.blocks(embedding.Blocks(tower.Config))
	if err != nil {
		return nil, err
	}
	read := make([]*reading, len(captions))
	for i, caption := range captions { // what is wrong with them is said before the picture takes time
		if read[i], err = readCaption(ctx, text, tokenizer, caption, blocks); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		} else if err != nil {
			return nil, because(err, fmt.Sprintf("caption %d", i+1))
		}
	}
	v, err := look(ctx, m, p, embedding, o)
	if err != nil {
		return nil, err
	}
	if got, want := len(read[0].vector), len(v.features); got != want {
		return nil, badRequest("embeddings of pictures have %d values, those of texts %d", want, got)
	}
	maps := make([]*Map, len(captions))
	for i, r := range read {
		if maps[i], err = v.mapOf(ctx, o, target{name: captions[i], vector: r.vector, scale: text.Scale(), cosine: true}); err != nil {
			return nil, err
		}
		if o.Method == Relevance {
			if maps[i].Tokens, err = r.tokens(ctx, v.features, text.Scale()); err != nil {
				return nil, err
			}
		}
	}
	return maps, nil
}

// Direction returns the map of a picture for the scalar product of its features f and a direction [D], by [Relevance] or
// [Similarity]: such as the logit of a class whose row in a linear head is the direction. name is the map's caption. Features
// are [clipvit.Embedding], [clipvit.PostNorm] or [clipvit.ClassToken]. Errors are those of [Captions].
func Direction(ctx context.Context, m *clip.Model, p clip.Picture, f clipvit.Features, name string, direction []float32, o Options) (*Map, error) {
	o, err := o.check()
	if err != nil {
		return nil, err
	}
	v, err := look(ctx, m, p, f, o)
	if err != nil {
		return nil, err
	}
	if got, want := len(direction), len(v.features); got != want {
		return nil, badRequest("a direction of %d values, want %d for %s of this tower", got, want, f)
	}
	return v.mapOf(ctx, o, target{name: name, vector: direction, scale: 1})
}

// Attention returns the map of a picture by [Rollout], for which there is no caption. o.Method has to be that, or empty.
// Errors are those of [Captions].
func Attention(ctx context.Context, m *clip.Model, p clip.Picture, o Options) (*Map, error) {
	if o.Method != "" && o.Method != Rollout {
		return nil, badRequest("method is %.40q, want %s: others are of a caption", o.Method, Rollout)
	}
	o.Method = Rollout
	v, err := look(ctx, m, p, clipvit.Features{Kind: clipvit.ClassToken, Layer: -1}, o)
	if err != nil {
		return nil, err
	}
	return v.newMap(o, "", v.rollout())
}

// A view is a picture that has gone through a tower.
type view struct {
	tower    *clipvit.Model
	kind     clipvit.FeatureKind
	name     string
	image    image.Image        // as the tower has it before it is scaled
	blocks   transformer.Blocks // that take part
	inputs   []mat.Tensor       // of blocks, and what leaves the last [T,C]
	seen     [][]float32        // of Rollout: the mean of the heads' probabilities [T,T] of each
	features []float32          // [D]
}

// look sends a picture through a tower.
func look(ctx context.Context, m *clip.Model, p clip.Picture, f clipvit.Features, o Options) (*view, error) {
	tower, err := m.Vision(ctx)
	if err != nil {
		return nil, err
	}
	c := tower.Config
	if transformer.WantsGrad(tower) {
		return nil, unfrozen("vision")
	}
	if err := f.Validate(c); err != nil {
		return nil, because(err, "")
	}
	if !slices.Contains([]clipvit.FeatureKind{clipvit.Embedding, clipvit.PostNorm, clipvit.ClassToken}, f.Kind) {
		return nil, badRequest("features are %s, want %s, %s or %s: what is made of the class token", f, clipvit.Embedding, clipvit.PostNorm, clipvit.ClassToken)
	}
	n := f.Blocks(c)
	last, err := o.blocks(n)
	if err != nil {
		return nil, err
	}
	img, err := p.Decode()
	if err != nil {
		return nil, err
	}
	v := &view{tower: tower, kind: f.Kind, name: p.Name(), blocks: tower.Blocks[n-last : n]}
	if v.image, err = c.Transform.RGB(img); err != nil {
		return nil, because(err, p.Name())
	}
	patches, err := clipvit.Preprocess(img, c)
	if err != nil {
		return nil, because(err, p.Name())
	}
	if err := v.forward(ctx, patches, tower.Blocks[:n], o.Method == Rollout); err != nil {
		return nil, err
	}
	if err := finite(v.features); err != nil {
		return nil, fmt.Errorf("explain: %s: %w", p.Name(), err)
	}
	return v, nil
}

// A target is what a map is of.
type target struct {
	name   string
	vector []float32 // [D]
	scale  float64   // of the score
	cosine bool      // the score is a cosine, and not a scalar product
}

// mapOf returns the map of a target.
func (v *view) mapOf(ctx context.Context, o Options, t target) (*Map, error) {
	if err := finite(t.vector); err != nil {
		return nil, fmt.Errorf("explain: %q: %w", t.name, err)
	}
	var values []float64
	if o.Method == Similarity {
		values = v.similarity(t.vector)
	} else {
		var err error
		if values, err = v.relevance(ctx, t); err != nil {
			return nil, err
		}
	}
	m, err := v.newMap(o, t.name, values)
	if err != nil {
		return nil, err
	}
	m.Score = clip.Cosine(v.features, t.vector)
	if !t.cosine {
		m.Score = dot(v.features, t.vector)
	}
	return m, nil
}

// newMap returns the map of the values [T] or [G²].
func (v *view) newMap(o Options, caption string, values []float64) (*Map, error) {
	c := v.tower.Config
	b := v.image.Bounds()
	m := &Map{
		Picture: v.name, Caption: caption, Method: o.Method, Blocks: len(v.blocks), Grid: c.Grid(), Image: v.image,
		Window: c.Transform.Window(b.Dx(), b.Dy(), c.ImageSize),
	}
	for _, x := range values[len(values)-c.Patches():] {
		m.Values = append(m.Values, float32(x))
	}
	if err := finite(m.Values); err != nil {
		return nil, fmt.Errorf("explain: %s: %w", v.name, err)
	}
	return m, nil
}

// readCaption makes the vector of a caption.
func readCaption(ctx context.Context, text *cliptext.Model, k *cliptext.Tokenizer, caption string, blocks int) (*reading, error) {
	ids, err := k.Tokenize([]string{caption}, text.Config.Context, false)
	if err != nil {
		return nil, err
	}
	r := &reading{tower: text, blocks: text.Blocks[text.Config.Layers-min(blocks, text.Config.Layers):]}
	if err := r.forward(ctx, ids[0]); err != nil {
		return nil, err
	}
	words := ids[0][:r.length()]
	for _, id := range words[min(1, len(words)-1) : len(words)-1] {
		r.words = append(r.words, strings.TrimSpace(k.Decode([]int{id})))
	}
	return r, nil
}

// unit returns x of length 1, or zero if x is, times scale.
func unit(x []float32, scale float64) []float32 {
	n := math.Sqrt(dot(x, x))
	y := make([]float32, len(x))
	for i, v := range x {
		if n > 0 {
			y[i] = float32(scale * float64(v) / n)
		}
	}
	return y
}

func dot(x, y []float32) (sum float64) {
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return sum
}

// finite returns an error unless all values are numbers.
func finite(x []float32) error {
	for _, v := range x {
		if v-v != 0 {
			return fmt.Errorf("a value is %v, want a number: the model's weights are damaged or too large", v)
		}
	}
	return nil
}

// unfit is an error of a kind, with a text of its own.
type unfit struct {
	text string
	kind error
}

func (u unfit) Error() string { return u.text }
func (u unfit) Unwrap() error { return u.kind }

func badRequest(format string, a ...any) error {
	return unfit{"explain: " + fmt.Sprintf(format, a...), clip.ErrRequest}
}

func unfrozen(tower string) error {
	return badRequest("the %s tower is not frozen, and its parameters would gather gradients: Freeze it, or a copy", tower)
}

// because returns an error with the name of what it befell in front. One of features is an [clip.ErrRequest].
func because(err error, name string) error {
	kind := err
	if name == "" {
		kind = errors.Join(clip.ErrRequest, err)
	} else {
		name += ": "
	}
	return unfit{"explain: " + name + pillow.Bare(err, "clip", "clipvit", "cliptext").Error(), kind}
}
