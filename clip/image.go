package clip

import (
	"context"
	"image"
	"iter"
	"slices"
	"sync"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
)

// Encode returns the embeddings [B][E] of pictures, as OpenAI's encode_image does: not normalised. Of a tower without a
// projection they are the class token after the post-norm [B][C]. A picture has the same embedding whatever stands beside it.
//
// No pictures are an [ErrRequest], as is a tower that has no embedding. The first picture that cannot be encoded ends it: an
// [ErrImage], an [ErrTooLarge], or the error with which its file cannot be read.
//
// Source: openai/CLIP, clip/model.py, CLIP.encode_image.
func (m *Model) Encode(ctx context.Context, pictures ...Picture) ([][]float32, error) {
	return m.Features(ctx, clipvit.Features{Kind: clipvit.Embedding}, pictures...)
}

// Features returns what f says of pictures: [B][D] or, of features with several rows a picture, [B][R·D]. Its errors are those
// of [Model.Encode].
func (m *Model) Features(ctx context.Context, f clipvit.Features, pictures ...Picture) ([][]float32, error) {
	switch {
	case len(pictures) == 0:
		return nil, failed(ErrRequest, "got 0 pictures, want at least 1")
	case f == clipvit.Features{}:
		return nil, because(ErrRequest, f.Validate(clipvit.Config{}), "")
	}
	return collect(len(pictures), m.Stream(ctx, slices.Values(pictures), StreamOptions{Features: f}))
}

// collect returns the n vectors of a stream.
func collect(n int, stream iter.Seq2[Encoded, error]) ([][]float32, error) {
	vectors := make([][]float32, 0, n)
	for e, err := range stream {
		if err != nil {
			return nil, err
		}
		vectors = append(vectors, e.Vector)
	}
	return vectors, nil
}

// Stream yields the features of any number of pictures, in their order and in constant memory. They are decoded ahead of
// use. A list is slices.Values of it, and a channel is [Channel]: what has come out of it is encoded before more is waited for.
//
// An error ends the stream, but that of a picture with o.SkipErrors. Who leaves the loop, or ends ctx, waits for nothing. The
// pictures that are being decoded and the block of the tower that is being computed are then finished in the background, and no
// more. The sequence runs in a goroutine of its own, which ends at its next picture.
func (m *Model) Stream(ctx context.Context, pictures iter.Seq[Picture], o StreamOptions) iter.Seq2[Encoded, error] {
	return func(yield func(Encoded, error) bool) {
		if o.Features == (clipvit.Features{}) {
			o.Features.Kind = clipvit.Embedding
		}
		err := o.check()
		var v *clipvit.Model
		if err == nil {
			v, err = m.Vision(ctx)
		}
		if err == nil {
			err = because(ErrRequest, o.Features.Validate(v.Config), "")
		}
		if err != nil {
			yield(Encoded{}, err)
			return
		}
		part := transformer.Part(v.Config.Tokens())
		window := windowOf(part, o.Batch)
		pipe[Picture, image.Image]{
			first:  o.First,
			window: window,
			read: func(_ int, p Picture) (string, image.Image, error) {
				square, err := p.square(v.Config)
				return p.name, square, err
			},
			encode: func(ctx context.Context, all []*pending[image.Image]) error {
				for all := range slices.Chunk(all, min(part, window)) {
					if err := encode(ctx, v, o.Features, all); err != nil {
						return err
					}
				}
				return nil
			},
		}.run(ctx, pictures, o.SkipErrors, yield)
	}
}

// readAhead is how many pictures wait for the tower at least, if a batch has as many: some take longer to decode than others.
const readAhead = 8

// windowOf returns how many pictures are encoded before the next are asked for, where a tower takes so many at once and the
// caller wants batches, or 0 for no choice. Those of a larger batch would wait in memory for nothing.
func windowOf(part, batch int) int {
	if batch == 0 {
		return part
	}
	return min(batch, (readAhead+part-1)/part*part)
}

// square returns a picture as the tower sees it: a quarter of the memory of its patches.
func (p Picture) square(c clipvit.Config) (image.Image, error) {
	img, err := p.Decode()
	if err != nil {
		return nil, err
	}
	square, err := c.Transform.Square(img, c.ImageSize)
	if err != nil {
		return nil, because(nil, err, p.name)
	}
	return square, nil
}

// encode gives pictures their features.
func encode(ctx context.Context, m *clipvit.Model, f clipvit.Features, all []*pending[image.Image]) error {
	c := m.Config
	squares := make([]image.Image, len(all))
	for i, x := range all {
		squares[i], x.in = x.in, nil
	}
	patches, err := patchesOf(c, squares, func(i int) string { return all[i].Name })
	if err != nil {
		return err
	}
	return give(ctx, all, f.String(), func() (mat.Tensor, error) {
		return f.OfContext(ctx, m, op.Once(patches, len(all)*c.Patches(), c.PatchLen())) // a block's largest intermediate then takes their place
	})
}

// patchesOf returns the patches [B·G²,3P²] of squares, of whom name gives the name, in memory of the kernel's pool.
func patchesOf(c clipvit.Config, squares []image.Image, name func(i int) string) ([]float32, error) {
	n := c.Patches() * c.PatchLen()
	patches := kernel.Get(len(squares) * n)
	errs := make([]error, len(squares))
	var cuts sync.WaitGroup
	for i, square := range squares {
		cuts.Go(func() { errs[i] = clipvit.Cut(patches[i*n:(i+1)*n], square, c) })
	}
	cuts.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, because(nil, err, name(i))
		}
	}
	return patches, nil
}
