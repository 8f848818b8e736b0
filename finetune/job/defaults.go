package job

import (
	"github.com/vitago/vitago/finetune"
)

// Defaults returns what a preset of package finetune has for each of the [Overrides] that a run by it may have; the others are
// nil: they would do nothing. Those of "probe" are of its solver "adamw".
func Defaults(recipe string) (Overrides, error) {
	p, err := finetune.FindRecipe(recipe)
	if err != nil {
		return Overrides{}, of(ErrRequest, err)
	}
	o := Overrides{
		Epochs: &p.Epochs, Batch: &p.Batch, Accumulate: &p.Accumulate, WeightDecay: &p.WeightDecay, EMA: &p.EMA, Warmup: &p.Warmup, Clip: &p.Clip,
	}
	if p.Tower != finetune.None {
		o.Rate = &p.Rate
	}
	if p.Tower != finetune.None || p.TextRate > 0 {
		o.LayerDecay = &p.LayerDecay
	}
	switch {
	case p.Captions:
		o.TextRate, o.ScaleRate = &p.TextRate, &p.ScaleRate
	case p.Projector:
		o.HeadRate = &p.HeadRate
	default:
		o.HeadRate, o.Smoothing = &p.HeadRate, &p.Smoothing
	}
	switch p.Tower {
	case finetune.Last:
		o.Blocks = &p.Blocks
	case finetune.LowRank:
		o.Rank, o.Alpha, o.Targets = &p.LoRA.Rank, &p.LoRA.Alpha, p.LoRA.Targets
	}
	return o, nil
}
