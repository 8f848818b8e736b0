// Tokens turns images into what a vision-language model's language model reads in their place, and writes a
// safetensors file with a tensor for each image.
//
//	go run ./examples/tokens testdata/families/xcomposer2-vl tokens.safetensors demo/pictures/red-circle.png
//
// The model, here an InternLM-XComposer2 with few and random weights, is a checkpoint of XComposer or LLaVA, or what "vitago convert" made of one. consume.py
// beside this file gives such tokens to a language model. The command "vitago tokens" does the same, and streams.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/projector"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: tokens MODEL OUT.safetensors IMAGE...")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// write writes the tokens of image files.
func write(model, out string, files []string) error {
	// The layout is that of the model's family; another would be named here.
	source, err := converter.Open(model)
	if err != nil {
		return err
	}
	defer source.Close()
	e, err := source.Encoder(context.Background(), "")
	if err != nil {
		return err
	}
	var all []checkpoint.Values
	for _, file := range files {
		y, err := tokens(e, file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		fmt.Printf("%s: %d tokens of width %d\n", file, y.Shape()[0], y.Shape()[1])
		all = append(all, checkpoint.Values{Name: file, Shape: y.Shape(), Data: y.Data().F32()})
	}
	return checkpoint.WriteTensors(out, map[string]string{"layout": e.Layout.Name}, all)
}

// tokens returns the tokens [N,O] of an image file.
func tokens(e *projector.Encoder, file string) (*mat.Dense[float32], error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := clipvit.DecodeImage(f)
	if err != nil {
		return nil, err
	}
	return e.Tokens(img)
}
