package clip

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/pictures"
)

// EncodeText returns the embeddings [B][E] of texts, as OpenAI's encode_text does: not normalised. Texts of like length go
// through the tower together, each batch cut to its longest. The empty text is one, too.
//
// No texts are an [ErrRequest], a model without a text tower is [ErrNoText], and a text that is too long is an [ErrText].
func (m *Model) EncodeText(ctx context.Context, texts []string) ([][]float32, error) {
	if len(texts) == 0 && m.hasText {
		return nil, failed(ErrRequest, "got 0 texts, want at least 1")
	}
	vectors := make([][]float32, 0, len(texts))
	for e, err := range m.StreamText(ctx, slices.Values(texts), StreamOptions{}) {
		if err != nil {
			return nil, err
		}
		vectors = append(vectors, e.Vector)
	}
	return vectors, nil
}

// textWindow is how many texts are sorted by their length at a time.
const textWindow = 1 << 12

// StreamText yields the embeddings of any number of texts, in their order and in constant memory, as [Model.Stream] does of
// pictures. o.Features has to be zero, or [clipvit.Embedding].
func (m *Model) StreamText(ctx context.Context, texts iter.Seq[string], o StreamOptions) iter.Seq2[Encoded, error] {
	return func(yield func(Encoded, error) bool) {
		t, k, err := m.reader(ctx)
		switch {
		case err != nil:
		case o.Features != clipvit.Features{} && o.Features != clipvit.Features{Kind: clipvit.Embedding}:
			err = failed(ErrRequest, "features of texts are %s, want %s", o.Features, clipvit.Embedding)
		case o.Batch < 0 || o.Batch > maxBatch:
			err = failed(ErrRequest, "batch is %d, want 1 to %d, or 0", o.Batch, maxBatch)
		}
		if err != nil {
			yield(Encoded{}, err)
			return
		}
		for group, err := range pictures.Grouped(ctx, texts, textWindow, pictures.Decoders(), func(i int, text string) *sentence { return tokenize(i, text, k, t.Config.Context) }) {
			if err == nil {
				err = encodeTexts(ctx, t, o, group)
			}
			if err != nil {
				yield(Encoded{}, err)
				return
			}
			for _, x := range group {
				if x.Err != nil && !o.SkipErrors {
					yield(Encoded{}, x.Err)
					return
				}
				if !yield(x.Encoded, nil) {
					return
				}
			}
		}
	}
}

// reader returns what texts are read by.
func (m *Model) reader(ctx context.Context) (*cliptext.Model, *cliptext.Tokenizer, error) {
	k, _, err := m.Tokenizer() // first, which takes no time
	if err != nil {
		return nil, nil, err
	}
	t, err := m.Text(ctx)
	return t, k, err
}

// A sentence is a text on its way through the tower.
type sentence struct {
	Encoded
	ids []int
}

func tokenize(i int, text string, k *cliptext.Tokenizer, context int) *sentence {
	x := &sentence{Encoded: Encoded{Index: i, Name: text}}
	ids, err := k.Tokenize([]string{text}, context, false)
	if err != nil {
		x.Err = because(ErrText, err, "")
		return x
	}
	x.ids = ids[0]
	return x
}

// encodeTexts gives the texts of a group that have ids their vectors.
func encodeTexts(ctx context.Context, m *cliptext.Model, o StreamOptions, group []*sentence) error {
	group = slices.Clone(group)
	if !o.SkipErrors { // none behind the first error is wanted
		if i := slices.IndexFunc(group, func(x *sentence) bool { return x.Err != nil }); i >= 0 {
			group = group[:i]
		}
	}
	group = slices.DeleteFunc(group, func(x *sentence) bool { return x.Err != nil })
	slices.SortStableFunc(group, func(a, b *sentence) int { return cmp.Compare(len(a.ids), len(b.ids)) })
	for len(group) > 0 {
		n := 1
		for n < len(group) && n+1 <= transformer.Part(len(group[n].ids)) && (o.Batch == 0 || n < o.Batch) {
			n++
		}
		batch := make([][]int, n)
		for i, x := range group[:n] {
			batch[i] = x.ids
		}
		y, err := await(ctx, func() ([]float32, error) {
			y, err := m.Forward(batch)
			if err != nil {
				return nil, because(nil, err, "")
			}
			return mat.Data[float32](y.Value().(mat.Matrix)), nil
		})
		if err != nil {
			return err
		}
		e := len(y) / n
		for i, x := range group[:n] {
			x.Vector = slices.Clone(y[i*e : (i+1)*e])
			if err := finite(x.Name, string(clipvit.Embedding), x.Vector); err != nil {
				return err
			}
		}
		group = group[n:]
	}
	return nil
}
