// Package clip trains the vision towers of CLIP, and what stands on them. Importing it registers the model types "clip"
// (both towers), "clip_vision_model" (the vision tower alone), and those of LLaVA and XComposer for the task finetuning.
//
// The recipes are those of package finetune, put together by package job. A classifier learns from labels, and both
// towers from captions. A tower learns from a teacher or from vectors, and a projector from vectors of patches or from
// tokens.
package clip

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/gate"
)

// files are what the hub has of a model; see package clip of the task imageencoding.
var files = []tasks.File{
	{Names: []string{"preprocessor_config.json"}, Optional: true},
	{Names: []string{"vocab.json"}, Optional: true}, // of captions
	{Names: []string{"merges.txt"}, Optional: true},
	{Names: []string{"projector.safetensors"}, Optional: true}, // of a conversion
	{Names: []string{"model.safetensors", "pytorch_model.bin", "*.index.json", "*.pt"}},
}

// models are the values of model_type in config.json: CLIP's, and those of models with a projector as package projected
// of the task visualtokens has them.
var models = []string{"clip", "clip_vision_model", "llava", "llava_next", "llava_llama", "internlmxcomposer2", "internlm2"}

func init() {
	for _, model := range models {
		tasks.Register(model, tasks.Provider[finetuning.Interface]{
			Files: files,
			Load: func(dir string) (finetuning.Interface, error) {
				m, err := LoadFineTuning(dir)
				if err != nil {
					return nil, err // and not an Interface that holds a nil pointer
				}
				return m, nil
			},
		})
	}
}

var _ finetuning.Interface = &FineTuning{}

// FineTuning is a [finetuning.Interface] on a vision tower. It trains one at a time, which takes all
// processors and what [finetune.Trainer.Memory] says; other calls wait.
type FineTuning struct {
	dir  string
	gate *gate.Gate // with a place for the one run
}

// LoadFineTuning returns a trainer of the tower in directory dir, in any form that [converter.Load] reads.
// It verifies the tower, and keeps none of it: every run reads it afresh.
func LoadFineTuning(dir string) (*FineTuning, error) {
	info, err := converter.Inspect(context.Background(), dir)
	if err != nil {
		return nil, err
	}
	if info.Problem != "" {
		return nil, fmt.Errorf("clip: %w", gate.Bare(errors.New(info.Problem)))
	}
	return &FineTuning{dir: dir, gate: gate.New("clip", 1)}, nil
}

// FineTune implements [finetuning.Interface]. It looks at ctx while it waits for its turn, before each
// batch, and while it reads pictures and writes the model.
func (m *FineTuning) FineTune(ctx context.Context, r finetuning.Request, progress func(finetuning.Progress) error) (finetuning.Response, error) {
	r.Model, r.DryRun = m.dir, false
	if err := r.Check(); err != nil { // before it waits
		return finetuning.Response{}, refused(ctx, err)
	}
	leave, err := m.gate.Enter(ctx)
	if err != nil {
		return finetuning.Response{}, unstarted(context.Cause(ctx))
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tell := func(p finetuning.Progress) {
		if progress == nil || ctx.Err() != nil {
			return
		}
		if err := progress(p); err != nil {
			cancel(err) // which ends the run between two steps, with a checkpoint
		}
	}
	if r.Sweep != nil {
		return sweep(ctx, r, tell)
	}
	if lbfgs, err := r.ByLBFGS(); err == nil && lbfgs {
		return fit(ctx, r, tell)
	}
	return train(ctx, r, tell)
}

// train trains step by step.
func train(ctx context.Context, r finetuning.Request, tell func(finetuning.Progress)) (finetuning.Response, error) {
	j, err := job.Open(ctx, r)
	if err != nil {
		return finetuning.Response{}, refused(ctx, err)
	}
	defer j.Close()
	t := j.Trainer
	t.Sinks = append(t.Sinks, history.SinkFunc(func(e history.Event) error {
		tell(progressOf(e))
		return nil
	}))
	tell(finetuning.Progress{Kind: finetuning.Begun, Step: t.Step(), Steps: t.Steps(), Table: t.Table(), Memory: t.Memory().Total()})
	result, err := t.Run(ctx)
	if err == nil {
		err = context.Cause(ctx) // if it has ended since the last step
	}
	var w job.Written
	if err == nil {
		w, err = j.Write(ctx, result)
	}
	if err != nil {
		return finetuning.Response{}, failure(ctx, t.Step(), t.Steps(), err)
	}
	response := finetuning.Response{
		Model: w.Model, Adapter: w.Adapter, Report: w.Report, Classes: j.Classes, Notes: j.Notes, Mixed: w.Mixed,
		Steps: result.Steps, Stopped: result.Stopped, Skipped: printable(result.Skipped), Memory: result.Memory, Duration: result.Duration,
	}
	if result.Best != nil {
		response.Best = new(progressOf(*result.Best))
	}
	return response, nil
}

// sweep makes several runs.
func sweep(ctx context.Context, r finetuning.Request, tell func(finetuning.Progress)) (finetuning.Response, error) {
	step, steps := 0, 0 // of the run at hand
	var classes, notes []string
	start := time.Now()
	s, err := job.Sweep(ctx, r, job.Hearer{Begin: func(run job.SweepRun, _, _ int, j *job.Job) func() {
		t := j.Trainer
		step, steps, classes, notes = t.Step(), t.Steps(), j.Classes, j.Notes
		t.Sinks = append(t.Sinks, history.SinkFunc(func(e history.Event) error {
			step = e.Step
			p := progressOf(e)
			p.Run = run.Name
			tell(p)
			return nil
		}))
		tell(finetuning.Progress{Kind: finetuning.Begun, Run: run.Name, Step: step, Steps: steps, Table: t.Table(), Memory: t.Memory().Total()})
		return nil
	}})
	if err != nil {
		if steps == 0 {
			return finetuning.Response{}, refused(ctx, err)
		}
		return finetuning.Response{}, failure(ctx, step, steps, err)
	}
	return finetuning.Response{
		Model: s.Model, Report: s.Page, Classes: classes, Notes: notes, Steps: s.Runs[0].Steps, Runs: s.Runs, Duration: time.Since(start),
	}, nil
}

// printable returns what there is by names of pictures by names that JSON can have.
func printable(skipped map[string]string) map[string]string {
	all := make(map[string]string, len(skipped))
	for name, why := range skipped {
		all[pyjson.Printable(name)] = why
	}
	return all
}

// fit fits a head by L-BFGS, whose steps are the pictures that go through the tower.
func fit(ctx context.Context, r finetuning.Request, tell func(finetuning.Progress)) (finetuning.Response, error) {
	p, err := job.OpenProbe(ctx, r)
	if err != nil {
		return finetuning.Response{}, refused(ctx, err)
	}
	defer p.Close()
	tell(finetuning.Progress{Kind: finetuning.Begun, Steps: p.Pictures})
	seen, pictures := 0, p.Pictures
	f, err := p.Run(ctx, func(done, _, total int) {
		seen, pictures = done, total
		tell(finetuning.Progress{Kind: finetuning.Seen, Step: done, Steps: total, Images: 1})
	})
	if err != nil {
		return finetuning.Response{}, failure(ctx, seen, pictures, err)
	}
	response := finetuning.Response{
		Model: f.Model, Report: f.Report, Classes: p.Classes, Notes: p.Notes, Steps: pictures, Duration: f.Duration,
		Best: &finetuning.Progress{Kind: finetuning.Validated, Step: pictures, Steps: pictures, Loss: f.Validation.Loss, Score: f.Validation.Value(), Images: f.Validation.Pictures},
	}
	for _, s := range f.Skipped {
		if response.Skipped == nil {
			response.Skipped = map[string]string{}
		}
		response.Skipped[pyjson.Printable(s.Path)] = s.Err.Error()
	}
	return response, nil
}

// refused says which of the task's errors kept a run from its beginning.
func refused(ctx context.Context, err error) error {
	for _, kind := range []error{finetuning.ErrRequest, finetuning.ErrData, finetuning.ErrRefused} {
		if errors.Is(err, kind) {
			return fmt.Errorf("clip: %w: %w", kind, gate.Bare(err))
		}
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		return unstarted(err)
	} else if cause != nil { // the error may say no more than that ctx ended
		return unstarted(errors.Join(cause, err))
	}
	return err
}

// unstarted returns the error of a run that err, which ended its context, kept from its beginning.
func unstarted(err error) error {
	return fmt.Errorf("clip: %w before the start: %w", finetuning.ErrInterrupted, gate.Bare(err))
}

// failure says which of the task's errors ended a run after so many of its steps.
func failure(ctx context.Context, step, steps int, err error) error {
	notFinite := (*optim.NonFiniteError)(nil)
	switch {
	case ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)): // the error may say no more than that ctx ended
		err = errors.Join(context.Cause(ctx), err)
		fallthrough
	case ctx.Err() != nil:
		return fmt.Errorf("clip: %w after step %d of %d: %w", finetuning.ErrInterrupted, step, steps, gate.Bare(err))
	case errors.As(err, &notFinite):
		return fmt.Errorf("clip: %w: %w", finetuning.ErrDiverged, gate.Bare(err))
	case errors.As(err, new(data.Broken)), errors.Is(err, data.ErrEmpty): // of a strict run, or none can be read
		return fmt.Errorf("clip: %w: %w", finetuning.ErrData, gate.Bare(err))
	}
	return err
}

// progressOf says of an event what the task tells.
func progressOf(e history.Event) finetuning.Progress {
	kind := finetuning.Trained
	if e.Kind == history.ValidationEvent {
		kind = finetuning.Validated
	}
	return finetuning.Progress{
		Kind: kind, Step: e.Step, Steps: e.Steps, Epoch: e.Epoch, Loss: e.Loss, Score: e.Score,
		Best: e.Best, Images: e.Images, Skipped: e.Skipped, Seconds: e.Seconds,
	}
}
