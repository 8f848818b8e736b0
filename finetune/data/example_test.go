package data_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/data"
)

// A fifth of the pictures is set aside, and the rest is cut at random, mirrored and shuffled anew in each of ten epochs.
func Example() {
	d, err := data.Folder("flowers") // flowers/daisy/1.jpg, flowers/rose/2.jpg, …
	if err != nil {
		log.Fatal(err)
	}
	train, validation, err := d.Split(0.2, 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(train.Classes, train.Counts(), validation.Counts())
	l := data.Loader{
		Data: train, Config: clipvit.ViTL14336, BatchSize: 8, Shuffle: true, Seed: 1,
		Augment: data.Augment{Area: [2]float64{0.9, 1}, Flip: 0.5},
	}
	for epoch := range 10 {
		for batch, err := range l.Batches(context.Background(), epoch, 0) {
			if err != nil {
				log.Fatal(err)
			}
			for _, broken := range batch.Skipped {
				log.Print(broken)
			}
			_ = batch.Patches // [8·576,588], with batch.Labels
		}
	}
}

// Labels that do not exclude each other: one field of a table, split at a separator, or lists in JSONL.
func ExampleSeparator() {
	dir, err := os.MkdirTemp("", "labels")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{
		"a.csv":   "path,labels\n1.png,cat|dog\n2.png,\n3.png,dog\n",
		"b.jsonl": `{"path": "1.png", "labels": ["cat", "dog"]}` + "\n" + `{"path": "2.png", "labels": []}` + "\n" + `{"path": "3.png", "labels": ["dog"]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			log.Fatal(err)
		}
	}
	show := func(d *data.Dataset, err error) {
		fmt.Println(d.Classes, d.Counts(), d.Samples[0].LabelSet, d.Samples[1].LabelSet, err)
	}
	show(data.Open(filepath.Join(dir, "a.csv"), true, data.Separator("|")))
	show(data.Open(filepath.Join(dir, "b.jsonl"), true))
	// Output:
	// [cat dog] [1 2] [0 1] [] <nil>
	// [cat dog] [1 2] [0 1] [] <nil>
}

// All pictures of a folder, to be encoded or to learn vectors of.
func ExampleImages() {
	d, err := data.Images("../../demo/pictures")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(d.Samples), "pictures, the first is", filepath.Base(d.Samples[0].Path), d.Classes)
	// Output: 9 pictures, the first is blue-square.png []
}

// Pictures with captions.
func ExampleTable() {
	dir, err := os.MkdirTemp("", "captions")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	table := filepath.Join(dir, "captions.csv")
	if err := os.WriteFile(table, []byte("path,caption\n1.png,a red circle\n2.png,\"a square, blue\"\n"), 0o666); err != nil {
		log.Fatal(err)
	}
	d, err := data.Table(table)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range d.Samples {
		fmt.Println(filepath.Base(s.Path), s.Caption)
	}
	// Output:
	// 1.png a red circle
	// 2.png a square, blue
}

// Pictures in tars, as WebDataset has them.
func ExampleShards() {
	dir, err := os.MkdirTemp("", "shards")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var shard bytes.Buffer
	w := tar.NewWriter(&shard)
	for _, name := range []string{"red-circle", "blue-square"} {
		picture, err := os.ReadFile(filepath.Join("../../demo/pictures", name+".png"))
		if err != nil {
			log.Fatal(err)
		}
		for ending, content := range map[string]string{".png": string(picture), ".cls": name} {
			if err := w.WriteHeader(&tar.Header{Name: name + ending, Size: int64(len(content)), Mode: 0o644}); err != nil {
				log.Fatal(err)
			}
			if _, err := io.WriteString(w, content); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "0000.tar"), shard.Bytes(), 0o666); err != nil {
		log.Fatal(err)
	}

	d, err := data.Shards(filepath.Join(dir, "*.tar"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Classes, d.Counts())
	// Output: [blue-square red-circle] [1 1]
}

// Pictures of a single class are enough to judge a model by.
func ExampleOpenTest() {
	dir, err := os.MkdirTemp("", "test")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(filepath.Join(dir, "shape"), os.DirFS("../../demo/pictures")); err != nil {
		log.Fatal(err)
	}
	_, err = data.Open(dir, true)
	fmt.Println(err != nil)
	d, err := data.OpenTest(dir)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Classes, d.Counts())
	// Output:
	// true
	// [shape] [9]
}

// What is learnt in the place of labels: a vector for each picture, in the order of the pictures.
func ExampleOpenVectors() {
	dir, err := os.MkdirTemp("", "targets")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "targets.safetensors")
	if err := checkpoint.WriteTensors(file, nil, []checkpoint.Values{{Name: "x", Shape: []int{2, 3}, Data: []float32{1, 2, 3, 4, 5, 6}}}); err != nil {
		log.Fatal(err)
	}
	v, err := data.OpenVectors(file, 2)
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	fmt.Println(v.Rows, v.Width)
	fmt.Println(v.Of(1)) // of the second picture
	// Output:
	// 1 3
	// [4 5 6] <nil>
}

// Tokens [N,O] to learn, by the names of the pictures, as "vitago tokens" writes them.
func ExampleOpenTokens() {
	dir, err := os.MkdirTemp("", "targets")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "tokens.safetensors")
	pictures, err := data.Images("../../demo/pictures")
	if err != nil {
		log.Fatal(err)
	}
	var all []checkpoint.Values
	for _, s := range pictures.Samples {
		all = append(all, checkpoint.Values{Name: filepath.Base(s.Path), Shape: []int{2, 3}, Data: make([]float32, 6)})
	}
	if err := checkpoint.WriteTensors(file, nil, all); err != nil {
		log.Fatal(err)
	}
	tokens, err := data.OpenTokens(file, pictures)
	if err != nil {
		log.Fatal(err)
	}
	defer tokens.Close()
	fmt.Println(tokens.Width, tokens.Shape("blue-square.png"))
	// Output: 3 [2 3]
}
