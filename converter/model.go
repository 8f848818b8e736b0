package converter

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
)

// A Model is a checkpoint that holds a whole model: a CLIP, or the vision half of one, and perhaps a
// projector, or a projector alone. It knows every parameter and where that lies; weights stay in the files
// until a method reads them. Methods may be called by many goroutines at once, but for Close, and change
// nothing of it.
type Model struct {
	file    *checkpoint.File
	name    string          // for errors: the path
	beside  configs         // what the files beside the tensors say
	words   []cliptext.File // of the tokenizer, of a directory that is part of the program; nil of others
	assumed transformer.Activation

	dialect   *dialect
	choice    clipvit.Choice     // in the place of what files say of preprocessing
	transform *clipvit.Transform // likewise, the whole of it; nil if the files say it
	library   string             // whose rules the preprocessing is by: the name of a preset of clipvit
	config    Config             // Vision is zero without a tower
	stated    Config             // the same as shapes and files say it, where they may say nothing of activation and heads
	unsure    error              // why the activation is not known, if there is more to say of that than ErrActivation
	unsettled error              // what is missing in config, or wrong, and keeps it from computing
	projector *ProjectorConfig
	sizes     sizes
	has       inventory
	params    map[string]param // by canonical path
	head      *head            // a classifier on the tower; nil if there is none
	excused   []string         // tensors that are no parameters
	language  int              // tensors of the language model, which are left where they are
	adapters  []string         // directories of those that have been merged
}

// An OpenOption is a choice of [Open], [OpenReader] and [Inspect].
type OpenOption func(*source)

// Assume declares the activation of a tower for which neither its container nor a configuration says it.
// Contradicting one that does is an error of whatever needs it. "" declares nothing.
func Assume(a transformer.Activation) OpenOption { return func(s *source) { s.assumed = a } }

// Prepare declares how images are prepared for the tower, in the place of what its files say. Another choice than there is
// is an error of the opening, as is one for a checkpoint without a tower.
func Prepare(c clipvit.Choice) OpenOption { return func(s *source) { s.choice = c } }

// Prepared declares a whole transform in the place of what files say, as that of an index in which other images are to be found. One
// that the tower cannot do, and a [Prepare] that changes something beside it, is an error of the opening.
func Prepared(t clipvit.Transform) OpenOption { return func(s *source) { s.transform = &t } }

// Open finds a model in a checkpoint: a file in one of the containers that [checkpoint.Open] knows, or a
// directory that holds such files and perhaps a config.json. It reads no weights yet, and must be closed in
// the end.
//
// It returns a [*MismatchError] with everything that keeps the tensors from being a whole model. What is known
// of none, as an activation that nothing says ([ErrActivation]), is no error before something is to be
// computed or written with it.
func Open(path string, options ...OpenOption) (*Model, error) {
	s, err := openSource(path, options)
	if err != nil {
		return nil, err
	}
	return s.model()
}

// OpenReader is [Open] for one file of the given size that need not lie on a disk. The name
// stands in errors.
func OpenReader(r io.ReaderAt, size int64, name string, options ...OpenOption) (*Model, error) {
	f, err := checkpoint.OpenReader(r, size, name)
	if err != nil {
		return nil, err
	}
	return newSource(f, options).model()
}

// model aligns the tensors of a source, which the model closes with itself.
func (s *source) model() (*Model, error) {
	m, err := align(s)
	if err != nil {
		s.file.Close()
		return nil, err
	}
	return m, nil
}

// Close closes the files.
func (m *Model) Close() error { return m.file.Close() }

// Container returns what kind of file or files the model is in.
func (m *Model) Container() string { return m.file.Container() }

// Path returns the path that was opened, or the name of what was read.
func (m *Model) Path() string { return m.name }

// Dialect returns whose names the tensors have: "OpenAI", "Hugging Face", …
func (m *Model) Dialect() string { return m.dialect.name }

// Stated returns the configuration as far as shapes and the files beside them say it: activations may be ""
// and heads 0. [Info.Config] is the one that is computed with.
func (m *Model) Stated() Config {
	c := m.stated
	if c.Text != nil {
		text := *c.Text
		c.Text = &text
	}
	return c
}

// ProjectorConfig returns what is known of the projector, nil if there is none.
func (m *Model) ProjectorConfig() *ProjectorConfig { return m.projector.clone() }

// LanguageModel returns how many tensors of a language model there are, those of shards that are not there
// included. None of them is ever read, but for the SHA-256.
func (m *Model) LanguageModel() int { return m.language }

// SHA256 returns the SHA-256 of the file in hexadecimal, or of all files of tensors one after the other if
// there are several. It reads all of them, the first time that it is asked.
func (m *Model) SHA256(ctx context.Context) (string, error) { return m.file.SHA256(ctx) }

// clone returns a model of the same parameters of which some may be left out or replaced.
func (m *Model) clone() *Model {
	c := *m
	if c.config.Text != nil {
		text := *c.config.Text
		c.config.Text = &text
	}
	c.projector = c.projector.clone()
	c.excused = slices.Clone(c.excused)
	c.sizes, c.params = maps.Clone(c.sizes), maps.Clone(c.params)
	c.has.extra = maps.Clone(c.has.extra)
	return &c
}

// ready returns an error if something is not known without which nothing can be computed.
func (m *Model) ready() error { return m.wrap(m.unsettled) }

// wrap puts the model's name before an error.
func (m *Model) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("converter: %s: %w", m.name, err)
}

// lacks returns the error that there is one part and not the other.
func (m *Model) lacks(has, part string) error {
	return fmt.Errorf("converter: %s: has a %s and no %s", m.name, has, part)
}

// verify returns an error if the container has other checksums of what parameters are read from.
func (m *Model) verify(ctx context.Context, params ...param) error {
	var tensors []*checkpoint.Tensor
	for _, q := range slices.Concat(params...) {
		tensors = append(tensors, q.t)
	}
	return m.file.Verify(ctx, tensors...)
}

// read fills values with a canonical parameter, after verifying its checksum.
func (m *Model) read(ctx context.Context, path string, values []float32) error {
	if ctx.Err() != nil {
		return m.wrap(context.Cause(ctx))
	}
	src := m.params[path]
	if src.len() != len(values) {
		// The tables do not fit the model: a mistake of this program, which a test excludes.
		panic(fmt.Sprintf("converter: parameter %s has %d elements, want %d", path, src.len(), len(values)))
	}
	return m.fill(ctx, src, values)
}

// fill reads the elements of parts of tensors, after verifying their checksums.
func (m *Model) fill(ctx context.Context, src param, values []float32) error {
	if err := m.verify(ctx, src); err != nil {
		return err
	}
	for _, q := range src {
		if err := q.t.Part(values[:q.n], q.lo); err != nil {
			return err
		}
		values = values[q.n:]
	}
	return nil
}
