package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/finetune/report"
)

// The folders in the output of a run, besides checkpoints.
const (
	tensorboardFolder = "tensorboard"
)

// A session is a run of fine-tuning that is ready to begin.
type session struct {
	*finetuneFlags
	like    *converter.Checkpoint // the model that it began with
	trainer *finetune.Trainer
	config  finetune.Config
	targets *finetune.Targets // nil if they are not what is learnt
	tokens  tokenRun
	facts   [][2]string
}

// open reads the model and the lists of pictures, and decides what is to be learnt.
func (f *finetuneFlags) open(ctx context.Context, r finetune.Recipe, distance finetune.Distance, activation transformer.Activation) (_ *session, err error) {
	s := &session{finetuneFlags: f, facts: [][2]string{{"model", f.model}, {"recipe", r.Name + ": " + r.About}, {"data", f.data}}}
	if s.like, err = openModel(f.model, activation); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.findEncoder(ctx, r, activation); err != nil {
		return nil, err
	}
	r = s.tokens.together(r)
	tower, err := s.tower()
	if err != nil {
		return nil, err
	}
	train, validation, err := f.datasets(s.tokens.named)
	if err != nil {
		return nil, err
	}
	if f.crop > 0 {
		f.augment.Area = [2]float64{f.crop, 1}
	}
	f.augment.Brightness, f.augment.Contrast, f.augment.Saturation = f.colour, f.colour, f.colour
	loader := &data.Loader{Data: train, Config: tower.Config, BatchSize: r.Batch, Shuffle: true, Augment: f.augment, Seed: f.seed, Strict: f.strict, Layout: s.tokens.layoutOf()}
	if err := loader.Validate(); err != nil {
		return nil, err
	}
	s.config = finetune.Config{
		Tower: tower, Recipe: r, Train: loader, Seed: f.seed, Dir: f.out, Resume: f.resume,
		CheckpointEvery: f.checkpointEvery, ValidateEvery: f.valEvery, Patience: f.patience, MaxSteps: f.steps,
		MemoryLimit: int64(f.memory * 1e9), Recompute: f.recompute,
	}
	if validation != nil {
		s.config.Validation = &data.Loader{Data: validation, Config: tower.Config, BatchSize: r.Batch, Strict: f.strict, Layout: s.tokens.layoutOf()}
	}
	if f.dryRun {
		s.config.Dir = ""
	}
	if f.cache != "" {
		if s.config.Cache, err = probe.OpenCache(f.cache); err != nil {
			return nil, err
		}
	}
	if s.tokens.encoder == nil && distance == "" {
		distance = finetune.CosineDistance
	}
	switch {
	case r.Captions:
		err = s.contrast(train)
	case s.tokens.encoder != nil:
		err = s.learnTokens(train, validation, distance)
	case f.teacher != "":
		err = s.distil(distance, activation)
	case f.targets != "":
		err = s.regress(len(train.Samples), distance)
	default:
		err = s.classify(train)
	}
	if err != nil {
		return nil, err
	}
	s.trainer, err = finetune.New(s.config)
	return s, err
}

// openModel opens a checkpoint whose activation may have to be given.
func openModel(path string, activation transformer.Activation) (*converter.Checkpoint, error) {
	c, err := converter.Open(path)
	if err == nil && activation != "" {
		c.Assume(activation)
	}
	return c, err
}

// classify makes it learn to tell classes apart.
func (s *session) classify(train *data.Dataset) error {
	if train.Classes == nil {
		return fmt.Errorf("finetune: %s: pictures without labels; give --teacher or --targets to learn something else", s.data)
	}
	if s.config.Recipe.Name == "projector" || s.config.Recipe.Name == "xcomposer" {
		return usagef("recipe %s trains a projector: give --targets or --teacher", s.config.Recipe.Name)
	}
	c := s.config.Tower.Config
	s.config.Head = finetune.NewClassifier(c.OutputDim(), train.Classes)
	s.config.Objective = finetune.Classification{Smoothing: s.config.Recipe.Smoothing}
	s.facts = append(s.facts, [2]string{"learns", fmt.Sprintf("%d classes from %d pictures", len(train.Classes), len(train.Samples))})
	return nil
}

// distil makes it learn what another tower gives.
func (s *session) distil(distance finetune.Distance, activation transformer.Activation) error {
	c, err := openModel(s.teacher, activation)
	if err != nil {
		return err
	}
	defer c.Close()
	teacher, err := converter.LoadCheckpoint(c)
	if err != nil {
		return err
	}
	s.facts = append(s.facts, [2]string{"learns", "the embeddings of " + s.teacher})
	return s.config.SetTeacher(teacher, filepath.Base(s.teacher), distance)
}

// regress makes it learn the vectors of a file: by a projector if there is a row for every patch.
func (s *session) regress(pictures int, distance finetune.Distance) (err error) {
	if s.targets, err = finetune.OpenTargets(s.finetuneFlags.targets, pictures); err != nil {
		return err
	}
	s.facts = append(s.facts, [2]string{"learns", fmt.Sprintf("%d vectors of %d numbers for each picture", s.targets.Rows, s.targets.Width)})
	choice := finetune.ProjectorChoice{Type: cmp.Or(s.projector, newProjector)}
	if s.changed("layer") {
		choice.Layer = &s.layer
	}
	return s.config.SetTargets(s.targets, distance, s.like, choice)
}

// close closes the files that were read from.
func (s *session) close() {
	s.like.Close()
	if s.targets != nil {
		s.targets.Close()
	}
	if s.tokens.targets != nil {
		s.tokens.targets.Close()
	}
}

// run trains, and writes all that there is to write.
func (s *session) run(ctx context.Context, out, errw io.Writer, o converter.Options) error {
	t, measure := s.trainer, s.config.Objective.Measure()
	defer t.Close() // which has happened if it ran
	fmt.Fprintf(errw, "%s\n%s\n", t.Table(), t.Memory())
	if s.dryRun {
		return nil
	}
	if s.tensorboard {
		b, err := finetune.NewTensorBoard(filepath.Join(s.out, tensorboardFolder), measure, t.History())
		if err != nil {
			return err
		}
		defer b.Close()
		t.Sinks = append(t.Sinks, b)
	}
	if t.Step() > 0 {
		fmt.Fprintf(errw, "resumed after step %d of %d\n", t.Step(), t.Steps())
	}
	sink, stop := trainingSink(errw, s.every, measure, t.Step())
	t.Sinks = append(t.Sinks, sink)
	r, err := t.Run(ctx)
	stop()
	switch {
	case err == nil:
	case ctx.Err() == nil:
		return err
	case err == context.Cause(ctx): //nolint:errorlint // or there is more to it
		fmt.Fprintf(errw, "stopped after step %d of %d; --resume goes on\n", t.Step(), t.Steps())
		return err
	default: // the last checkpoint could not be written
		fmt.Fprintf(errw, "stopped after step %d of %d; --resume goes on from the last checkpoint: %s\n", t.Step(), t.Steps(), plain(err))
		return err
	}
	var rows [][2]string
	if e := r.Before(); e != nil {
		rows = append(rows, [2]string{measure + " before", fmt.Sprintf("%.4f", e.Score)})
	}
	if s.config.Recipe.Tower == finetune.LowRank {
		if err := t.SaveAdapter(filepath.Join(s.out, finetune.AdapterFolder), s.model); err != nil {
			return err
		}
	}
	var mixed *[2]string
	if s.wise != 1 {
		original, err := converter.LoadCheckpoint(s.like)
		if err != nil {
			return err
		}
		adapter.Merge(s.config.Tower)
		if err := errors.Join(finetune.Interpolate(s.config.Tower, original, s.wise), s.interpolateText()); err != nil {
			return err
		}
		s.facts = append(s.facts, [2]string{"WiSE-FT", fmt.Sprintf("%v of the tuned weights, %v of the original ones", s.wise, 1-s.wise)})
		if s.config.Validation != nil {
			_, score, err := t.Evaluate(ctx, s.config.Validation)
			if err != nil {
				return err
			}
			mixed = &[2]string{"mixed " + measure, fmt.Sprintf("%.4f", score)}
			s.facts = append(s.facts, *mixed)
		}
	}
	model := filepath.Join(s.out, finetune.ModelFolder)
	page := report.Report{Title: "Fine-tuning of " + filepath.Base(s.model), Facts: s.facts, Table: t.Table(), Measure: measure, Result: r}
	if err := errors.Join(t.Save(ctx, model, s.like, o), page.Write(s.out)); err != nil {
		return err
	}
	rows = append(rows, [2]string{"steps", fmt.Sprint(r.Steps)})
	if r.Stopped != "" {
		rows = append(rows, [2]string{"stopped", r.Stopped})
	}
	if e := r.Best; e != nil {
		rows = append(rows, [2]string{"best " + measure, fmt.Sprintf("%.4f, after step %d", e.Score, e.Step)})
	}
	if mixed != nil {
		rows = append(rows, *mixed)
	}
	if n := len(r.Skipped); n > 0 {
		rows = append(rows, [2]string{"skipped", fmt.Sprintf("%d pictures that cannot be read; see the report", n)})
	}
	rows = append(rows, [2]string{"model", model}, [2]string{"report", filepath.Join(s.out, report.PageFile)})
	var b bytes.Buffer
	table(&b, rows)
	if _, err := out.Write(b.Bytes()); err != nil {
		return err
	}
	fmt.Fprintf(errw, "trained in %s\n", seconds(r.Duration))
	return nil
}
