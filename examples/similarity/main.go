// Similarity prints how alike images are to CLIP: the cosine of the first one's embedding and each other's.
//
//	go run ./examples/similarity builtin:demo demo/pictures/red-circle.png demo/pictures/yellow-circle.png demo/pictures/blue-square.png
//
// In the place of builtin:demo stands any checkpoint, say OpenAI's ViT-L-14-336px.pt, or a model directory.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/vitago/vitago/clip"
	_ "github.com/vitago/vitago/demo" // builtin:demo
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: similarity MODEL IMAGE OTHER...")
		os.Exit(2)
	}
	if err := compare(os.Stdout, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// compare writes a line for every file but the first.
func compare(w io.Writer, path string, files []string) error {
	model, err := clip.Open(path)
	if err != nil {
		return err
	}
	defer model.Close()
	var pictures []clip.Picture
	for _, file := range files {
		pictures = append(pictures, clip.File(file))
	}
	embeddings, err := model.Encode(context.Background(), pictures...)
	if err != nil {
		return err
	}
	for i, file := range files[1:] {
		fmt.Fprintf(w, "%.4f  %s\n", clip.Cosine(embeddings[0], embeddings[1+i]), file)
	}
	return nil
}
