package imagesearch_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imagesearch"
	_ "github.com/vitago/vitago/tasks/imagesearch/clip" // does it
)

// prepared returns a folder of models with one in it, "tiny", which has an index of the demo's pictures. It is what this does:
//
//	vitago index --index MODELS/tiny/index --model MODELS/tiny cmd/vitago/testdata/demo
func prepared() string {
	models, err := os.MkdirTemp("", "models")
	if err != nil {
		log.Fatal(err)
	}
	dir := filepath.Join(models, "tiny")
	if err := os.CopyFS(dir, os.DirFS("../../testdata/families/hf5-clip")); err != nil {
		log.Fatal(err)
	}
	model, err := clip.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	pictures, err := search.NewSource("../../cmd/vitago/testdata/demo")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := search.Update(context.Background(), model, filepath.Join(dir, "index"), []search.Source{pictures}, search.UpdateOptions{}); err != nil {
		log.Fatal(err)
	}
	return models
}

func Example() {
	models := prepared()
	defer os.RemoveAll(models)
	finder, err := tasks.Load[imagesearch.Interface](&tasks.Config{ModelsDir: models, ModelName: "tiny"})
	if err != nil {
		log.Fatal(err)
	}
	found, err := finder.FindImages(context.Background(), imagesearch.Request{
		Query:  []imagesearch.Part{{Text: "a cat"}}, // and {Image: file, Weight: -0.5} to lead away from a picture
		TopK:   2,
		Filter: search.Filter{Paths: []string{"*.png"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, hit := range found.Hits {
		fmt.Printf("%.2f %s\n", hit.Score, hit.Name())
	}

	_, err = finder.FindImages(context.Background(), imagesearch.Request{Query: []imagesearch.Part{{Image: []byte("no picture")}}})
	fmt.Println("422:", errors.Is(err, imagesearch.ErrImage))
	// Output:
	// 0.04 gradient.png
	// 0.01 cat.png
	// 422: true
}
