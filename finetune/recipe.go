package finetune

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/plural"
)

// A Part says what of a tower learns.
type Part string

// The parts. What lies behind the features that are used never learns.
const (
	None     Part = "none" // frozen: the head alone learns
	LowRank  Part = "lora" // corrections by [adapter.LoRA] of frozen weights
	Last     Part = "last" // the last blocks, and what follows them
	Complete Part = "all"  // everything
)

// A Schedule is what the rates do after they have risen.
type Schedule string

// The schedules.
const (
	Constant    Schedule = "constant" // nothing
	Cosine      Schedule = "cosine"   // fall to 0, slowly at both ends
	LinearDecay Schedule = "linear"   // fall to 0
)

// of returns the factor of the rates by step.
func (s Schedule) of(warmup, total int) optim.Schedule {
	switch s {
	case Cosine:
		return optim.Cosine(warmup, total, 0)
	case LinearDecay:
		return optim.Linear(warmup, total)
	}
	return optim.Constant(warmup)
}

// A Recipe says what learns, and how.
type Recipe struct {
	Name, About string // what presets are asked for by, and what it is, in a few words

	Tower    Part         // which part of the tower learns
	Blocks   int          // how many of the last blocks learn, for Last
	LoRA     adapter.LoRA // for LowRank
	Captions bool         // it is captions that are learnt: by [Contrastive], which other recipes may have as well
	// Projector says that a projector is what learns: it wants a teacher or targets, not classes. It is no part of what a
	// run is resumed by.
	Projector bool `json:"-"`

	Rate        float64    // of the tower's last layers, at its highest
	HeadRate    float64    // of the head
	WeightDecay float64    // of weights; norms, biases and embeddings have none
	LayerDecay  float64    // each block's rate in terms of that of the next; 1 is the same for all
	Betas       [2]float64 // of AdamW
	Schedule    Schedule   // of the rates
	Warmup      float64    // share of the steps in which the rates rise first
	Clip        float64    // largest norm of all gradients together; 0 is any
	TextRate    float64    // of the text tower's last layers, for [Contrastive]; 0 locks it
	ScaleRate   float64    // of its LogitScale; 0 leaves it what it is
	EMA         float64    // decay of an average of the weights, which is what counts in the end; lower in the first steps; 0 is none
	Smoothing   float64    // of labels

	Epochs     int // times that every picture is learnt
	Batch      int // images that go through the tower together
	Accumulate int // batches that make a step
}

// Recipes are the presets. Rates are for steps of 32 images, with which one machine is trained:
//
//   - probe: AdamW on a linear head. Package probe does the same by L-BFGS on cached features, which is
//     better where they fit on a disk; this one is for data that are augmented.
//   - projector: LLaVA's pretraining (rate 1e-3, warm-up 0.03, no decay), whose steps have 256 images.
//   - lora: rank, alpha and targets of peft's example of image classification, at a fifth of its rate, whose
//     steps have 512 images.
//   - last-n: the rate of the whole tower's last blocks, without averages: little can be forgotten.
//   - full: FT-CLIP's: small rates, layer by layer smaller, averaged weights, smoothed labels, no strong
//     augmentation. Its rate of 4e-4 to 6e-4 is for 2048 images.
//   - xcomposer: finetune.sh's: rate 1e-5 for all, decay 0.1, β₂ 0.95, warm-up 0.01, 8 batches of one image.
//   - contrastive: CLIP's training, whose steps have 32,768 pairs, with steps of 64 and a fiftieth of its rate of
//     4e-4 to 5e-4, at which what CLIP knows is lost. LogitScale stays what it is, since few pairs say little of it.
var Recipes = []Recipe{
	{
		Name: "probe", About: "a head on the frozen tower", Tower: None,
		HeadRate: 1e-3, LayerDecay: 1, Betas: [2]float64{0.9, 0.999}, Schedule: Constant, Epochs: 20, Batch: 32, Accumulate: 1,
	},
	{
		Name: "projector", About: "a projector on the frozen tower", Tower: None, Projector: true,
		HeadRate: 1e-3, LayerDecay: 1, Betas: [2]float64{0.9, 0.999}, Schedule: Cosine, Warmup: 0.03, Clip: 1, Epochs: 1, Batch: 32, Accumulate: 1,
	},
	{
		Name: "lora", About: "corrections of low rank, and a head", Tower: LowRank, LoRA: adapter.LoRA{Rank: 16, Alpha: 16, Targets: []string{"q_proj", "v_proj"}},
		Rate: 1e-3, HeadRate: 1e-3, LayerDecay: 1, Betas: [2]float64{0.9, 0.999}, Schedule: Cosine, Warmup: 0.05, Clip: 1, Epochs: 5, Batch: 8, Accumulate: 4,
	},
	{
		Name: "last-n", About: "the last blocks, and a head", Tower: Last, Blocks: 4,
		Rate: 1e-5, HeadRate: 1e-3, WeightDecay: 0.05, LayerDecay: 0.75, Betas: [2]float64{0.9, 0.999}, Schedule: Cosine, Warmup: 0.1, Clip: 1, Smoothing: 0.1,
		Epochs: 5, Batch: 8, Accumulate: 4,
	},
	{
		Name: "full", About: "the whole tower, as FT-CLIP", Tower: Complete,
		Rate: 1e-5, HeadRate: 1e-3, WeightDecay: 0.05, LayerDecay: 0.75, Betas: [2]float64{0.9, 0.999}, Schedule: Cosine, Warmup: 0.1, Clip: 1, EMA: 0.9998, Smoothing: 0.1,
		Epochs: 5, Batch: 4, Accumulate: 8,
	},
	XComposer(false, false),
	{
		Name: "contrastive", About: "both towers, from captions, as CLIP", Tower: Complete, Captions: true,
		Rate: 1e-5, TextRate: 1e-5, WeightDecay: 0.2, LayerDecay: 1, Betas: [2]float64{0.9, 0.98}, Schedule: Cosine, Warmup: 0.1, Clip: 1,
		Epochs: 5, Batch: 8, Accumulate: 8,
	},
}

// XComposer is what InternLM-XComposer's finetune.py does with the tower and the projector for its two
// switches: fixViT freezes the tower, fixSampler the projector (vision_proj). With both nothing learns here:
// what is left is the language model. Source: InternLM/InternLM-XComposer, finetune/finetune.py and finetune.sh.
func XComposer(fixViT, fixSampler bool) Recipe {
	r := Recipe{
		Name: "xcomposer", About: "tower and projector, as XComposer's fix_vit and fix_sampler say", Tower: Complete, Projector: true,
		Rate: 1e-5, HeadRate: 1e-5, WeightDecay: 0.1, LayerDecay: 1, Betas: [2]float64{0.9, 0.95}, Schedule: Cosine, Warmup: 0.01, Clip: 1,
		Epochs: 1, Batch: 1, Accumulate: 8,
	}
	if fixViT {
		r.Tower, r.Rate = None, 0
	}
	if fixSampler {
		r.HeadRate = 0
	}
	return r
}

// HeadOnly reports whether a head alone learns, so that package probe can do the same by L-BFGS.
func (r Recipe) HeadOnly() bool { return r.Tower == None && !r.Projector && !r.Captions }

// FindRecipe returns the preset of a name.
func FindRecipe(name string) (Recipe, error) {
	var names []string
	for _, r := range Recipes {
		if r.Name == name {
			r.LoRA.Targets = slices.Clone(r.LoRA.Targets)
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Recipe{}, fmt.Errorf("finetune: recipe is %.40q, want one of %s", name, strings.Join(names, ", "))
}

// A FieldError says what is wrong with a field of a [Recipe].
type FieldError struct {
	Field string // its name in Go
	Text  string // "rate of the head is -1, want 0 to 1"
}

// Error implements error.
func (e *FieldError) Error() string { return "finetune: " + e.Text }

// Validate returns nil if r can be followed, and otherwise an error with everything that is wrong: of numbers that are out of
// range, a [*FieldError] each, or an [*adapter.FieldError].
func (r Recipe) Validate() error {
	var errs []error
	for _, f := range []struct {
		field, name string
		v, from, to float64
	}{
		{"Rate", "rate", r.Rate, 0, 1}, {"HeadRate", "rate of the head", r.HeadRate, 0, 1}, {"TextRate", "rate of the text tower", r.TextRate, 0, 1},
		{"ScaleRate", "rate of the scale", r.ScaleRate, 0, 1}, {"WeightDecay", "weight decay", r.WeightDecay, 0, 10},
		{"LayerDecay", "layer decay", r.LayerDecay, 0, 1}, {"Betas", "first beta", r.Betas[0], 0, 1}, {"Betas", "second beta", r.Betas[1], 0, 1},
		{"Warmup", "warm-up", r.Warmup, 0, 1}, {"Clip", "clip", r.Clip, 0, math.MaxFloat64}, {"EMA", "EMA", r.EMA, 0, 1}, {"Smoothing", "smoothing", r.Smoothing, 0, 1},
		{"Epochs", "epochs", float64(r.Epochs), 1, 1 << 20}, {"Batch", "batch", float64(r.Batch), 1, 1 << 20}, {"Accumulate", "batches of a step", float64(r.Accumulate), 1, 1 << 20},
	} {
		if !(f.v >= f.from && f.v <= f.to) {
			errs = append(errs, &FieldError{f.field, fmt.Sprintf("%s is %v, want %.7g to %.7g", f.name, f.v, f.from, f.to)})
		}
	}
	if r.Smoothing == 1 {
		errs = append(errs, &FieldError{"Smoothing", "smoothing is 1, which makes all labels alike, want 0 to below 1"})
	}
	if r.Schedule != Constant && r.Schedule != Cosine && r.Schedule != LinearDecay {
		errs = append(errs, fmt.Errorf("finetune: schedule is %.40q, want %s, %s or %s", r.Schedule, Constant, Cosine, LinearDecay))
	}
	switch r.Tower {
	case None, Complete:
	case LowRank:
		errs = append(errs, r.LoRA.Validate())
	case Last:
		if r.Blocks < 1 {
			errs = append(errs, &FieldError{"Blocks", fmt.Sprintf("the last %d blocks learn, want at least 1", r.Blocks)})
		}
	default:
		errs = append(errs, fmt.Errorf("finetune: what learns of the tower is %.40q, want %s, %s, %s or %s", r.Tower, None, LowRank, Last, Complete))
	}
	return errors.Join(errs...)
}

// free makes what r says of a tower learn, and nothing else.
func (r Recipe) free(m *clipvit.Model, f clipvit.Features, rng *rand.Rand) error {
	used := m.Blocks[:f.Blocks(m.Config)]
	switch r.Tower {
	case None:
		m.Freeze()
	case LowRank:
		if err := adapter.Add(m, r.LoRA, rng); err != nil {
			return err
		}
	case Last:
		m.Freeze()
		if r.Blocks > len(used) {
			return fmt.Errorf("finetune: %w: the last %s of %d", ErrBlocks, plural.Of(r.Blocks, "block"), len(used))
		}
		for _, b := range used[len(used)-r.Blocks:] {
			b.Unfreeze()
		}
		thaw(m.Head()...)
	case Complete:
		m.Unfreeze()
	}
	// A parameter that nothing is computed with gets no gradient, and decay alone would change it.
	for _, b := range m.Blocks[len(used):] {
		b.Freeze()
	}
	if f.HasLayer() {
		for _, p := range m.Head() {
			p.SetRequiresGrad(false)
		}
	}
	return nil
}

// thaw makes parameters learn.
func thaw(ps ...*nn.Param) {
	for _, p := range ps {
		op.Thaw(p)
		p.SetRequiresGrad(true)
	}
}

// groups returns what learns, in groups with rates and decays of their own.
func (r Recipe) groups(m parts) []optim.Group {
	var groups []optim.Group
	at := map[string]int{}
	for _, p := range optim.Collect(&m) {
		name := groupName(p.Path)
		rate := r.HeadRate
		switch {
		case strings.HasPrefix(p.Path, "Tower."):
			rate = r.Rate * optim.LayerDecay(p.Path, len(m.Tower.Blocks), r.LayerDecay)
		case strings.HasPrefix(p.Path, "Text."):
			rate = r.textRate(p.Path, len(m.Text.Blocks))
		}
		decay := r.WeightDecay
		if optim.NoDecay(p.Path, p.Shape()) || separatorNames[p.Path] != "" {
			decay = 0
		}
		key := fmt.Sprint(name, decay > 0)
		i, ok := at[key]
		if !ok {
			i = len(groups)
			at[key] = i
			groups = append(groups, optim.Group{Name: name, Rate: rate, WeightDecay: decay})
		}
		groups[i].Params = append(groups[i].Params, p)
	}
	return groups
}

// groupName returns Head, Tower.Blocks.3, Tower.Embed and so on.
func groupName(path string) string {
	names := strings.Split(path, ".")
	switch n := min(2, len(names)); {
	case names[0] == "Head" || names[0] == "Projector":
		return names[0]
	case separatorNames[path] != "":
		return separatorNames[path]
	case n == 2 && names[1] == "Blocks" && len(names) > 2:
		return strings.Join(names[:3], ".")
	default:
		return strings.Join(names[:n], ".")
	}
}

// table says what learns, a line for every group, and what does not.
func table(m parts, groups []optim.Group) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-18s %8s %12s %10s %7s\n", "group", "tensors", "parameters", "rate", "decay")
	tensors, learns := 0, 0
	for _, g := range groups {
		n := 0
		for _, p := range g.Params {
			n += p.Size()
		}
		fmt.Fprintf(&b, "%-18s %8d %12d %10.3g %7.3g\n", g.Name, len(g.Params), n, g.Rate, g.WeightDecay)
		tensors, learns = tensors+len(g.Params), learns+n
	}
	all, total := 0, 0
	params.Walk(&m, func(_ string, p *nn.Param) { all, total = all+1, total+p.Size() })
	fmt.Fprintf(&b, "%-18s %8d %12d\n", "learns", tensors, learns)
	fmt.Fprintf(&b, "%-18s %8d %12d\n", "frozen", all-tensors, total-learns)
	return b.String()
}
