package projector

import (
	"encoding/gob"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/internal/op"
)

var _ nn.Model = &PLoRA{}

// PLoRA is a linear layer as InternLM-XComposer2's language model has them: a correction of low rank that
// only the tokens of images take, so that words are read as before the model learnt to see.
//
//	x [N,in] ─┬─────────────────── Linear ──────────────────⊕─▶ [N,out]
//	          └─ rows of images ─ A ─▶ [n,R] ─ B ─ · Scale ─┘ to the same rows
//
// XComposer2 has it in every projection of attention and MLP, with R 256, α 256 and no bias. While it is
// trained, a twentieth of what goes into A is dropped; here nothing is, as in use.
//
// Source: InternLM/InternLM-XComposer, InternLM-XComposer-2.5-OmniLive, base/build_mlp.py, PLoRA.forward
// (Plora_A, Plora_B, lora_scaling); Dong et al., "InternLM-XComposer2", arXiv 2401.16420, section 3.2.
type PLoRA struct {
	nn.Module
	Linear *linear.Model // W [out,in], B [out]; no B if it has no bias
	A      *nn.Param     // [R,in]
	B      *nn.Param     // [out,R]
	Scale  float64       // α/R
}

func init() { gob.Register(&PLoRA{}) }

// NewPLoRA returns a layer whose parameters are zero, with a correction of the given rank R and scale alpha/R.
func NewPLoRA(in, out, rank int, alpha float64, bias bool) (*PLoRA, error) {
	for _, f := range []struct {
		name string
		v    int
	}{{"input width", in}, {"output width", out}, {"rank", rank}} {
		if f.v < 1 || f.v > maxWidth {
			return nil, fmt.Errorf("projector: %s of a PLoRA is %d, want 1 to %d", f.name, f.v, maxWidth)
		}
	}
	m := &PLoRA{Linear: &linear.Model{W: op.NewParam(out, in)}, A: op.NewParam(rank, in), B: op.NewParam(out, rank), Scale: alpha / float64(rank)}
	if bias {
		m.Linear.B = op.NewParam(out)
	}
	return m, nil
}

// Init makes the correction what it is before training: A random, as torch's nn.Linear is, and B zero, so
// that images are read as words are. It leaves Linear alone, which comes from a trained model.
func (m *PLoRA) Init(rng *rand.Rand) {
	m.Unfreeze()
	bound := 1 / math.Sqrt(float64(m.A.Shape()[1]))
	a := mat.Data[float32](m.A)
	for i := range a {
		a[i] = float32((2*rng.Float64() - 1) * bound)
	}
	clear(mat.Data[float32](m.B))
}

// Freeze declares that no parameter wants a gradient, and packs the weights for the processor, as
// [Model.Freeze] does.
func (m *PLoRA) Freeze() {
	for _, p := range m.weights() {
		op.Freeze(p)
	}
	nn.ForEachParam(m, func(p *nn.Param) { p.SetRequiresGrad(false) })
}

// Unfreeze declares that every parameter wants a gradient, and makes them plain matrices again.
func (m *PLoRA) Unfreeze() {
	for _, p := range m.weights() {
		op.Thaw(p)
	}
	nn.ForEachParam(m, func(p *nn.Param) { p.SetRequiresGrad(true) })
}

func (m *PLoRA) weights() []*nn.Param { return []*nn.Param{m.Linear.W, m.A, m.B} }

// Forward maps the tokens x [N,in] to [N,out]. Element i of image says whether row i is a token of an image;
// nil says that none is. Without one, A and B get no gradient. Another number of elements or of columns is
// a mistake of the program and panics.
func (m *PLoRA) Forward(x mat.Tensor, image []bool) mat.Tensor {
	if n := x.Shape()[0]; image != nil && len(image) != n {
		panic(&op.ShapeError{Op: "PLoRA", Got: []int{len(image)}, Want: fmt.Sprintf("a mask of %d tokens", n)})
	}
	var rows []int
	for i, is := range image {
		if is {
			rows = append(rows, i)
		}
	}
	y := op.Linear(x, m.Linear) // [N,out]
	if len(rows) == 0 {
		return y
	}
	part := op.Gather(x, rows)                  // [n,in]
	low := op.Project(part, m.A)                // [n,R]
	change := op.Project(low, m.B)              // [n,out]
	y = op.ScatterAdd(y, change, rows, m.Scale) // [N,out]
	return op.Release(y, part, low, change)
}
