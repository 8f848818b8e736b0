package main

import "github.com/vitago/vitago/finetune"

// idle returns an error if a flag was given that would do nothing in a run of the recipe r.
func (f *finetuneFlags) idle(r finetune.Recipe, lbfgs bool) error {
	vectors := f.teacher != "" || f.targets != "" // are learnt, not classes
	for _, c := range []struct {
		used  bool
		why   string
		flags []string
	}{
		{r.Name == "last-n", "is of the recipe last-n", []string{"blocks"}},
		{r.Name == "lora", "is of the recipe lora", []string{"rank", "alpha", "lora-targets"}},
		{vectors, "goes with --teacher or --targets", []string{"distance", "layer", "projector"}},
		{!vectors && !r.Captions, "is of classes, and it is something else that is learnt", []string{"smoothing"}},
		{!lbfgs, "goes with --solver adamw: L-BFGS goes to the optimum, and has no steps to tell of", []string{
			"epochs", "batch", "accumulate", "rate", "head-rate", "weight-decay", "layer-decay", "ema", "warmup", "clip", "smoothing",
			"steps", "checkpoint-every", "val-every", "patience", "recompute", "memory", "wise-ft", "log-every", "tensorboard",
		}},
		{r.Tower != finetune.None, "is of a tower that learns, and this one is frozen", []string{"rate", "layer-decay", "recompute"}},
		{r.Tower != finetune.None || r.Captions, "mixes weights of a tower that learns, and this one is frozen", []string{"wise-ft"}},
		{r.Tower == finetune.None, "keeps what a frozen tower gives, and this one learns", []string{"cache"}},
		{!f.varied(), "keeps what a tower gives for a picture, and varied ones are others each time", []string{"cache"}},
		{!r.Captions, "is of a head, and captions are learnt without one", []string{"head-rate"}},
		{!f.fixSampler, "contradicts --fix-sampler", []string{"head-rate"}},
		{f.lock != lockTexts, "contradicts --lock texts", []string{"text-rate"}},
	} {
		for _, name := range c.flags {
			if !c.used && f.changed(name) {
				return usagef("--%s %s", name, c.why)
			}
		}
	}
	return nil
}
