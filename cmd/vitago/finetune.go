package main

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/projector"
)

// mostMemory bounds --memory, in GB, so that the bytes fit a number.
const mostMemory = 1e9

// finetuneFlags are the choices of a run of fine-tuning.
type finetuneFlags struct {
	job.Request
	// Of the request, where they are given.
	overrides    struct{ epochs, batch, accumulate, blocks, rank int }
	rates        struct{ tower, head, text, scale, decay, layerDecay, ema, warmup, clip, smoothing, alpha float64 }
	layer        int
	memory, wise float64

	json  bool     // what comes of it is printed so
	every int      // steps from one line to the next
	swept []string // what a sweep is over
}

func newFinetune() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "finetune --model DIR --data DIR --out DIR --recipe NAME",
		Short: "Train a tower, a part of it, or a head on it, with one's own pictures",
		Long: `Finetune trains by a recipe:

  probe       a head on the frozen tower, by L-BFGS on features that are kept in OUT/features;
              with --solver adamw as the others, for pictures that are varied
  projector   a projector, and the vectors between its tokens, on the frozen tower; it regresses
              to the tokens of a --teacher or of --targets
  lora        corrections of low rank, and a head
  last-n      the last --blocks blocks, and a head
  full        the whole tower, as FT-CLIP: small rates, smaller from layer to layer, averaged
              weights
  xcomposer   tower and projector, as InternLM-XComposer trains them, from tokens as projector
              does; --fix-vit, --fix-sampler
  contrastive both towers, from captions, as CLIP was trained; --lock images or texts

The pictures are a folder with a folder for each class, a table of paths and labels or captions
(.csv, .tsv, .jsonl), or shards of WebDataset ("shard-*.tar"). Tables are read as Python's csv and
pandas read them; where these differ, the line is named. Links are followed. Pictures of formats
that are not read, and whatever else is left out, are counted and named before anything is
trained. What is learnt is to tell the classes apart; with --teacher to give what another tower
gives, with --targets to give the vectors of a file.

Captions are learnt with the text tower and the vocabulary of MODEL: each is to be told from those
of the other pictures of the step, --batch times --accumulate of them, which takes the memory of
--batch. Captions of the same token ids count as one. The score, recall@1, is the share of
pictures nearest to their own caption, and of captions nearest to their own picture, among all
that are validated on; losses are of as many as a step has. With --captions lora, last-n and full
learn so too, the text tower locked but for --text-rate. The scale of the cosines stays but for
--scale-rate, and at 100 at most.

Pictures may have several labels: lists in a .jsonl ("labels": ["cat", "dog"], [] for none), or a
field of a .csv that --label-separator splits. Each class is then learnt by itself (binary
cross-entropy), classes.json says so, a picture is of the classes above 0.5, and the score is the
mean average precision. With --class-weights the loss and the accuracy count each picture by the
weight of its class, in training as in validation; where there are several labels, a picture of a
class counts so in the loss of that class.

Where MODEL has a head of some of the classes, in whatever order, the run begins with its rows for
these, and with zeros for others; --init-head begins with zeros alone. A note says which it was.

OUT/model is a directory that loads wherever MODEL does, with the head in head.safetensors and
classes.json, which "vitago classify --model OUT/model" asks; OUT/adapter, of the recipe lora, is
what peft loads. OUT/report.md says how it went, and OUT/metrics.jsonl step by step. A run that
ended before its time, in whatever way, goes on with --resume and comes to the same bits. With
--resume --epochs N a run that has ended, or was stopped, becomes longer: from the step that it
has reached the rates are those of N epochs, and patience begins anew. It comes to the same bits
however often it is interrupted, and OUT/model stays what it was until the new one is whole.
--resume --steps N, N the steps that are made, ends a run that was stopped, with a model. All else
has to be what it was.

Where MODEL has a projector, or --recipe projector gives it a new one, tokens of a language model
are learnt: those of a --teacher with a projector too, or of the file that vitago tokens wrote for
the pictures, a tensor [N,O] for each under its path. Pictures become views by --layout, and one
of several views goes through the tower alone: --batch says how many make a step. XComposer's
plora_glb_GN and plora_sub_GN and LLaVA's image_newline learn with the projector. The score is r2,
the share of the tokens' variance that is explained, or with --distance cosine the cosine. The
other recipes train a part of the tower as well. With --cache a frozen tower sees each picture
once.

--sweep rate=1e-5,1e-4 makes a run for each value, and several --sweep one for each combination,
with the same split and seed, each in a folder of OUT. OUT/sweep.md and OUT/sweep.csv have a line
for each, the best score in validation first and what failed last; OUT/model leads to the model of
the best. With --resume runs that have ended are kept. A frozen tower sees each picture once for all
runs.

What learns and how much memory it takes is printed before the first step; what does not fit is
refused, with what would take less. --dry-run ends there.

Ctrl-C, SIGTERM and SIGHUP end it after the batch at hand with a checkpoint of the last whole step
and exit status 130; a second one ends it at once, which costs no more than the steps since the
last checkpoint. So does kill -9, and a full disk (exit status 1).`,
		Example: `  vitago finetune --model MODEL --data pictures --out probe --recipe probe
  vitago finetune --model MODEL --data pictures --out tuned --recipe lora --dry-run
  vitago finetune --model MODEL --data pictures --out tuned --recipe lora --epochs 10 --patience 2
  vitago finetune --model MODEL --data pictures --out tuned --recipe lora --resume
  vitago finetune --model MODEL --data pictures --out sweep --recipe lora \
      --sweep rate=1e-4,1e-3 --sweep rank=4,16
  vitago finetune --model MODEL --data train.csv --val val.csv --out full --recipe full \
      --wise-ft 0.5
  vitago finetune --model MODEL --data captions.csv --out pairs --recipe contrastive --lock texts
  vitago finetune --model XCOMPOSER --data pictures --out tokens --recipe projector \
      --teacher TEACHER --cache cache`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && nearest(args[0], []string{"recipes"}) != "" {
				return usagef("unknown word %q; did you mean \"recipes\"?", args[0])
			}
			return wantArgs(0, 0, "none: the pictures are --data, the model is --model")(cmd, args)
		},
	}
	f := &finetuneFlags{}
	v := cmd.Flags()
	v.StringVar(&f.Model, "model", "", "`DIR` or file of the checkpoint to begin with, or the name of a model that download has brought (required)")
	v.StringVar(&f.Data, "data", "", "pictures to train on: a folder, a table or shards (required)")
	v.StringVar(&f.Output, "out", "", "`DIR` for all that is written (required)")
	recipe := choiceFlag(cmd, "recipe", "", "what learns, and how (required)", recipeNames()...)
	v.StringVar(&f.Validation, "val", "", "pictures to validate on (default: a part of the training data)")
	v.Float64Var(&f.Split, "split", 0.1, "share of each class that is set aside to validate on; 0 for none, which the probe's L-BFGS cannot do without")
	v.StringVar(&f.Teacher, "teacher", "", "learn to give the embeddings of the tower in `DIR`, or its tokens, if both have a projector")
	v.StringVar(&f.Targets, "targets", "", "learn to give the vectors of a safetensors `FILE`, a row or a matrix for each picture in the order of their paths, or what vitago tokens wrote of them")
	distance := choiceFlag(cmd, "distance", "", "from teacher or targets (default: mse of tokens, cosine of others)", "cosine", "mse")
	v.StringVar(&f.Projector, "projector", "", "type of a new projector, where MODEL has none (default: the teacher's, or mlp2x_gelu)")
	var layouts []string
	for _, l := range projector.Layouts {
		layouts = append(layouts, l.Name)
	}
	layout := choiceFlag(cmd, "layout", "", "how a picture becomes the views whose tokens are learnt (default: that of MODEL's family)", layouts...)
	v.IntVar(&f.HDNum, "hd-num", 0, "the most tiles of a picture (default: the layout's)")
	v.BoolVar(&f.InitProjector, "init-projector", false, "begin with a projector and separators as they are before any training, not with MODEL's")
	v.IntVar(&f.layer, "layer", -2, "layer whose patches a projector gets (default: what MODEL says, or -2)")
	v.Lookup("layer").DefValue = "0" // or it would be said twice
	solver := choiceFlag(cmd, "solver", "", "recipe probe: of the head (default lbfgs, with the sweep of the CLIP paper)", "lbfgs", "adamw")
	v.BoolVar(&f.FixViT, "fix-vit", false, "recipe xcomposer: freeze the tower")
	v.BoolVar(&f.FixSampler, "fix-sampler", false, "recipe xcomposer: freeze the projector")

	v.StringVar(&f.LabelSeparator, "label-separator", "", "what is between the labels of one picture in a .csv or .tsv, if it can have several: \"|\"; in a .jsonl they are lists")
	v.StringVar(&f.ClassWeights, "class-weights", "", "how much pictures of the classes count: balanced, CLASS=WEIGHT,... or a .csv of class and weight")
	v.BoolVar(&f.InitHead, "init-head", false, "begin with a new head, not with MODEL's")
	v.IntVar(&f.overrides.epochs, "epochs", 0, "times that all pictures are seen")
	v.IntVar(&f.overrides.batch, "batch", 0, "pictures that go through the tower together")
	v.IntVar(&f.overrides.accumulate, "accumulate", 0, "batches that make a step")
	v.Float64Var(&f.rates.tower, "rate", 0, "rate of the tower")
	v.Float64Var(&f.rates.head, "head-rate", 0, "rate of the head")
	v.Float64Var(&f.rates.decay, "weight-decay", 0, "decay of weights")
	v.Float64Var(&f.rates.layerDecay, "layer-decay", 0, "rate of a block in terms of the next one's")
	v.Float64Var(&f.rates.ema, "ema", 0, "decay of an average of the weights; 0 for none")
	v.Float64Var(&f.rates.warmup, "warmup", 0, "share of the steps in which the rate rises")
	v.Float64Var(&f.rates.clip, "clip", 0, "largest norm of the gradients; 0 for any")
	v.Float64Var(&f.rates.smoothing, "smoothing", 0, "of labels")
	v.IntVar(&f.overrides.blocks, "blocks", 0, "recipe last-n: how many learn")
	v.IntVar(&f.overrides.rank, "rank", 0, "recipe lora")
	v.Float64Var(&f.rates.alpha, "alpha", 0, "recipe lora")
	v.StringSliceVar(&f.Overrides.Targets, "lora-targets", nil, "recipe lora: some of "+strings.Join(adapter.Targets, ","))
	v.Float64Var(&f.Augment.Crop, "augment-crop", 0, "cut a part of a picture out, at least this share of it; 0 for the middle square")
	v.Float64Var(&f.Augment.Flip, "augment-flip", 0, "probability to exchange left and right")
	v.Float64Var(&f.Augment.Colour, "augment-colour", 0, "vary brightness, contrast and saturation by at most this")
	v.BoolVar(&f.Captions, "captions", false, "learn from captions, by another recipe than contrastive")
	v.StringVar(&f.Vocab, "vocab", "", "captions: `FILE` of merges as OpenAI's, tokenizer.json, or a folder with a tokenizer (default: MODEL's, or OpenAI's)")
	v.BoolVar(&f.Truncate, "truncate", false, "cut captions that are too long for the text tower; otherwise they are an error")
	lock := choiceFlag(cmd, "lock", "", "captions: the tower that does not learn", "images", "texts")
	v.Float64Var(&f.rates.text, "text-rate", 0, "captions: rate of the text tower; 0 locks it")
	v.Float64Var(&f.rates.scale, "scale-rate", 0, "captions: rate of the scale of the cosines; 0 leaves it what it is")
	v.IntVar(&f.MaxSteps, "steps", 0, "end after so many steps; 0 for the end of the epochs")
	v.Uint64Var(&f.Seed, "seed", 1, "of all that is random")
	v.IntVar(&f.CheckpointEvery, "checkpoint-every", 0, "steps from one checkpoint to the next; 0 for an epoch")
	v.IntVar(&f.ValidateEvery, "val-every", 0, "steps from one validation to the next; 0 for an epoch")
	v.IntVar(&f.Patience, "patience", 0, "end after so many validations that are not better; 0 for never")
	v.BoolVar(&f.Resume, "resume", false, "go on from the last checkpoint in OUT, if there is one; with another --epochs or --steps longer, or shorter")
	v.BoolVar(&f.Strict, "strict", false, "end at a picture that cannot be read; otherwise it is skipped and listed")
	v.StringVar(&f.Cache, "cache", "", "`DIR` where what a frozen tower gives is kept from run to run")
	v.BoolVar(&f.Recompute, "recompute", false, "keep next to nothing of the blocks for the gradients: slower, and in less memory (default: where it would not fit)")
	v.Float64Var(&f.memory, "memory", 0, "`GB` that may be used (default: what the machine has; below 0 for any)")
	v.Float64Var(&f.wise, "wise-ft", 1, "share of the tuned weights in OUT/model; the rest is of the original ones. What is mixed is validated once more")
	v.IntVar(&f.every, "log-every", 10, "steps from one line to the next")
	v.BoolVar(&f.TensorBoard, "tensorboard", false, "write event files for TensorBoard into OUT/tensorboard, too")
	v.StringArrayVar(&f.swept, "sweep", nil, "`NAME=VALUE,VALUE` of a flag: make a run for each value, in a folder of OUT, and a table of them, the best first; several times for a grid")
	v.BoolVar(&f.DryRun, "dry-run", false, "say what would learn and what it takes, and end")
	v.BoolVar(&f.json, "json", false, "print JSON")
	dtype := choiceFlag(cmd, "dtype", "source", "precision of the output; weights that learn are float32 by source", "source", "f16", "bf16", "f32")
	prepared := preprocessFlags(cmd, true)
	activation := activationFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, r := range []struct{ name, value string }{{"model", f.Model}, {"data", f.Data}, {"out", f.Output}, {"recipe", recipe.value}} {
			if r.value == "" {
				return usagef("--%s is missing", r.name)
			}
		}
		switch {
		case isImageFile(f.Model):
			return usagef("--model %s is an image, want a model directory or a checkpoint", f.Model)
		case v.Changed("hd-num") && f.HDNum < 1:
			return usagef("--hd-num is %d, want at least 1", f.HDNum)
		case v.Changed("memory") && f.memory == 0:
			return usagef("--memory is 0, want the GB that may be used, or below 0 for any")
		}
		if !(math.Abs(f.memory) <= mostMemory) {
			return usagef("--memory is %v, want GB from -%g to %[2]g", f.memory, mostMemory)
		}
		if f.Teacher != "" && f.Targets != "" {
			return usagef("--teacher and --targets exclude each other")
		}
		f.Recipe, f.Solver, f.Lock, f.Layout, f.DType = recipe.value, solver.value, lock.value, layout.value, dtype.value
		f.Distance, f.Activation = finetune.Distance(distance.value), transformer.Activation(activation.value)
		locate(cmd, &f.Model, &f.Teacher)
		c := prepared()
		f.Preprocess, f.Fit, f.EXIF = c.Preset, c.Fit, c.EXIF
		f.complete(v)
		var err error
		if f.Sweep, err = axes(f.swept); err != nil {
			return err
		}
		if f.every < 1 {
			return usagef("--log-every is %d, want at least 1", f.every)
		}
		run := f.train
		if lbfgs, err := f.ByLBFGS(); err == nil && lbfgs {
			if v.Changed("log-every") {
				return usagef("--log-every goes with --solver adamw: L-BFGS goes to the optimum, and has no steps to tell of")
			}
			run = f.fitHead
		}
		if f.Sweep != nil {
			run = f.sweep
		}
		return f.inFlags(run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()))
	}
	cmd.AddCommand(newRecipes())
	groupHelp(cmd, finetuneGroups())
	return cmd
}

// complete gives the request what flags say only if they are given.
func (f *finetuneFlags) complete(v *pflag.FlagSet) {
	f.Overrides = job.Overrides{
		Epochs: given(v, "epochs", f.overrides.epochs), Batch: given(v, "batch", f.overrides.batch), Accumulate: given(v, "accumulate", f.overrides.accumulate),
		Rate: given(v, "rate", f.rates.tower), HeadRate: given(v, "head-rate", f.rates.head), TextRate: given(v, "text-rate", f.rates.text), ScaleRate: given(v, "scale-rate", f.rates.scale),
		WeightDecay: given(v, "weight-decay", f.rates.decay), LayerDecay: given(v, "layer-decay", f.rates.layerDecay), EMA: given(v, "ema", f.rates.ema),
		Warmup: given(v, "warmup", f.rates.warmup), Clip: given(v, "clip", f.rates.clip), Smoothing: given(v, "smoothing", f.rates.smoothing),
		Blocks: given(v, "blocks", f.overrides.blocks), Rank: given(v, "rank", f.overrides.rank), Alpha: given(v, "alpha", f.rates.alpha), Targets: f.Overrides.Targets,
	}
	f.Layer, f.WiseFT, f.MemoryLimit = given(v, "layer", f.layer), given(v, "wise-ft", f.wise), int64(f.memory*1e9)
	if f.Validation != "" && !v.Changed("split") {
		f.Split = 0 // whose default is for who gives no others
	}
	f.Given = func(field string) bool { return v.Changed(flagOf(field)) }
}

// given returns the value of a flag that was given, and otherwise nil.
func given[T any](v *pflag.FlagSet, flag string, value T) *T {
	if !v.Changed(flag) {
		return nil
	}
	return &value
}

// flagNames are the flags of fields of a request that are called otherwise.
var flagNames = map[string]string{
	"output": "out", "validation": "val", "max_steps": "steps", "validate_every": "val-every", "memory_limit": "memory", "overrides.targets": "lora-targets",
}

// flagOf returns the name of the flag of a field of a request.
func flagOf(field string) string {
	if name, ok := flagNames[field]; ok {
		return name
	}
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.TrimPrefix(field, "overrides."))
}

// inFlags says in flags what is wrong with a request.
func (f *finetuneFlags) inFlags(err error) error {
	if e := (*job.RequestError)(nil); errors.As(err, &e) {
		return usagef("%s", e.Named(func(field string) string { return "--" + flagOf(field) }))
	}
	if errors.Is(err, job.ErrRequest) {
		return usageError{err}
	}
	if errors.Is(err, finetune.ErrBlocks) {
		return usagef("--blocks: %w", err)
	}
	if f.Layer != nil && errors.Is(err, clipvit.ErrLayer) {
		return usagef("--layer: %w", err)
	}
	if e := (*job.ResumeError)(nil); errors.As(err, &e) {
		return errors.New(e.Named(func(field string) string { return "--" + flagOf(field) }))
	}
	if e := (*finetune.MemoryError)(nil); errors.As(err, &e) {
		what, _, _ := strings.Cut(e.Error(), "\n")
		return verbatim(plain(errors.New(what)) + "\n\n" + strings.TrimRight(e.Need.String(), "\n"))
	}
	if e := (*converter.NotFoundError)(nil); errors.As(err, &e) && e.Path == f.Model && f.Model != f.Teacher {
		return fmt.Errorf("--model: %w", e)
	}
	return adviseVocabulary(err, f.Model)
}
