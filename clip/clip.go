package clip

import (
	"context"
	"sync/atomic"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
)

// Model is a CLIP: a vision tower, and perhaps a text tower with its tokenizer. It may be used by many goroutines at once.
type Model struct {
	name       string
	checkpoint *converter.Model // nil of New
	closed     atomic.Bool
	hasText    bool

	vision    *lazy[*clipvit.Model]
	text      *lazy[*cliptext.Model]
	tokenizer *lazy[tokenizer]
}

// tokenizer is what Tokenizer returns.
type tokenizer struct {
	*cliptext.Tokenizer
	assumed bool
}

type options struct {
	open       []converter.OpenOption
	vocabulary string
	int8, bf16 bool
}

// An Option is a choice of [Open].
type Option func(*options)

// Checkpoint gives options to [converter.Open], such as [converter.Assume], [converter.Prepare] and [converter.Adapter].
func Checkpoint(o ...converter.OpenOption) Option {
	return func(all *options) { all.open = append(all.open, o...) }
}

// Vocabulary names the file or directory of the tokenizer, as [converter.Model.Tokenizer] takes it, in the place of the
// model's own.
func Vocabulary(path string) Option { return func(all *options) { all.vocabulary = path } }

// Int8 rounds the weights of both towers to 8 bits when they are loaded, as [clipvit.Model.Quantize] does.
func Int8() Option { return func(all *options) { all.int8, all.bf16 = true, false } }

// BF16 rounds the weights of both towers to bfloat16 when they are loaded, as [clipvit.Model.ToBF16] does. It is for
// processors where [clipvit.BF16Pays].
func BF16() Option { return func(all *options) { all.bf16, all.int8 = true, false } }

// Open finds the model of a checkpoint, in any form that [converter.Open] knows. It reads no weights yet, and must be closed
// in the end.
func Open(path string, o ...Option) (*Model, error) {
	var all options
	for _, option := range o {
		option(&all)
	}
	c, err := converter.Open(path, all.open...)
	if err != nil {
		return nil, because(nil, err, "")
	}
	m := &Model{name: path, checkpoint: c, hasText: c.Stated().Text != nil}
	m.vision = newLazy(func(ctx context.Context) (*clipvit.Model, error) {
		tower, err := load(ctx, m, c.Vision)
		switch {
		case err == nil && all.int8:
			tower.Quantize()
		case err == nil && all.bf16:
			tower.ToBF16()
		case err != nil && ctx.Err() == nil && c.Stated().Vision.Width == 0: // a projector alone
			err = because(ErrRequest, err, "")
		}
		return tower, err
	})
	m.text = newLazy(func(ctx context.Context) (*cliptext.Model, error) {
		tower, err := load(ctx, m, c.Text)
		switch {
		case err == nil && all.int8:
			tower.Quantize()
		case err == nil && all.bf16:
			tower.ToBF16()
		}
		return tower, err
	})
	m.tokenizer = newLazy(func(ctx context.Context) (tokenizer, error) {
		return load(ctx, m, func(context.Context) (tokenizer, error) {
			t, assumed, err := c.Tokenizer(all.vocabulary)
			return tokenizer{t, assumed}, err
		})
	})
	return m, nil
}

// load reads a part of a checkpoint.
func load[T any](ctx context.Context, m *Model, read func(context.Context) (T, error)) (v T, err error) {
	if m.closed.Load() {
		return v, failed(nil, "%s: the model has been closed", m.name)
	}
	v, err = read(ctx)
	switch {
	case err == nil:
		return v, nil
	case ctx.Err() != nil:
		return v, context.Cause(ctx)
	}
	return v, because(nil, err, "")
}

// New returns the model of towers in memory, either of which may be nil. The text tower wants a tokenizer. Towers are
// better frozen: otherwise a graph is made of every batch.
func New(vision *clipvit.Model, text *cliptext.Model, t *cliptext.Tokenizer) *Model {
	if text != nil && t == nil {
		panic("clip: a text tower without a tokenizer")
	}
	m := &Model{name: "model", hasText: text != nil, vision: loaded(vision), text: loaded(text), tokenizer: loaded(tokenizer{t, false})}
	return m
}

// Close closes the files of the model. What is loaded by then can still be used.
func (m *Model) Close() error {
	if m.checkpoint == nil || m.closed.Swap(true) {
		return nil
	}
	return m.checkpoint.Close()
}

// Name returns the path that was opened, "model" of [New].
func (m *Model) Name() string { return m.name }

// Checkpoint returns what was opened, nil of [New].
func (m *Model) Checkpoint() *converter.Model { return m.checkpoint }

// HasText reports whether the model has a text tower. It reads no weights.
func (m *Model) HasText() bool { return m.hasText }

// Vision returns the vision tower, frozen if it was opened.
func (m *Model) Vision(ctx context.Context) (*clipvit.Model, error) {
	v, err := m.vision.get(ctx)
	if err == nil && v == nil {
		return nil, failed(ErrRequest, "%s: has no vision tower", m.name)
	}
	return v, err
}

// Text returns the text tower, frozen if it was opened. Without one the error is [ErrNoText].
func (m *Model) Text(ctx context.Context) (*cliptext.Model, error) {
	if !m.hasText {
		return nil, m.noText()
	}
	return m.text.get(ctx)
}

// ReleaseText lets go of the text tower, whose memory is free after the next run of the collector: for who has encoded all
// texts, and goes on with pictures. It is loaded again when it is wanted. A model of [New] keeps its towers.
func (m *Model) ReleaseText() { m.text.forget() }

// Tokenizer returns what reads texts for the text tower. Assumed says that the checkpoint names none, and that it is
// OpenAI's. Without a text tower the error is [ErrNoText]; one without a tokenizer is [cliptext.ErrVocabulary].
func (m *Model) Tokenizer() (t *cliptext.Tokenizer, assumed bool, err error) {
	if !m.hasText {
		return nil, false, m.noText()
	}
	k, err := m.tokenizer.get(context.Background())
	return k.Tokenizer, k.assumed, err
}

func (m *Model) noText() error {
	return failed(ErrNoText, "%s: has no text tower", m.name)
}
