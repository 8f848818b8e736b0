// Search finds the pictures in a folder that a sentence describes. Their vectors are kept in an index: when it is run again, it
// encodes what is new or changed, and no more.
//
//	go run ./examples/search demo/pictures photos.index "a red circle to the left of a blue cross"
//	go run ./examples/search -model ViT-B-32.pt photos b32.index "a red car in the snow"
//
// Without -model it takes the small one in the program, which knows drawn shapes and nothing else.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/search"
)

func main() {
	model := flag.String("model", demo.Name, "`MODEL`, a file or folder")
	flag.Parse()
	if flag.NArg() != 3 {
		fmt.Fprintln(os.Stderr, "usage: search [-model MODEL] FOLDER INDEX SENTENCE")
		os.Exit(2)
	}
	hits, err := find(context.Background(), *model, flag.Arg(0), flag.Arg(1), flag.Arg(2))
	if err != nil {
		log.Fatal(err)
	}
	for _, hit := range hits {
		fmt.Printf("%.4f  %s\n", hit.Cosine, hit.Path)
	}
}

// find brings the index of a folder up to date, and returns the ten pictures nearest to a sentence.
func find(ctx context.Context, path, folder, index, sentence string) ([]search.Hit, error) {
	model, err := clip.Open(path)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	words, err := model.EncodeText(ctx, []string{sentence}) // before the pictures, which take longer
	if err != nil {
		return nil, err
	}
	photos, err := search.NewSource(folder)
	if err != nil {
		return nil, err
	}
	skipped := func(path string, cause error) { log.Printf("skipped %s: %v", path, cause) }
	if _, err := search.Update(ctx, model, index, []search.Source{photos}, search.UpdateOptions{Skipped: skipped}); err != nil {
		return nil, err
	}
	x, err := search.Open(index)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	return x.Find(ctx, words[0], search.FindOptions{})
}
