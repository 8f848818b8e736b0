// Classify names all pictures of a folder by a classifier that was trained: by examples/tune, say, or "vitago finetune".
//
//	go run ./examples/classify tuned shapes/test
//
// The first is the folder that the training has written. Pictures are decoded ahead, so it may be any number of them.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/finetune"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: classify TUNED FOLDER")
		os.Exit(2)
	}
	ctx := context.Background()
	model, err := finetune.Open(ctx, os.Args[1])
	pictures, _, errFolder := clip.Folder(os.Args[2])
	if err := cmp.Or(err, errFolder); err != nil {
		log.Fatal(err)
	}
	for picture, err := range model.ClassifyAll(ctx, slices.Values(pictures), clip.StreamOptions{SkipErrors: true}) {
		switch {
		case err != nil:
			log.Fatal(err)
		case picture.Err != nil:
			log.Print(picture.Err)
		default:
			fmt.Printf("%s: %s %.2f\n", picture.Name, picture.Labels[0].Name, picture.Labels[0].Probability)
		}
	}
}
