package transformer

import (
	"encoding/gob"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/internal/op"
)

var _ nn.Model = &LoRA{}

// LoRA corrects some rows of a linear layer's weights W by a product of low rank, so that little has to be
// learnt while W stays as it is, frozen and packed.
//
//	x [B·T,in] ─┬─ W ─────────────────────────⊕─▶ [B·T,out]
//	            └─ A ─▶ [B·T,R] ─ B ─ · Scale ─┘
//
// Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685.
type LoRA struct {
	nn.Module
	A     *nn.Param // [R,in]
	B     *nn.Param // [rows,R]
	Scale float64   // α/R
	At    int       // the first row of W that is corrected
}

func init() { gob.RegisterName("*clipvit.LoRA", &LoRA{}) } // the name in files of versions before

// NewLoRA returns a correction of rows at to at+rows of weights with in columns. Its parameters are zero.
func NewLoRA(rank, in, at, rows int, scale float64) *LoRA {
	return &LoRA{A: op.NewParam(rank, in), B: op.NewParam(rows, rank), Scale: scale, At: at}
}

// corrected returns y, which a layer computed from x, with corrections of the layer's weights.
func corrected(y, x mat.Tensor, corrections []*LoRA) mat.Tensor {
	if len(corrections) == 0 {
		return y
	}
	list := make([]op.Correction, len(corrections))
	for i, c := range corrections {
		list[i] = op.Correction{A: c.A, B: c.B, Scale: c.Scale, At: c.At}
	}
	return op.LowRank(y, x, list...)
}

// correctedAct maps x [m,in] to f(x·Wᵀ + B) with corrections of W.
func correctedAct(x mat.Tensor, m *linear.Model, corrections []*LoRA, f Activation) mat.Tensor {
	if corrections == nil {
		return op.LinearAct(x, m, f)
	}
	h := corrected(op.Linear(x, m), x, corrections)
	return op.Release(op.Activate(h, f), h)
}
