package finetune

import (
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/history"
)

// TestDiffers: what another run has otherwise is said in words, setting by setting.
func TestDiffers(t *testing.T) {
	const loader = "3 batches of 2, shuffled true, seed 1, short batches true, {Area:[0 0] Aspect:[0 0] Flip:0 Brightness:0 Contrast:0 Saturation:0 Hue:0}, 82ea4e"
	base := identity{
		Tower: "0123456789abcdef", Head: "*finetune.Classifier Linear.W[2 10] Linear.B[2 1]", Data: loader, Seed: 1,
		Recipe:   Recipe{Name: "lora", Epochs: 4, LoRA: adapter.LoRA{Rank: 2, Alpha: 16, Targets: []string{"q_proj", "v_proj"}}},
		Features: clipvit.Features{Kind: clipvit.Embedding}, Objective: "classification, smoothing 0",
		Preprocessing: &clipvit.Transform{},
	}
	before := base
	if before.Preprocessing = nil; before.differs(base) != nil || base.differs(before) != nil {
		t.Error("a checkpoint that says nothing of preprocessing is of another run")
	}
	if d := base.differs(base); d != nil {
		t.Fatal(d)
	}
	for _, c := range []struct {
		change func(i *identity)
		want   string
	}{
		{func(i *identity) { i.Recipe = Recipe{Name: "full"} }, "recipe: lora, now full"},
		{func(i *identity) { i.Preprocessing = &clipvit.Transform{Fit: clipvit.FitSquash} }, "preprocessing: Fit: shortest, now squash"},
		{func(i *identity) { i.Recipe.Epochs = 5 }, "recipe: Epochs: 4, now 5"},
		{func(i *identity) { i.Recipe.LoRA.Targets = []string{"fc1"} }, "recipe: Targets: q_proj, v_proj, now fc1"},
		{func(i *identity) { i.Recipe.LoRA.Rank = 4 }, "recipe: Rank: 2, now 4"},
		{func(i *identity) { i.Head = "*finetune.Classifier Linear.W[3 10] Linear.B[3 1]" }, "head: a classifier of 2 classes by 10 numbers, now a classifier of 3 classes by 10 numbers"},
		{
			func(i *identity) {
				i.Head = `{"Name":"pad","Fit":"pad","Grids":null,"HDNum":4,"Enlarge":0,"Centre":false}patch`
			},
			"head: a classifier of 2 classes by 10 numbers, now tokens by layout pad (HDNum 4), patch",
		},
		{func(i *identity) { i.Features = clipvit.Features{Kind: clipvit.Patches, Layer: -2} }, "features: embedding, now patches of layer -2"},
		{func(i *identity) { i.Data = strings.Replace(loader, "Flip:0", "Flip:0.5", 1) }, "augmentation: Flip: 0, now 0.5"},
		{func(i *identity) { i.Data = strings.Replace(loader, "Area:[0 0]", "Area:[0.5 1]", 1) }, "augmentation: Area: [0 0], now [0.5 1]"},
		{func(i *identity) { i.Data = strings.Replace(loader, "82ea4e", "93fb5f", 1) }, "pictures, or their labels: 3 batches, now 3 batches of others, or in another order"},
		{func(i *identity) { i.Data = strings.Replace(loader, "3 batches", "4 batches", 1) }, "batches: 3, now 4"},
		{func(i *identity) { i.Seed, i.Data = 2, strings.Replace(loader, "seed 1", "seed 2", 1) }, "seed: 1, now 2"},
		{func(i *identity) { i.Data = "7 batches" }, "data: " + loader + ", now 7 batches"},
	} {
		now := base
		c.change(&now)
		d := base.differs(now)
		if err := (&history.OtherRunError{Checkpoint: "c", Differences: d}); d == nil || err.Error() != "finetune: c is of another run: "+c.want {
			t.Errorf("error is %v, want %s", err, c.want)
		}
	}
}
