// Explain draws where a model looks in a picture for a caption, and says where it looks most.
//
//	go run ./examples/explain demo/pictures/circle-left-of-cross.png "a blue cross" map.png
//
// It takes the small model in the program, which knows drawn shapes and nothing else; -model names another.
package main

import (
	"context"
	"flag"
	"fmt"
	"image/png"
	"log"
	"os"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/explain"
)

func main() {
	model := flag.String("model", demo.Name, "`MODEL`, a file or folder")
	flag.Parse()
	if flag.NArg() != 3 {
		fmt.Fprintln(os.Stderr, "usage: explain [-model MODEL] IMAGE CAPTION MAP.png")
		os.Exit(2)
	}
	if err := draw(context.Background(), *model, flag.Arg(0), flag.Arg(1), flag.Arg(2)); err != nil {
		log.Fatal(err)
	}
}

// draw writes the map of a caption over its picture.
func draw(ctx context.Context, path, picture, caption, out string) error {
	model, err := clip.Open(path)
	if err != nil {
		return err
	}
	defer model.Close()
	m, err := explain.Caption(ctx, model, clip.File(picture), caption, explain.Options{})
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := png.Encode(f, m.Overlay()); err != nil {
		return err
	}
	fmt.Printf("%q, cosine %.3f, most at %.0f,%.0f\n", caption, m.Score, m.Peak().X, m.Peak().Y)
	return f.Close()
}
