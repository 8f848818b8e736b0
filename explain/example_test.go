package explain_test

import (
	"context"
	"fmt"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/explain"
)

// Where the model in the program sees a red circle in a picture.
func ExampleCaption() {
	model, err := demo.Open()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	m, err := explain.Caption(context.Background(), model, clip.File("../demo/pictures/red-circle.png"), "a red circle", explain.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%q: %d×%d patches\n", m.Caption, m.Grid, m.Grid)
	overlay := m.Overlay() // the picture under the colours of the map
	fmt.Println("as large as the picture:", overlay.Bounds() == m.Image.Bounds())
	// Output:
	// "a red circle": 8×8 patches
	// as large as the picture: true
}

// What the class token is made of, whatever it is compared with.
func ExampleAttention() {
	model, err := demo.Open()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	m, err := explain.Attention(context.Background(), model, clip.File("../demo/pictures/red-circle.png"), explain.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Method, "of", m.Blocks, "blocks,", len(m.Values), "values")
	// Output: rollout of 4 blocks, 64 values
}

// Where the model sees what a linear head looks for: the direction is a row of the head's weights. Here it is the difference of two
// captions.
func ExampleDirection() {
	ctx := context.Background()
	model, err := demo.Open()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	texts, err := model.EncodeText(ctx, []string{"a red circle", "a blue square"})
	if err != nil {
		fmt.Println(err)
		return
	}
	direction := make([]float32, len(texts[0]))
	for i := range direction {
		direction[i] = texts[0][i] - texts[1][i]
	}
	picture, features := clip.File("../demo/pictures/red-circle.png"), clipvit.Features{Kind: clipvit.Embedding}
	m, err := explain.Direction(ctx, model, picture, features, "red circle", direction, explain.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Caption, m.Score > 0, len(m.Values))
	// Output: red circle true 64
}
