// Package clip trains the vision towers of CLIP. Importing it registers the model types "clip" (both
// towers) and "clip_vision_model" (the vision tower alone) for the task finetuning.
//
// The recipes are those of package finetune. A classifier learns from labels, a tower from a teacher or from
// vectors, a projector from vectors of patches.
package clip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/finetune/report"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/gate"
)

// files are what the hub has of a model; see package clip of the task imageencoding.
var files = []tasks.File{
	{Names: []string{"preprocessor_config.json"}, Optional: true},
	{Names: []string{"model.safetensors", "pytorch_model.bin", "*.index.json", "*.pt"}},
}

func init() {
	for _, model := range []string{"clip", "clip_vision_model"} {
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
	info, err := converter.Inspect(dir)
	if err != nil {
		return nil, err
	}
	if info.Problem != "" {
		return nil, fmt.Errorf("clip: %s", info.Problem)
	}
	return &FineTuning{dir: dir, gate: gate.New("clip", 1)}, nil
}

// FineTune implements [finetuning.Interface]. It looks at ctx while it waits for its turn, before each
// batch, and while it reads pictures and writes the model.
func (m *FineTuning) FineTune(ctx context.Context, r finetuning.Request, progress func(finetuning.Progress) error) (finetuning.Response, error) {
	recipe, err := recipeOf(r)
	if err != nil {
		return finetuning.Response{}, err
	}
	if err := finetune.CheckOutput(r.Output, r.Resume, m.dir, r.Teacher); err != nil {
		return finetuning.Response{}, fmt.Errorf("clip: %w: %w", finetuning.ErrRefused, err)
	}
	leave, err := m.gate.Enter(ctx)
	if err != nil {
		return finetuning.Response{}, fmt.Errorf("clip: %w before the start: %w", finetuning.ErrInterrupted, context.Cause(ctx))
	}
	defer leave()
	source, err := converter.Open(m.dir)
	if err != nil {
		return finetuning.Response{}, err
	}
	defer source.Close()
	config, train, err := configure(source, r, recipe)
	if err != nil {
		return finetuning.Response{}, err
	}
	closeTargets, err := aim(&config, source, train, r)
	if err != nil {
		return finetuning.Response{}, fmt.Errorf("clip: %w: %w", finetuning.ErrData, err)
	}
	defer closeTargets()
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
	config.Sinks = []finetune.Sink{finetune.SinkFunc(func(e finetune.Event) error {
		tell(progressOf(e))
		return nil
	})}
	t, err := finetune.New(config)
	if err != nil {
		return finetuning.Response{}, fmt.Errorf("clip: %w: %w", finetuning.ErrRefused, err)
	}
	defer t.Close() // which has happened if it ran
	tell(finetuning.Progress{Kind: finetuning.Begun, Step: t.Step(), Steps: t.Steps(), Table: t.Table(), Memory: t.Memory().Total()})
	result, err := t.Run(ctx)
	if err != nil {
		return finetuning.Response{}, failure(ctx, t, err)
	}
	response, err := m.write(ctx, t, source, result, r)
	if err != nil {
		return finetuning.Response{}, failure(ctx, t, err)
	}
	if r.Teacher == "" && r.Targets == "" {
		response.Classes = train.Classes
	}
	return response, nil
}

// failure says which of the task's errors ended a run.
func failure(ctx context.Context, t *finetune.Trainer, err error) error {
	notFinite := (*optim.NonFiniteError)(nil)
	switch {
	case ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)): // the error may say no more than that ctx ended
		err = errors.Join(context.Cause(ctx), err)
		fallthrough
	case ctx.Err() != nil:
		return fmt.Errorf("clip: %w after step %d of %d: %w", finetuning.ErrInterrupted, t.Step(), t.Steps(), err)
	case errors.As(err, &notFinite):
		return fmt.Errorf("clip: %w: %w", finetuning.ErrDiverged, err)
	case errors.As(err, new(data.Broken)), errors.Is(err, data.ErrEmpty): // of a strict run, or none can be read
		return fmt.Errorf("clip: %w: %w", finetuning.ErrData, err)
	}
	return err
}

// write writes what a run that has ended leaves.
func (m *FineTuning) write(ctx context.Context, t *finetune.Trainer, source *converter.Checkpoint, result *finetune.Result, r finetuning.Request) (finetuning.Response, error) {
	response := finetuning.Response{
		Model: filepath.Join(r.Output, finetune.ModelFolder), Report: filepath.Join(r.Output, report.PageFile),
		Steps: result.Steps, Stopped: result.Stopped, Skipped: result.Skipped, Memory: result.Memory, Duration: result.Duration,
	}
	if result.Best != nil {
		response.Best = new(progressOf(*result.Best))
	}
	if ctx.Err() != nil { // since the last step
		return response, context.Cause(ctx)
	}
	if t.Recipe.Tower == finetune.LowRank {
		response.Adapter = filepath.Join(r.Output, finetune.AdapterFolder)
		if err := t.SaveAdapter(response.Adapter, m.dir); err != nil {
			return response, err
		}
	}
	page := report.Report{
		Title:  "Fine-tuning of " + filepath.Base(m.dir),
		Facts:  [][2]string{{"model", m.dir}, {"recipe", t.Recipe.Name + ": " + t.Recipe.About}, {"data", r.Data}},
		Table:  t.Table(), // before the corrections are merged
		Result: result, Measure: t.Objective.Measure(),
	}
	return response, errors.Join(t.Save(ctx, response.Model, source, converter.Options{}), page.Write(r.Output))
}

// progressOf says of an event what the task tells.
func progressOf(e finetune.Event) finetuning.Progress {
	kind := finetuning.Trained
	if e.Kind == finetune.ValidationEvent {
		kind = finetuning.Validated
	}
	return finetuning.Progress{
		Kind: kind, Step: e.Step, Steps: e.Steps, Epoch: e.Epoch, Loss: e.Loss, Score: e.Score,
		Best: e.Best, Images: e.Images, Skipped: e.Skipped, Seconds: e.Seconds,
	}
}

// recipeOf returns the recipe that a request asks for, or what is wrong with the request.
func recipeOf(r finetuning.Request) (finetune.Recipe, error) {
	if err := r.Validate(); err != nil {
		return finetune.Recipe{}, err
	}
	recipe, err := finetune.FindRecipe(r.Recipe)
	if err != nil {
		return recipe, fmt.Errorf("clip: %w: %w", finetuning.ErrRequest, err)
	}
	if r.Targets == "" && (recipe.Name == "projector" || recipe.Name == "xcomposer") {
		return recipe, fmt.Errorf("clip: %w: recipe %s trains a projector, and there are no targets", finetuning.ErrRequest, recipe.Name)
	}
	if recipe.Captions {
		return recipe, fmt.Errorf("clip: %w: recipe %s learns from captions, which this task has not", finetuning.ErrRequest, recipe.Name)
	}
	o := r.Overrides
	set(&recipe.Epochs, o.Epochs)
	set(&recipe.Batch, o.Batch)
	set(&recipe.Accumulate, o.Accumulate)
	set(&recipe.Rate, o.Rate)
	set(&recipe.HeadRate, o.HeadRate)
	set(&recipe.WeightDecay, o.WeightDecay)
	set(&recipe.LayerDecay, o.LayerDecay)
	set(&recipe.EMA, o.EMA)
	set(&recipe.Warmup, o.Warmup)
	set(&recipe.Clip, o.Clip)
	set(&recipe.Smoothing, o.Smoothing)
	set(&recipe.Blocks, o.Blocks)
	set(&recipe.LoRA.Rank, o.Rank)
	set(&recipe.LoRA.Alpha, o.Alpha)
	if o.Targets != nil {
		recipe.LoRA.Targets = o.Targets
	}
	errs := []error{recipe.Validate(), augment(r.Augment).Validate()}
	if recipe.Tower != finetune.Last && o.Blocks != nil {
		errs = append(errs, fmt.Errorf("recipe %s has no blocks to choose", recipe.Name))
	}
	if recipe.Tower != finetune.LowRank && (o.Rank != nil || o.Alpha != nil || o.Targets != nil) {
		errs = append(errs, fmt.Errorf("recipe %s has no rank, alpha and targets", recipe.Name))
	}
	if err := errors.Join(errs...); err != nil {
		return recipe, fmt.Errorf("clip: %w: %w", finetuning.ErrRequest, err)
	}
	return recipe, nil
}

// set sets a field to an override that there is.
func set[T any](field, override *T) {
	if override != nil {
		*field = *override
	}
}

func augment(a finetuning.Augment) data.Augment {
	d := data.Augment{Flip: a.Flip, Brightness: a.Colour, Contrast: a.Colour, Saturation: a.Colour}
	if a.Crop != 0 {
		d.Area = [2]float64{a.Crop, 1}
	}
	return d
}

// configure reads the tower and the lists of pictures.
func configure(source *converter.Checkpoint, r finetuning.Request, recipe finetune.Recipe) (finetune.Config, *data.Dataset, error) {
	train, validation, err := datasets(r)
	if err != nil {
		return finetune.Config{}, nil, fmt.Errorf("clip: %w: %w", finetuning.ErrData, err)
	}
	tower, err := converter.LoadCheckpoint(source)
	if err != nil {
		return finetune.Config{}, nil, err
	}
	c := finetune.Config{
		Tower: tower, Recipe: recipe, Seed: r.Seed,
		Train: &data.Loader{Data: train, Config: tower.Config, BatchSize: recipe.Batch, Shuffle: true, Augment: augment(r.Augment), Seed: r.Seed, Strict: r.Strict},
		Dir:   r.Output, Resume: r.Resume, CheckpointEvery: r.CheckpointEvery, ValidateEvery: r.ValidateEvery,
		Patience: r.Patience, MaxSteps: r.MaxSteps, MemoryLimit: r.MemoryLimit,
	}
	if validation != nil {
		c.Validation = &data.Loader{Data: validation, Config: tower.Config, BatchSize: recipe.Batch, Strict: r.Strict}
	}
	if r.Cache != "" {
		if c.Cache, err = probe.OpenCache(r.Cache); err != nil {
			return finetune.Config{}, nil, err
		}
	}
	return c, train, nil
}

// aim says what is to be learnt. What it returns closes the files that it is read from.
func aim(c *finetune.Config, source *converter.Checkpoint, train *data.Dataset, r finetuning.Request) (done func(), err error) {
	distance := finetune.Distance(cmp.Or(r.Distance, string(finetune.CosineDistance)))
	switch {
	case r.Teacher != "":
		teacher, err := converter.Load(r.Teacher)
		if err != nil {
			return nil, err
		}
		return func() {}, c.SetTeacher(teacher, filepath.Base(r.Teacher), distance)
	case r.Targets != "":
		targets, err := finetune.OpenTargets(r.Targets, len(train.Samples))
		if err != nil {
			return nil, err
		}
		if err := c.SetTargets(targets, distance, source, finetune.ProjectorChoice{}); err != nil {
			targets.Close()
			return nil, err
		}
		return func() { targets.Close() }, nil
	}
	c.Head = finetune.NewClassifier(c.Tower.Config.OutputDim(), train.Classes)
	c.Objective = finetune.Classification{Smoothing: c.Recipe.Smoothing}
	return func() {}, nil
}

// datasets opens the pictures to train on and, if there are to be any, to validate on.
func datasets(r finetuning.Request) (train, validation *data.Dataset, err error) {
	labelled := r.Teacher == "" && r.Targets == ""
	if train, err = data.Open(r.Data, labelled); err != nil {
		return nil, nil, err
	}
	switch {
	case r.Validation != "":
		if validation, err = data.Open(r.Validation, labelled); err == nil && labelled {
			err = data.Align(train, validation)
		}
	case r.Split > 0:
		train, validation, err = train.Split(r.Split, r.Seed)
	}
	return train, validation, err
}
