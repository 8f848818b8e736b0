package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/finetune/report"
	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/internal/plural"
)

// A Job is a run of a [finetune.Trainer] that is ready to begin.
type Job struct {
	// Trainer is what runs; sinks may be added to it before. Its Run is followed by [Job.Write].
	Trainer *finetune.Trainer
	// Classes are those that are learnt, in the order of the classifier's rows; nil if it is something else that is learnt.
	Classes []string
	// Notes say what was left out of the data and may have been wanted, such as pictures of a format that is not read, and what
	// becomes of a head that the model has already.
	Notes []string
	// Judging, if it is not nil, hears in Write how many of the pictures to validate on what is left of the run has judged.
	Judging func(done, total int)

	request Request
	like    *converter.Model // the model that it began with
	text    *cliptext.Model  // of captions; nil of others
	facts   [][2]string
	opened  []io.Closer
}

// Open reads the model, the lists of pictures and what is to be learnt of them, and makes what the recipe says learn. It
// goes back to the last checkpoint if the run is to be resumed. Close the job in the end. A request that [OpenProbe] is
// for is an error.
func Open(ctx context.Context, r Request) (_ *Job, err error) {
	p, err := r.plan()
	if err != nil {
		return nil, err
	}
	if p.lbfgs {
		return nil, bad("{solver} lbfgs, which recipe probe has for classes, fits a head and trains nothing step by step: want adamw")
	}
	if err := r.continues(&p.recipe); err != nil {
		return nil, err
	}
	j := &Job{request: r, facts: [][2]string{{"model", r.Model}, {"recipe", p.recipe.Name + ": " + p.recipe.About}, {"data", r.Data}}}
	defer func() {
		if err != nil {
			j.Close()
		}
	}()
	if j.like, err = converter.Open(r.Model, converter.Assume(r.Activation), converter.Prepare(r.choice())); err != nil {
		return nil, err
	}
	j.opened = append(j.opened, j.like)
	tokens, err := j.findEncoder(ctx, p.recipe)
	if err != nil {
		return nil, ofData(ctx, err)
	}
	c, err := j.configure(ctx, p.recipe, tokens)
	if err != nil {
		return nil, err
	}
	if err := j.aim(ctx, &c, tokens); err != nil {
		return nil, ofData(ctx, err)
	}
	if c.Head == nil && c.Encoder == nil && r.given("overrides.head_rate") {
		return nil, bad("{overrides.head_rate} is of a head, and embeddings that {teacher} or {targets} say are learnt without one")
	}
	if a := c.Recipe.Accumulate; r.MaxSteps == 1 && c.Recipe.Warmup > 0 && c.Recipe.Epochs*((c.Train.Len()+a-1)/a) > 1 {
		return nil, bad("{max_steps} is 1, and nothing would be learnt: the rate rises from 0, which is that of the first step; want 2 or more, or {overrides.warmup} 0")
	}
	if a := c.Recipe.Accumulate; r.MaxSteps > 0 {
		if all := c.Recipe.Epochs * ((c.Train.Len() + a - 1) / a); r.MaxSteps > all {
			return nil, bad("{max_steps} is %d, and the {overrides.epochs} are %d, with %s: want at most that, or more epochs", r.MaxSteps, c.Recipe.Epochs, plural.Of(all, "step"))
		}
	}
	if err := j.keepsTokenizer(); err != nil {
		return nil, of(ErrRefused, err)
	}
	j.Trainer, err = finetune.New(c)
	if short := (*history.LengthError)(nil); errors.As(err, &short) {
		return nil, bad("{overrides.epochs} is %d, with %s, and the run in {output} has made %d; {max_steps} %[3]d ends it there", short.Epochs, plural.Of(short.Steps, "step"), short.Made)
	}
	if err != nil {
		return nil, of(ErrRefused, inFields(err))
	}
	if made := j.Trainer.Step(); r.MaxSteps > 0 && made > r.MaxSteps {
		return nil, bad("{max_steps} is %d, and the run in {output} has made %d", r.MaxSteps, made)
	}
	if r.TensorBoard && !r.DryRun {
		b, err := report.NewTensorBoard(filepath.Join(r.Output, tensorBoardFolder), c.Objective.Measure(), j.Trainer.History())
		if err != nil {
			return nil, err
		}
		j.Trainer.Sinks = append(j.Trainer.Sinks, b)
		j.opened = append(j.opened, b)
	}
	return j, nil
}

// continues has a run that is resumed, and of which nothing else is asked, be as long as it was asked to be before.
func (r Request) continues(recipe *finetune.Recipe) error {
	if !r.Resume || r.Overrides.Epochs != nil {
		return nil
	}
	last, err := finetune.LastCheckpoint(r.Output)
	if errors.Is(err, fs.ErrNotExist) || err == nil && last == "" {
		return nil
	}
	if err != nil {
		return err
	}
	at, err := finetune.ReadReached(last)
	if err == nil && at.Recipe == recipe.Name {
		recipe.Epochs = at.Epochs
	}
	return nil // what is wrong with a checkpoint the trainer says, and what to do
}

// keepsTokenizer returns the error that writing the model would end with for its tokenizer. One of another form is kept as it is.
func (j *Job) keepsTokenizer() error {
	if j.like.Stated().Text == nil {
		return nil
	}
	_, _, err := j.like.Tokenizer(j.request.Vocab)
	if errors.Is(err, cliptext.ErrVocabulary) || errors.Is(err, cliptext.ErrForm) && j.request.Vocab == "" {
		return nil
	}
	return err
}

// Close closes the files that were read from, and lets others use the output.
func (j *Job) Close() error {
	var errs []error
	if j.Trainer != nil {
		errs = append(errs, j.Trainer.Close()) // which has happened if it ran
	}
	for _, c := range j.opened {
		errs = append(errs, c.Close())
	}
	j.opened = nil
	return errors.Join(errs...)
}

// configure reads the tower and the lists of pictures.
func (j *Job) configure(ctx context.Context, recipe finetune.Recipe, tokens tokenRun) (c finetune.Config, err error) {
	r := j.request
	recipe = tokens.together(recipe)
	tower, err := tokens.tower(ctx, j.like)
	if err != nil {
		return c, err
	}
	train, validation, err := r.datasets(recipe, tokens.named)
	if err != nil {
		return c, of(ErrData, err)
	}
	j.Notes = notes(train, validation)
	for _, n := range j.Notes {
		j.facts = append(j.facts, [2]string{"note", n})
	}
	loader := &data.Loader{
		Data: train, Config: tower.Config, BatchSize: recipe.Batch, Shuffle: true, Augment: r.Augment.data(), Seed: r.Seed, Strict: r.Strict, Layout: tokens.layout(),
	}
	if loader.Layout != nil {
		for _, name := range []string{"augment.crop", "augment.flip", "augment.colour"} {
			if r.given(name) {
				return c, bad("{" + name + "} varies pictures, and those of a {layout} are not varied")
			}
		}
	}
	if err := loader.Validate(); err != nil {
		return c, of(ErrRequest, err)
	}
	c = finetune.Config{
		Tower: tower, Recipe: recipe, Train: loader, Seed: r.Seed, Dir: r.Output, Resume: r.Resume,
		CheckpointEvery: r.CheckpointEvery, ValidateEvery: r.ValidateEvery, Patience: r.Patience, MaxSteps: r.MaxSteps,
		MemoryLimit: r.MemoryLimit, Recompute: r.Recompute,
	}
	if validation != nil {
		c.Validation = &data.Loader{Data: validation, Config: tower.Config, BatchSize: recipe.Batch, Strict: r.Strict, Layout: tokens.layout()}
	}
	if r.DryRun {
		c.Dir = ""
	}
	if r.Cache != "" && !r.DryRun {
		c.Cache, err = probe.OpenCache(r.Cache)
	}
	return c, err
}

// datasets opens the pictures to train on and, unless there are to be none, to validate on. Of targets that are not named
// the order is that of all pictures.
func (r Request) datasets(recipe finetune.Recipe, named bool) (train, validation *data.Dataset, err error) {
	ordered := r.Targets != "" && !named
	labelled := r.Teacher == "" && r.Targets == "" && !recipe.Captions
	read := func(path string) (*data.Dataset, error) {
		d, err := data.Open(path, labelled, data.Separator(r.LabelSeparator), data.Within(r.Within))
		if errors.Is(err, data.ErrSeparator) {
			return nil, bad("{label_separator}: %v", pillow.Bare(err, "data"))
		}
		if errors.Is(err, data.ErrOutside) {
			return nil, of(ErrData, err)
		}
		return d, err
	}
	if train, err = read(r.Data); err != nil {
		return nil, nil, err
	}
	if recipe.Captions {
		train = bare(train)
	}
	switch {
	case r.Validation != "" && ordered:
		return nil, nil, bad("{validation} has no {targets}: they are of the pictures of {data} alone")
	case r.Validation != "":
		if validation, err = read(r.Validation); errors.Is(err, ErrRequest) {
			return nil, nil, err
		} else if err != nil {
			return nil, nil, fmt.Errorf("job: to validate on: %w", err)
		}
		if recipe.Captions {
			validation = bare(validation)
		}
		if labelled || recipe.Captions {
			err = data.Align(train, validation)
		}
		return train, validation, err
	case r.Split > 0 && ordered && r.given("split"):
		return nil, nil, bad("{split} is %v, and {targets} are of the pictures of {data} alone, in their order: want none", r.Split)
	case ordered:
		return train, nil, r.nothingToValidate("{targets} are of the pictures of {data} alone, in their order")
	case r.Split == 0:
		return train, nil, nil
	}
	return train.Split(r.Split, r.Seed)
}

// notes returns what the data sets say of themselves. Validation data may be nil.
func notes(train, validation *data.Dataset) []string {
	if validation == nil {
		return train.Notes
	}
	return slices.Concat(train.Notes, validation.Notes)
}

// bare takes the labels away, by which pictures would be set aside class by class.
func bare(d *data.Dataset) *data.Dataset {
	d.Classes, d.Multi = nil, false
	for i := range d.Samples {
		d.Samples[i].Label, d.Samples[i].LabelSet = data.Unlabelled, nil
	}
	return d
}

// aim says in c what is to be learnt.
func (j *Job) aim(ctx context.Context, c *finetune.Config, tokens tokenRun) error {
	r, train := j.request, c.Train.(*data.Loader).Data
	distance := r.Distance
	if c.Recipe.Captions || tokens.encoder != nil || r.Teacher != "" || r.Targets != "" {
		if _, err := j.noteHead(ctx, 0, nil); err != nil {
			return err
		}
	}
	if tokens.encoder == nil {
		distance = cmp.Or(distance, finetune.CosineDistance)
	}
	switch {
	case c.Recipe.Captions:
		return j.contrast(ctx, c, train)
	case tokens.encoder != nil:
		return j.learnTokens(ctx, c, tokens, distance)
	case r.Teacher != "":
		return j.distil(ctx, c, distance)
	case r.Targets != "":
		return j.regress(ctx, c, len(train.Samples), distance)
	}
	return j.classify(ctx, c, train)
}

// classify has it learn classes.
func (j *Job) classify(ctx context.Context, c *finetune.Config, train *data.Dataset) error {
	r := j.request
	j.Classes = train.Classes
	head, err := j.beginHead(ctx, c.Tower.Config.OutputDim(), train, c.Recipe)
	if err != nil {
		return err
	}
	c.Head = head
	weights, err := r.classWeights(train)
	if err != nil {
		return err
	}
	switch {
	case r.Objective != nil:
		c.Recipe.Smoothing = 0
		if c.Objective, err = r.Objective(train); err != nil {
			return err
		}
		if c.Objective == nil {
			return errors.New("job: the function of the objective returned none")
		}
		j.learns("by %s", c.Objective.Name())
	case train.Multi && r.given("overrides.smoothing"):
		return bad("{overrides.smoothing} is of classes that exclude each other, and the pictures have lists of labels")
	case train.Multi:
		c.Recipe.Smoothing = 0 // which presets may have for others
		c.Objective = finetune.MultiLabel{Weights: weights}
		j.learns("labels that do not exclude each other")
	default:
		c.Objective = finetune.Classification{Smoothing: c.Recipe.Smoothing, Weights: weights}
	}
	j.learns("%s from %s", plural.Of(len(train.Classes), "class"), plural.Of(len(train.Samples), "picture"))
	j.facts = append(j.facts, weightFacts(train.Classes, weights)...)
	return nil
}

// learns adds what is learnt to the facts of the report.
func (j *Job) learns(format string, args ...any) {
	j.facts = append(j.facts, [2]string{"learns", fmt.Sprintf(format, args...)})
}

// contrast has it learn from captions.
func (j *Job) contrast(ctx context.Context, c *finetune.Config, train *data.Dataset) (err error) {
	if j.text, err = j.like.Text(ctx); err != nil {
		return err
	}
	tokenizer, assumed, err := j.like.Tokenizer(j.request.Vocab)
	if err != nil {
		return err
	}
	if assumed && tokenizer.Rules() == cliptext.Transformers {
		j.learns("ids of OpenAI's vocabulary, since the model brings no tokenizer")
	}
	c.Objective = &finetune.Contrastive{Text: j.text, Tokenizer: tokenizer, Truncate: j.request.Truncate}
	j.learns("%s and their captions, %s a step", plural.Of(len(train.Samples), "picture"), plural.Of(c.Recipe.Batch*c.Recipe.Accumulate, "pair"))
	return nil
}

// distil has it learn what another tower gives.
func (j *Job) distil(ctx context.Context, c *finetune.Config, distance finetune.Distance) error {
	path := j.request.Teacher
	like, err := converter.Open(path, converter.Assume(j.request.Activation), converter.Prepare(clipvit.Choice{EXIF: j.request.EXIF}))
	if err != nil {
		return fmt.Errorf("job: the teacher: %w", err)
	}
	defer like.Close()
	teacher, err := like.Vision(ctx)
	if err != nil {
		return err
	}
	j.learns("the embeddings of %s", path)
	return c.SetTeacher(teacher, filepath.Base(path), distance)
}

// regress has it learn the vectors of a file: by a projector if there is a row for every patch.
func (j *Job) regress(ctx context.Context, c *finetune.Config, pictures int, distance finetune.Distance) error {
	targets, err := data.OpenVectors(j.request.Targets, pictures)
	if err != nil {
		return fmt.Errorf("job: the targets: %w", err)
	}
	j.opened = append(j.opened, targets)
	j.learns("%d vectors of %d numbers for each picture", targets.Rows, targets.Width)
	return c.SetTargets(ctx, targets, distance, j.like, j.request.Projector, j.request.Layer)
}

// Written says what a run has left in its output.
type Written struct {
	Model   string // a directory that loads as the model did, with what was learnt beside it
	Adapter string // a directory that peft loads; "" of a recipe without corrections by LoRA
	Report  string // a page of Markdown
	// Mixed is the score in validation of tuned and original weights together; nil if there are none such, or no validation.
	Mixed *float64
}

// Write writes what a run that has ended leaves: the corrections by LoRA, the model, and the report. Weights are mixed with
// those that they were before, where that is asked for.
func (j *Job) Write(ctx context.Context, result *finetune.Result) (Written, error) {
	r, t := j.request, j.Trainer
	w := Written{Model: filepath.Join(r.Output, history.ModelFolder), Report: filepath.Join(r.Output, report.PageFile)}
	if t.Recipe.Tower == finetune.LowRank {
		w.Adapter = filepath.Join(r.Output, AdapterFolder)
		if err := t.SaveAdapter(w.Adapter, r.Model, j.within()...); err != nil {
			return w, err
		}
	}
	facts, table := j.facts, t.Table() // before corrections are merged
	if lengths := t.Lengths(); len(lengths) > 1 {
		text := fmt.Sprintf("%d epochs", lengths[0].Epochs)
		for _, l := range lengths[1:] {
			text += fmt.Sprintf(", %d from step %d on", l.Epochs, l.From)
		}
		facts = append(facts, [2]string{"length", text})
	}
	measure := t.Objective.Measure()
	share := r.WiseFT
	mixed := share != nil && *share != 1
	if mixed {
		if err := j.mix(ctx, *share); err != nil {
			return w, err
		}
		facts = append(facts, [2]string{"WiSE-FT", fmt.Sprintf("%v of the tuned weights, %v of the original ones", *share, 1-*share)})
	}
	judged, score, err := j.evaluate(ctx)
	if err != nil {
		return w, err
	}
	if mixed && t.Validation != nil {
		if judged == nil {
			if _, score, err = t.Evaluate(ctx, t.Validation); err != nil {
				return w, err
			}
		}
		w.Mixed = &score
		facts = append(facts, [2]string{"mixed " + measure, fmt.Sprintf("%.4f", score)})
	}
	page := report.Report{Title: "Fine-tuning of " + filepath.Base(r.Model), Facts: facts, Table: table, Measure: measure, Result: result}
	if judged != nil {
		if err := r.writeEvaluation(ctx, judged, t.Validation.(*data.Loader).Data, &page); err != nil {
			return w, err
		}
	}
	return w, errors.Join(t.Save(ctx, w.Model, j.like, r.options()), page.Write(r.Output))
}

// within says what the modules of the tower have in front in the larger model of transformers that it is part of, if it is.
func (j *Job) within() []string {
	switch j.like.Dialect() {
	case converter.HuggingFaceLLaVA:
		return []string{adapter.HuggingFaceLLaVATower}
	case "LLaVA":
		return []string{adapter.LLaVATower}
	case "XComposer":
		return []string{adapter.XComposerTower}
	}
	return nil
}

// options are those of what is written.
func (r Request) options() converter.Options {
	return converter.Options{DType: cmp.Or(r.DType, sourceDType), Vocab: r.Vocab}
}

// mix sets the weights to so much of themselves, and the rest of the original ones.
func (j *Job) mix(ctx context.Context, share float64) error {
	t := j.Trainer
	original, err := j.like.Vision(ctx)
	if err != nil {
		return err
	}
	adapter.Merge(t.Tower)
	if err := finetune.Interpolate(t.Tower, original, share); err != nil {
		return err
	}
	if j.text == nil || t.Recipe.TextRate == 0 && t.Recipe.ScaleRate == 0 {
		return nil
	}
	text, err := j.like.Text(ctx)
	if err != nil {
		return err
	}
	return finetune.Interpolate(j.text, text, share)
}
