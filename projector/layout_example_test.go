package projector_test

import (
	"fmt"
	"image"
	"math/rand/v2"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/projector"
)

// How many tokens a picture of 1920×1080 pixels takes of the context of XComposer2-4KHD's language model, by
// the number of tiles that it may have.
func ExampleLayout_Tokens() {
	l, err := projector.FindLayout("xcomposer2-4khd")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l.HDNum = range []int{9, 16, 25, 55} {
		n, err := l.Tokens(1920, 1080, clipvit.ViTL14336)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("at most", l.HDNum, "tiles:", n, "tokens")
	}
	// Output:
	// at most 9 tiles: 1045 tokens
	// at most 16 tiles: 2353 tokens
	// at most 25 tiles: 3661 tokens
	// at most 55 tiles: 8005 tokens
}

func ExampleLayout_Split() {
	l, err := projector.FindLayout("xcomposer2.5")
	if err != nil {
		fmt.Println(err)
		return
	}
	c := clipvit.ViTL14
	c.ImageSize = 560
	tiles, err := l.Split(image.NewGray(image.Rect(0, 0, 800, 1500)), c)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("a global view and %d×%d tiles: %v\n", tiles.Rows, tiles.Cols, tiles.Patches.Shape())
	// Output: a global view and 3×2 tiles: [11200 588]
}

// An XComposer2-4KHD from parts, as small as it gets, to be trained. converter.Model.Encoder reads a true one.
func ExampleEncoder() {
	c := clipvit.Config{ImageSize: 8, PatchSize: 4, Width: 4, Heads: 1, Layers: 1, MLPWidth: 8, Activation: transformer.QuickGELU, NormEps: 1e-5}
	tower, err := clipvit.New(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := projector.New(projector.Config{Type: "mlp2x_gelu", In: 4 * c.Width, Out: 6})
	if err != nil {
		fmt.Println(err)
		return
	}
	p.Init(rand.New(rand.NewPCG(1, 2)))
	separator := func() *nn.Param { return nn.NewParam(mat.NewDense[float32](mat.WithShape(1, 4*c.Width))) }
	l, err := projector.FindLayout("xcomposer2-4khd-train")
	if err != nil {
		fmt.Println(err)
		return
	}
	e := &projector.Encoder{
		Tower: tower, Layout: l, Select: clipvit.Features{Kind: clipvit.Patches, Layer: -1}, Projector: p,
		RowSeparator: separator(), GlobalSeparator: separator(),
	}
	e.Tower.Freeze() // projector and separators learn
	tiles, err := e.Split(image.NewGray(image.Rect(0, 0, 300, 200)))
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := e.Forward(tiles) // [N,O]
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tiles.Rows, "×", tiles.Cols, "tiles:", tokens.Shape(), "in a graph:", tokens.RequiresGrad())
	// Output: 3 × 4 tiles: [18 6] in a graph: true
}
