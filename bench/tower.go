package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
)

// A tower is what a run measures: the vision tower, or, if there is one, the text tower. It then lies beside a vision
// tower of next to nothing, since a checkpoint of CLIP has both.
type tower struct {
	clipvit.Config
	text    cliptext.Config
	tokens  int   // of a text, start and end included; 0 if images are measured
	blocks  bool  // the blocks alone are measured, with tokens of any number
	batches []int // how many images or texts are measured at once unless the command line says
}

// shortText is how many tokens a caption of a few words has, start and end included.
const shortText = 10

// configs are the towers to measure with. Those of texts are the text towers of ViT-B/32, ViT-L/14 and ViT-H/14.
//
// Sources: openai/CLIP, clip/model.py; mlfoundations/open_clip, src/open_clip/model_configs/ViT-H-14.json.
var configs = map[string]tower{
	"vit-b-32":     {Config: clipvit.ViTB32, batches: []int{1, 8, 32, 128}},
	"vit-b-16":     {Config: clipvit.ViTB16, batches: []int{1, 8, 32, 128}},
	"vit-l-14":     {Config: clipvit.ViTL14, batches: []int{1, 8, 32}},
	"vit-l-14-336": {Config: clipvit.ViTL14336, batches: []int{1, 8}},
	"vit-h-14": {Config: clipvit.Config{
		ImageSize: 224, PatchSize: 14, Width: 1280, Heads: 16, Layers: 32, MLPWidth: 5120, EmbedDim: 1024, Activation: transformer.GELU, NormEps: 1e-5,
	}, batches: []int{1, 8}},
	"text-b": ofTexts(cliptext.ViTB32),
	"text-l": ofTexts(cliptext.ViTL14),
	"text-h": ofTexts(cliptext.Config{
		Vocab: 49408, Context: 77, Width: 1024, Heads: 16, Layers: 24, MLPWidth: 4096, EmbedDim: 1024, Activation: transformer.GELU, NormEps: 1e-5, End: 49407,
	}),
	"tiny": {Config: clipvit.Config{
		ImageSize: 84, PatchSize: 14, Width: 128, Heads: 2, Layers: 2, MLPWidth: 512, EmbedDim: 64, Activation: transformer.QuickGELU, NormEps: 1e-5,
	}, batches: []int{1, 8}},
	"tiny-text": ofTexts(cliptext.Config{
		Vocab: 500, Context: 77, Width: 128, Heads: 2, Layers: 2, MLPWidth: 512, EmbedDim: 64, Activation: transformer.QuickGELU, NormEps: 1e-5, End: 499,
	}),
}

// ofTexts returns a text tower beside the least of a vision tower.
func ofTexts(c cliptext.Config) tower {
	return tower{
		Config: clipvit.Config{ImageSize: 14, PatchSize: 14, Width: 64, Heads: 1, Layers: 1, MLPWidth: 64, EmbedDim: c.EmbedDim, Activation: c.Activation, NormEps: c.NormEps},
		text:   c, tokens: shortText, batches: []int{1, 8, 32, 128},
	}
}

func configNames() string { return strings.Join(slices.Sorted(maps.Keys(configs)), ", ") }

func (t tower) ofTexts() bool { return t.text.Width > 0 }

// noun says what the tower encodes.
func (t tower) noun() string {
	if t.ofTexts() {
		return "text"
	}
	return "image"
}

// rows returns how many tokens an image or a text has.
func (t tower) rows() int {
	if t.ofTexts() {
		return t.tokens
	}
	return t.Tokens()
}

// transformer returns what the blocks are made by.
func (t tower) transformer() transformer.Config {
	if t.ofTexts() {
		return t.text.Transformer()
	}
	return t.Transformer()
}

// flops returns the operations of one image or text.
func (t tower) flops() float64 {
	if t.ofTexts() {
		return textFlops(t.text, t.tokens)
	}
	return flops(t.Config)
}

// shapes lists the products of a block, one image or text.
func (t tower) shapes() []shape {
	rows, w, f := t.rows(), t.transformer().Width, t.transformer().MLPWidth
	return []shape{{"qkv", [3]int{rows, 3 * w, w}}, {"out", [3]int{rows, w, w}}, {"up", [3]int{rows, f, w}}, {"down", [3]int{rows, w, f}}}
}
