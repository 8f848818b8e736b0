// Package projector turns what a vision tower says of an image's patches into tokens of a language
// model. It is the part that LLaVA and InternLM-XComposer put between the two.
//
// The letters of the shapes: N rows, one for each token; M columns that go in, the tower's width or,
// where 2×2 patches are merged into one token, four times that; O columns that come out, the width of
// the language model. XComposer2-4KHD: M 4096, O 4096. LLaVA-1.5-7B: M 1024, O 4096.
package projector

import (
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
)

var _ nn.Model = &Model{}

// The types that have one spelling. "mlpNx_gelu", N layers with N-1 GELU between them, is the third.
const (
	Linear   = "linear"   // one layer
	Identity = "identity" // none: the language model takes the tower's tokens as they are
)

// Config says which projector a [Model] is.
type Config struct {
	Type string // [Linear], [Identity], or "mlpNx_gelu" with N from 1 to 9
	In   int    // M
	Out  int    // O; all layers but the first are [O,O]
}

// maxWidth bounds M and O far above those of real models.
const maxWidth = 1 << 20

var mlp = regexp.MustCompile(`^mlp([1-9])x_gelu$`)

// Layers returns the number of linear layers, or -1 if the type is not known.
func (c Config) Layers() int {
	switch m := mlp.FindStringSubmatch(c.Type); {
	case c.Type == Identity:
		return 0
	case c.Type == Linear:
		return 1
	case m != nil:
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return -1
}

// Validate returns nil if c describes a projector, and otherwise an error with everything that is
// wrong with it.
func (c Config) Validate() error {
	var errs []error
	if c.Layers() < 0 {
		errs = append(errs, fmt.Errorf("projector: type is %.40q, want %q, %q or mlpNx_gelu with N from 1 to 9", c.Type, Linear, Identity))
	}
	for _, f := range []struct {
		name string
		v    int
	}{{"input width", c.In}, {"output width", c.Out}} {
		if f.v < 1 || f.v > maxWidth {
			errs = append(errs, fmt.Errorf("projector: %s is %d, want 1 to %d", f.name, f.v, maxWidth))
		}
	}
	if c.Type == Identity && c.In != c.Out {
		errs = append(errs, fmt.Errorf("projector: identity of %d columns to %d, want the same", c.In, c.Out))
	}
	return errors.Join(errs...)
}

// Model is the projector.
//
//	x [N,M] ─▶ Layers[0] ─┬─▶ [N,O]
//	             ▲        │
//	             └─ GELU ─┘  as often as there are more layers
//
// GELU is the exact one, x·Φ(x). Its parameters require gradients until [Model.Freeze] is called; a
// frozen model keeps no graph and may be used by many goroutines at once.
//
// Source: haotian-liu/LLaVA, llava/model/multimodal_projector/builder.py, build_vision_projector;
// InternLM-XComposer2, build_mlp.py, which has it from there.
type Model struct {
	nn.Module
	Config Config          // sizes; do not change it
	Layers []*linear.Model // W [O,M], then [O,O]; B [O]
}

func init() { gob.Register(&Model{}) }

// New returns a model of configuration c whose parameters are zero.
func New(c Config) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &Model{Config: c, Layers: make([]*linear.Model, c.Layers())}
	in := c.In
	for i := range m.Layers {
		m.Layers[i] = op.NewLinear(in, c.Out)
		in = c.Out
	}
	return m, nil
}

// Init gives all parameters random values as torch's nn.Linear does: uniform between ±1/√n, where n
// is the number of columns of the weight. It unfreezes the model.
//
// Source: pytorch/pytorch, torch/nn/modules/linear.py, Linear.reset_parameters: kaiming_uniform_ with
// a=√5 has the bound √(6/((1+5)·n)) = 1/√n, which is that of the bias as well.
func (m *Model) Init(rng *rand.Rand) {
	m.Unfreeze()
	for _, l := range m.Layers {
		bound := 1 / math.Sqrt(float64(l.W.Shape()[1]))
		for _, p := range []*nn.Param{l.W, l.B} {
			data := mat.Data[float32](p)
			for i := range data {
				data[i] = float32((2*rng.Float64() - 1) * bound)
			}
		}
	}
}

// Freeze declares that no parameter of the model wants a gradient, and packs the weights for the
// processor. Until [Model.Unfreeze] nothing can write to them, and who reads one gets a copy.
func (m *Model) Freeze() {
	for _, l := range m.Layers {
		op.Freeze(l.W)
	}
	m.setGrad(false)
}

// Unfreeze declares that every parameter of the model wants a gradient, and makes them all plain
// matrices again, with the same values.
func (m *Model) Unfreeze() {
	for _, l := range m.Layers {
		op.Thaw(l.W)
	}
	m.setGrad(true)
}

func (m *Model) setGrad(v bool) {
	nn.ForEachParam(m, func(p *nn.Param) { p.SetRequiresGrad(v) })
}

// Forward maps the patches x [N,M] of any number of images to tokens [N,O]. An identity returns x
// itself. Another number of columns is a mistake of the program and panics.
func (m *Model) Forward(x mat.Tensor) mat.Tensor {
	last := len(m.Layers) - 1
	for i, l := range m.Layers {
		var y mat.Tensor
		if i < last {
			y = op.LinearAct(x, l, kernel.GELU) // [N,O]
		} else {
			y = op.Linear(x, l) // [N,O]
		}
		if i > 0 { // the caller's x stays
			y = op.Release(y, x)
		}
		x = y
	}
	return x
}
