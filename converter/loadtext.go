package converter

import (
	"fmt"

	"github.com/vitago/vitago/cliptext"
)

// LoadText reads the text tower of the checkpoint at path, as [Load] reads the vision tower. The tokenizer
// is not part of a checkpoint: [cliptext.ReadTokenizer] reads it, from the directory that [Convert] wrote
// with [Options.Vocab] or from OpenAI's list.
func LoadText(path string) (*cliptext.Model, error) {
	c, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return LoadTextCheckpoint(c)
}

// LoadTextCheckpoint is [LoadText] from a checkpoint that is open already.
func LoadTextCheckpoint(c *Checkpoint) (*cliptext.Model, error) {
	m, err := resolve(c)
	if err != nil {
		return nil, err
	}
	t := m.config.Text
	if t == nil {
		return nil, fmt.Errorf("converter: %s: has no text tower", c.Name())
	}
	filled := map[string]bool{}
	model, err := cliptext.NewFrozen(t.tower(), func(path string, values []float32) error {
		path = textPath(path)
		filled[path] = true
		return m.load(path, values)
	})
	if err != nil {
		return nil, err
	}
	for path := range m.params {
		if isText(path) && !filled[path] {
			panic(fmt.Sprintf("converter: the text tower has no parameter %s", path)) // a mistake of the tables
		}
	}
	return model, nil
}

// tower returns the configuration as the text tower has it.
func (t *TextConfig) tower() cliptext.Config {
	return cliptext.Config{
		Vocab: t.Vocab, Context: t.Context, Width: t.Width, Heads: t.Heads, Layers: t.Layers, MLPWidth: t.MLPWidth,
		EmbedDim: t.EmbedDim, Activation: t.Activation, NormEps: t.NormEps, End: t.EOS,
	}
}

// textPath returns the canonical name of a parameter of the text tower.
func textPath(path string) string {
	if path == "LogitScale" { // of both towers together
		return path
	}
	return "Text." + path
}
