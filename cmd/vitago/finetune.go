package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/projector"
)

// finetuneFlags are the choices of a run of fine-tuning.
type finetuneFlags struct {
	model, data, val, out     string
	split                     float64
	teacher, targets          string
	projector, layout         string
	hdNum                     int
	initProjector             bool
	layer                     int
	fixViT, fixSampler        bool
	captions, truncate        bool
	vocab, lock               string
	textRate, scaleRate       float64
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
	changed                   func(flag string) bool // whether it was given
}

func newFinetune() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "finetune --model DIR --data DIR --out DIR --recipe NAME",
		Short: "Train a tower, a part of it, or a head on it, with one's own pictures",
		Long: `Finetune trains by a recipe:

  probe      a head on the frozen tower, by L-BFGS on features that are kept in OUT/features;
             with --solver adamw as the others, for pictures that are varied
  projector  a projector, and the vectors between its tokens, on the frozen tower; it regresses to the
             tokens of a --teacher or of --targets
  lora       corrections of low rank, and a head
  last-n     the last --blocks blocks, and a head
  full       the whole tower, as FT-CLIP: small rates, smaller from layer to layer, averaged weights
  xcomposer  tower and projector, as InternLM-XComposer trains them; --fix-vit, --fix-sampler
  contrastive  both towers, from captions, as CLIP was trained; --lock images or texts

The pictures are a folder with a folder for each class, a table of paths and labels or captions (.csv,
.tsv, .jsonl), or shards of WebDataset ("shard-*.tar"). What is learnt is to tell the classes apart; with
--teacher to give what another tower gives, with --targets to give the vectors of a file.

Captions are learnt with the text tower and the vocabulary of MODEL: each is to be told from those of
the other pictures of the step, --batch times --accumulate of them, which takes the memory of --batch.
Captions that are the same words count as one. The score, recall@1, is the share of pictures nearest to
their own caption, and of captions nearest to their own picture, among all that are validated on; losses
are of as many as a step has. With --captions lora, last-n and full learn so too, the text tower locked
but for --text-rate. The scale of the cosines stays but for --scale-rate, and at 100 at most.

OUT/model is a directory that loads wherever MODEL does, with the head in head.safetensors and
classes.json, which "vitago classify --model OUT/model" asks; OUT/adapter, of the recipe lora, is what
peft loads. OUT/report.md says how it went, and OUT/metrics.jsonl step by step. A run that ended before
its time, in whatever way, goes on with --resume and comes to the same bits.

Where MODEL has a projector, or --recipe projector gives it a new one, tokens of a language model are
learnt: those of a --teacher with a projector too, or of the file that vitago tokens wrote for the
pictures, a tensor [N,O] for each under its path. Pictures become views by --layout, and one of several
views goes through the tower alone: --batch says how many make a step. XComposer's plora_glb_GN and
plora_sub_GN and LLaVA's image_newline learn with the projector. The score is r2, the share of the
tokens' variance that is explained, or with --distance cosine the cosine. The other recipes train a
part of the tower as well. With --cache a frozen tower sees each picture once.

What learns and how much memory it takes is printed before the first step; what does not fit is
refused, with what would take less. --dry-run ends there.

Ctrl-C, SIGTERM and SIGHUP end it after the batch at hand with a checkpoint of the last whole step and
exit status 130; a second one ends it at once, which costs no more than the steps since the last
checkpoint. So does kill -9, and a full disk (exit status 1).`,
		Example: `  vitago finetune --model models/vit-l-14-336 --data pictures --out tuned --recipe lora
  vitago finetune --model models/vit-l-14-336 --data pictures --out tuned --recipe lora --resume
  vitago finetune --model models/xcomposer2-4khd --data pictures --out tuned --recipe projector --teacher models/teacher --cache cache
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
	v.StringVar(&f.teacher, "teacher", "", "learn to give the embeddings of the tower in `DIR`, or its tokens, if both have a projector")
	v.StringVar(&f.targets, "targets", "", "learn to give the vectors of a safetensors `FILE`, a row or a matrix for each picture in the order of their paths, or what vitago tokens wrote of them")
	distance := choiceFlag(cmd, "distance", "", "from teacher or targets (default: mse of tokens, cosine of others)", "cosine", "mse")
	v.StringVar(&f.projector, "projector", "", "type of a new projector, where MODEL has none (default: the teacher's, or mlp2x_gelu)")
	var layouts []string
	for _, l := range projector.Layouts {
		layouts = append(layouts, l.Name)
	}
	layout := choiceFlag(cmd, "layout", "", "how a picture becomes the views whose tokens are learnt (default: that of MODEL's family)", layouts...)
	v.IntVar(&f.hdNum, "hd-num", 0, "the most tiles of a picture (default: the layout's)")
	v.BoolVar(&f.initProjector, "init-projector", false, "begin with a projector and separators as they are before any training, not with MODEL's")
	v.IntVar(&f.layer, "layer", -2, "layer whose patches a projector gets (default: what MODEL says, or -2)")
	v.Lookup("layer").DefValue = "0" // or it would be said twice
	solver := choiceFlag(cmd, "solver", "", "recipe probe: of the head (default lbfgs, with the sweep of the CLIP paper)", "lbfgs", "adamw")
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
	v.StringSliceVar(&f.loraTargets, "lora-targets", nil, "recipe lora: some of "+strings.Join(adapter.Targets, ",")+preset)
	v.Float64Var(&f.crop, "augment-crop", 0, "cut a part of a picture out, at least this share of it; 0 for the middle square")
	v.Float64Var(&f.augment.Flip, "augment-flip", 0, "probability to exchange left and right")
	v.Float64Var(&f.colour, "augment-colour", 0, "vary brightness, contrast and saturation by at most this")
	v.BoolVar(&f.captions, "captions", false, "learn from captions, by another recipe than contrastive")
	v.StringVar(&f.vocab, "vocab", "", "captions: OpenAI's list of merges, or a folder with vocab.json and merges.txt, `FILE` (default: MODEL's)")
	v.BoolVar(&f.truncate, "truncate", false, "cut captions that are too long for the text tower; otherwise they are an error")
	lock := choiceFlag(cmd, "lock", "", "captions: the tower that does not learn", lockImages, lockTexts)
	v.Float64Var(&f.textRate, "text-rate", 0, "captions: rate of the text tower; 0 locks it"+preset)
	v.Float64Var(&f.scaleRate, "scale-rate", 0, "captions: rate of the scale of the cosines; 0 leaves it what it is"+preset)
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
	v.Float64Var(&f.wise, "wise-ft", 1, "share of the tuned weights in OUT/model; the rest is of the original ones. What is mixed is validated once more")
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
		f.layout, f.lock, f.changed = layout.value, lock.value, v.Changed
		if f.teacher == "" && f.targets == "" {
			if err := f.withoutEncoder(); err != nil {
				return err
			}
		}
		if f.teacher != "" && f.targets != "" {
			return usagef("--teacher and --targets exclude each other")
		}
		for _, dir := range []struct{ flag, path string }{{"out", f.out}, {"cache", f.cache}} {
			if info, err := os.Stat(f.data); err == nil && info.IsDir() && dir.path != "" && folder.Inside(dir.path, f.data) {
				return usagef("--%s %s lies in the pictures %s, where it would be taken for a class", dir.flag, dir.path, f.data)
			}
		}
		if !(f.wise >= 0 && f.wise <= 1) {
			return usagef("--wise-ft is %v, want 0 to 1", f.wise)
		}
		r, err := f.recipe(recipe.value)
		if err != nil {
			return err
		}
		lbfgs, err := f.fitsHead(recipe.value, solver.value)
		if err != nil {
			return err
		}
		if err := f.idle(r, lbfgs); err != nil {
			return err
		}
		if err := f.checkOutput(lbfgs); err != nil {
			return err
		}
		o := converter.Options{DType: dtype.value, Vocab: f.vocab}
		if lbfgs {
			return f.fitHead(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), transformer.Activation(activation.value), o)
		}
		s, err := f.open(cmd.Context(), r, finetune.Distance(distance.value), transformer.Activation(activation.value))
		if err != nil {
			return err
		}
		defer s.close()
		return s.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), o)
	}
	return cmd
}

// checkOutput returns an error if the run would overwrite what is not its own.
func (f *finetuneFlags) checkOutput(lbfgs bool) error {
	if f.dryRun {
		return nil
	}
	err := finetune.CheckOutput(f.out, f.resume, f.model, f.teacher)
	last, e := finetune.LastCheckpoint(f.out)
	if lbfgs && e == nil && last != "" {
		return fmt.Errorf("finetune: the checkpoints in %s are %w: choose another directory", f.out, finetune.ErrOtherRun)
	}
	if lbfgs && f.resume && errors.Is(err, finetune.ErrOverwrite) && probe.HasHead(filepath.Join(f.out, finetune.ModelFolder)) {
		return nil // a probe has no checkpoints: its features are what it goes on with
	}
	return err
}

// recipe returns the preset of a name with what the flags say otherwise.
func (f *finetuneFlags) recipe(name string) (finetune.Recipe, error) {
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
	set(f.changed, "epochs", &r.Epochs, f.epochs)
	set(f.changed, "batch", &r.Batch, f.batch)
	set(f.changed, "accumulate", &r.Accumulate, f.accumulate)
	set(f.changed, "rate", &r.Rate, f.rate)
	set(f.changed, "head-rate", &r.HeadRate, f.headRate)
	set(f.changed, "weight-decay", &r.WeightDecay, f.decay)
	set(f.changed, "layer-decay", &r.LayerDecay, f.layerDecay)
	set(f.changed, "ema", &r.EMA, f.ema)
	set(f.changed, "warmup", &r.Warmup, f.warmup)
	set(f.changed, "clip", &r.Clip, f.clip)
	set(f.changed, "smoothing", &r.Smoothing, f.smoothing)
	set(f.changed, "blocks", &r.Blocks, f.blocks)
	set(f.changed, "rank", &r.LoRA.Rank, f.rank)
	set(f.changed, "alpha", &r.LoRA.Alpha, f.alpha)
	set(f.changed, "lora-targets", &r.LoRA.Targets, f.loraTargets)
	if err := f.learnsCaptions(&r); err != nil {
		return r, err
	}
	return r, r.Validate()
}

// set sets a field to the value of a flag that was given.
func set[T any](changed func(string) bool, flag string, field *T, value T) {
	if changed(flag) {
		*field = value
	}
}
