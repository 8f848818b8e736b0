package converter

import (
	"context"
	"fmt"

	"github.com/vitago/vitago/cliptext"
)

// Text reads the text tower, as [Model.Vision] reads the vision tower. The tokenizer is not part of
// the tensors: [Model.Tokenizer] finds it.
func (m *Model) Text(ctx context.Context) (*cliptext.Model, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	t := m.config.Text
	if t == nil {
		return nil, fmt.Errorf("converter: %s: has no text tower", m.name)
	}
	filled := map[string]bool{}
	tower, err := cliptext.NewFrozen(t.tower(), func(path string, values []float32) error {
		path = textPath(path)
		filled[path] = true
		return m.read(ctx, path, values)
	})
	if err != nil {
		return nil, err
	}
	for path := range m.params {
		if isText(path) && !filled[path] {
			panic(fmt.Sprintf("converter: the text tower has no parameter %s", path)) // a mistake of the tables
		}
	}
	return tower, nil
}

// tower returns the configuration as the text tower has it.
func (t *TextConfig) tower() cliptext.Config {
	return cliptext.Config{
		Vocab: t.Vocab, Context: t.Context, Width: t.Width, Heads: t.Heads, Layers: t.Layers, MLPWidth: t.MLPWidth,
		EmbedDim: t.EmbedDim, Activation: t.Activation, NormEps: t.NormEps, End: t.EOS, PoolLargest: t.PoolLargest,
	}
}

// textPath returns the canonical name of a parameter of the text tower.
func textPath(path string) string {
	if path == "LogitScale" { // of both towers together
		return path
	}
	return "Text." + path
}
