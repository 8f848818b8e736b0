// Encode prints the CLIP embedding of an image. It imports no more than it takes: the tower and the
// reader of checkpoints.
//
//	go run ./examples/encode builtin:demo demo/pictures/red-circle.png
//
// In the place of builtin:demo stands any checkpoint, say OpenAI's ViT-L-14-336px.pt, or a model directory.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	_ "github.com/vitago/vitago/demo" // builtin:demo
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: encode MODEL IMAGE")
		os.Exit(2)
	}
	embedding, err := encode(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(embedding)
}

// encode returns the embedding of an image file.
func encode(model, file string) ([]float32, error) {
	m, err := converter.Load(model)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := clipvit.DecodeImage(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	embeddings, err := m.Encode(context.Background(), img)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return embeddings[0], nil
}
