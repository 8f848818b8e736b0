package finetune

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/projector"
)

// Targets are vectors to learn, as many for every picture. They stay in their file until they are asked for:
// those of the patches of 1000 pictures have 10 GB.
type Targets struct {
	Rows, Width int // of a picture

	path   string
	file   *checkpoint.File
	tensor *checkpoint.Tensor
}

// OpenTargets opens a safetensors file of one tensor, [N,Width] or [N,Rows,Width] for N pictures in the order
// of the data.
func OpenTargets(path string, pictures int) (*Targets, error) {
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	t := &Targets{Rows: 1, path: path, file: c}
	err = fmt.Errorf("finetune: %s has %d tensors, want 1; or those of pictures, for an encoder: a model with a projector, or a layout", path, len(c.Tensors()))
	if all := c.Tensors(); len(all) == 1 {
		t.tensor, err = all[0], nil
		switch s := t.tensor.Shape; {
		case len(s) == 2 && s[0] == pictures:
			t.Width = s[1]
		case len(s) == 3 && s[0] == pictures:
			t.Rows, t.Width = s[1], s[2]
		default:
			err = fmt.Errorf("finetune: %s: %s has the shape %v, want [%d,…,width] for %d pictures", path, t.tensor.Name, s, pictures, pictures)
		}
	}
	if err == nil && t.Rows*t.Width == 0 {
		err = fmt.Errorf("finetune: %s: %s has the shape %v: no numbers", path, t.tensor.Name, t.tensor.Shape)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return t, nil
}

// Close closes the file.
func (t *Targets) Close() error { return t.file.Close() }

// Of returns the rows of picture i, one after the other.
func (t *Targets) Of(i int) ([]float32, error) {
	rows := make([]float32, t.Rows*t.Width)
	if err := t.tensor.Part(rows, i*len(rows)); err != nil {
		return nil, fmt.Errorf("finetune: %s: vectors of picture %d: %w", t.path, i, err)
	}
	return rows, nil
}

// A ProjectorChoice says which projector learns from vectors of patches. The zero value is that of the
// checkpoint, or else XComposer2's and LLaVA-1.5's kind on what these take: the last layer but one.
type ProjectorChoice struct {
	Type  string // of a new one, as [projector.Config] has it; "" is mlp2x_gelu
	Layer *int   // whose patches it gets; nil is what the checkpoint says, or else -2
}

// SetTargets makes c learn the vectors t: by the embedding if there is one for each picture, and if there is
// one for each patch by a projector, that of the checkpoint like or a new one, which becomes c's head. An encoder of c
// learns them as its tokens.
func (c *Config) SetTargets(t *Targets, d Distance, like *converter.Model, choice ProjectorChoice) error {
	c.Objective = &Regression{Distance: d, Target: t.Of, What: fmt.Sprintf("%s %v", filepath.Base(t.path), t.tensor.Shape)}
	if c.Encoder != nil {
		if out := c.Encoder.Projector.Config.Out; out != t.Width {
			return fmt.Errorf("finetune: %s has vectors of %d numbers, the projector gives %d", t.path, t.Width, out)
		}
		return nil
	}
	tower := c.Tower.Config
	switch {
	case t.Rows == 1 && t.Width != tower.OutputDim():
		return fmt.Errorf("finetune: %s has vectors of %d numbers, the embedding has %d", t.path, t.Width, tower.OutputDim())
	case t.Rows == 1:
		return nil
	case t.Rows != tower.Patches():
		return fmt.Errorf("finetune: %s has %d vectors for each picture, want 1, or %d for the patches", t.path, t.Rows, tower.Patches())
	}
	c.Features = clipvit.Features{Kind: clipvit.Patches, Layer: -2}
	var head *projector.Model
	if p, err := like.Projector(context.Background()); err == nil {
		if head = p.Model; p.Config.SelectLayer != nil {
			c.Features.Layer = *p.Config.SelectLayer
		}
		if head.Config.Out != t.Width {
			return fmt.Errorf("finetune: %s has vectors of %d numbers, the checkpoint's projector gives %d", t.path, t.Width, head.Config.Out)
		}
		head.Unfreeze()
	} else {
		if choice.Type == "" {
			choice.Type = "mlp2x_gelu"
		}
		if head, err = projector.New(projector.Config{Type: choice.Type, In: tower.Width, Out: t.Width}); err != nil {
			return err
		}
		head.Init(rand.New(rand.NewPCG(c.Seed, 2))) // the second stream of the seed; the first is LoRA's
	}
	if choice.Layer != nil {
		c.Features.Layer = *choice.Layer
	}
	c.Head = head
	return nil
}

// SetTeacher makes c learn the embeddings of another tower, which is frozen for it.
func (c *Config) SetTeacher(teacher *clipvit.Model, name string, d Distance) error {
	a, b := c.Tower.Config, teacher.Config
	for _, f := range []struct {
		what    string
		is, has int
	}{{"pixels a side", a.ImageSize, b.ImageSize}, {"pixels a patch", a.PatchSize, b.PatchSize}, {"numbers in an embedding", a.OutputDim(), b.OutputDim()}} {
		if f.is != f.has {
			return fmt.Errorf("finetune: the teacher %s has %d %s, the tower %d: want the same", name, f.has, f.what, f.is)
		}
	}
	if b.NoPostNorm {
		return fmt.Errorf("finetune: the teacher %s has no post-norm, and so no embedding", name)
	}
	teacher.Freeze()
	c.Objective = &Distillation{Distance: d, Teacher: teacher, What: fmt.Sprintf("%s (%.12s)", name, hashOf(teacher))}
	return nil
}
