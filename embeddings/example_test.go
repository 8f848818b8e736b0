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
	pictures, _, err := clip.Folder("../cmd/vitago/demo")
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
	pictures, _, err := clip.Folder("../cmd/vitago/demo")
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
