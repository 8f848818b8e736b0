// Package clip encodes texts with the text towers of CLIP, for cybertron's own task textencoding. Importing it registers
// the model type "clip"; all other types are loaded as before, by cybertron.
//
// Programs call tasks.Load, which finds it. [New] makes one of a model that is loaded already.
package clip

import (
	"context"
	"errors"
	"fmt"

	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/gate"
)

// Pooling is the only strategy that [TextEncoding.Encode] takes, the default of cybertron's BERT, bert.ClsTokenPooling: the
// state of one token stands for the text. CLIP's is the last, which the tower then projects.
const Pooling = 0

// files are what the hub has of a model. Those with a * are read where they are, but nothing downloads them. The
// tokenizer is optional, since that of OpenAI's models is part of the program.
var files = []tasks.File{
	{Names: []string{"tokenizer_config.json"}, Optional: true},
	{Names: []string{"tokenizer.json", "vocab.json"}, Optional: true},
	{Names: []string{"merges.txt"}, Optional: true},
	{Names: []string{"model.safetensors", "pytorch_model.bin", "*.index.json", "*.pt"}},
}

func init() {
	tasks.Register("clip", tasks.Provider[textencoding.Interface]{
		Files: files,
		Load: func(dir string) (textencoding.Interface, error) {
			m, err := LoadTextEncoding(dir)
			if err != nil {
				return nil, err // and not an Interface that holds a nil pointer
			}
			return m, nil
		},
	})
}

// concurrent is how many texts are worked on at once; others wait. The tower takes all cores for each.
const concurrent = 4

var _ textencoding.Interface = &TextEncoding{}

// TextEncoding is a [textencoding.Interface] on a text tower.
type TextEncoding struct {
	model *clip.Model
	gate  *gate.Gate
}

// New returns an encoder with the text tower of m. Without one the error is [clip.ErrNoText].
func New(ctx context.Context, m *clip.Model) (*TextEncoding, error) {
	if _, _, err := m.Tokenizer(); err != nil {
		return nil, err
	}
	if _, err := m.Text(ctx); err != nil {
		return nil, err
	}
	return &TextEncoding{model: m, gate: gate.New("clip", concurrent)}, nil
}

// LoadTextEncoding returns an encoder with the text tower and the tokenizer in directory dir, in any form that
// [clip.Open] knows.
func LoadTextEncoding(dir string, options ...clip.Option) (*TextEncoding, error) {
	m, err := clip.Open(dir, options...)
	if err != nil {
		return nil, err
	}
	e, err := New(context.Background(), m)
	return e, errors.Join(err, m.Close()) // both parts are loaded
}

// Encode implements [textencoding.Interface]. The vector [E,1] is that of OpenAI's encode_text, not normalised, and lies in
// the space of the images. A text that is too long is a [textencoding.ErrInputSequenceTooLong] and a [clip.ErrText];
// nothing is cut. poolingStrategy has to be [Pooling].
func (m *TextEncoding) Encode(ctx context.Context, text string, poolingStrategy int) (textencoding.Response, error) {
	var none textencoding.Response
	if poolingStrategy != Pooling {
		return none, fmt.Errorf("clip: pooling strategy is %d, want %d: CLIP's tower projects the state of the last token, and has no other", poolingStrategy, Pooling)
	}
	leave, err := m.gate.Enter(ctx)
	if err != nil {
		return none, err
	}
	defer leave()
	embeddings, err := m.model.EncodeText(ctx, []string{text})
	switch {
	case errors.Is(err, clip.ErrText) && m.tooLong(ctx, text):
		return none, fmt.Errorf("%w: %w", err, textencoding.ErrInputSequenceTooLong)
	case err != nil:
		return none, err
	}
	return textencoding.Response{Vector: mat.NewDense[float32](mat.WithBacking(embeddings[0]))}, nil
}

// tooLong says whether a text that cannot be encoded could be if it were cut.
func (m *TextEncoding) tooLong(ctx context.Context, text string) bool {
	t, _, err := m.model.Tokenizer()
	if err != nil {
		return false
	}
	tower, err := m.model.Text(ctx)
	if err != nil {
		return false
	}
	_, err = t.Tokenize([]string{text}, tower.Config.Context, true)
	return err == nil
}
