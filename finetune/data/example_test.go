package data_test

import (
	"context"
	"fmt"
	"log"

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
