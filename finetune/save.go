package finetune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/projector"
)

// Save writes the directory dst, which then loads wherever the checkpoint did that the tower came from: the
// weights as they are now, and of that checkpoint, like, all else; it may be nil. Corrections by LoRA are
// merged with the weights, so nothing can be learnt after that; see [Trainer.SaveAdapter] before. The weights
// of a tower that did not learn keep their precision. dst appears complete or not at all, and takes the place
// of what was there.
//
// Beside the model is the head. A projector is where conversion puts it, and a [Classifier] is head.safetensors
// and classes.json. Any other is as [SaveHead] writes it, with the classes of the data if these are learnt.
func (t *Trainer) Save(ctx context.Context, dst string, like *converter.Model, o converter.Options) error {
	adapter.Merge(t.Tower)
	models := t.learner.models(like == nil)
	return writeDir(dst, func(dir string) error {
		var err error
		if models == (converter.Models{}) {
			_, err = like.Convert(ctx, dir, o)
		} else {
			_, err = converter.Save(ctx, models, like, dir, o)
		}
		if err != nil {
			return err
		}
		switch h := t.Head.(type) {
		case nil, *projector.Model:
			return nil
		case *Classifier:
			return h.Save(dir)
		default:
			if parts, _ := partsOf(h); parts == nil { // a function of its own
				return nil
			}
			return SaveHead(dir, h, t.classes())
		}
	})
}

// classes returns the classes of the data that are learnt, nil if there are none, or it is vectors that are learnt.
func (t *Trainer) classes() []string {
	switch t.Objective.(type) {
	case *Regression, *Distillation:
		return nil
	}
	if l, ok := t.Train.(*data.Loader); ok && len(l.Data.Classes) > 0 {
		return l.Data.Classes
	}
	return nil
}

// SaveAdapter writes the corrections by LoRA alone, as [adapter.Save] does, into the directory dir, which appears
// complete or not at all. It is an error if the recipe has none, or they have been merged.
func (t *Trainer) SaveAdapter(dir, base string, within ...string) error {
	if t.Recipe.Tower != LowRank {
		return fmt.Errorf("finetune: recipe %s has no corrections by LoRA to save", t.Recipe.Name)
	}
	return writeDir(dir, func(dir string) error { return adapter.Save(t.Tower, t.Recipe.LoRA, base, dir, within...) })
}

// Interpolate sets the weights of tuned, a tower of images or of texts, to (1-share)·original + share·tuned. Between the tower that was and
// the one that learnt lies one that is often better on both the old tasks and the new: WiSE-FT. Corrections
// by LoRA must have been merged. A head has no original, and stays.
//
// Source: Wortsman et al., "Robust fine-tuning of zero-shot models", arXiv 2109.01903, section 3.
func Interpolate[M *clipvit.Model | *cliptext.Model](tuned, original M, share float64) error {
	if err := checkShare(share); err != nil {
		return err
	}
	switch t := any(tuned).(type) {
	case *clipvit.Model:
		o := any(original).(*clipvit.Model)
		if t.Config != o.Config {
			return fmt.Errorf("finetune: the tuned tower is %+v, the original %+v", t.Config, o.Config)
		}
		if err := errors.Join(adapter.Merged(t), adapter.Merged(o)); err != nil {
			return err
		}
		interpolate(t, o, share)
	case *cliptext.Model:
		o := any(original).(*cliptext.Model)
		if t.Config != o.Config {
			return fmt.Errorf("finetune: the tuned text tower is %+v, the original %+v", t.Config, o.Config)
		}
		interpolate(t, o, share)
	}
	return nil
}

func checkShare(share float64) error {
	if !(share >= 0 && share <= 1) {
		return fmt.Errorf("finetune: share of the tuned weights is %v, want 0 to 1", share)
	}
	return nil
}

// interpolate does it for models of one configuration.
func interpolate(tuned, original nn.Model, share float64) {
	byPath := map[string]*nn.Param{}
	params.Walk(original, func(path string, p *nn.Param) { byPath[path] = p })
	params.Walk(tuned, func(path string, p *nn.Param) {
		from, to := mat.Data[float32](byPath[path]), mat.Data[float32](p)
		if slices.Equal(from, to) {
			return
		}
		_, packed := p.Matrix.(*op.Frozen)
		op.Thaw(p)
		to = mat.Data[float32](p)
		for i, v := range from {
			to[i] = float32((1-share)*float64(v) + share*float64(to[i]))
		}
		if packed {
			op.Freeze(p)
		}
	})
}
