package search_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/search"
)

// An index of a folder is brought up to date, and asked by words.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "index")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	model, err := demo.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	pictures, err := search.NewSource("../demo/pictures")
	if err != nil {
		log.Fatal(err)
	}
	report, err := search.Update(ctx, model, filepath.Join(dir, "photos.index"), []search.Source{pictures}, search.UpdateOptions{})
	if err != nil {
		log.Fatal(err)
	}
	index, err := search.Open(filepath.Join(dir, "photos.index"))
	if err != nil {
		log.Fatal(err)
	}
	defer index.Close()
	words, err := model.EncodeText(ctx, []string{"a yellow circle", "a green heart"})
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range words {
		hits, err := index.Find(ctx, w, search.FindOptions{K: 1})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(filepath.Base(hits[0].Path))
	}
	fmt.Println(report.Added, "pictures")
	// Output:
	// yellow-circle.png
	// green-heart.png
	// 9 pictures
}
