package clip_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	vitago "github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/tasks/imagesearch"
	"github.com/vitago/vitago/tasks/imagesearch/clip"
)

func ExampleNew() {
	ctx := context.Background()
	model, err := demo.Open()
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	index := filepath.Join(dir, "photos.index")
	photos, err := search.NewSource("../../../cmd/vitago/testdata/demo")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := search.Update(ctx, model, index, []search.Source{photos}, search.UpdateOptions{}); err != nil {
		log.Fatal(err)
	}
	finder, err := clip.New(ctx, model, index)
	if err != nil {
		log.Fatal(err)
	}
	defer finder.Close()
	found, err := finder.FindImages(ctx, imagesearch.Request{Query: []imagesearch.Part{{Text: "a red circle"}}, TopK: 2})
	if err != nil {
		log.Fatal(err)
	}
	for _, hit := range found.Hits {
		fmt.Printf("%.2f %s\n", hit.Score, hit.Name())
	}
	// Output:
	// 0.59 red-circle.png
	// 0.46 orange-circle.png
}

// With the model in a folder, and the index that it made.
func ExampleLoadImageSearch() {
	ctx := context.Background()
	const folder = "../../../testdata/families/hf5-clip" // of random weights
	model, err := vitago.Open(folder)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	photos, err := search.NewSource("../../../cmd/vitago/testdata/demo")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := search.Update(ctx, model, dir, []search.Source{photos}, search.UpdateOptions{}); err != nil {
		log.Fatal(err)
	}

	finder, err := clip.LoadImageSearch(ctx, folder, dir)
	if err != nil {
		log.Fatal(err)
	}
	defer finder.Close()
	found, err := finder.FindImages(ctx, imagesearch.Request{Query: []imagesearch.Part{{Text: "a photo of a cat"}}, TopK: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found.Hits[0].Name())
	// Output: cat.jpg
}
