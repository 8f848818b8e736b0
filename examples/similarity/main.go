// Similarity prints how alike images are to CLIP: the cosine of the first one's embedding and each other's.
//
//	go run ./examples/similarity MODEL IMAGE OTHER...
//
// MODEL is a checkpoint, say OpenAI's ViT-L-14-336px.pt, or a model directory.
package main

import (
	"context"
	"fmt"
	"image"
	"io"
	"math"
	"os"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
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
func compare(w io.Writer, model string, files []string) error {
	m, err := converter.Load(model)
	if err != nil {
		return err
	}
	var images []image.Image
	for _, file := range files {
		img, err := open(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		images = append(images, img)
	}
	embeddings, err := m.Encode(context.Background(), images...)
	if err != nil {
		return err
	}
	for i, file := range files[1:] {
		fmt.Fprintf(w, "%.4f  %s\n", cosine(embeddings[0], embeddings[1+i]), file)
	}
	return nil
}

func open(file string) (image.Image, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return clipvit.DecodeImage(f)
}

// cosine returns the cosine of the angle between a and b.
func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}
