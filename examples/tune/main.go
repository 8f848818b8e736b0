// Tune trains a classifier on the features of a model, and says how well it does on pictures that it has not seen.
//
//	go run ./examples/tune MODEL TRAIN TEST OUT
//
// TRAIN and TEST have a folder of pictures for each class. OUT gets the model with its classifier, for examples/classify,
// and a report. With Recipe "lora", "last-n" or "full" the tower learns as well.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/evaluation"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/clip"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: tune MODEL TRAIN TEST OUT")
		os.Exit(2)
	}
	trainer, err := clip.LoadFineTuning(os.Args[1])
	test, errTest := data.Folder(os.Args[3])
	if err := cmp.Or(err, errTest); err != nil {
		log.Fatal(err)
	}
	request := finetuning.Request{Data: os.Args[2], Recipe: "probe", Output: os.Args[4]}
	_, err = trainer.FineTune(context.Background(), request, nil)
	model, errModel := finetune.Open(context.Background(), os.Args[4])
	if err := cmp.Or(err, errModel); err != nil {
		log.Fatal(err)
	}
	result, err := evaluation.Run(context.Background(), model, test, evaluation.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.1f %% of %d pictures\n", 100*result.Accuracy, result.Pictures)
}
