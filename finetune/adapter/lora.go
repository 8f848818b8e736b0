package adapter

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
)

// LoRA says how the weights of a tower are corrected by products of low rank.
type LoRA struct {
	Rank    int      // R
	Alpha   float64  // α; the product is scaled by α/R
	Targets []string // of [Targets]
}

// A loraTarget is a weight that can be corrected, under the name that it has in transformers.
type loraTarget struct {
	name, path string // "q_proj", and the module that it is in
	layer      func(b *transformer.Block) (*linear.Model, *[]*transformer.LoRA)
	band, of   int // which part of the rows of the layer's weights
}

// Source: huggingface/transformers, models/clip/modeling_clip.py, CLIPAttention and CLIPMLP.
var loraTargets = []loraTarget{
	{"q_proj", "self_attn", qkvLayer, 0, 3},
	{"k_proj", "self_attn", qkvLayer, 1, 3},
	{"v_proj", "self_attn", qkvLayer, 2, 3},
	{"out_proj", "self_attn", func(b *transformer.Block) (*linear.Model, *[]*transformer.LoRA) { return b.Attn.Out, &b.Attn.OutLoRA }, 0, 1},
	{"fc1", "mlp", func(b *transformer.Block) (*linear.Model, *[]*transformer.LoRA) { return b.MLP.Up, &b.MLP.UpLoRA }, 0, 1},
	{"fc2", "mlp", func(b *transformer.Block) (*linear.Model, *[]*transformer.LoRA) { return b.MLP.Down, &b.MLP.DownLoRA }, 0, 1},
}

func qkvLayer(b *transformer.Block) (*linear.Model, *[]*transformer.LoRA) {
	return b.Attn.QKV, &b.Attn.QKVLoRA
}

// Targets are the names of the weights that LoRA can correct, as transformers has them.
var Targets = func() (names []string) {
	for _, t := range loraTargets {
		names = append(names, t.name)
	}
	return names
}()

// maxRank is far above what is of use: a correction of that rank has as many numbers as the weights.
const maxRank = 1 << 12

// A FieldError says what is wrong with a field of a [LoRA].
type FieldError struct {
	Field string // its name in Go
	Text  string // "rank is 0, want 1 to 4096"
}

// Error implements error.
func (e *FieldError) Error() string { return "adapter: LoRA: " + e.Text }

// Validate returns nil if c describes corrections, and otherwise a [*FieldError] of everything that is wrong, joined.
func (c LoRA) Validate() error {
	var errs []error
	add := func(field, format string, args ...any) {
		errs = append(errs, &FieldError{field, fmt.Sprintf(format, args...)})
	}
	if c.Rank < 1 || c.Rank > maxRank {
		add("Rank", "rank is %d, want 1 to %d", c.Rank, maxRank)
	}
	if !(c.Alpha > 0) || math.IsInf(c.Alpha, 0) {
		add("Alpha", "alpha is %v, want above 0", c.Alpha)
	}
	if len(c.Targets) == 0 {
		add("Targets", "no targets, want some of %v", Targets)
	}
	for i, t := range c.Targets {
		if !slices.Contains(Targets, t) {
			add("Targets", "target is %.40q, want one of %v", t, Targets)
		} else if slices.Contains(c.Targets[:i], t) {
			add("Targets", "target %s stands twice", t)
		}
	}
	return errors.Join(errs...)
}

// each calls f with every weight of m that c corrects, and the name of its module in transformers.
func (c LoRA) each(m *clipvit.Model, f func(module string, t loraTarget, b *transformer.Block)) {
	for i, b := range m.Blocks {
		for _, t := range loraTargets {
			if slices.Contains(c.Targets, t.name) {
				f(fmt.Sprintf("vision_model.encoder.layers.%d.%s.%s", i, t.path, t.name), t, b)
			}
		}
	}
}

// Add freezes m and gives it corrections that change nothing as yet, and that alone want a gradient: A is
// uniform between ±1/√in, B is zero, as peft has it. It is an error if m has corrections already.
//
// Source: huggingface/peft, tuners/lora/layer.py, LoraLayer.reset_lora_parameters.
func Add(m *clipvit.Model, c LoRA, rng *rand.Rand) error {
	if err := errors.Join(c.Validate(), Merged(m)); err != nil {
		return err
	}
	m.Freeze()
	c.each(m, func(_ string, t loraTarget, b *transformer.Block) {
		w, list := t.layer(b)
		l := t.correction(w, c.Rank, c.Alpha/float64(c.Rank))
		bound := 1 / math.Sqrt(float64(w.W.Shape()[1])) // that of kaiming_uniform_ with a = √5
		a := mat.Data[float32](l.A)
		for i := range a {
			a[i] = float32((2*rng.Float64() - 1) * bound)
		}
		*list = append(*list, l)
	})
	return nil
}

// correction returns a correction of zeros.
func (t loraTarget) correction(w *linear.Model, rank int, scale float64) *transformer.LoRA {
	s := w.W.Shape()
	rows := s[0] / t.of
	return transformer.NewLoRA(rank, s[1], t.band*rows, rows, scale)
}

// Merged returns nil if m has no corrections, as after [Merge], and otherwise an error that names a block that has.
func Merged(m *clipvit.Model) error {
	for i, b := range m.Blocks {
		for _, t := range loraTargets {
			if _, list := t.layer(b); len(*list) > 0 {
				return fmt.Errorf("adapter: LoRA: block %d is corrected already; merge first", i)
			}
		}
	}
	return nil
}

// Merge adds the corrections of m to its weights and takes them away: the model computes what it did.
// Weights that were frozen are packed again, in float32, since half precision would lose something.
func Merge(m *clipvit.Model) {
	for _, b := range m.Blocks {
		for _, t := range loraTargets {
			l, list := t.layer(b)
			if len(*list) == 0 {
				continue
			}
			frozen := !l.W.RequiresGrad()
			op.Thaw(l.W)
			for _, c := range *list {
				addProduct(mat.Data[float32](l.W), c)
			}
			if frozen {
				op.FreezeForPanels(l.W)
			}
			*list = nil
		}
	}
}

// addProduct adds scale·B·A to rows of the weights w.
func addProduct(w []float32, c *transformer.LoRA) {
	rank, in := c.A.Shape()[0], c.A.Shape()[1]
	rows := c.B.Shape()[0]
	product := kernel.Get(rows * in)
	defer kernel.Put(product)
	kernel.MatMulNN(product, mat.Data[float32](c.B), mat.Data[float32](c.A), rows, in, rank, kernel.Epilogue{})
	w = w[c.At*in:][:rows*in]
	for i, v := range product {
		w[i] += float32(c.Scale) * v
	}
}
