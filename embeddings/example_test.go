package embeddings_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/embeddings"
)

// A folder becomes a file in one call. Once it is there, or when the first run was stopped, the same call goes on with it.
func ExampleEncode() {
	dir, err := os.MkdirTemp("", "embeddings-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	m, err := clip.Open("../testdata/families/hf5-clip")
	if err != nil {
		panic(err)
	}
	defer m.Close()
	pictures, _, err := clip.Folder("../cmd/vitago/testdata/demo")
	if err != nil {
		panic(err)
	}
	path, o := filepath.Join(dir, "photos.npy"), embeddings.EncodeOptions{Options: embeddings.Options{Resume: true}, Normalize: true}
	for range 2 {
		r, err := embeddings.Encode(context.Background(), m, pictures, path, o)
		if err != nil {
			panic(err)
		}
		fmt.Println(r.Done, "rows of", r.Shape, r.Feature, "of which", r.Before, "were there")
	}
	// Output:
	// 6 rows of [10] embedding of which 0 were there
	// 6 rows of [10] embedding of which 6 were there
}

// Pictures are searched by a sentence.
func ExampleSet_Nearest() {
	dir, err := os.MkdirTemp("", "embeddings-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "photos.npy")
	m, err := clip.Open("../testdata/families/hf5-clip") // random weights: what it finds means nothing
	if err != nil {
		panic(err)
	}
	defer m.Close()
	pictures, _, err := clip.Folder("../cmd/vitago/testdata/demo")
	if err != nil {
		panic(err)
	}
	if _, err := embeddings.Encode(ctx, m, pictures, path, embeddings.EncodeOptions{}); err != nil {
		panic(err)
	}

	photos, err := embeddings.Read(path)
	if err != nil {
		panic(err)
	}
	query, err := m.EncodeText(ctx, []string{"a photo of a cat"})
	if err != nil {
		panic(err)
	}
	hits, err := photos.Nearest(query[0], 3)
	if err != nil {
		panic(err)
	}
	for _, h := range hits {
		fmt.Printf("%.2f %s\n", h.Cosine, filepath.Base(h.Name))
	}
	// Output:
	// 0.34 cat.jpg
	// 0.34 cat.png
	// 0.29 gradient.png
}

// Texts become rows, too. Their names are the texts themselves.
func ExampleEncodeText() {
	dir, err := os.MkdirTemp("", "embeddings-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	m, err := clip.Open("../testdata/families/hf5-clip")
	if err != nil {
		panic(err)
	}
	defer m.Close()
	path := filepath.Join(dir, "captions.jsonl")
	r, err := embeddings.EncodeText(context.Background(), m, []string{"a cat", "photo of a cat"}, path, embeddings.EncodeOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Done, "rows of", r.Shape)
	// Output:
	// 2 rows of [10]
}

// Rows of one's own: they are kept as they are written, and a second run goes on behind the last.
func ExampleCreate() {
	dir, err := os.MkdirTemp("", "embeddings-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "colours.npy")
	colours := map[string][]float32{"red": {1, 0, 0}, "green": {0, 1, 0}, "blue": {0, 0, 1}}
	spec := embeddings.Spec{Feature: "rgb", Shape: []int{3}, Names: []string{"red", "green", "blue"}}
	run := func(most int) error {
		w, err := embeddings.Create(path, spec, embeddings.Options{Resume: true})
		if err != nil {
			return err
		}
		defer w.Close()
		fmt.Println("done:", w.Done())
		for _, name := range spec.Names[w.Done():] {
			if most--; most < 0 {
				return nil // as if something had gone wrong
			}
			if err := w.Write(name, colours[name]); err != nil {
				return err
			}
		}
		return w.Commit()
	}
	for _, most := range []int{2, 9, 9} {
		if err := run(most); err != nil {
			panic(err)
		}
	}
	set, err := embeddings.Read(path)
	if err != nil {
		panic(err)
	}
	for i, name := range set.Names {
		fmt.Println(name, set.Vectors[i])
	}
	// Output:
	// done: 0
	// done: 2
	// done: 3
	// red [1 0 0]
	// green [0 1 0]
	// blue [0 0 1]
}

// How a file was made stands beside it.
func ExampleReadAbout() {
	dir, err := os.MkdirTemp("", "embeddings-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	m, err := clip.Open("../testdata/families/hf5-clip")
	if err != nil {
		panic(err)
	}
	defer m.Close()
	path := filepath.Join(dir, "photos.npy")
	if _, err := embeddings.Encode(context.Background(), m, []clip.Picture{clip.File("../demo/pictures/red-circle.png")}, path, embeddings.EncodeOptions{Normalize: true}); err != nil {
		panic(err)
	}
	about, err := embeddings.ReadAbout(path)
	if err != nil {
		panic(err)
	}
	fmt.Println(about.Rows, about.Kind, about.Feature, about.Shape, about.Settings)
	// Output: 1 image embedding [10] map[normalized:true]
}
