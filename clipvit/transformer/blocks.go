package transformer

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/op"
)

// Blocks are the layers of a tower, one after the other.
type Blocks []*Block

// NewBlocks returns blocks whose parameters are zero. It trusts c; see [Config.Check].
func NewBlocks(c Config) Blocks {
	blocks := make(Blocks, c.Layers)
	for i := range blocks {
		blocks[i] = NewBlock(c)
	}
	return blocks
}

// Forward maps the tokens x [B·T,C] of images or texts of t tokens each to tokens [B·T,C], and releases x. With
// recompute every block keeps only its input for the gradient, and computes the rest again. That takes a third more
// time and a sixteenth of the memory. The stages are block00, block01, ….
func (m Blocks) Forward(x mat.Tensor, t int, recompute bool, step Step) mat.Tensor {
	x, _ = m.ForwardContext(context.Background(), x, t, recompute, step) // which does not end
	return x
}

// ForwardContext is [Blocks.Forward], and computes no further block once ctx has ended: its error is then the cause.
func (m Blocks) ForwardContext(ctx context.Context, x mat.Tensor, t int, recompute bool, step Step) (mat.Tensor, error) {
	for i, b := range m {
		if ctx.Err() != nil {
			return step("", nil, x), context.Cause(ctx)
		}
		x = step(fmt.Sprintf("block%02d", i), b.run(x, t, recompute), x) // [B·T,C]
	}
	return x, nil
}

// ForwardRows is [Blocks.ForwardContext] for who reads only the given rows of x, one of each image in order: it returns them
// [B,C], as they leave the last block. That computes no others; see [Block.ForwardRows].
func (m Blocks) ForwardRows(ctx context.Context, x mat.Tensor, t int, rows []int, recompute bool) (mat.Tensor, error) {
	if len(m) == 0 {
		return op.Release(op.Gather(x, rows), x), nil
	}
	last := len(m) - 1
	x, err := m[:last].ForwardContext(ctx, x, t, recompute, Visit(nil)) // [B·T,C]
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		op.Release(x, x)
		return nil, context.Cause(ctx)
	}
	return op.Release(m[last].runRows(x, t, rows, recompute), x), nil // [B,C]
}

// run is [Block.Forward], or with recompute the same in less memory.
func (m *Block) run(x mat.Tensor, t int, recompute bool) mat.Tensor {
	forward := func(x mat.Tensor) mat.Tensor { return m.Forward(x, t) }
	if !recompute {
		return forward(x)
	}
	return m.recompute(x, forward)
}

// runRows is [Block.ForwardRows], or with recompute the same in less memory.
func (m *Block) runRows(x mat.Tensor, t int, rows []int, recompute bool) mat.Tensor {
	if !recompute || !m.learns(x) {
		return m.ForwardRows(x, t, rows)
	}
	return m.recompute(x, func(x mat.Tensor) mat.Tensor { return m.learnRows(x, t, rows) })
}

// recompute returns f(x), a function of the block's parameters, and keeps x alone for the gradient.
func (m *Block) recompute(x mat.Tensor, f func(x mat.Tensor) mat.Tensor) mat.Tensor {
	var ps []*nn.Param
	nn.ForEachParam(m, func(p *nn.Param) { ps = append(ps, p) })
	return op.Recompute(x, ps, f)
}

// Products returns the weights of the blocks' matrix products.
func (m Blocks) Products() (ps []*nn.Param) {
	for _, b := range m {
		ps = append(ps, b.products()...)
	}
	return ps
}

// Rounding says to what the weights of the blocks' products are rounded: "int8", even if some have stayed float32; "bf16"; or "f32".
func (m Blocks) Rounding() string {
	switch products := m.Products(); {
	case slices.ContainsFunc(products, op.Quantized):
		return "int8"
	case slices.ContainsFunc(products, op.RoundedBF16):
		return "bf16"
	}
	return "f32"
}

// RoundBF16 rounds the weights of the frozen blocks' products to bfloat16.
func (m Blocks) RoundBF16() {
	for _, b := range m {
		for _, p := range b.products() {
			op.RoundBF16(p)
		}
		runtime.GC() // gives back what the block took before
	}
}

// InPanels reports whether what enters the blocks should lie in panels: no weights of the first attention are rounded, which
// read rows. Where only some products are rounded, each half of a block lays its tokens anew.
func (m Blocks) InPanels() bool {
	return len(m) == 0 || !isRounded(m[0].Attn.QKV.W) && !isRounded(m[0].Attn.Out.W)
}

// isRounded reports whether weights are in 8 or 16 bits.
func isRounded(w *nn.Param) bool { return op.Quantized(w) || op.RoundedBF16(w) }

// A Step names the intermediate x and returns it. x was computed from old, which nobody needs any more. x is nil, and has no name, when
// nothing more is computed.
type Step func(stage string, x, old mat.Tensor) mat.Tensor

// Visit returns a [Step] that calls visit with every intermediate. If visit is nil, it releases old instead.
func Visit(visit func(stage string, x mat.Tensor)) Step {
	return func(stage string, x, old mat.Tensor) mat.Tensor {
		switch {
		case x == nil && visit == nil:
			op.Release(old, old)
			return nil
		case x == nil:
			return nil
		case visit == nil:
			return op.Release(x, old)
		}
		visit(stage, op.CopyRows(x))
		return x
	}
}
