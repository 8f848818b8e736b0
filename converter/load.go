package converter

import (
	"context"
	"errors"
	"fmt"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/params"
)

// Load reads the vision tower of the checkpoint at path, which may be a directory that [Convert]
// wrote or any other checkpoint that [Open] knows. The model is frozen; every parameter has been
// filled exactly once.
//
// What tensors do not say is taken from config.json, and without one as OpenAI has it: quick_gelu,
// and heads of 64 columns. A preprocessor_config.json that is beside the tensors must say what
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
	if err := c.scan(context.Background(), nil); err != nil {
		return nil, err
	}
	model, err := clipvit.New(m.config.Vision)
	if err != nil {
		return nil, fmt.Errorf("converter: %s: %w", c.name, err)
	}
	model.Freeze()
	filled := 0
	var errs []error
	params.Walk(model, func(path string, p *nn.Param) {
		src, ok := m.params[path]
		dst := mat.Data[float32](p) // not a copy: the parameter is filled in place
		if !ok || src.len() != len(dst) {
			// The tables do not fit the model: a mistake of this program, which a test excludes.
			panic(fmt.Sprintf("converter: parameter %s has %d elements, want %d", path, src.len(), len(dst)))
		}
		filled++
		for _, q := range src {
			errs = append(errs, q.t.float32s(dst[:q.n], q.lo))
			dst = dst[q.n:]
		}
	})
	for path := range m.params {
		if !isText(path) {
			filled--
		}
	}
	if filled != 0 {
		panic(fmt.Sprintf("converter: the model has %d parameters more than the tables", filled))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return model, nil
}
