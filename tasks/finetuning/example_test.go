package finetuning_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	vectors "github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/internal/shapes"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/finetuning"
	_ "github.com/vitago/vitago/tasks/finetuning/clip" // does it
)

// A classifier is trained on a folder of pictures for each class, and names a picture.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "finetuning")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	folder, output := filepath.Join(dir, "pictures"), filepath.Join(dir, "tuned")
	if err := shapes.Write(folder, 0, 10, 24, false, 1); err != nil {
		log.Fatal(err)
	}

	trainer, err := tasks.Load[finetuning.Interface](&tasks.Config{
		ModelsDir: "../../testdata/tiny", // and finetuning.DefaultModel in a real program
		ModelName: "huggingface",
	})
	if err != nil {
		log.Fatal(err)
	}
	request := finetuning.Request{Data: folder, Split: 0.2, Recipe: "probe", Output: output}
	if _, err := trainer.FineTune(ctx, request, nil); err != nil {
		log.Fatal(err)
	}

	tuned, err := finetune.Open(ctx, output)
	if err != nil {
		log.Fatal(err)
	}
	defer tuned.Close()
	labels, err := tuned.Classify(ctx, vectors.File(filepath.Join(folder, "star", "00000.png")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(labels[0][0].Name)
	// Output: star
}
