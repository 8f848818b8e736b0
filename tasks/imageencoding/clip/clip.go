// Package clip encodes images with the vision towers of CLIP. Importing it registers the model types
// "clip" (both towers) and "clip_vision_model" (the vision tower alone) for the task imageencoding.
//
// Programs call tasks.Load, which finds it. [New] makes one of a model that is loaded already.
package clip

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/gate"
	"github.com/vitago/vitago/tasks/imageencoding"
)

// files are what the hub has of a model. Those with a * [clip.Open] reads, where they are, but
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

// concurrent is how many requests are worked on at once; others wait. Decoding takes one core and
// the tower takes all, so a few keep all busy. Each may hold the pixels of a few decoded pictures and
// the activations of the tower, tens of MB for ViT-L/14-336.
const concurrent = 4

var _ imageencoding.Interface = &ImageEncoding{}

// ImageEncoding is an [imageencoding.Interface] on a vision tower.
type ImageEncoding struct {
	model  *clip.Model
	config clipvit.Config
	gate   *gate.Gate // with as many places as requests may be worked on
}

// New returns an encoder with the vision tower of m, which it loads. Towers in memory are better frozen, as [clip.New] says.
func New(ctx context.Context, m *clip.Model) (*ImageEncoding, error) {
	tower, err := m.Vision(ctx)
	if err != nil {
		return nil, err
	}
	return &ImageEncoding{model: m, config: tower.Config, gate: gate.New("clip", concurrent)}, nil
}

// LoadImageEncoding returns an encoder with the tower in directory dir, in any form that
// [clip.Open] knows, with its own preprocessing or, by a [clip.Checkpoint] option, another. It returns an error if the model
// wants preprocessing that cannot be done.
func LoadImageEncoding(dir string, options ...clip.Option) (*ImageEncoding, error) {
	m, err := clip.Open(dir, options...)
	if err != nil {
		return nil, err
	}
	e, err := New(context.Background(), m)
	return e, errors.Join(err, m.Close()) // the tower is loaded
}

// embedding is what EncodeImage makes.
var embedding = clipvit.Features{Kind: clipvit.Embedding}

// EncodeImage implements [imageencoding.Interface].
func (m *ImageEncoding) EncodeImage(ctx context.Context, image []byte) (imageencoding.Response, error) {
	all, err := m.encode(ctx, [][]byte{image}, 1, embedding, false)
	if err != nil {
		return imageencoding.Response{}, err
	}
	return all[0], nil
}

// EncodeImages implements [imageencoding.Interface]. Vectors are those of EncodeImage, bit for bit.
func (m *ImageEncoding) EncodeImages(ctx context.Context, r imageencoding.Request) ([]imageencoding.Response, error) {
	f := r.Features
	if f == (clipvit.Features{}) {
		f = embedding
	}
	if err := f.Validate(m.config); err != nil {
		return nil, fmt.Errorf("clip: %w: %w", imageencoding.ErrRequest, gate.Bare(err))
	}
	return m.encode(ctx, r.Images, imageencoding.MaxImages, f, r.Normalize)
}

// encode returns the features of images, of which there may be so many.
func (m *ImageEncoding) encode(ctx context.Context, images [][]byte, most int, f clipvit.Features, normalize bool) ([]imageencoding.Response, error) {
	pictures, err := m.gate.Pictures(images, most)
	if err != nil {
		return nil, err
	}
	leave, err := m.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	vectors, err := m.model.Features(ctx, f, pictures...)
	if err != nil {
		return nil, err
	}
	shape, err := f.Shape(m.config)
	if err != nil {
		return nil, err
	}
	cols := shape[len(shape)-1]
	if len(shape) == 1 {
		shape = []int{cols, 1}
	}
	kind := f.Kind
	if kind == clipvit.Embedding && m.config.EmbedDim == 0 {
		kind = clipvit.PostNorm
	}
	all := make([]imageencoding.Response, len(vectors))
	for i, v := range vectors {
		if normalize {
			clip.Normalize(slices.Collect(slices.Chunk(v, cols))...)
		}
		all[i] = imageencoding.Response{Vector: mat.NewDense[float32](mat.WithShape(shape...), mat.WithBacking(v)), Kind: kind} // [E,1] or [T,C]
	}
	return all, nil
}
