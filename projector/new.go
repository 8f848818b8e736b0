package projector

import (
	"math"
	"math/rand/v2"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
)

// NewEncoder returns an encoder of a tower and a new projector of the given type, as [Encoder.Init] makes it, that turns
// the patches of a layer into tokens of out numbers.
func NewEncoder(tower *clipvit.Model, l Layout, layer int, kind string, out int, seed uint64) (*Encoder, error) {
	in := tower.Config.Width
	if l.Fit == Tile {
		in *= 4
	}
	p, err := New(Config{Type: kind, In: in, Out: out})
	if err != nil {
		return nil, err
	}
	e := &Encoder{Tower: tower, Layout: l, Select: clipvit.Features{Kind: clipvit.Patches, Layer: layer}, Projector: p}
	switch l.Fit {
	case Tile:
		e.RowSeparator, e.GlobalSeparator = zeroRow(in), zeroRow(in)
	case AnyRes:
		if l.Merge == MergeUnpad {
			e.Newline = zeroRow(out)
		}
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	e.Init(seed)
	return e, nil
}

func zeroRow(n int) *nn.Param {
	return nn.NewParam(mat.NewDense[float32](mat.WithShape(1, n)))
}

// initStream is the stream of a seed that makes new projectors. The first is that of LoRA's first values in package
// finetune: two streams of one seed are one stream.
const initStream = 2

// Init makes what stands on the tower what it is before training: the projector random, as [Model.Init] does,
// XComposer's separators zero, LLaVA's normally distributed with a deviation of 1/√O.
//
// Source: haotian-liu/LLaVA, llava/model/llava_arch.py, LlavaMetaModel.initialize_vision_modules, embed_std;
// InternLM-XComposer2-4KHD, modeling_internlm_xcomposer2.py, plora_glb_GN and plora_sub_GN.
func (e *Encoder) Init(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, initStream))
	e.Projector.Init(rng)
	for _, p := range []*nn.Param{e.RowSeparator, e.GlobalSeparator} {
		if p != nil {
			clear(mat.Data[float32](p))
		}
	}
	if e.Newline != nil {
		x := mat.Data[float32](e.Newline)
		for i := range x {
			x[i] = float32(rng.NormFloat64() / math.Sqrt(float64(len(x))))
		}
	}
}
