// Projector trains what stands between a vision tower and a language model: from its first random values until it gives the tokens that the
// model's own gives.
//
//	go run ./examples/projector testdata/families/xcomposer2-vl demo/pictures projector
//
// The model, here an InternLM-XComposer2 with few and random weights, is its own teacher. Pictures need no labels. projector/model loads where the
// model did; "vitago export" makes the original's files of it.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/clip"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: projector MODEL PICTURES OUT")
		os.Exit(2)
	}
	trainer, err := clip.LoadFineTuning(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	request := finetuning.Request{
		Data: os.Args[2], Output: os.Args[3], Recipe: "projector", Teacher: os.Args[1], InitProjector: true,
		Overrides: finetuning.Overrides{Epochs: new(60), Batch: new(9), HeadRate: new(0.01)},
	}
	done, err := trainer.FineTune(context.Background(), request, func(p finetuning.Progress) error {
		if p.Kind == finetuning.Trained && p.Step%10 == 0 {
			fmt.Printf("step %d of %d: mean square error %.4f\n", p.Step, p.Steps, p.Loss)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Model)
}
