package main

import (
	"bytes"
	"encoding/gob"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/optim"
)

// small is a tower of CLIP's form that learns in seconds: 0.2 million weights.
var small = clipvit.Config{ImageSize: 32, PatchSize: 8, Width: 64, Heads: 4, Layers: 4, MLPWidth: 256, EmbedDim: 64, Activation: clipvit.QuickGELU, NormEps: 1e-5}

// random returns a tower that has learnt nothing.
//
// Source: openai/CLIP, clip/model.py, VisionTransformer and CLIP.initialize_parameters: normal values, of a size
// that keeps that of the activations from layer to layer.
func random(c clipvit.Config, rng *rand.Rand) (*clipvit.Model, error) {
	m, err := clipvit.New(c)
	if err != nil {
		return nil, err
	}
	for _, p := range optim.Collect(m) {
		x := mat.Data[float32](p.Value())
		scale := 1 / math.Sqrt(float64(p.Shape()[1]))
		switch {
		case strings.Contains(p.Path, "Norm") && strings.HasSuffix(p.Path, ".W"):
			for i := range x {
				x[i] = 1
			}
			continue
		case strings.HasSuffix(p.Path, ".B"):
			continue
		case strings.Contains(p.Path, "Out.W"), strings.Contains(p.Path, "Down.W"): // which are added to what there is
			scale /= math.Sqrt(float64(2 * c.Layers))
		}
		for i := range x {
			x[i] = float32(scale * rng.NormFloat64())
		}
	}
	return m, nil
}

// clone returns a tower like m.
func clone(m *clipvit.Model) (*clipvit.Model, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(m); err != nil {
		return nil, err
	}
	c := &clipvit.Model{}
	return c, gob.NewDecoder(&b).Decode(c)
}
