// Folder embeds all pictures of a folder, those in folders of it as well. Stopped at any moment, it goes on where it was.
//
//	go run ./examples/folder builtin:demo demo/pictures photos.npy
//
// The names of the rows are in photos.npy.names.jsonl. A photos.jsonl or photos.safetensors has them in it.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/clip"
	_ "github.com/vitago/vitago/demo" // builtin:demo
	"github.com/vitago/vitago/embeddings"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: folder MODEL FOLDER PHOTOS.npy")
		os.Exit(2)
	}
	model, err := clip.Open(os.Args[1])
	pictures, _, errFolder := clip.Folder(os.Args[2])
	if err := cmp.Or(err, errFolder); err != nil {
		log.Fatal(err)
	}
	options := embeddings.EncodeOptions{Options: embeddings.Options{Resume: true}, SkipErrors: true}
	done, err := embeddings.Encode(context.Background(), model, pictures, os.Args[3], options)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d pictures, %d of them from before, %d not readable\n", done.Rows, done.Before, done.Failed)
}
