// Tune trains a classifier on the features of a model, and says how well it does on pictures that it has not seen.
//
//	go run ./examples/tune MODEL TRAIN TEST OUT
//	go run ./examples/tune -recipe lora MODEL TRAIN TEST OUT
//
// TRAIN and TEST have a folder of pictures for each class. OUT gets the model with its classifier, for examples/classify,
// and a report. With the recipes lora, last-n and full the tower learns as well; of lora peft loads OUT/adapter.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"os"

	_ "github.com/vitago/vitago/demo" // builtin:demo
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/evaluation"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/clip"
)

func main() {
	recipe := flag.String("recipe", "probe", "what learns: probe, lora, last-n or full")
	flag.Parse()
	if flag.NArg() != 4 {
		fmt.Fprintln(os.Stderr, "usage: tune [-recipe RECIPE] MODEL TRAIN TEST OUT")
		os.Exit(2)
	}
	trainer, err := clip.LoadFineTuning(flag.Arg(0))
	test, errTest := data.Folder(flag.Arg(2))
	if err := cmp.Or(err, errTest); err != nil {
		log.Fatal(err)
	}
	request := finetuning.Request{Data: flag.Arg(1), Recipe: *recipe, Output: flag.Arg(3)}
	_, err = trainer.FineTune(context.Background(), request, nil)
	model, errModel := finetune.Open(context.Background(), flag.Arg(3))
	if err := cmp.Or(err, errModel); err != nil {
		log.Fatal(err)
	}
	result, err := evaluation.Run(context.Background(), model, test, evaluation.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.1f %% of %d pictures\n", 100*result.Accuracy, result.Pictures)
}
