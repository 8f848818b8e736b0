package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/finetune/report"
	"github.com/vitago/vitago/projector"
)

// The folders in the output of a run, besides checkpoints.
const (
	modelFolder       = "model"
	adapterFolder     = "adapter"
	tensorboardFolder = "tensorboard"
)

// finetuneFlags are the choices of a run of fine-tuning.
type finetuneFlags struct {
	model, data, val, out     string
	split                     float64
	teacher, targets          string
	projector                 string
	layer                     int
	fixViT, fixSampler        bool
	epochs, batch, accumulate int
	rate, headRate            float64
	decay, layerDecay, ema    float64
	warmup, clip, smoothing   float64
	blocks, rank              int
	alpha                     float64
	loraTargets               []string
	augment                   data.Augment
	crop, colour              float64
	steps                     int
	seed                      uint64
	checkpointEvery, valEvery int
	patience                  int
	resume, strict, dryRun    bool
	cache                     string
	memory, wise              float64
	every                     int
	tensorboard, recompute    bool
}

func newFinetune() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "finetune --model DIR --data DIR --out DIR --recipe NAME",
		Short: "Train a tower, a part of it, or a head on it, with one's own pictures",
		Long: `Finetune trains by a recipe:

  probe      a head on the frozen tower
  projector  a projector on the frozen tower, which regresses to --targets
  lora       corrections of low rank, and a head
  last-n     the last --blocks blocks, and a head
  full       the whole tower, as FT-CLIP: small rates, smaller from layer to layer, averaged weights
  xcomposer  tower and projector, as InternLM-XComposer trains them; --fix-vit, --fix-sampler

The pictures are a folder with a folder for each class, a table of paths and labels (.csv, .tsv,
.jsonl), or shards of WebDataset ("shard-*.tar"). What is learnt is to tell the classes apart; with
--teacher to give what another tower gives, with --targets to give the vectors of a file.

OUT/model is a directory that loads wherever MODEL does, with the head in head.safetensors and
classes.json; OUT/adapter, of the recipe lora, is what peft loads. OUT/report.md says how it went,
and OUT/metrics.jsonl step by step. A run that ended before its time, in whatever way, goes on with
--resume and comes to the same bits.

What learns and how much memory it takes is printed before the first step; what does not fit is
refused. --dry-run ends there.`,
		Example: `  vitago finetune --model models/vit-l-14-336 --data pictures --out tuned --recipe lora
  vitago finetune --model models/vit-l-14-336 --data pictures --out tuned --recipe lora --resume
  vitago finetune --model models/vit-l-14-336 --data train.csv --val val.csv --out tuned --recipe full --wise-ft 0.5`,
		Args: wantArgs(0, 0, "none"),
	}
	f := &finetuneFlags{}
	v := cmd.Flags()
	v.StringVar(&f.model, "model", "", "model directory or checkpoint `DIR` to begin with (required)")
	v.StringVar(&f.data, "data", "", "pictures to train on: a folder, a table or shards (required)")
	v.StringVar(&f.out, "out", "", "`DIR` for all that is written (required)")
	var names []string
	for _, r := range finetune.Recipes {
		names = append(names, r.Name)
	}
	recipe := choiceFlag(cmd, "recipe", "", "what learns, and how (required)", names...)
	v.StringVar(&f.val, "val", "", "pictures to validate on (default: a part of the training data)")
	v.Float64Var(&f.split, "split", 0.1, "share of each class that is set aside to validate on; 0 for none")
	v.StringVar(&f.teacher, "teacher", "", "learn to give the embeddings of the tower in `DIR`")
	v.StringVar(&f.targets, "targets", "", "learn to give the vectors of a safetensors `FILE`, a row or a matrix for each picture, in order")
	distance := choiceFlag(cmd, "distance", "cosine", "from teacher or targets", "cosine", "mse")
	v.StringVar(&f.projector, "projector", "mlp2x_gelu", "type of a new projector, where MODEL has none")
	v.IntVar(&f.layer, "layer", -2, "layer whose patches a projector gets (default: what MODEL says)")
	v.BoolVar(&f.fixViT, "fix-vit", false, "recipe xcomposer: freeze the tower")
	v.BoolVar(&f.fixSampler, "fix-sampler", false, "recipe xcomposer: freeze the projector")

	const preset = " (default: the recipe's)"
	v.IntVar(&f.epochs, "epochs", 0, "times that all pictures are seen"+preset)
	v.IntVar(&f.batch, "batch", 0, "pictures that go through the tower together"+preset)
	v.IntVar(&f.accumulate, "accumulate", 0, "batches that make a step"+preset)
	v.Float64Var(&f.rate, "rate", 0, "rate of the tower"+preset)
	v.Float64Var(&f.headRate, "head-rate", 0, "rate of the head"+preset)
	v.Float64Var(&f.decay, "weight-decay", 0, "decay of weights"+preset)
	v.Float64Var(&f.layerDecay, "layer-decay", 0, "rate of a block in terms of the next one's"+preset)
	v.Float64Var(&f.ema, "ema", 0, "decay of an average of the weights; 0 for none"+preset)
	v.Float64Var(&f.warmup, "warmup", 0, "share of the steps in which the rate rises"+preset)
	v.Float64Var(&f.clip, "clip", 0, "largest norm of the gradients; 0 for any"+preset)
	v.Float64Var(&f.smoothing, "smoothing", 0, "of labels"+preset)
	v.IntVar(&f.blocks, "blocks", 0, "recipe last-n: how many learn"+preset)
	v.IntVar(&f.rank, "rank", 0, "recipe lora"+preset)
	v.Float64Var(&f.alpha, "alpha", 0, "recipe lora"+preset)
	v.StringSliceVar(&f.loraTargets, "lora-targets", nil, "recipe lora: some of "+strings.Join(finetune.LoRATargets, ",")+preset)
	v.Float64Var(&f.crop, "augment-crop", 0, "cut a part of a picture out, at least this share of it; 0 for the middle square")
	v.Float64Var(&f.augment.Flip, "augment-flip", 0, "probability to exchange left and right")
	v.Float64Var(&f.colour, "augment-colour", 0, "vary brightness, contrast and saturation by at most this")
	v.IntVar(&f.steps, "steps", 0, "end after so many steps; 0 for the end of the epochs")
	v.Uint64Var(&f.seed, "seed", 1, "of all that is random")
	v.IntVar(&f.checkpointEvery, "checkpoint-every", 0, "steps from one checkpoint to the next; 0 for an epoch")
	v.IntVar(&f.valEvery, "val-every", 0, "steps from one validation to the next; 0 for an epoch")
	v.IntVar(&f.patience, "patience", 0, "end after so many validations that are not better; 0 for never")
	v.BoolVar(&f.resume, "resume", false, "go on from the last checkpoint in OUT, if there is one")
	v.BoolVar(&f.strict, "strict", false, "end at a picture that cannot be read; otherwise it is skipped and listed")
	v.StringVar(&f.cache, "cache", "", "`DIR` where what a frozen tower gives is kept from run to run")
	v.BoolVar(&f.recompute, "recompute", false, "keep next to nothing of the blocks for the gradients: slower, and in less memory (default: where it would not fit)")
	v.Float64Var(&f.memory, "memory", 0, "`GB` that may be used (default: what the machine has; below 0 for any)")
	v.Float64Var(&f.wise, "wise-ft", 1, "share of the tuned weights in OUT/model; the rest is of the original ones")
	v.IntVar(&f.every, "log-every", 10, "steps from one line to the next")
	v.BoolVar(&f.tensorboard, "tensorboard", false, "write event files for TensorBoard into OUT/tensorboard, too")
	v.BoolVar(&f.dryRun, "dry-run", false, "say what would learn and what it takes, and end")
	dtype := choiceFlag(cmd, "dtype", "source", "precision of the output; weights that learn are float32 by source", "source", "f16", "bf16", "f32")
	activation := activationFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, r := range []struct{ name, value string }{{"model", f.model}, {"data", f.data}, {"out", f.out}, {"recipe", recipe.value}} {
			if r.value == "" {
				return usagef("--%s is missing", r.name)
			}
		}
		if f.teacher != "" && f.targets != "" {
			return usagef("--teacher and --targets exclude each other")
		}
		r, err := f.recipe(recipe.value, v.Changed)
		if err != nil {
			return err
		}
		s, err := f.open(r, finetune.Distance(distance.value), clipvit.Activation(activation.value), v.Changed("layer"))
		if err != nil {
			return err
		}
		defer s.like.Close()
		return s.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), converter.Options{DType: dtype.value})
	}
	return cmd
}

// recipe returns the preset of a name with what the flags say otherwise.
func (f *finetuneFlags) recipe(name string, changed func(flag string) bool) (finetune.Recipe, error) {
	r, err := finetune.FindRecipe(name)
	if err != nil {
		return r, err
	}
	if f.fixViT || f.fixSampler {
		if name != "xcomposer" {
			return r, usagef("--fix-vit and --fix-sampler are of the recipe xcomposer")
		}
		r = finetune.XComposer(f.fixViT, f.fixSampler)
	}
	set(changed, "epochs", &r.Epochs, f.epochs)
	set(changed, "batch", &r.Batch, f.batch)
	set(changed, "accumulate", &r.Accumulate, f.accumulate)
	set(changed, "rate", &r.Rate, f.rate)
	set(changed, "head-rate", &r.HeadRate, f.headRate)
	set(changed, "weight-decay", &r.WeightDecay, f.decay)
	set(changed, "layer-decay", &r.LayerDecay, f.layerDecay)
	set(changed, "ema", &r.EMA, f.ema)
	set(changed, "warmup", &r.Warmup, f.warmup)
	set(changed, "clip", &r.Clip, f.clip)
	set(changed, "smoothing", &r.Smoothing, f.smoothing)
	set(changed, "blocks", &r.Blocks, f.blocks)
	set(changed, "rank", &r.LoRA.Rank, f.rank)
	set(changed, "alpha", &r.LoRA.Alpha, f.alpha)
	set(changed, "lora-targets", &r.LoRA.Targets, f.loraTargets)
	return r, r.Validate()
}

// set sets a field to the value of a flag that was given.
func set[T any](changed func(string) bool, flag string, field *T, value T) {
	if changed(flag) {
		*field = value
	}
}

// A session is a run of fine-tuning that is ready to begin.
type session struct {
	*finetuneFlags
	like    *converter.Checkpoint // the model that it began with
	trainer *finetune.Trainer
	config  finetune.Config
	facts   [][2]string
}

// open reads the model and the lists of pictures, and decides what is to be learnt.
func (f *finetuneFlags) open(r finetune.Recipe, distance finetune.Distance, activation clipvit.Activation, layerGiven bool) (_ *session, err error) {
	s := &session{finetuneFlags: f, facts: [][2]string{{"model", f.model}, {"recipe", r.Name + ": " + r.About}, {"data", f.data}}}
	if s.like, err = openModel(f.model, activation); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.like.Close()
		}
	}()
	tower, err := converter.LoadCheckpoint(s.like)
	if err != nil {
		return nil, err
	}
	train, validation, err := f.datasets()
	if err != nil {
		return nil, err
	}
	if f.crop > 0 {
		f.augment.Area = [2]float64{f.crop, 1}
	}
	f.augment.Brightness, f.augment.Contrast, f.augment.Saturation = f.colour, f.colour, f.colour
	loader := &data.Loader{Data: train, Config: tower.Config, BatchSize: r.Batch, Shuffle: true, Augment: f.augment, Seed: f.seed, Strict: f.strict}
	if err := loader.Validate(); err != nil {
		return nil, err
	}
	s.config = finetune.Config{
		Tower: tower, Recipe: r, Train: loader, Seed: f.seed, Dir: f.out, Resume: f.resume,
		CheckpointEvery: f.checkpointEvery, ValidateEvery: f.valEvery, Patience: f.patience, MaxSteps: f.steps,
		MemoryLimit: int64(f.memory * 1e9), Recompute: f.recompute,
	}
	if validation != nil {
		s.config.Validation = &data.Loader{Data: validation, Config: tower.Config, BatchSize: r.Batch, Strict: f.strict}
	}
	if f.dryRun {
		s.config.Dir = ""
	}
	if f.cache != "" {
		if s.config.Cache, err = probe.OpenCache(f.cache); err != nil {
			return nil, err
		}
	}
	switch {
	case f.teacher != "":
		err = s.distil(distance, activation)
	case f.targets != "":
		err = s.regress(train, distance, layerGiven)
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
func openModel(path string, activation clipvit.Activation) (*converter.Checkpoint, error) {
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
		return usagef("recipe %s trains a projector: give --targets", s.config.Recipe.Name)
	}
	c := s.config.Tower.Config
	s.config.Head = finetune.NewClassifier(cmp.Or(c.EmbedDim, c.Width), train.Classes)
	s.config.Objective = finetune.Classification{Smoothing: s.config.Recipe.Smoothing}
	s.facts = append(s.facts, [2]string{"learns", fmt.Sprintf("%d classes from %d pictures", len(train.Classes), len(train.Samples))})
	return nil
}

// distil makes it learn what another tower gives.
func (s *session) distil(distance finetune.Distance, activation clipvit.Activation) error {
	c, err := openModel(s.teacher, activation)
	if err != nil {
		return err
	}
	defer c.Close()
	teacher, err := converter.LoadCheckpoint(c)
	if err != nil {
		return err
	}
	s.config.Objective = &finetune.Distillation{Distance: distance, Teacher: teacher, What: filepath.Base(s.teacher)}
	s.facts = append(s.facts, [2]string{"learns", "the embeddings of " + s.teacher})
	return nil
}

// regress makes it learn the vectors of a file: by a projector if there is a row for every patch.
func (s *session) regress(train *data.Dataset, distance finetune.Distance, layerGiven bool) error {
	targets, rows, width, err := readTargets(s.targets, train)
	if err != nil {
		return err
	}
	c := s.config.Tower.Config
	s.config.Objective = finetune.Regression{Distance: distance, Target: targets, What: filepath.Base(s.targets)}
	s.facts = append(s.facts, [2]string{"learns", fmt.Sprintf("%d vectors of %d numbers for each picture", rows, width)})
	if rows == 1 {
		if n := cmp.Or(c.EmbedDim, c.Width); n != width {
			return fmt.Errorf("finetune: %s has vectors of %d numbers, the embedding has %d", s.targets, width, n)
		}
		return nil
	}
	if rows != c.Patches() {
		return fmt.Errorf("finetune: %s has %d vectors for each picture, want 1, or %d for the patches", s.targets, rows, c.Patches())
	}
	s.config.Features = finetune.Features{Patches: true, Layer: s.layer}
	p, err := converter.LoadProjectorCheckpoint(s.like)
	if err == nil {
		if l := p.Config.SelectLayer; l != nil && !layerGiven {
			s.config.Features.Layer = *l
		}
		p.Model.Unfreeze()
		s.config.Head = p.Model
		return nil
	}
	m, err := projector.New(projector.Config{Type: s.projector, In: c.Width, Out: width})
	if err != nil {
		return err
	}
	m.Init(rand.New(rand.NewPCG(s.seed, 2))) // the second stream of the seed; the first is LoRA's
	s.config.Head = m
	return nil
}

// run trains, and writes all that there is to write.
func (s *session) run(ctx context.Context, out, errw io.Writer, o converter.Options) error {
	t, measure := s.trainer, s.config.Objective.Measure()
	defer t.Close() // which has happened if it ran
	fmt.Fprintf(errw, "%s\n%s\n", t.Table(), t.Memory())
	if s.dryRun {
		return nil
	}
	t.Sinks = append(t.Sinks, finetune.NewLines(errw, s.every, measure))
	if s.tensorboard {
		b, err := finetune.NewTensorBoard(filepath.Join(s.out, tensorboardFolder), measure, t.Step())
		if err != nil {
			return err
		}
		defer b.Close()
		t.Sinks = append(t.Sinks, b)
	}
	var rows [][2]string
	switch {
	case t.Step() > 0:
		fmt.Fprintf(errw, "resumed after step %d of %d\n", t.Step(), t.Steps())
	case t.Validation != nil:
		_, before, err := t.Evaluate(ctx, t.Validation)
		if err != nil {
			return err
		}
		rows = append(rows, [2]string{measure + " before", fmt.Sprintf("%.4f", before)})
	}
	r, err := t.Run(ctx)
	if err != nil {
		if ctx.Err() != nil {
			fmt.Fprintf(errw, "stopped after step %d of %d; --resume goes on\n", t.Step(), t.Steps())
		}
		return err
	}
	if s.config.Recipe.Tower == finetune.LowRank {
		if err := t.SaveAdapter(filepath.Join(s.out, adapterFolder), s.model); err != nil {
			return err
		}
	}
	if s.wise != 1 {
		original, err := converter.LoadCheckpoint(s.like)
		if err != nil {
			return err
		}
		finetune.MergeLoRA(s.config.Tower)
		if err := finetune.Interpolate(s.config.Tower, original, s.wise); err != nil {
			return err
		}
		s.facts = append(s.facts, [2]string{"WiSE-FT", fmt.Sprintf("%v of the tuned weights, %v of the original ones", s.wise, 1-s.wise)})
	}
	model := filepath.Join(s.out, modelFolder)
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
