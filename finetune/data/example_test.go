package data_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clipvit"
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
