package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/projector"
)

// A tokenRun is what it takes to learn the tokens of a language model.
type tokenRun struct {
	encoder *projector.Encoder     // nil if it is something else that is learnt
	teacher *projector.Encoder     // nil if there are targets
	named   bool                   // the targets have a tensor for each picture, by name
	targets *finetune.TokenTargets // nil if they are not named
}

// findEncoder decides whether tokens are learnt, and loads what turns pictures into them: tower and projector of the model,
// or the tower with a new projector. Tokens are learnt from a teacher or targets if the recipe trains a projector and any
// model has one or a layout is given, or if both model and teacher have one, or the targets have several rows a picture.
func (s *session) findEncoder(ctx context.Context, r finetune.Recipe, activation transformer.Activation) (err error) {
	if s.teacher == "" && s.finetuneFlags.targets == "" {
		return nil
	}
	has, err := s.like.Projector()
	if err != nil {
		return err
	}
	trainsProjector := r.Name == "projector" || r.Name == "xcomposer"
	teacherHas, shape, tensors := false, []int(nil), 0
	if s.teacher != "" {
		c, err := openModel(s.teacher, activation)
		if err != nil {
			return err
		}
		defer c.Close()
		p, err := c.Projector()
		if err != nil {
			return err
		}
		if teacherHas = p != nil; !teacherHas && trainsProjector {
			return fmt.Errorf("finetune: %s has no projector, and so no tokens to learn", s.teacher)
		}
		if teacherHas && (has != nil || trainsProjector) {
			if s.tokens.teacher, err = converter.LoadEncoderCheckpoint(ctx, c, s.layout); err != nil {
				return err
			}
		}
	} else if shape, tensors, err = shapeOf(s.finetuneFlags.targets); err != nil {
		return err
	}
	s.tokens.named = tensors > 1 || tensors == 1 && len(shape) == 2 && trainsProjector && (has != nil || s.layout != "")
	rows := s.tokens.named || len(shape) == 3 // for each picture
	if s.tokens.teacher == nil && (!rows || has == nil && s.layout == "") {
		s.tokens.named = false
		return s.withoutEncoder()
	}
	switch {
	case has != nil && s.changed("projector"):
		return usagef("--projector is the type of a new one, and %s has one", s.model)
	case has != nil:
		if s.tokens.encoder, err = converter.LoadEncoderCheckpoint(ctx, s.like, s.layout); err != nil {
			return err
		}
		if s.initProjector {
			finetune.InitEncoder(s.tokens.encoder, s.seed)
		}
		if s.changed("layer") {
			s.tokens.encoder.Select.Layer = s.layer
		}
	default:
		if err := s.newEncoder(shape); err != nil {
			return err
		}
	}
	if s.hdNum > 0 {
		if s.tokens.encoder.Layout.Fit != projector.Tile {
			return usagef("--hd-num is of layouts of tiles, and this is %q", s.tokens.encoder.Layout.Name)
		}
		s.tokens.encoder.Layout.HDNum = s.hdNum
	}
	if s.tokens.teacher != nil {
		s.tokens.teacher.Layout = s.tokens.encoder.Layout
	}
	return s.tokens.encoder.Validate()
}

// withoutEncoder returns an error if there are flags of what turns pictures into tokens.
func (f *finetuneFlags) withoutEncoder() error {
	if f.layout != "" || f.hdNum > 0 || f.initProjector {
		return usagef("--layout, --hd-num and --init-projector are of models with a projector, or the recipe projector, and tokens from --teacher or --targets")
	}
	return nil
}

// shapeOf returns the shape of the first tensor of a file, and how many there are.
func shapeOf(path string) (shape []int, n int, err error) {
	c, err := converter.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	all := c.Tensors()
	if len(all) == 0 {
		return nil, 0, fmt.Errorf("finetune: %s has no tensors", path)
	}
	return all[0].Shape, len(all), nil
}

// newProjector is the type of a new projector that nothing says.
const newProjector = "mlp2x_gelu"

// newEncoder gives the tower a new projector: like the teacher's, or for targets of a shape.
func (s *session) newEncoder(shape []int) error {
	tower, err := converter.LoadCheckpoint(s.like)
	if err != nil {
		return err
	}
	layer, kind, out := s.layer, s.projector, 0
	var l projector.Layout
	if t := s.tokens.teacher; t != nil {
		l, out = t.Layout, t.Projector.Config.Out
		kind = cmp.Or(kind, t.Projector.Config.Type)
		if !s.changed("layer") {
			layer = t.Select.Layer
		}
	} else {
		if l, err = projector.FindLayout(s.layout); err != nil {
			return err
		}
		out = shape[len(shape)-1]
	}
	s.tokens.encoder, err = finetune.NewEncoder(tower, l, layer, cmp.Or(kind, newProjector), out, s.seed)
	return err
}

// together says how many pictures go through the encoder at once: a picture of several views is alone.
func (t tokenRun) together(r finetune.Recipe) finetune.Recipe {
	if t.encoder != nil && t.encoder.Layout.Views() > 1 {
		r.Batch, r.Accumulate = 1, r.Batch*r.Accumulate
	}
	return r
}

// tower returns what is trained, or stands below it.
func (s *session) tower() (*clipvit.Model, error) {
	if e := s.tokens.encoder; e != nil {
		return e.Tower, nil
	}
	return converter.LoadCheckpoint(s.like)
}

// layoutOf returns what loaders make of pictures.
func (t tokenRun) layoutOf() *projector.Layout {
	if t.encoder == nil {
		return nil
	}
	return &t.encoder.Layout
}

// learnTokens makes it learn the tokens of a teacher or of a file.
func (s *session) learnTokens(train, validation *data.Dataset, distance finetune.Distance) (err error) {
	s.config.Encoder = s.tokens.encoder
	if distance == "" {
		distance = finetune.SquareDistance // whose tokens have the right length as well
	}
	p := s.tokens.encoder.Projector.Config
	s.facts = append(s.facts, [2]string{"tokens", fmt.Sprintf("layout %s, layer %d, %s from %d to %d", s.tokens.encoder.Layout.Name, s.tokens.encoder.Select.Layer, p.Type, p.In, p.Out)})
	if s.tokens.teacher != nil {
		s.facts = append(s.facts, [2]string{"learns", "the tokens of " + s.teacher})
		return s.config.SetTeacherEncoder(s.tokens.teacher, filepath.Base(s.teacher), distance)
	}
	path := s.finetuneFlags.targets
	if s.tokens.named {
		sets := []*data.Dataset{train}
		if validation != nil {
			sets = append(sets, validation)
		}
		if s.tokens.targets, err = finetune.OpenTokenTargets(path, sets...); err != nil {
			return err
		}
		s.facts = append(s.facts, [2]string{"learns", "the tokens in " + path})
		s.config.SetTokenTargets(s.tokens.targets, distance)
		return s.tokens.targets.Fits(s.tokens.encoder, sets...)
	}
	return s.regress(len(train.Samples), distance)
}
