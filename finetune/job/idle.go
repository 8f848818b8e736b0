package job

import (
	"github.com/vitago/vitago/finetune"
)

// idle returns an error if a field was asked for that would do nothing in a run of the recipe.
func (r Request) idle(recipe finetune.Recipe, lbfgs bool) error {
	vectors := r.Teacher != "" || r.Targets != "" // are learnt, not classes
	if r.Objective != nil && (vectors || recipe.Captions) {
		return bad("a loss of one's own is of classes, and it is something else that is learnt")
	}
	for _, c := range []struct {
		used   bool
		why    string
		fields []string
	}{
		{r.Lock != lockImages, "contradicts {lock} images", []string{"overrides.blocks", "overrides.rank", "overrides.alpha", "overrides.targets"}},
		{recipe.Tower == finetune.Last, "is of the recipe last-n", []string{"overrides.blocks"}},
		{recipe.Tower == finetune.LowRank, "is of the recipe lora", []string{"overrides.rank", "overrides.alpha", "overrides.targets"}},
		{vectors, "goes with {teacher} or {targets}", []string{"distance", "layer", "projector"}},
		{!vectors && !recipe.Captions, "is of classes, and it is something else that is learnt", []string{"overrides.smoothing", "label_separator", "class_weights", "init_head"}},
		{r.Objective == nil, "is of classification, and there is a loss of one's own", []string{"overrides.smoothing", "class_weights"}},
		{!lbfgs, "goes with {solver} adamw: L-BFGS comes to the same from any head", []string{"init_head"}},
		{!lbfgs, "goes with {solver} adamw: L-BFGS goes to the optimum, and has no steps to tell of", []string{
			"overrides.epochs", "overrides.batch", "overrides.accumulate", "overrides.rate", "overrides.head_rate", "overrides.weight_decay", "overrides.layer_decay",
			"overrides.ema", "overrides.warmup", "overrides.clip", "overrides.smoothing",
			"max_steps", "checkpoint_every", "validate_every", "patience", "recompute", "memory_limit", "wise_ft", "tensorboard",
		}},
		{recipe.Tower != finetune.None, "is of a tower that learns, and this one is frozen", []string{"overrides.rate"}},
		{recipe.Tower != finetune.None || recipe.TextRate > 0, "is of a tower that learns, and this one is frozen", []string{"overrides.layer_decay", "recompute"}},
		{recipe.Tower != finetune.None || recipe.Captions, "mixes weights of a tower that learns, and this one is frozen", []string{"wise_ft"}},
		{recipe.Tower == finetune.None, "keeps what a frozen tower gives, and this one learns", []string{"cache"}},
		{r.Augment == (Augment{}), "keeps what a tower gives for a picture, and varied ones are others each time", []string{"cache"}},
		{!recipe.Captions, "is of a head, and captions are learnt without one", []string{"overrides.head_rate"}},
		{!r.FixSampler, "contradicts {fix_sampler}", []string{"overrides.head_rate"}},
		{r.Lock != lockTexts, "contradicts {lock} texts", []string{"overrides.text_rate"}},
	} {
		for _, name := range c.fields {
			if !c.used && r.given(name) {
				return bad("{" + name + "} " + c.why)
			}
		}
	}
	return nil
}

// unvalidated returns an error if a field was asked for that would do nothing in a run without pictures to validate on.
func (r Request) unvalidated(lbfgs bool) error {
	switch {
	case lbfgs && r.Validation != "" && r.given("seed"):
		return bad("{seed} is of what is random, and nothing is: {validation} has the pictures to validate on, and L-BFGS goes to the optimum")
	case lbfgs || r.Validation != "" || r.Split > 0:
		return nil
	}
	return r.nothingToValidate("give {validation}, or a {split} above 0")
}

// nothingToValidate returns an error if a field was asked for that goes with pictures to validate on; why says why there are none.
func (r Request) nothingToValidate(why string) error {
	for _, name := range []string{"validate_every", "patience"} {
		if r.given(name) {
			return bad("{" + name + "} goes with pictures to validate on, and there is no data to validate on: " + why)
		}
	}
	return nil
}
