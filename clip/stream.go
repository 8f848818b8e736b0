package clip

import (
	"context"
	"iter"
	"slices"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/pictures"
)

// StreamOptions are choices of [Model.Stream] and [Model.StreamText]. The zero value is fine.
type StreamOptions struct {
	Features   clipvit.Features // of pictures; the zero value is [clipvit.Embedding]
	Batch      int              // how many are encoded together; 0 lets the size of the tower decide
	SkipErrors bool             // one that cannot be read is yielded with its error; otherwise it ends the stream
}

// Encoded is a picture or a text with its vector.
type Encoded struct {
	Index  int       // in the sequence
	Name   string    // of the picture, or the text
	Vector []float32 // nil if Err is not; features of several rows lie one row after the other
	Err    error     // why it could not be encoded, if errors are skipped
}

// Encode returns the embeddings [B][E] of pictures, as OpenAI's encode_image does: not normalised. Of a tower without a
// projection they are the class token after the post-norm [B][C].
//
// No pictures are an [ErrRequest]. The first picture that cannot be encoded ends it.
func (m *Model) Encode(ctx context.Context, all ...Picture) ([][]float32, error) {
	return m.Features(ctx, clipvit.Features{Kind: clipvit.Embedding}, all...)
}

// Features returns what [clipvit.Features] says of pictures: [B][D] or, of several rows a picture, [B][R·D].
func (m *Model) Features(ctx context.Context, f clipvit.Features, all ...Picture) ([][]float32, error) {
	if len(all) == 0 {
		return nil, failed(ErrRequest, "got 0 pictures, want at least 1")
	}
	if f == (clipvit.Features{}) {
		return nil, failed(ErrRequest, "features are none, want a kind of them")
	}
	vectors := make([][]float32, 0, len(all))
	for e, err := range m.Stream(ctx, slices.Values(all), StreamOptions{Features: f}) {
		if err != nil {
			return nil, err
		}
		vectors = append(vectors, e.Vector)
	}
	return vectors, nil
}

// maxBatch bounds the pictures that wait for one another.
const maxBatch = 1 << 10

// Stream yields the features of any number of pictures, in their order and in constant memory. Pictures are decoded ahead of
// use. A list is slices.Values of a slice, and a channel is [Channel] of it: what has come is encoded before it waits for more.
//
// An error ends the stream, but one of a picture with o.SkipErrors. Whoever leaves the loop, or ends ctx, need not wait
// for what is being decoded or encoded; the sequence then goes on to its next picture, at most.
func (m *Model) Stream(ctx context.Context, all iter.Seq[Picture], o StreamOptions) iter.Seq2[Encoded, error] {
	return func(yield func(Encoded, error) bool) {
		if o.Features == (clipvit.Features{}) {
			o.Features.Kind = clipvit.Embedding
		}
		v, err := m.Vision(ctx)
		if err == nil {
			err = check(v.Config, o)
		}
		if err != nil {
			yield(Encoded{}, err)
			return
		}
		if o.Batch == 0 {
			o.Batch = transformer.Part(v.Config.Tokens())
		}
		for group, err := range pictures.Grouped(ctx, all, o.Batch, pictures.Decoders(), func(i int, p Picture) *picture { return prepare(i, p, v.Config) }) {
			if err == nil {
				err = encode(ctx, v, o, group)
			}
			if err != nil {
				yield(Encoded{}, err)
				return
			}
			for _, p := range group {
				if p.Err != nil && !o.SkipErrors {
					yield(Encoded{}, p.Err)
					return
				}
				if !yield(p.Encoded, nil) {
					return
				}
			}
		}
	}
}

// check returns an ErrRequest for what a tower of configuration c does not do.
func check(c clipvit.Config, o StreamOptions) error {
	if err := o.Features.Validate(c); err != nil {
		return because(ErrRequest, err, "")
	}
	if o.Batch < 0 || o.Batch > maxBatch {
		return failed(ErrRequest, "batch is %d, want 1 to %d, or 0", o.Batch, maxBatch)
	}
	return nil
}

// A picture is on its way through the tower.
type picture struct {
	Encoded
	patches []float32 // [G²,3P²]
}

// prepare decodes a picture and makes patches of it.
func prepare(i int, p Picture, c clipvit.Config) *picture {
	x := &picture{Encoded: Encoded{Index: i, Name: p.name}}
	img, err := p.decode()
	if err != nil {
		x.Err = err
		return x
	}
	patches, err := clipvit.Preprocess(img, c)
	if err != nil {
		x.Err = because(ErrImage, err, p.name)
		return x
	}
	x.patches = mat.Data[float32](patches)
	return x
}

// encode gives the pictures of a group that have patches their vectors.
func encode(ctx context.Context, m *clipvit.Model, o StreamOptions, group []*picture) error {
	group = slices.Clone(group)
	if !o.SkipErrors { // none behind the first error is wanted
		if i := slices.IndexFunc(group, func(p *picture) bool { return p.Err != nil }); i >= 0 {
			group = group[:i]
		}
	}
	group = slices.DeleteFunc(group, func(p *picture) bool { return p.Err != nil })
	c := m.Config
	for part := range slices.Chunk(group, transformer.Part(c.Tokens())) {
		patches := make([]float32, 0, len(part)*c.Patches()*c.PatchLen())
		for _, p := range part {
			patches = append(patches, p.patches...)
			p.patches = nil
		}
		y, err := await(ctx, func() ([]float32, error) {
			y, err := o.Features.Of(m, mat.NewDense[float32](mat.WithShape(len(part)*c.Patches(), c.PatchLen()), mat.WithBacking(patches)))
			if err != nil {
				return nil, because(nil, err, "")
			}
			return mat.Data[float32](y.Value().(mat.Matrix)), nil
		})
		if err != nil {
			return err
		}
		n := len(y) / len(part)
		for i, p := range part {
			p.Vector = slices.Clone(y[i*n : (i+1)*n]) // or one would keep all of them in memory
			if err := finite(p.Name, o.Features.String(), p.Vector); err != nil {
				return err
			}
		}
	}
	return nil
}

// finite returns an error if a value of a vector is no number.
func finite(name, what string, x []float32) error {
	if i := slices.IndexFunc(x, func(v float32) bool { return v-v != 0 }); i >= 0 {
		return failed(nil, "%s: %s: value %d of %d is %v, want a finite number: the model's weights are damaged or too large", name, what, i+1, len(x), x[i])
	}
	return nil
}
