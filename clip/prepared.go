package clip

import (
	"bytes"
	"context"
	"image"
	"slices"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/op"
)

// Prepared is a picture as a vision tower sees it: decoded, scaled and cut out. It takes a few bytes a pixel of the tower.
type Prepared struct {
	name   string
	square image.Image
	size   int // pixels of its side
}

// Prepare reads a picture for the vision tower. What c says takes the place of what the model's files say of preprocessing; a c that is
// not valid is an [ErrRequest], and other errors are those of [Model.Encode]. It is for who batches pictures himself: see
// [Model.EncodePrepared].
func (m *Model) Prepare(ctx context.Context, p Picture, c clipvit.Choice) (*Prepared, error) {
	v, err := m.Vision(ctx)
	if err != nil {
		return nil, err
	}
	config := v.Config
	if c != (clipvit.Choice{}) {
		if err := c.Validate(); err != nil {
			return nil, because(ErrRequest, err, "")
		}
		config.Transform = c.Apply(config.Transform)
	}
	square, err := p.square(config)
	if err != nil {
		return nil, err
	}
	return &Prepared{p.name, square, config.ImageSize}, nil
}

// Batch returns how many pictures go through the vision tower together: more at once are not faster.
func (m *Model) Batch(ctx context.Context) (int, error) {
	v, err := m.Vision(ctx)
	if err != nil {
		return 0, err
	}
	return transformer.Part(v.Config.Tokens()), nil
}

// EncodePrepared returns what f says of pictures that [Model.Prepare] made, as [Model.Features] does: [B][D] or, of features with several
// rows a picture, [B][R·D]. The vectors are the same bits whatever is encoded together. It computes where it is called, and returns when
// that is done, or ctx's cause after the block in which ctx ends; a picture for a tower of another size is a mistake of the program, and panics.
func (m *Model) EncodePrepared(ctx context.Context, f clipvit.Features, all ...*Prepared) ([][]float32, error) {
	v, err := m.Vision(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, failed(ErrRequest, "got 0 pictures, want at least 1")
	}
	if err := f.Validate(v.Config); err != nil {
		return nil, because(ErrRequest, err, "")
	}
	vectors := make([][]float32, 0, len(all))
	for part := range slices.Chunk(all, transformer.Part(v.Config.Tokens())) {
		squares := make([]image.Image, len(part))
		for i, p := range part {
			if p.size != v.Config.ImageSize {
				panic("clip: a picture that was prepared for another model")
			}
			squares[i] = p.square
		}
		name := func(i int) string { return part[i].name }
		patches, err := patchesOf(v.Config, squares, name)
		if err != nil {
			return nil, err
		}
		y, err := f.OfContext(ctx, v, op.Once(patches, len(part)*v.Config.Patches(), v.Config.PatchLen()))
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, because(nil, err, "")
		}
		some, err := rowsOf(mat.Data[float32](y.Value().(mat.Matrix)), len(part), f.String(), name)
		if err != nil {
			return nil, err
		}
		vectors = append(vectors, some...)
	}
	return vectors, nil
}

// Tokenize returns the ids of a text with its begin and end, as the text tower wants them. One that is longer than the context is cut if
// truncate is set, as OpenAI's tokenize(truncate=True) does. Its errors are those of [Model.EncodeText].
func (m *Model) Tokenize(ctx context.Context, text string, truncate bool) ([]int, error) {
	t, k, err := m.reader(ctx)
	if err != nil {
		return nil, err
	}
	ids, err := k.Tokenize([]string{text}, t.Config.Context, truncate)
	if err != nil {
		return nil, because(nil, err, "")
	}
	return ids[0], nil
}

// EncodeTokens returns the embeddings [B][E] of texts that [Model.Tokenize] read, as [Model.EncodeText] does. Those of like length should
// come together: see [Together]. It computes where it is called, and returns when that is done, or ctx's cause after the
// block in which ctx ends.
func (m *Model) EncodeTokens(ctx context.Context, all ...[]int) ([][]float32, error) {
	t, err := m.Text(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, failed(ErrRequest, "got 0 texts, want at least 1")
	}
	y, err := t.ForwardContext(ctx, all)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, because(nil, err, "")
	}
	return rowsOf(mat.Data[float32](y.Value().(mat.Matrix)), len(all), string(clipvit.Embedding), func(int) string { return "" })
}

// Together returns how many of the first of some texts should go through a text tower together, given how many tokens each has, in
// ascending order: at most batch unless that is 0. What is half full ends before a longer text.
func Together(lengths []int, batch int) int {
	n := 1
	for ; n < len(lengths) && (batch == 0 || n < batch); n++ {
		if full := transformer.Part(lengths[n]); n >= full || n >= full/2 && lengths[n] > lengths[n-1] {
			break
		}
	}
	return min(n, len(lengths))
}

// SizeOf returns the width and height of a picture that is in memory as the content of a file, from its headers alone. Its errors are
// those of [Model.Encode].
func SizeOf(name string, file []byte) (width, height int, err error) {
	width, height, err = clipvit.ImageSize(bytes.NewReader(file))
	return width, height, because(nil, err, name)
}
