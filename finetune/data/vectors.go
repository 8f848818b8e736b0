package data

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/vitago/vitago/converter/checkpoint"
)

// Vectors are vectors to learn, as many for every picture. They stay in their file until they are asked for:
// those of the patches of 1000 pictures have 10 GB.
type Vectors struct {
	Rows, Width int // of a picture

	path   string
	file   *checkpoint.File
	tensor *checkpoint.Tensor
}

// OpenVectors opens a safetensors file of one tensor, [N,Width] or [N,Rows,Width] for N pictures in the order
// of the data.
func OpenVectors(path string, pictures int) (*Vectors, error) {
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	t := &Vectors{Rows: 1, path: path, file: c}
	err = fmt.Errorf("data: %s has %d tensors, want 1; or those of pictures, for an encoder: a model with a projector, or a layout", path, len(c.Tensors()))
	if all := c.Tensors(); len(all) == 1 {
		t.tensor, err = all[0], nil
		switch s := t.tensor.Shape; {
		case len(s) == 2 && s[0] == pictures:
			t.Width = s[1]
		case len(s) == 3 && s[0] == pictures:
			t.Rows, t.Width = s[1], s[2]
		default:
			err = fmt.Errorf("data: %s: %s has the shape %v, want [%d,…,width] for %d pictures", path, t.tensor.Name, s, pictures, pictures)
		}
	}
	if err == nil && t.Rows*t.Width == 0 {
		err = fmt.Errorf("data: %s: %s has the shape %v: no numbers", path, t.tensor.Name, t.tensor.Shape)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return t, nil
}

// Name returns the name of the file without its folder, and the shape of its tensor.
func (t *Vectors) Name() string { return fmt.Sprintf("%s %v", filepath.Base(t.path), t.tensor.Shape) }

// String returns the path of the file.
func (t *Vectors) String() string { return t.path }

// Close closes the file.
func (t *Vectors) Close() error { return t.file.Close() }

// Of returns the rows of picture i, one after the other.
func (t *Vectors) Of(i int) ([]float32, error) {
	rows := make([]float32, t.Rows*t.Width)
	if err := t.tensor.Part(rows, i*len(rows)); err != nil {
		return nil, fmt.Errorf("data: %s: vectors of picture %d: %w", t.path, i, err)
	}
	return rows, nil
}
