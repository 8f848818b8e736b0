package runs_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/internal/shapes"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/runs"
)

// A run is begun, and watched until it has ended.
func Example() {
	dir, err := os.MkdirTemp("", "runs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "data")
	if err := shapes.Write(filepath.Join(data, "shapes"), 0, 4, 24, false, 1); err != nil { // pictures, in a folder for each class
		log.Fatal(err)
	}
	all, err := runs.Open(runs.Options{
		Dir:  filepath.Join(dir, "runs"),
		Data: data,
		Model: func(name string) (string, error) {
			return filepath.Join("../../../testdata/tiny", filepath.Base(name)), nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer all.Close(context.Background())

	run, err := all.Start("huggingface", finetuning.Request{Data: "shapes", Recipe: "probe", Solver: "adamw", Overrides: finetuning.Overrides{Epochs: new(2)}})
	if err != nil {
		log.Fatal(err)
	}
	steps := 0
	for e, err := range all.Watch(context.Background(), run.ID, 0) {
		if err != nil {
			log.Fatal(err)
		}
		if e.Kind == finetuning.Trained {
			steps++
		}
	}
	run, err = all.Get(run.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(run.State, "after", steps, "steps:", run.Response.Classes)
	// Output: done after 2 steps: [circle cross ring square star triangle]
}
