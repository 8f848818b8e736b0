package converter_test

import (
	"context"
	"fmt"
	"image"

	"github.com/vitago/vitago/converter"
)

// The tokens that LLaVA's language model receives for an image. This LLaVA is tiny; the true one has 576
// tokens of 4096 columns.
func ExampleModel_Encoder() {
	source, err := converter.Open("../testdata/families/llava")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	e, err := source.Encoder(context.Background(), "")
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := e.Tokens(image.NewRGBA(image.Rect(0, 0, 640, 480))) // clipvit.DecodeImage reads one from a file
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("layout", e.Layout.Name+", layer", e.Select.Layer, "of", len(e.Tower.Blocks))
	fmt.Println(tokens.Shape())
	// Output:
	// layout pad, layer -2 of 2
	// [16 12]
}

// The tokens of an image in XComposer's tiles. The size of this tiny tower is neither that of 4KHD nor that of
// 2.5, so the layout has to be named.
func ExampleModel_Encoder_tiles() {
	source, err := converter.Open("../testdata/families/xcomposer2-hd")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	e, err := source.Encoder(context.Background(), "xcomposer2-4khd")
	if err != nil {
		fmt.Println(err)
		return
	}
	e.Layout.HDNum = 9 // no more than 9 tiles
	e.Batch = 4        // no more than 4 views at once in memory
	img := image.NewRGBA(image.Rect(0, 0, 640, 480))
	n, err := e.Count(640, 480)
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := e.Tokens(img)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(n, "tokens:", tokens.Shape())
	// Output: 49 tokens: [49 12]
}
