package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/data"
)

// A Config says what [Run] does. An Extractor with a model and Train are needed.
type Config struct {
	Extractor  Extractor     // its Features default to the embedding, or without one to the last layer's class token
	Train      *data.Dataset // labelled
	Validation *data.Dataset // to choose λ by; nil takes a fifth of Train
	Test       *data.Dataset // to judge the result by; may be nil
	Lambda     float64       // of [Regress]; 0 chooses it by [Sweep]
	Seed       uint64        // of the split of Train
	Tried      func(Trial)   // is called after each trial of the sweep; may be nil
	Weights    []float64     // of the classes; see [Set]
	// Judged is called for each sample i of the validation data, one after the other, with its probabilities [K] by the best
	// trial of the sweep, which has not seen it. They belong to Run. It may be nil.
	Judged func(d *data.Dataset, i int, p []float64) error
}

// ValidationShare is how much of the training data is set aside to choose λ by. The CLIP paper splits
// the training data where there is no validation set, and does not say how.
const ValidationShare = 0.2

// A Result is what [Run] found.
type Result struct {
	Head       *Head         // fitted to the training and validation data together, as the CLIP paper does it
	Fit        *Fit          // the same in float64
	Trials     []Trial       // of the sweep, if there was one
	Validation *Score        // of the best trial, which has not seen the validation data; nil if λ was given
	Train      Score         // of the head, on what it was fitted to
	Test       *Score        // of the head; nil if there are no test data
	Skipped    []data.Broken // pictures that could not be read
}

// Run makes features of all pictures, finds λ, and fits a head. If λ is given, validation data are
// training data like the others. Use [data.Align] before on data from several sources.
func Run(ctx context.Context, c Config) (*Result, error) {
	e := c.Extractor
	switch {
	case e.Model == nil:
		return nil, errors.New("probe: no model")
	case c.Train == nil:
		return nil, errors.New("probe: no training data")
	case e.Features == (clipvit.Features{}) && e.Model.Config.NoPostNorm:
		e.Features = clipvit.Features{Kind: clipvit.ClassToken, Layer: -1}
	case e.Features == (clipvit.Features{}):
		e.Features = clipvit.Features{Kind: clipvit.Embedding}
	}
	model, err := e.Features.Fingerprint(e.Model)
	if err != nil {
		return nil, err
	}
	if c.Validation == nil && c.Lambda == 0 {
		if c.Train, c.Validation, err = c.Train.Split(ValidationShare, c.Seed); err != nil {
			return nil, err
		}
	}
	r := &Result{}
	sets := map[string]*Set{}
	for _, part := range []struct {
		name string
		d    *data.Dataset
	}{{"training", c.Train}, {"validation", c.Validation}, {"test", c.Test}} {
		if part.d == nil {
			continue
		}
		s, skipped, err := e.Set(ctx, part.d)
		r.Skipped = append(r.Skipped, skipped...)
		if err != nil {
			return nil, err
		}
		if s.Len() == 0 {
			return nil, fmt.Errorf("probe: none of the %d %s pictures can be read: %w", len(part.d.Samples), part.name, skipped[0])
		}
		s.Weights = c.Weights
		sets[part.name] = s
		if part.name != "training" {
			if err := s.fits(part.name, sets["training"]); err != nil {
				return nil, err
			}
		}
	}
	all, lambda := sets["training"], c.Lambda
	// That a class has none left would sound as if none were listed.
	for _, s := range r.Skipped {
		i := slices.IndexFunc(c.Train.Samples, func(t data.Sample) bool { return t.Path == s.Path })
		if i < 0 || c.Train.Multi {
			continue
		}
		label := c.Train.Samples[i].Label
		if !slices.Contains(all.Labels, label) {
			return nil, fmt.Errorf("probe: training: of class %q no picture can be read: %w", c.Train.Classes[label], s)
		}
	}
	if lambda == 0 {
		best, trials, err := Sweep(ctx, all, sets["validation"], c.Tried)
		if err != nil {
			return nil, err
		}
		lambda, r.Trials, r.Validation = best.Lambda, trials, &best.Validation
		if err := c.judge(best.Fit, sets["validation"]); err != nil {
			return nil, err
		}
	}
	if v := sets["validation"]; v != nil {
		all = all.with(v)
	}
	if r.Fit, err = Regress(ctx, all, lambda); err != nil {
		return nil, err
	}
	r.Head = r.Fit.Head(all.Classes, e.Features, model)
	r.Head.Multi = all.multi()
	r.Train = r.Head.Score(all)
	if s := sets["test"]; s != nil {
		score := r.Head.Score(s)
		r.Test = &score
	}
	return r, nil
}

// judge tells of the probabilities of validation pictures by a fit.
func (c Config) judge(f *Fit, s *Set) error {
	if c.Judged == nil {
		return nil
	}
	p := newProblem(s)
	p.forward(f.W, f.B)
	for i, sample := range s.Index {
		if err := c.Judged(c.Validation, sample, p.logits.Data[i*p.k:(i+1)*p.k]); err != nil {
			return err
		}
	}
	return nil
}
