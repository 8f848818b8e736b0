package clip

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
)

// EncodeText returns the embeddings [B][E] of texts, as OpenAI's encode_text does: not normalised. Texts of like length go
// through the tower together, cut to the longest of them, so that short ones take little time. A text has the same embedding
// whatever stands beside it. The empty text is a text.
//
// No texts are an [ErrRequest], and a model without a text tower is an [ErrNoText]. A text is an [ErrText] if it has more
// tokens than the context, or a letter for which the vocabulary has none; the first of them ends it.
//
// Source: openai/CLIP, clip/model.py, CLIP.encode_text.
func (m *Model) EncodeText(ctx context.Context, texts []string) ([][]float32, error) {
	if len(texts) == 0 && m.hasText {
		return nil, failed(ErrRequest, "got 0 texts, want at least 1")
	}
	return collect(len(texts), m.streamText(ctx, slices.Values(texts), StreamOptions{}, min(max(len(texts), 1), maxTexts)))
}

// textWindow is how many texts of a stream are sorted by their length: more would come later, and fewer would differ more. Of
// captions that have 7 to 17 tokens, 2 in 100 tokens that are computed are then of no text. maxTexts is the same of a list.
const (
	textWindow = 1 << 10
	maxTexts   = 1 << 14
)

// StreamText yields the embeddings of any number of texts, in their order and in constant memory, as [Model.Stream] does of
// pictures. o.Features has to be zero, or [clipvit.Embedding].
func (m *Model) StreamText(ctx context.Context, texts iter.Seq[string], o StreamOptions) iter.Seq2[Encoded, error] {
	return m.streamText(ctx, texts, o, textWindow)
}

func (m *Model) streamText(ctx context.Context, texts iter.Seq[string], o StreamOptions, window int) iter.Seq2[Encoded, error] {
	return func(yield func(Encoded, error) bool) {
		err := o.check()
		if o.Features != (clipvit.Features{}) && o.Features != (clipvit.Features{Kind: clipvit.Embedding}) {
			err = failed(ErrRequest, "features of texts are %s, want %s", o.Features, clipvit.Embedding)
		}
		var t *cliptext.Model
		var k *cliptext.Tokenizer
		if err == nil {
			t, k, err = m.reader(ctx)
		}
		if err != nil {
			yield(Encoded{}, err)
			return
		}
		pipe[string, []int]{
			first:  o.First,
			window: window,
			read: func(i int, text string) (string, []int, error) {
				ids, err := k.Tokenize([]string{text}, t.Config.Context, false)
				if err != nil {
					return text, nil, because(nil, err, fmt.Sprintf("text %d", i+1))
				}
				return text, ids[0], nil
			},
			encode: func(ctx context.Context, all []*pending[[]int]) error {
				for part := range alike(all, o.Batch) {
					if err := encodeTexts(ctx, t, part); err != nil {
						return err
					}
				}
				return nil
			},
		}.run(ctx, texts, o.SkipErrors, yield)
	}
}

// reader returns what texts are encoded with.
func (m *Model) reader(ctx context.Context) (*cliptext.Model, *cliptext.Tokenizer, error) {
	k, _, err := m.Tokenizer() // first: it takes no time
	if err != nil {
		return nil, nil, err
	}
	t, err := m.Text(ctx)
	return t, k, err
}

// alike sorts texts by their length and yields those that go through the tower together, at most as many as a batch has unless
// that is 0. A part that is half full ends before a longer text.
func alike(all []*pending[[]int], batch int) iter.Seq[[]*pending[[]int]] {
	slices.SortStableFunc(all, func(a, b *pending[[]int]) int { return cmp.Compare(len(a.in), len(b.in)) })
	return func(yield func([]*pending[[]int]) bool) {
		lengths := make([]int, len(all))
		for i, x := range all {
			lengths[i] = len(x.in)
		}
		for len(all) > 0 {
			n := Together(lengths, batch)
			if !yield(all[:n]) {
				return
			}
			all, lengths = all[n:], lengths[n:]
		}
	}
}

// encodeTexts gives texts their embeddings.
func encodeTexts(ctx context.Context, m *cliptext.Model, all []*pending[[]int]) error {
	ids := make([][]int, len(all))
	for i, x := range all {
		ids[i] = x.in
	}
	return give(ctx, all, string(clipvit.Embedding), func() (mat.Tensor, error) { return m.ForwardContext(ctx, ids) })
}
