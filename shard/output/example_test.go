package output_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// A shard of two pictures, of which one could not be read, in the layout of clip-retrieval.
func Example() {
	dir, err := os.MkdirTemp("", "shard")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	spec := output.Spec{Format: "npy", Dim: 2, Half: true, Normalized: true, Columns: []output.Column{{Name: "stars", Type: output.Int64}}, Digits: 2}
	w, err := output.Create(dir, 3, spec)
	if err != nil {
		log.Fatal(err)
	}
	if err := w.Write(output.Row{Key: "000030000", Path: "photos/a.jpg", Image: []float32{0.6, 0.8}, Width: 640, Height: 480, Columns: []any{int64(5)}}); err != nil {
		log.Fatal(err)
	}
	if err := w.Fail(output.Failure{Key: "000030001", Path: "photos/b.jpg", Stage: "decode", Reason: "no picture"}); err != nil {
		log.Fatal(err)
	}
	files, err := w.Close()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range files {
		fmt.Println(f.Name, f.Rows)
	}
	st, err := store.Open(context.Background(), dir)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(output.Check(context.Background(), st, files, spec))
	for f, err := range output.Failures(context.Background(), st, files) {
		fmt.Println(f.Path, f.Reason, err)
	}
	// Output:
	// img_emb/img_emb_03.npy 1
	// metadata/metadata_03.parquet 1
	// vitago/errors/errors_03.jsonl 1
	// <nil>
	// photos/b.jpg no picture <nil>
}
