package transformer_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit/transformer"
)

var config = transformer.Config{Width: 8, Heads: 2, Layers: 3, MLPWidth: 32, Activation: transformer.QuickGELU, NormEps: 1e-5}

// tokens of two images, five each [2·5,8].
func tokens() mat.Matrix { return mat.NewDense[float32](mat.WithShape(10, config.Width)) }

// The layers of a tower. Their parameters are zero: converter.Load reads those of a checkpoint.
func ExampleNewBlocks() {
	if err := errors.Join(config.Check("example")...); err != nil {
		log.Fatal(err)
	}
	blocks := transformer.NewBlocks(config)
	y := blocks.Forward(tokens(), 5, false, transformer.Visit(func(stage string, x mat.Tensor) { fmt.Println(stage, x.Shape()) }))
	fmt.Println(y.Shape())
	// Output:
	// block00 [10 8]
	// block01 [10 8]
	// block02 [10 8]
	// [10 8]
}

// One block by its parts, as a program would put a tower of its own together.
func ExampleBlock() {
	block := transformer.NewBlock(config)
	block.Attn, block.MLP = transformer.NewAttention(config), transformer.NewMLP(config) // which they are already
	fmt.Println(block.Forward(tokens(), 5).Shape())

	_, probabilities := block.ForwardSeen(tokens(), 5)
	fmt.Println(probabilities.Shape()) // 2 images · 2 heads · 5 tokens
	// Output:
	// [10 8]
	// [20 5]
}

// Corrections of low rank: little learns while the block stays what it is.
func ExampleNewLoRA() {
	block := transformer.NewBlock(config)
	block.Freeze()
	const rank, alpha = 2, 4
	block.Attn.QKVLoRA = append(block.Attn.QKVLoRA, transformer.NewLoRA(rank, config.Width, 0, config.Width, alpha/rank)) // of q, the first rows
	y := block.Forward(tokens(), 5)
	if err := ag.Backward(ag.ReduceSum(y)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(transformer.WantsGrad(block), block.Attn.QKVLoRA[0].B.Grad().Shape())
	// Output: true [8 2]
}
