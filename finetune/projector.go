package finetune

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/projector"
)

// An encoder's projector and separators learn as a head does, at [Recipe.HeadRate]; its tower is [Config.Tower].
//
//	Loader, Layout ─▶ Views ─▶ Tower ─▶ [B·T,C] ─▶ separators, Projector ─▶ tokens [N,O] ─▶ Objective
//	                                       ▲
//	                             Cache, if the tower is frozen
//
// A picture of several views is a batch of its own: [Recipe.Accumulate] says how many make a step.

// separatorNames are what the vectors that are put between tokens are called in checkpoints, by their fields.
var separatorNames = map[string]string{
	"Newline":         "image_newline", // LLaVA-1.6
	"RowSeparator":    "plora_sub_GN",  // XComposer2-4KHD and 2.5
	"GlobalSeparator": "plora_glb_GN",
}

// projectorStream is the stream of a run's seed that makes new projectors; the first is LoRA's.
const projectorStream = 2

// NewEncoder returns an encoder of a tower and a new projector of the given type, as [InitEncoder] makes it, that
// turns what leaves a layer into tokens of out numbers.
func NewEncoder(tower *clipvit.Model, l projector.Layout, layer int, kind string, out int, seed uint64) (*projector.Encoder, error) {
	in := tower.Config.Width
	if l.Fit == projector.Tile {
		in *= 4
	}
	p, err := projector.New(projector.Config{Type: kind, In: in, Out: out})
	if err != nil {
		return nil, err
	}
	e := &projector.Encoder{Tower: tower, Layout: l, Layer: layer, Feature: projector.Patch, Projector: p}
	switch l.Fit {
	case projector.Tile:
		e.RowSeparator, e.GlobalSeparator = zeroRow(in), zeroRow(in)
	case projector.AnyRes:
		e.Newline = zeroRow(out)
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	InitEncoder(e, seed)
	return e, nil
}

func zeroRow(n int) *nn.Param {
	return nn.NewParam(mat.NewDense[float32](mat.WithShape(1, n)))
}

// InitEncoder makes what stands on the tower of an encoder what it is before training: the projector random, as
// [projector.Model.Init] does, XComposer's separators zero, LLaVA's normally distributed with a deviation of 1/√O.
//
// Source: haotian-liu/LLaVA, llava/model/llava_arch.py, LlavaMetaModel.initialize_vision_modules, embed_std;
// InternLM-XComposer2-4KHD, modeling_internlm_xcomposer2.py, plora_glb_GN and plora_sub_GN.
func InitEncoder(e *projector.Encoder, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, projectorStream))
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

// setEncoder gives c the tower and the features of its encoder, or says what does not fit it.
func (c *Config) setEncoder() error {
	e := c.Encoder
	if e == nil {
		return nil
	}
	if err := e.Validate(); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	if c.Head != nil || c.Tower != nil && c.Tower != e.Tower {
		return errors.New("finetune: an encoder, and a head or another tower beside it: want one or the other")
	}
	var errs []error
	for _, s := range []Source{c.Train, c.Validation} {
		if l, ok := s.(*data.Loader); ok && l != nil && (l.Layout == nil || layoutName(*l.Layout) != layoutName(e.Layout)) {
			errs = append(errs, fmt.Errorf("finetune: pictures are loaded by layout %+v, the encoder has %+v", l.Layout, e.Layout))
		}
	}
	c.Tower, c.Features = e.Tower, Features{Patches: true, Layer: e.Layer}
	return errors.Join(errs...)
}

// layoutName says all that a layout is.
func layoutName(l projector.Layout) string {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // of numbers and names
	}
	return string(text)
}

// freeProjector makes what stands on the tower learn, as far as the layout uses it, or nothing of it.
func (r Recipe) freeProjector(e *projector.Encoder) {
	learns := r.HeadRate > 0
	if learns {
		e.Projector.Unfreeze()
	} else {
		e.Projector.Freeze()
	}
	for p, used := range map[*nn.Param]bool{
		e.Newline:         e.Layout.Fit == projector.AnyRes,
		e.RowSeparator:    e.Layout.Fit == projector.Tile,
		e.GlobalSeparator: e.Layout.Fit == projector.Tile,
	} {
		if p != nil {
			p.SetRequiresGrad(learns && used)
		}
	}
}

// viewsSpace opens the part of the cache for the tokens of an encoder's tower.
func viewsSpace(c *probe.Cache, e *projector.Encoder) (*probe.Space, error) {
	l := e.Layout
	l.Name = "" // which decides nothing
	return c.ViewsSpace(e.Tower, e.Layer, layoutName(l))
}

// tokens computes the encoder's tokens [N,O] of a batch.
func (t *Trainer) tokens(b *data.Batch, from Source) (mat.Tensor, error) {
	e := t.Encoder
	if b.Views == nil {
		return nil, fmt.Errorf("finetune: a batch of %d pictures without views, which layout %q makes", b.Len(), e.Layout.Name)
	}
	if t.Recipe.Tower != None {
		return e.Forward(b.Views)
	}
	x, err := t.features(b, from) // [B·T,C]
	if err != nil {
		return nil, err
	}
	if o, ok := t.Objective.(*TokenDistillation); ok && o.shares(e) {
		o.features, o.of = x, b
	}
	return e.Project(x, b.Views)
}

// viewMemory estimates the activations of a batch of so many views, with this part of the tower learning and its blocks
// computed again or not, and the bytes of their patches.
func (t *Trainer) viewMemory(views int64, part Part, recompute bool) (activations, patches int64) {
	e, c := t.Encoder, t.Tower.Config
	tokens := views * int64(c.Tokens())
	rows := views * int64(c.Patches())
	if e.Layout.Fit == projector.Tile {
		rows /= 4
	}
	rows += views * int64(c.Grid()) // separators
	// What leaves the tower, and what is put together of it.
	between := 4 * (tokens*int64(c.Width) + rows*int64(e.Projector.Config.In))
	if part == None {
		const together = 1200 // tokens that a frozen tower takes at a time: clipvit's partTokens
		activations = kept(nil, false, min(tokens, max(together, int64(c.Tokens()))), c.Width, c.MLPWidth, c.Heads, recompute)
	} else {
		between *= 2 // and the gradients
		blocks := t.Tower.Blocks[:t.Features.blocks(t.Tower)]
		activations = kept(blocks, learns(t.Tower.Embed) || learns(t.Tower.PreNorm), tokens, c.Width, c.MLPWidth, c.Heads, recompute)
	}
	target := 4 * rows * int64(e.Projector.Config.Out)
	return activations + between + headActivations(e.Projector, rows) + target, 4 * views * int64(c.Patches()*c.PatchLen())
}

// views returns how many views a batch has at most.
func (t *Trainer) views() int64 { return int64(t.Recipe.Batch * t.Encoder.Layout.Views()) }

// encoderMemory corrects an estimate for the views of pictures.
func (t *Trainer) encoderMemory(m *Memory, ahead int64) {
	m.Activations, m.Data = t.viewMemory(t.views(), t.Recipe.Tower, t.Tower.Recompute)
	m.Recomputed, _ = t.viewMemory(t.views(), t.Recipe.Tower, true)
	m.Data *= ahead
	if o, ok := t.Objective.(*TokenDistillation); ok && o.shares(t.Encoder) {
		m.Frozen -= bytesOf(t.Tower) // which was counted twice
	}
}

// encoderSavings says what a run that takes m, with a tower that took loaded bytes before it learnt, could do to take less.
func (t *Trainer) encoderSavings(m Memory, loaded, limit int64, add func(total int64, format string, a ...any)) {
	e := t.Encoder
	if t.Recipe.Tower != None {
		frozen, _ := t.viewMemory(t.views(), None, false)
		learning := int64(0)
		for _, p := range t.learning() {
			if separatorNames[p.Path] != "" || groupName(p.Path) == "Projector" {
				learning += bytesOfParam(p.Param)
			}
		}
		add(frozen+m.Data+loaded+4*learning+weightsBeside(t.Objective), `by the recipe "projector"`)
	}
	if e.Layout.Fit != projector.Tile {
		return
	}
	for n := e.Layout.HDNum - 1; n > 0; n-- {
		activations, _ := t.viewMemory(int64(1+n), t.Recipe.Tower, true)
		total := m.Total() - m.Activations - m.Data + activations + m.Data/t.views()*int64(1+n)
		if total <= limit || n == 1 {
			add(total, "with %d tiles at most (hd-num)", n)
			return
		}
	}
}
