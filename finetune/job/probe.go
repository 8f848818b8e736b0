package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/evaluation"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/finetune/report"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/plural"
)

// A Probe finds the head that fits the features of a frozen tower best, with the sweep of the CLIP paper.
type Probe struct {
	Classes  []string // that are told apart
	Pictures int      // to train on
	Numbers  int      // that learn
	Notes    []string // as those of a [Job]

	request           Request
	like              *converter.Model // the model
	tower             *clipvit.Model
	train, validation *data.Dataset
	weights           []float64 // of the classes
}

// OpenProbe reads the model and the lists of pictures for a request whose Solver is [LBFGS], and whose recipe trains a
// head. Close the probe in the end.
func OpenProbe(ctx context.Context, r Request) (_ *Probe, err error) {
	plan, err := r.plan()
	if err != nil {
		return nil, err
	}
	if !plan.lbfgs {
		return nil, bad("{solver} is %q and {recipe} %q, want lbfgs and a recipe that trains a head alone", r.Solver, r.Recipe)
	}
	p := &Probe{request: r}
	if p.like, err = converter.Open(r.Model, converter.Assume(r.Activation), converter.Prepare(r.choice())); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.train, p.validation, err = r.datasets(plan.recipe, false); err != nil {
		return nil, of(ErrData, err)
	}
	// Said only here, so that who looks at the data learns what there is.
	if r.Validation == "" && r.Split == 0 && r.given("split") {
		return nil, bad("{split} is 0, and the penalty of the head is chosen by pictures that are set aside, of %s: want above 0, or {validation}, or {solver} adamw",
			strings.Join(append([]string{plural.Of(len(p.train.Classes), "class") + ", " + plural.Of(len(p.train.Samples), "picture")}, p.train.Notes...), "; "))
	}
	if p.tower, err = p.like.Vision(ctx); err != nil {
		return nil, err
	}
	p.Notes = notes(p.train, p.validation)
	p.Classes, p.Pictures = p.train.Classes, len(p.train.Samples)
	// The optimum is the same from anywhere.
	if p.weights, err = r.classWeights(p.train); err != nil {
		return nil, err
	}
	if h, note, err := r.headOf(ctx, p.like, p.tower.Config.OutputDim(), p.train); err != nil {
		return nil, err
	} else if note != "" && h == nil {
		p.Notes = append(p.Notes, note)
	} else if note != "" {
		p.Notes = append(p.Notes, fmt.Sprintf("the head in %s is fitted anew: L-BFGS comes to the same from anywhere", r.Model))
	}
	p.Numbers = len(p.Classes) * (p.tower.Config.OutputDim() + 1)
	return p, nil
}

// Close closes the files that were read from.
func (p *Probe) Close() error { return p.like.Close() }

// Fitted says what a [Probe] found.
type Fitted struct {
	*probe.Result
	Written
	Duration time.Duration // of reading, encoding and fitting
}

// Facts are what a person wants to know, names and values.
func (f *Fitted) Facts() [][2]string {
	return [][2]string{
		{"penalty", fmt.Sprintf("%.3g, of %d that were tried", f.Fit.Lambda, len(f.Trials))},
		{"best " + f.Validation.Measure(), fmt.Sprintf("%.4f", f.Validation.Value())},
		{"on all pictures", fmt.Sprintf("%.4f", f.Train.Value())},
	}
}

// Run makes features of all pictures, as far as the cache has none, fits the head, and writes the model with it and a
// report. progress, which may be nil, hears how many pictures are done, and how many of these the cache had.
func (p *Probe) Run(ctx context.Context, progress func(done, cached, total int)) (*Fitted, error) {
	r := p.request
	start := time.Now()
	if err := os.MkdirAll(r.Output, 0o777); err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	if r.Cache == "" {
		r.Cache = filepath.Join(r.Output, featuresFolder)
	}
	cache, err := probe.OpenCache(r.Cache)
	if err != nil {
		return nil, err
	}
	f := &Fitted{Written: Written{Model: filepath.Join(r.Output, history.ModelFolder), Report: filepath.Join(r.Output, report.PageFile)}}
	tally := evaluation.NewTally(p.Classes, 0, wrongKept)
	if p.train.Multi {
		tally = evaluation.NewMultiTally(p.Classes, wrongKept)
	}
	var validation *data.Dataset
	f.Result, err = probe.Run(ctx, probe.Config{
		Extractor: probe.Extractor{Model: p.tower, Cache: cache, Strict: r.Strict, Progress: progress},
		Train:     p.train, Validation: p.validation, Seed: r.Seed, Weights: p.weights,
		Judged: func(d *data.Dataset, i int, probabilities []float64) error {
			validation = d
			if d.Multi {
				return tally.AddSet(i, d.Samples[i].Path, d.Samples[i].LabelSet, probabilities)
			}
			return tally.Add(i, d.Samples[i].Path, d.Samples[i].Label, probabilities)
		},
	})
	if err != nil {
		return nil, err
	}
	f.Duration = time.Since(start)
	if err := folder.Prefix("job", folder.WriteDir(f.Model, true, func(dir string) error {
		if _, err := p.like.Convert(ctx, dir, r.options()); err != nil {
			return err
		}
		return f.Head.Save(dir)
	})); err != nil {
		return nil, err
	}
	facts := [][2]string{{"model", r.Model}, {"recipe", "probe, by L-BFGS"}, {"data", r.Data}, {"classes", fmt.Sprint(len(p.Classes))}}
	facts = append(facts, weightFacts(p.Classes, p.weights)...)
	for _, n := range p.Notes {
		facts = append(facts, [2]string{"note", n})
	}
	page := report.Report{
		Title:  "Probe of " + filepath.Base(r.Model),
		Facts:  append(facts, f.Facts()...),
		Result: &finetune.Result{Skipped: map[string]string{}, Duration: f.Duration},
	}
	for _, s := range f.Skipped {
		page.Result.Skipped[s.Path] = s.Err.Error()
	}
	judged, err := tally.Result()
	if err != nil {
		return nil, err
	}
	if err := r.writeEvaluation(ctx, judged, validation, &page); err != nil {
		return nil, err
	}
	return f, page.Write(r.Output)
}

// Unread returns what of the pictures could not be read, and why; nil if all were.
func (f *Fitted) Unread() error {
	var errs []error
	for _, s := range f.Skipped {
		errs = append(errs, s)
	}
	return errors.Join(errs...)
}
