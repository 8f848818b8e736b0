package job_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/internal/shapes"
)

// unsure is a loss of one's own: the cross-entropy, more smoothed the more classes there are.
type unsure struct{ finetune.Classification }

func (o unsure) Name() string { return "unsure " + o.Classification.Name() }

func (o unsure) Judge(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error) {
	return o.Classification.Judge(y, b)
}

// A loss of one's own is that of a whole run: data, recipe, model and report are as without it.
func ExampleRequest_objective() {
	dir, err := os.MkdirTemp("", "objective")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pictures := filepath.Join(dir, "pictures") // a folder for each class; here drawn ones
	if err := shapes.Write(pictures, 0, 8, 24, false, 1); err != nil {
		log.Fatal(err)
	}
	j, err := job.Open(context.Background(), job.Request{
		Model: "../../testdata/tiny/huggingface", Data: pictures, Split: 0.25, Recipe: "lora", Output: filepath.Join(dir, "tuned"), Overrides: job.Overrides{Epochs: new(2)},
		Objective: func(train *data.Dataset) (finetune.Objective, error) {
			return unsure{finetune.Classification{Smoothing: 0.01 * float64(len(train.Classes))}}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer j.Close()
	result, err := j.Trainer.Run(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	written, err := j.Write(context.Background(), result)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(j.Trainer.Objective.Name(), "|", result.Steps, "steps |", filepath.Base(written.Adapter))
	// Output: unsure classification, smoothing 0.06 | 4 steps | adapter
}
