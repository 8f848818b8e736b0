package search_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clip"
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

// Rows of one's own, one of which is deleted, and the room that it took is given back.
func ExampleNewWriter() {
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
	space, err := model.Space(ctx)
	if err != nil {
		log.Fatal(err)
	}
	vectors, err := model.Encode(ctx, demo.Pictures()[:3]...)
	if err != nil {
		log.Fatal(err)
	}
	at := filepath.Join(dir, "photos.index")
	w, err := search.NewWriter(at, space, search.WriterOptions{Columns: []string{"year"}})
	if err != nil {
		log.Fatal(err)
	}
	for i, v := range vectors {
		if err := w.Add(search.Record{Path: fmt.Sprintf("/photos/%d.png", i), Columns: map[string]string{"year": fmt.Sprint(2020 + i)}}, v); err != nil {
			log.Fatal(err)
		}
	}
	w.Delete(0)
	if err := errors.Join(w.Commit(), w.Close()); err != nil {
		log.Fatal(err)
	}
	if err := search.Compact(ctx, at, search.WriterOptions{}); err != nil {
		log.Fatal(err)
	}

	index, err := search.Open(at)
	if err != nil {
		log.Fatal(err)
	}
	defer index.Close()
	late, err := search.ParseCondition("year>=2022")
	if err != nil {
		log.Fatal(err)
	}
	hits, err := index.Find(ctx, vectors[1], search.FindOptions{Filter: search.Filter{Where: []search.Condition{late}}})
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range hits {
		fmt.Println(h.Path)
	}
	// Output: /photos/2.png
}

// Vectors that were made elsewhere, by "vitago encode" for example, become an index without a model.
func ExampleImport() {
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
	space, err := model.Space(ctx)
	if err != nil {
		log.Fatal(err)
	}
	vectors, err := model.Encode(ctx, clip.File("../demo/pictures/red-circle.png"))
	if err != nil {
		log.Fatal(err)
	}
	given := search.Given{Paths: []string{"../demo/pictures/red-circle.png"}, Vectors: vectors}
	report, err := search.Import(ctx, filepath.Join(dir, "photos.index"), space, given, search.UpdateOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Added, "picture")
	// Output: 1 picture
}
