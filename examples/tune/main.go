// Tune trains a classifier on the features of a model, and says how well it does on pictures that it has not seen.
//
//	go run ./examples/tune builtin:demo shapes/train shapes/test tuned
//	go run ./examples/tune -recipe lora builtin:demo shapes/train shapes/test lora
//
// shapes/train and shapes/test, which examples/shapes writes, have a folder of pictures for each class. The last folder gets the model
// with its classifier, for examples/classify, and a report. With the recipes lora, last-n and full the tower learns as well; of lora peft
// loads lora/adapter.
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
	result, err := tune(context.Background(), *recipe, flag.Arg(0), flag.Arg(1), flag.Arg(2), flag.Arg(3))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.1f %% of %d pictures\n", 100*result.Accuracy, result.Pictures)
}

// tune trains, and judges what came out by the pictures in test.
func tune(ctx context.Context, recipe, path, train, test, out string) (*evaluation.Result, error) {
	trainer, err := clip.LoadFineTuning(path)
	pictures, errTest := data.Folder(test)
	if err := cmp.Or(err, errTest); err != nil {
		return nil, err
	}
	if _, err := trainer.FineTune(ctx, finetuning.Request{Data: train, Recipe: recipe, Output: out}, nil); err != nil {
		return nil, err
	}
	model, err := finetune.Open(ctx, out)
	if err != nil {
		return nil, err
	}
	return evaluation.Run(ctx, model, pictures, evaluation.Options{})
}
