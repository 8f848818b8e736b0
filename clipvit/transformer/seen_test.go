package transformer

import (
	"fmt"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
)

// TestForwardSeen: a block whose attention is seen gives what the block gives, with the same gradient of its input, whether it
// is frozen, rounded or with corrections of its weights; and the probabilities of each token sum to 1.
func TestForwardSeen(t *testing.T) {
	const images, tokens = 2, 5
	const tol = 1e-5 // rounding of float32 in another order, some ten operators deep
	for name, c := range map[string]struct {
		causal bool
		change func(m *tower)
	}{
		"frozen":  {false, func(*tower) {}},
		"causal":  {true, func(*tower) {}},
		"bf16":    {false, func(m *tower) { m.Blocks.RoundBF16() }},
		"rounded": {false, func(m *tower) { rounded(m) }},
		"LoRA": {false, func(m *tower) {
			l := NewLoRA(2, small.Width, 0, small.Width, 0.5)
			_ = filled("A", mat.Data[float32](l.A))
			_ = filled("lora.B", mat.Data[float32](l.B))
			noGrad(l)
			m.Blocks[0].Attn.QKVLoRA = []*LoRA{l}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			config := small
			config.Causal = c.causal
			m := newTower(t, config)
			c.change(m)
			leaf := func(grad bool) mat.Tensor {
				values := make([]float32, images*tokens*config.Width)
				_ = filled("input", values)
				return mat.NewDense[float32](mat.WithShape(images*tokens, config.Width), mat.WithBacking(values), mat.WithGrad(grad))
			}
			// Rounded products round what enters them as well, in steps that a last bit can cross: see [kernel.MatMulInt8].
			tol := tol
			if name == "bf16" || name == "rounded" {
				tol = 2e-2
			}
			for _, grad := range []bool{false, true} {
				x, other := leaf(grad), leaf(grad)
				y, p := m.Blocks[0].ForwardSeen(x, tokens)
				want := m.Blocks[0].Forward(other, tokens)
				golden.Compare(t, fmt.Sprintf("y, with a gradient: %v", grad), y.Value().Data().F32(), want.Value().Data().F32(), tol)
				if s := p.Shape(); s[0] != images*config.Heads*tokens || s[1] != tokens || p.RequiresGrad() != grad {
					t.Errorf("probabilities are %v and want a gradient: %v", s, p.RequiresGrad())
				}
				values := p.Value().Data().F32()
				for r := 0; r < len(values); r += tokens {
					sum := float32(0)
					for _, v := range values[r : r+tokens] {
						sum += v
					}
					if sum < 1-1e-5 || sum > 1+1e-5 {
						t.Errorf("probabilities %d sum to %v", r/tokens, sum)
					}
				}
				if !grad {
					continue
				}
				seed := leaf(false)
				y.AccGrad(seed)
				want.AccGrad(seed)
				if err := ag.Backward(y); err != nil {
					t.Fatal(err)
				}
				if err := ag.Backward(want); err != nil {
					t.Fatal(err)
				}
				golden.Compare(t, "gradient", x.Grad().Data().F32(), other.Grad().Data().F32(), tol)
				if !p.HasGrad() || p.Grad().Size() != len(values) {
					t.Error("probabilities have no gradient")
				}
			}
		})
	}
}

// rounded rounds the products of a tower to 8 bits, all but one.
func rounded(m *tower) {
	for _, b := range m.Blocks {
		op.Quantize(b.MLP.Up.W, kernel.Rounding{})
		op.Quantize(b.Attn.QKV.W, kernel.Rounding{})
		b.mixed = true
	}
}
