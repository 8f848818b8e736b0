// Lora trains corrections of low rank in a frozen tower, with a classifier on it, and says how well it names pictures that it has not seen.
//
//	go run ./examples/lora builtin:demo shapes/train shapes/test lora
//
// shapes/train and shapes/test, which examples/shapes writes, have a folder of pictures for each class. lora/model is the tower with the corrections
// merged into it, lora/adapter has them alone, for peft or "--adapter".
package main

import (
	"context"
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
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: lora MODEL TRAIN TEST OUT")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		log.Fatal(err)
	}
}

// run trains, and judges what came out by the pictures in test.
func run(ctx context.Context, path, train, test, out string) error {
	pictures, err := data.Folder(test)
	if err != nil {
		return err
	}
	trainer, err := clip.LoadFineTuning(path)
	if err != nil {
		return err
	}
	request := finetuning.Request{
		Data: train, Split: 0.1, Recipe: "lora", Output: out, Overrides: finetuning.Overrides{
			Rank: new(4), Alpha: new(8.), Rate: new(1e-2), HeadRate: new(1e-2), Epochs: new(6), // small towers take larger rates
		},
	}
	done, err := trainer.FineTune(ctx, request, func(p finetuning.Progress) error {
		if p.Kind == finetuning.Validated {
			fmt.Printf("step %d of %d: %.0f %% of the pictures to validate on\n", p.Step, p.Steps, 100*p.Score)
		}
		return nil
	})
	if err != nil {
		return err
	}
	model, err := finetune.Open(ctx, out)
	if err != nil {
		return err
	}
	defer model.Close()
	result, err := evaluation.Run(ctx, model, pictures, evaluation.Options{})
	if err != nil {
		return err
	}
	fmt.Printf("%.1f %% of %d pictures; corrections in %s\n", 100*result.Accuracy, result.Pictures, done.Adapter)
	return nil
}
