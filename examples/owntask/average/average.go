// Package average is a model that sees nothing of a picture but its average colour. Importing it registers the model type "average"
// for a task of our own, and for one of Vitago's.
package average

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nlpodyssey/spago/mat"
	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imageencoding"

	"github.com/vitago/vitago/examples/owntask/brightness"
)

const weightsFile = "weights.json"

func init() {
	files := []tasks.File{{Names: []string{weightsFile}}} // are downloaded beside config.json
	tasks.Register("average", tasks.Provider[brightness.Interface]{
		Files: files,
		Load:  func(dir string) (brightness.Interface, error) { return load(dir) },
	})
	tasks.Register("average", tasks.Provider[imageencoding.Interface]{
		Files: files,
		Load:  func(dir string) (imageencoding.Interface, error) { return load(dir) },
	})
}

// Model weighs the colours red, green and blue.
type Model struct {
	Weights [3]float64 `json:"weights"` // of brightness; they sum to 1
}

func load(dir string) (*Model, error) {
	text, err := os.ReadFile(filepath.Join(dir, weightsFile))
	if err != nil {
		return nil, err
	}
	m := new(Model)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("average: %s: %w", dir, err)
	}
	return m, nil
}

// colour returns the mean of each channel, from 0 to 1.
func (m *Model) colour(ctx context.Context, image []byte) (mean [3]float64, err error) {
	img, err := clipvit.DecodeImage(bytes.NewReader(image)) // all formats, limits and kinds of errors that Vitago has
	if err != nil {
		return mean, err
	}
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		if ctx.Err() != nil { // as soon as nobody waits any more
			return mean, context.Cause(ctx)
		}
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			for i, v := range [3]uint32{r, g, b} {
				mean[i] += float64(v) / 0xffff
			}
		}
	}
	for i := range mean {
		mean[i] /= float64(b.Dx() * b.Dy())
	}
	return mean, nil
}

// Brightness implements [brightness.Interface].
func (m *Model) Brightness(ctx context.Context, image []byte) (sum float64, err error) {
	c, err := m.colour(ctx, image)
	for i, w := range m.Weights {
		sum += w * c[i]
	}
	return sum, err
}

// EncodeImage implements [imageencoding.Interface]: a vector of three values.
func (m *Model) EncodeImage(ctx context.Context, image []byte) (imageencoding.Response, error) {
	all, err := m.EncodeImages(ctx, imageencoding.Request{Images: [][]byte{image}})
	if err != nil {
		return imageencoding.Response{}, err
	}
	return all[0], nil
}

// EncodeImages implements [imageencoding.Interface].
func (m *Model) EncodeImages(ctx context.Context, r imageencoding.Request) ([]imageencoding.Response, error) {
	if r.Features != (clipvit.Features{}) && r.Features.Kind != clipvit.Embedding {
		return nil, fmt.Errorf("average: %w: features are %s, want %s", imageencoding.ErrRequest, r.Features, clipvit.Embedding)
	}
	var all []imageencoding.Response
	for i, image := range r.Images {
		c, err := m.colour(ctx, image)
		if err != nil {
			return nil, fmt.Errorf("average: image %d: %w", i+1, err)
		}
		vector := []float32{float32(c[0]), float32(c[1]), float32(c[2])}
		if r.Normalize {
			clip.Normalize(vector)
		}
		all = append(all, imageencoding.Response{Vector: mat.NewDense[float32](mat.WithBacking(vector)), Kind: clipvit.Embedding})
	}
	return all, nil
}
