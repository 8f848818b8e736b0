package genkit_test

import (
	"context"
	"fmt"

	"github.com/firebase/genkit/go/ai"
	"github.com/firebase/genkit/go/genkit"

	vitago "github.com/vitago/vitago/adapters/genkit"
	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
)

func ExampleDefine() {
	ctx := context.Background()
	model, err := demo.Open() // a small model that is part of the program; clip.Open opens others
	if err != nil {
		panic(err)
	}
	defer model.Close()
	g := genkit.Init(ctx)
	embedder, err := vitago.Define(ctx, g, "vitago/demo", model, vitago.Options{Normalize: true})
	if err != nil {
		panic(err)
	}
	answer, err := genkit.Embed(ctx, g, ai.WithEmbedder(embedder), ai.WithTextDocs("a blue square", "a red circle"))
	if err != nil {
		panic(err)
	}
	pictures, err := model.Encode(ctx, demo.Pictures()[0])
	if err != nil {
		panic(err)
	}
	square, circle := answer.Embeddings[0].Embedding, answer.Embeddings[1].Embedding
	fmt.Println(demo.Pictures()[0].Name(), "is a square:", clip.Cosine(pictures[0], square) > clip.Cosine(pictures[0], circle))
	// Output: blue-square.png is a square: true
}
