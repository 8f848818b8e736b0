package projector_test

import (
	"fmt"
	"image"
	"math/rand/v2"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/projector"
)

// The projector of LLaVA-1.5, for a tower of width 64 and a language model of width 96, as it is
// before training.
func Example() {
	p, err := projector.New(projector.Config{Type: "mlp2x_gelu", In: 64, Out: 96})
	if err != nil {
		fmt.Println(err)
		return
	}
	p.Init(rand.New(rand.NewPCG(1, 2)))
	patches := mat.NewDense[float32](mat.WithShape(576, 64)) // [N,M], of clipvit.Model.Features
	tokens := p.Forward(patches)                             // [N,O]
	fmt.Println(len(p.Layers), "layers,", tokens.Shape())
	// Output: 2 layers, [576 96]
}

// An encoder that is to be trained: a tower, LLaVA's layout, and a projector for a language model of width 96.
func ExampleNewEncoder() {
	tower, err := converter.Load("../testdata/tiny/huggingface")
	if err != nil {
		fmt.Println(err)
		return
	}
	layout, err := projector.FindLayout("pad")
	if err != nil {
		fmt.Println(err)
		return
	}
	encoder, err := projector.NewEncoder(tower, layout, -2, "mlp2x_gelu", 96, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := encoder.Tokens(image.NewGray(image.Rect(0, 0, 40, 30)))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tokens.Shape())
	// Output: [16 96]
}
