package main

import (
	"bytes"
	"encoding/gob"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/finetune/optim"
)

// small is a tower of CLIP's form that learns in seconds: 0.2 million weights, 17 tokens.
var small = clipvit.Config{ImageSize: 32, PatchSize: 8, Width: 64, Heads: 4, Layers: 4, MLPWidth: 256, EmbedDim: 64, Activation: transformer.QuickGELU, NormEps: 1e-5}

// newRand returns random numbers of a seed.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// random returns a tower that has learnt nothing: the weights of a product are normal, of a size that keeps that
// of what goes through, and what blocks add to it grows with the root of their number.
//
// Source: openai/CLIP, clip/model.py, CLIP.initialize_parameters.
func random(c clipvit.Config, seed uint64) (*clipvit.Model, error) {
	m, err := clipvit.New(c)
	if err != nil {
		return nil, err
	}
	rng := newRand(seed)
	for _, p := range optim.Collect(m) {
		weights := mat.Data[float32](p.Value())
		switch path := p.Path; {
		case strings.HasSuffix(path, ".B"): // stay 0
		case strings.Contains(path, "Norm"):
			for i := range weights {
				weights[i] = 1
			}
		default:
			size := 1 / math.Sqrt(float64(p.Shape()[1]))
			if strings.HasSuffix(path, "Out.W") || strings.HasSuffix(path, "Down.W") {
				size /= math.Sqrt(2 * float64(c.Layers))
			}
			for i := range weights {
				weights[i] = float32(size * rng.NormFloat64())
			}
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

// copyOf gives a parameter the values of another.
func copyOf(to, from *nn.Param) { copy(mat.Data[float32](to.Value()), mat.Data[float32](from.Value())) }
