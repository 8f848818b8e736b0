package evaluation_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/evaluation"
	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/internal/shapes"
)

// A head is trained on pictures in folders, and judged by others.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "evaluation")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for part, n := range map[string]int{"train": 20, "test": 10} { // or yours: train/CLASS/picture.jpg, test/CLASS/picture.jpg
		if err := shapes.Write(filepath.Join(dir, part), 100*n, n, 32, false, 1); err != nil {
			log.Fatal(err)
		}
	}
	ctx := context.Background()
	probe, err := job.OpenProbe(ctx, job.Request{
		Model: "../../cmd/vitago/testdata/demo/tiny-clip.pt", Data: filepath.Join(dir, "train"), Output: filepath.Join(dir, "out"),
		Recipe: "probe", Solver: job.LBFGS, Split: 0.2,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer probe.Close()
	if _, err := probe.Run(ctx, nil); err != nil {
		log.Fatal(err)
	}

	tuned, err := finetune.Open(ctx, filepath.Join(dir, "out", "model"))
	if err != nil {
		log.Fatal(err)
	}
	defer tuned.Close()
	test, err := data.OpenTest(filepath.Join(dir, "test"))
	if err != nil {
		log.Fatal(err)
	}
	r, err := evaluation.Run(ctx, tuned, test, evaluation.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d pictures; most are right: %v; top %d: %.0f %%\n", r.Pictures, r.Accuracy > 0.8, r.Top, 100*r.TopAccuracy)
	for _, c := range r.Classes[:2] {
		fmt.Printf("%s: more than half are found (%v), and few others are taken for one (%v)\n", c.Name, c.Recall > 0.5, c.Precision > 0.7)
	}
	page := r.Page("Evaluation of a probe", nil, r.Files())
	if err := os.WriteFile(filepath.Join(dir, "report.md"), []byte(page), 0o666); err != nil {
		log.Fatal(err)
	}
	if err := r.Write(ctx, dir, test, false); err != nil { // the tables, and a contact sheet of the wrong pictures
		log.Fatal(err)
	}
	// Output:
	// 60 pictures; most are right: true; top 5: 100 %
	// circle: more than half are found (true), and few others are taken for one (true)
	// cross: more than half are found (true), and few others are taken for one (true)
}

// Probabilities may be from anywhere: a file, another program, a model of one's own.
func ExampleTally() {
	t := evaluation.NewTally([]string{"cat", "dog", "emu"}, 2, 10)
	for i, picture := range []struct {
		path   string
		wanted int // a class
		p      []float64
	}{
		{"a.jpg", 0, []float64{0.7, 0.2, 0.1}},
		{"b.jpg", 1, []float64{0.5, 0.4, 0.1}},
		{"c.jpg", 1, []float64{0.1, 0.8, 0.1}},
		{"d.jpg", 2, []float64{0.6, 0.3, 0.1}},
	} {
		if err := t.Add(i, picture.path, picture.wanted, picture.p); err != nil {
			log.Fatal(err)
		}
	}
	r, err := t.Result()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Accuracy, r.TopAccuracy)
	for _, w := range r.Wrong {
		fmt.Println(w.Path, w.Wanted, "is taken for", w.Got, w.Probability)
	}
	fmt.Println(r.Confusion.Row(1))
	// Output:
	// 0.5 0.75
	// d.jpg emu is taken for cat 0.6
	// b.jpg dog is taken for cat 0.5
	// [1 1 0]
}

// Labels that do not exclude each other: each has a probability of its own, and a picture is of those above one half.
func ExampleNewMultiTally() {
	t := evaluation.NewMultiTally([]string{"cat", "dog"}, 10)
	for i, picture := range []struct {
		path   string
		wanted []int // classes
		p      []float64
	}{
		{"a.jpg", []int{0, 1}, []float64{0.9, 0.7}},
		{"b.jpg", []int{1}, []float64{0.6, 0.8}},
		{"c.jpg", nil, []float64{0.1, 0.2}},
	} {
		if err := t.AddSet(i, picture.path, picture.wanted, picture.p); err != nil {
			log.Fatal(err)
		}
	}
	r, err := t.Result()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Right, "of", r.Pictures, "are right in all labels; mean average precision", r.MeanAP)
	// Output: 2 of 3 are right in all labels; mean average precision 1
}
