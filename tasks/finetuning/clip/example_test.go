package clip_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/internal/shapes"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/clip" // registers itself
)

// pictures draws some, in a folder for each class, and returns that and a directory for what is learnt.
func pictures() (folder, output string, remove func()) {
	dir, err := os.MkdirTemp("", "finetuning")
	if err != nil {
		log.Fatal(err)
	}
	folder = filepath.Join(dir, "pictures")
	if err := shapes.Write(folder, 0, 10, 24, false, 1); err != nil {
		log.Fatal(err)
	}
	return folder, filepath.Join(dir, "tuned"), func() { os.RemoveAll(dir) }
}

func Example() {
	folder, output, remove := pictures()
	defer remove()

	trainer, err := tasks.Load[finetuning.Interface](&tasks.Config{
		ModelsDir: "../../../testdata/tiny", // and finetuning.DefaultModel in a real program
		ModelName: "huggingface",
	})
	if err != nil {
		log.Fatal(err)
	}
	response, err := trainer.FineTune(context.Background(), finetuning.Request{
		Data:   folder,
		Split:  0.2, // of it, to validate on
		Recipe: "lora",
		Output: output,
		// A tiny tower wants larger rates than a real one.
		Overrides: finetuning.Overrides{Epochs: new(10), Rate: new(0.01), HeadRate: new(0.1), Accumulate: new(1)},
	}, func(p finetuning.Progress) error {
		if p.Kind == finetuning.Validated && p.Step == p.Steps {
			fmt.Printf("step %d of %d\n", p.Step, p.Steps)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("learnt:", response.Best.Score > 0.5, response.Classes)
	// Output:
	// step 60 of 60
	// learnt: true [circle cross ring square star triangle]
}

// A run that ended before its time goes on, to the same end.
func Example_resume() {
	folder, output, remove := pictures()
	defer remove()

	trainer, err := clip.LoadFineTuning("../../../testdata/tiny/huggingface") // or through the registry
	if err != nil {
		log.Fatal(err)
	}
	request := finetuning.Request{Data: folder, Recipe: "probe", Solver: "adamw", Output: output, Resume: true, Overrides: finetuning.Overrides{Epochs: new(5)}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err = trainer.FineTune(ctx, request, func(p finetuning.Progress) error {
		if p.Step == 5 {
			cancel() // or an error, or Ctrl-C with signal.NotifyContext, or kill -9 for that matter
		}
		return nil
	})
	fmt.Println(err)
	fmt.Println(errors.Is(err, finetuning.ErrInterrupted))

	response, err := trainer.FineTune(context.Background(), request, func(p finetuning.Progress) error {
		if p.Kind == finetuning.Begun {
			fmt.Printf("goes on after step %d of %d\n", p.Step, p.Steps)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Steps, "steps")
	// Output:
	// clip: interrupted after step 5 of 10: context canceled
	// true
	// goes on after step 5 of 10
	// 10 steps
}
