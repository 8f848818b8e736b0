package converter

import (
	"context"
	"fmt"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter/checkpoint"
)

// Load reads the vision tower of the checkpoint at path, which may be a directory that [Convert]
// wrote or any other checkpoint that [Open] knows. The model is frozen; every parameter has been
// filled exactly once.
//
// What tensors do not say is taken from config.json or open_clip_config.json in the same directory.
// Where nothing says it, as for OpenAI's names outside its own archives, the error is
// [ErrActivation]; see [Checkpoint.Assume]. A preprocessor_config.json that is beside the tensors must say what
// [clipvit.Preprocess] does; to use a tower with other preprocessing of one's own, name the file of
// the tensors, not its directory.
func Load(path string) (*clipvit.Model, error) {
	c, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return LoadCheckpoint(c)
}

// LoadCheckpoint is [Load] from a checkpoint that is open already.
func LoadCheckpoint(c *Checkpoint) (*clipvit.Model, error) {
	m, err := resolve(c)
	if err != nil {
		return nil, err
	}
	if !m.has.vision {
		return nil, fmt.Errorf("converter: %s: has a projector and no vision tower", c.Name())
	}
	filled := map[string]bool{}
	model, err := clipvit.NewFrozen(m.config.Vision, func(path string, values []float32) error {
		filled[path] = true
		return m.load(path, values)
	})
	if err != nil {
		return nil, err
	}
	for path := range m.params {
		if !filled[path] && !isText(path) && !strings.HasPrefix(path, "Projector.") {
			panic(fmt.Sprintf("converter: the model has no parameter %s", path)) // a mistake of the tables
		}
	}
	return model, nil
}

// verify returns an error if the container has other checksums of what parameters are read from.
func (m *clip) verify(ctx context.Context, params ...param) error {
	var tensors []*checkpoint.Tensor
	for _, p := range params {
		for _, q := range p {
			tensors = append(tensors, q.t)
		}
	}
	return m.Verify(ctx, tensors...)
}

// load reads a canonical parameter, after verifying its checksum.
func (m *clip) load(path string, values []float32) error {
	src := m.params[path]
	if src.len() != len(values) {
		// The tables do not fit the model: a mistake of this program, which a test excludes.
		panic(fmt.Sprintf("converter: parameter %s has %d elements, want %d", path, src.len(), len(values)))
	}
	if err := m.verify(context.Background(), src); err != nil {
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
