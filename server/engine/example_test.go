package engine_test

import (
	"context"
	"fmt"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/engine"
)

func ExampleEngine_Embed() {
	ctx := context.Background()
	e, err := engine.New(ctx, engine.Config{Models: []engine.Model{{Name: "small", Path: demo.Name}}})
	if err != nil {
		panic(err)
	}
	defer e.Close(ctx)
	fmt.Println(e.Models()[0].Name)
	got, err := e.Embed(ctx, engine.EmbedRequest{Model: "small", Items: []engine.Item{{Text: "a red circle"}, {Text: "a red circle."}}, Normalize: true})
	if err != nil {
		panic(err)
	}
	fmt.Println(got.Model, len(got.Vectors), got.Shape, got.Tokens)
	_, err = e.Embed(ctx, engine.EmbedRequest{Model: "large", Items: []engine.Item{{Text: "a red circle"}}})
	fmt.Println(err)
	// Output:
	// small
	// small 2 [64] [5 6]
	// engine: model "large": no such model; there are ["small"]
}
