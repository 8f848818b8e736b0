// Contrastive trains both towers from pictures with captions, as CLIP was trained, and says how the loss falls.
//
//	go run ./examples/contrastive testdata/families/hf5-clip examples/contrastive/captions.csv contrastive
//
// The table has the columns path and caption. contrastive/model is a CLIP, for clip.Open. A run that was stopped goes on when it is
// started again.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	_ "github.com/vitago/vitago/demo" // builtin:demo
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/clip"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: contrastive MODEL CAPTIONS.csv OUT")
		os.Exit(2)
	}
	trainer, err := clip.LoadFineTuning(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	epochs, batch := 10, 4
	_, err = os.Stat(os.Args[3])
	request := finetuning.Request{
		Data: os.Args[2], Recipe: "contrastive", Output: os.Args[3], Resume: err == nil,
		Overrides: finetuning.Overrides{Epochs: &epochs, Batch: &batch},
	}
	done, err := trainer.FineTune(context.Background(), request, func(p finetuning.Progress) error {
		if p.Kind == finetuning.Trained {
			fmt.Printf("step %d of %d: loss %.3f\n", p.Step, p.Steps, p.Loss)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Model)
}
