// Package clip encodes images with the vision towers of CLIP. Importing it registers the model types
// "clip" (both towers) and "clip_vision_model" (the vision tower alone) for the task imageencoding.
package clip

import (
	"context"
	"errors"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/gate"
	"github.com/vitago/vitago/tasks/imageencoding"
)

// files are what the hub has of a model. Those with a * [converter.Load] reads, where they are, but
// nothing downloads them. Older models may have no model.safetensors on the hub.
var files = []tasks.File{
	{Names: []string{"preprocessor_config.json"}, Optional: true},
	{Names: []string{"model.safetensors", "pytorch_model.bin", "*.index.json", "*.pt"}},
}

func init() {
	for _, model := range []string{"clip", "clip_vision_model"} {
		tasks.Register(model, tasks.Provider[imageencoding.Interface]{
			Files: files,
			Load: func(dir string) (imageencoding.Interface, error) {
				m, err := LoadImageEncoding(dir)
				if err != nil {
					return nil, err // and not an Interface that holds a nil pointer
				}
				return m, nil
			},
		})
	}
}

// concurrent is how many images are worked on at once; others wait. Decoding takes one core and
// the tower takes all, so a few keep all busy. Each may hold the pixels of a decoded picture and
// the activations of the tower, tens of MB for ViT-L/14-336.
const concurrent = 4

var _ imageencoding.Interface = &ImageEncoding{}

// ImageEncoding is an [imageencoding.Interface] on a vision tower.
type ImageEncoding struct {
	model *clipvit.Model
	gate  *gate.Gate // with as many places as images may be worked on
}

// New returns an encoder with the given tower, and freezes it.
func New(model *clipvit.Model) *ImageEncoding {
	model.Freeze()
	return &ImageEncoding{model: model, gate: gate.New("clip", concurrent)}
}

// LoadImageEncoding returns an encoder with the tower in directory dir, in any form that
// [converter.Load] reads, with its own preprocessing or, by [converter.Prepare], another. It returns an error if the model
// wants preprocessing that cannot be done.
func LoadImageEncoding(dir string, options ...converter.OpenOption) (*ImageEncoding, error) {
	model, err := converter.Load(dir, options...)
	if err != nil {
		return nil, err
	}
	return New(model), nil
}

// EncodeImage implements [imageencoding.Interface]. It looks at ctx while it waits for its turn and
// between decoding and encoding; the tower, once begun, is not interrupted.
func (m *ImageEncoding) EncodeImage(ctx context.Context, image []byte) (imageencoding.Response, error) {
	img, leave, err := m.gate.Decode(ctx, image)
	if err != nil {
		return imageencoding.Response{}, err
	}
	defer leave()
	if err := ctx.Err(); err != nil {
		return imageencoding.Response{}, err
	}
	embeddings, err := m.model.Encode(ctx, img) // [1,E]
	switch {
	case ctx.Err() != nil:
		return imageencoding.Response{}, ctx.Err()
	case err != nil:
		return imageencoding.Response{}, m.gate.Refuse(err)
	}
	kind := clipvit.Embedding
	if m.model.Config.EmbedDim == 0 {
		kind = clipvit.PostNorm
	}
	return imageencoding.Response{Vector: mat.NewDense[float32](mat.WithBacking(embeddings[0])), Kind: kind}, nil // [E,1]
}

// EncodeImages implements [imageencoding.Interface].
func (m *ImageEncoding) EncodeImages(ctx context.Context, r imageencoding.Request) ([]imageencoding.Response, error) {
	return nil, errors.ErrUnsupported
}
