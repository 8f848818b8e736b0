package finetune

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/projector"
)

// SetTargets makes c learn the vectors t: by the embedding if there is one for each picture, and if there is
// one for each patch by a projector, that of the checkpoint like or a new one, which becomes c's head. Of a new one kind is the
// type, as [projector.Config] has it, or "" for mlp2x_gelu; layer is whose patches the projector gets, or nil for what the
// checkpoint says, or else the last but one, as XComposer2 and LLaVA-1.5 do. An encoder of c learns them as its tokens.
func (c *Config) SetTargets(ctx context.Context, t *data.Vectors, d Distance, like *converter.Model, kind string, layer *int) error {
	c.Objective = &Regression{Distance: d, Target: t.Of, What: t.Name()}
	if c.Encoder != nil {
		if out := c.Encoder.Projector.Config.Out; out != t.Width {
			return fmt.Errorf("finetune: %s has vectors of %d numbers, the projector gives %d", t, t.Width, out)
		}
		return nil
	}
	tower := c.Tower.Config
	switch {
	case t.Rows == 1 && t.Width != tower.OutputDim():
		return fmt.Errorf("finetune: %s has vectors of %d numbers, the embedding has %d", t, t.Width, tower.OutputDim())
	case t.Rows == 1:
		return nil
	case t.Rows != tower.Patches():
		return fmt.Errorf("finetune: %s has %d vectors for each picture, want 1, or %d for the patches", t, t.Rows, tower.Patches())
	}
	c.Features = clipvit.Features{Kind: clipvit.Patches, Layer: -2}
	var head *projector.Model
	if like.ProjectorConfig() != nil {
		p, err := like.Projector(ctx)
		if err != nil {
			return err
		}
		if head = p.Model; p.Config.SelectLayer != nil {
			c.Features.Layer = *p.Config.SelectLayer
		}
		if head.Config.Out != t.Width {
			return fmt.Errorf("finetune: %s has vectors of %d numbers, the checkpoint's projector gives %d", t, t.Width, head.Config.Out)
		}
		head.Unfreeze()
	} else {
		var err error
		if head, err = projector.New(projector.Config{Type: cmp.Or(kind, "mlp2x_gelu"), In: tower.Width, Out: t.Width}); err != nil {
			return err
		}
		head.Init(rand.New(rand.NewPCG(c.Seed, 2))) // the second stream of the seed; the first is LoRA's
	}
	if layer != nil {
		c.Features.Layer = *layer
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
	if err := sameLevels(a, b, name); err != nil {
		return err
	}
	if b.NoPostNorm {
		return fmt.Errorf("finetune: the teacher %s has no post-norm, and so no embedding", name)
	}
	teacher.Freeze()
	c.Objective = &Distillation{Distance: d, Teacher: teacher, What: fmt.Sprintf("%s (%.12s)", name, hashOf(teacher))}
	return nil
}

// sameLevels returns an error if a teacher b wants the pixels that a tower a gets with another mean or deviation. How a
// picture becomes these pixels is the tower's.
func sameLevels(a, b clipvit.Config, name string) error {
	x, y := a.Transform.Resolved(), b.Transform.Resolved()
	if x.Mean != y.Mean || x.Std != y.Std {
		return fmt.Errorf("finetune: the teacher %s has mean %v and deviation %v, the tower %v and %v: want the same", name, y.Mean, y.Std, x.Mean, x.Std)
	}
	return nil
}
