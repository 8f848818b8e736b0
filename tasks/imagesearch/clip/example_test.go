package clip_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

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
	// 0.57 red-circle.png
	// 0.46 orange-circle.png
}
