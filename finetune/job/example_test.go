package job_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/internal/shapes"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "job")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pictures := filepath.Join(dir, "pictures") // a folder for each class; here drawn ones
	if err := shapes.Write(pictures, 0, 8, 24, false, 1); err != nil {
		log.Fatal(err)
	}
	j, err := job.Open(context.Background(), job.Request{
		Model: "../../testdata/tiny/huggingface", Data: pictures, Split: 0.25, // of it, to validate on
		Recipe: "last-n", Output: filepath.Join(dir, "tuned"),
		Overrides: job.Overrides{Blocks: new(1), Epochs: new(2)},
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
	fmt.Println(result.Steps, "steps;", len(j.Classes), "classes;", filepath.Base(written.Model), filepath.Base(written.Report))

	// What would do nothing is an error, in the names of the fields.
	_, err = job.Open(context.Background(), job.Request{Data: pictures, Recipe: "full", Output: "tuned", Overrides: job.Overrides{Rank: new(4)}})
	fmt.Println(err)
	// Output:
	// 4 steps; 6 classes; model report.md
	// job: overrides.rank is of the recipe lora
}

// One run for each rate, and a table of them.
func ExampleSweep() {
	dir, err := os.MkdirTemp("", "job")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pictures := filepath.Join(dir, "pictures")
	if err := shapes.Write(pictures, 0, 8, 24, false, 1); err != nil {
		log.Fatal(err)
	}
	s, err := job.Sweep(context.Background(), job.Request{
		Model: "../../testdata/tiny/huggingface", Data: pictures, Split: 0.25, Recipe: "lora", Output: filepath.Join(dir, "sweep"),
		Overrides: job.Overrides{Epochs: new(1)}, Sweep: []job.Axis{{Field: "rate", Values: []float64{1e-3, 1e-2}}, {Field: "rank", Values: []float64{4}}},
	}, job.Hearer{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Rows()[0])
	for _, run := range s.Runs { // the best first
		fmt.Println(run.Steps, "steps;", run.Measure, *run.Score >= 0)
	}
	fmt.Println(filepath.Base(s.Model), filepath.Base(s.Page))
	// Output:
	// [rate rank accuracy loss step steps seconds run failed]
	// 2 steps; accuracy true
	// 2 steps; accuracy true
	// model sweep.md
}

// What a recipe has where a request says nothing.
func ExampleDefaults() {
	d, err := job.Defaults("lora")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*d.Rank, *d.Alpha, d.Targets, *d.Rate, *d.Epochs, d.Blocks == nil)
	// Output: 16 16 [q_proj v_proj] 0.001 5 true
}

// The best linear head on the embeddings, without steps: features are made once, and λ is found.
func ExampleOpenProbe() {
	dir, err := os.MkdirTemp("", "job")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pictures := filepath.Join(dir, "pictures") // a folder for each class; here drawn ones
	if err := shapes.Write(pictures, 0, 8, 24, false, 1); err != nil {
		log.Fatal(err)
	}
	p, err := job.OpenProbe(context.Background(), job.Request{
		Model: "../../testdata/tiny/huggingface", Data: pictures, Split: 0.25, Recipe: "probe", Solver: job.LBFGS, Output: filepath.Join(dir, "probe"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	fitted, err := p.Run(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(p.Classes), "classes,", p.Pictures, "pictures,", p.Numbers, "numbers;", filepath.Base(fitted.Model))
	// Output: 6 classes, 36 pictures, 66 numbers; model
}
