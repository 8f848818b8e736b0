// Search finds the pictures that a sentence describes, among those that examples/folder or "vitago encode" has embedded.
//
//	go run ./examples/search MODEL PHOTOS.npy "a red car in the snow"
//
// MODEL is the one that the pictures were embedded with. It needs its text tower alone.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/embeddings"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: search MODEL PHOTOS.npy SENTENCE")
		os.Exit(2)
	}
	model, err := clip.Open(os.Args[1])
	photos, errPhotos := embeddings.Read(os.Args[2])
	if err := cmp.Or(err, errPhotos); err != nil {
		log.Fatal(err)
	}
	sentence, err := model.EncodeText(context.Background(), os.Args[3:])
	if err != nil {
		log.Fatal(err)
	}
	hits, err := photos.Nearest(sentence[0], 10)
	if err != nil {
		log.Fatal(err)
	}
	for _, hit := range hits {
		fmt.Printf("%.4f  %s\n", hit.Cosine, hit.Name)
	}
}
