// Package projected makes visual tokens with a vision tower and a projector, as LLaVA and InternLM-XComposer do.
// Importing it registers the model types of their checkpoints, and of what vitago converts them to, for the task
// visualtokens.
//
// Programs call tasks.Load, which finds it. [New] makes one of an encoder that is loaded already.
package projected

import (
	"context"
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/projector"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/gate"
	"github.com/vitago/vitago/tasks/visualtokens"
)

// files are what a model has. Those with a * are read where they are, and nothing downloads them: a language model is
// in them too.
var files = []tasks.File{
	{Names: []string{"projector.safetensors"}, Optional: true}, // of a conversion
	{Names: []string{"model.safetensors", "pytorch_model.bin", "*.index.json"}},
}

// models are the values of model_type in config.json: LLaVA's of transformers and of its own, XComposer's, and those of
// towers in what [converter.Model.Convert] writes, or training of a projector.
var models = []string{"llava", "llava_next", "llava_llama", "internlmxcomposer2", "internlm2", "clip_vision_model", "clip"}

func init() {
	for _, model := range models {
		tasks.Register(model, tasks.Provider[visualtokens.Interface]{
			Files: files,
			Load: func(dir string) (visualtokens.Interface, error) {
				m, err := Load(dir, "")
				if err != nil {
					return nil, err // and not an Interface that holds a nil pointer
				}
				return m, nil
			},
		})
	}
}

var _ visualtokens.Interface = &Tokens{}

// Tokens is a [visualtokens.Interface] on an encoder.
type Tokens struct {
	encoder *projector.Encoder
	gate    *gate.Gate // with a place for the one image that is worked on: it may have 26 views, and each takes all cores
}

// New returns what makes tokens with the given encoder, and freezes it. The error says what is wrong with that.
func New(e *projector.Encoder) (*Tokens, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	e.Freeze()
	return &Tokens{encoder: e, gate: gate.New("projected", 1)}, nil
}

// Load returns what makes tokens with the model in directory dir and the named layout, both as
// [converter.Model.Encoder] has them. Options are those of [converter.Open], such as [converter.Prepare].
func Load(dir, layout string, options ...converter.OpenOption) (*Tokens, error) {
	source, err := converter.Open(dir, options...)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	if source.ProjectorConfig() == nil {
		return nil, fmt.Errorf("projected: %s is a clip without a projector, which is what makes tokens of a language model", dir)
	}
	e, err := source.Encoder(context.Background(), layout)
	if err != nil {
		return nil, err
	}
	return New(e)
}

// Tokens implements [visualtokens.Interface]. It looks at ctx while it waits for its turn, and before each block of the tower.
func (m *Tokens) Tokens(ctx context.Context, image []byte) (visualtokens.Response, error) {
	var none visualtokens.Response
	img, leave, err := m.gate.Decode(ctx, image)
	if err != nil {
		return none, err
	}
	defer leave()
	tiles, err := m.encoder.Split(img)
	if err != nil {
		return none, m.gate.Refuse(err)
	}
	y, err := m.encoder.ForwardContext(ctx, tiles) // [N,O]
	switch {
	case ctx.Err() != nil:
		return none, context.Cause(ctx)
	case err != nil:
		return none, fmt.Errorf("projected: %w", gate.Bare(err))
	}
	return visualtokens.Response{Tokens: y.Value().(*mat.Dense[float32]), Rows: tiles.Rows, Cols: tiles.Cols}, nil
}

// Count implements [visualtokens.Interface].
func (m *Tokens) Count(width, height int) (int, error) { return m.encoder.Count(width, height) }
