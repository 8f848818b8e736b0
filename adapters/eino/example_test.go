package eino_test

import (
	"context"
	"fmt"

	"github.com/vitago/vitago/adapters/eino"
	"github.com/vitago/vitago/demo"
)

func ExampleEmbedder() {
	model, err := demo.Open() // a small model that is part of the program; clip.Open opens others
	if err != nil {
		panic(err)
	}
	defer model.Close()
	e := &eino.Embedder{Model: model, Normalize: true}
	ctx := context.Background()

	captions := []string{"a red circle", "a blue square", "a green triangle"}
	texts, err := e.EmbedStrings(ctx, captions)
	if err != nil {
		panic(err)
	}
	picture := demo.Pictures()[0]
	pictures, err := e.EmbedImages(ctx, picture)
	if err != nil {
		panic(err)
	}
	best, most := "", -1.0
	for i, t := range texts {
		cosine := 0.0
		for j := range t {
			cosine += t[j] * pictures[0][j]
		}
		if cosine > most {
			best, most = captions[i], cosine
		}
	}
	fmt.Println(picture.Name(), "is", best)
	// Output: blue-square.png is a blue square
}
