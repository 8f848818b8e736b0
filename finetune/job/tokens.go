package job

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/projector"
)

// A tokenRun is what it takes to learn the tokens of a language model.
type tokenRun struct {
	encoder *projector.Encoder // nil if it is something else that is learnt
	teacher *projector.Encoder // nil if there are targets
	named   bool               // the targets have a tensor for each picture, by name
}

// findEncoder decides whether tokens are learnt, and loads what turns pictures into them: tower and projector of the model,
// or the tower with a new projector. Tokens are learnt from a teacher or targets if the recipe trains a projector and any
// model has one or a layout is given, or if both model and teacher have one, or the targets have several rows a picture.
func (j *Job) findEncoder(ctx context.Context, recipe finetune.Recipe) (s tokenRun, err error) {
	r := j.request
	if r.Teacher == "" && r.Targets == "" {
		return s, nil
	}
	has := j.like.ProjectorConfig()
	shape, tensors := []int(nil), 0
	if r.Teacher != "" {
		if s.teacher, err = r.teacherEncoder(ctx, recipe, has != nil); err != nil {
			return s, err
		}
	} else if shape, tensors, err = shapeOf(r.Targets); err != nil {
		return s, err
	}
	named := tensors > 1 || tensors == 1 && len(shape) == 2 && recipe.Projector && (has != nil || r.Layout != "")
	rows := named || len(shape) == 3 // for each picture
	if s.teacher == nil && (!rows || has == nil && r.Layout == "") {
		return s, cmp.Or(r.withoutEncoder(), r.withoutProjector(rows))
	}
	s.named = named
	if r.Fit != "" {
		return s, bad("{fit} is %s, and it is tokens that are learnt, where the layout makes the squares: give {layout}", r.Fit)
	}
	switch {
	case has == nil && r.InitProjector:
		return s, bad("{init_projector} is of models with a projector, and %s has none: a new one begins so", r.Model)
	case has != nil && r.given("projector"):
		return s, bad("{projector} is the type of a new one, and %s has one", r.Model)
	case has != nil:
		if s.encoder, err = j.like.Encoder(ctx, r.Layout); err != nil {
			return s, err
		}
		if r.InitProjector {
			s.encoder.Init(r.Seed)
		}
		if r.Layer != nil {
			s.encoder.Select.Layer = *r.Layer
		}
	default:
		if s.encoder, err = j.newEncoder(ctx, s.teacher, shape); err != nil {
			return s, err
		}
	}
	if r.HDNum > 0 {
		if s.encoder.Layout.Fit != projector.Tile {
			return s, bad("{hd_num} is of layouts of tiles, and this is %q", s.encoder.Layout.Name)
		}
		s.encoder.Layout.HDNum = r.HDNum
	}
	if s.teacher != nil {
		s.teacher.Layout = s.encoder.Layout
	}
	return s, s.encoder.Validate()
}

// withoutProjector returns an error if something of a projector is asked for, and it is no rows for each picture that are learnt.
func (r Request) withoutProjector(rows bool) error {
	for _, name := range []string{"projector", "layer"} {
		if !rows && r.given(name) {
			return bad("{" + name + "} is of tokens and of vectors for patches, and it is embeddings that are learnt")
		}
	}
	return nil
}

// teacherEncoder loads that of the teacher if its tokens are to be learnt, and otherwise returns nil; has says whether the
// model has a projector.
func (r Request) teacherEncoder(ctx context.Context, recipe finetune.Recipe, has bool) (*projector.Encoder, error) {
	c, err := converter.Open(r.Teacher, converter.Assume(r.Activation), converter.Prepare(clipvit.Choice{EXIF: r.EXIF}))
	if err != nil {
		return nil, fmt.Errorf("job: the teacher: %w", err)
	}
	defer c.Close()
	p := c.ProjectorConfig()
	if p == nil && recipe.Projector {
		return nil, fmt.Errorf("job: %s has no projector, and so no tokens to learn", r.Teacher)
	}
	if p == nil || !has && !recipe.Projector {
		return nil, nil
	}
	return c.Encoder(ctx, r.Layout)
}

// shapeOf returns the shape of the first tensor of a file, and how many there are.
func shapeOf(path string) (shape []int, n int, err error) {
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("job: the targets: %w", err)
	}
	defer c.Close()
	all := c.Tensors()
	if len(all) == 0 {
		return nil, 0, fmt.Errorf("job: %s has no tensors", path)
	}
	return all[0].Shape, len(all), nil
}

const (
	newProjector = "mlp2x_gelu" // the type of a new projector that nothing says
	newLayer     = -2           // that it gets its patches of
)

// newEncoder gives the tower a new projector: like the teacher's, or for targets of a shape.
func (j *Job) newEncoder(ctx context.Context, teacher *projector.Encoder, shape []int) (*projector.Encoder, error) {
	r := j.request
	tower, err := j.like.Vision(ctx)
	if err != nil {
		return nil, err
	}
	layer, kind, out := newLayer, r.Projector, 0
	var l projector.Layout
	if teacher != nil {
		layer, l, out = teacher.Select.Layer, teacher.Layout, teacher.Projector.Config.Out
		kind = cmp.Or(kind, teacher.Projector.Config.Type)
	} else {
		if l, err = projector.FindLayout(r.Layout); err != nil {
			return nil, err
		}
		out = shape[len(shape)-1]
	}
	if r.Layer != nil {
		layer = *r.Layer
	}
	return projector.NewEncoder(tower, l, layer, cmp.Or(kind, newProjector), out, r.Seed)
}

// together says how many pictures go through the encoder at once: a picture of several views is alone.
func (s tokenRun) together(r finetune.Recipe) finetune.Recipe {
	if s.encoder != nil && s.encoder.Layout.Views() > 1 {
		r.Batch, r.Accumulate = 1, r.Batch*r.Accumulate
	}
	return r
}

// tower returns what is trained, or stands below it.
func (s tokenRun) tower(ctx context.Context, like *converter.Model) (*clipvit.Model, error) {
	if s.encoder != nil {
		return s.encoder.Tower, nil
	}
	return like.Vision(ctx)
}

// layout returns what loaders make of pictures.
func (s tokenRun) layout() *projector.Layout {
	if s.encoder == nil {
		return nil
	}
	return &s.encoder.Layout
}

// learnTokens has it learn the tokens of a teacher or of a file.
func (j *Job) learnTokens(ctx context.Context, c *finetune.Config, s tokenRun, distance finetune.Distance) error {
	r := j.request
	c.Encoder = s.encoder
	distance = cmp.Or(distance, finetune.SquareDistance) // whose tokens have the right length as well
	p := s.encoder.Projector.Config
	j.facts = append(j.facts, [2]string{"tokens", fmt.Sprintf("layout %s, layer %d, %s from %d to %d", s.encoder.Layout.Name, s.encoder.Select.Layer, p.Type, p.In, p.Out)})
	if s.teacher != nil {
		j.learns("the tokens of %s", r.Teacher)
		return c.SetTeacherEncoder(s.teacher, filepath.Base(r.Teacher), distance)
	}
	sets := []*data.Dataset{c.Train.(*data.Loader).Data}
	if !s.named {
		return j.regress(ctx, c, len(sets[0].Samples), distance)
	}
	if l, ok := c.Validation.(*data.Loader); ok {
		sets = append(sets, l.Data)
	}
	targets, err := data.OpenTokens(r.Targets, sets...)
	if err != nil {
		return err
	}
	j.opened = append(j.opened, targets)
	j.learns("the tokens in %s", r.Targets)
	c.SetTokenTargets(targets, distance)
	return targets.Fits(s.encoder, sets...)
}
