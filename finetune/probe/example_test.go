package probe_test

import (
	"context"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/shapes"
)

// A probe in a few lines: pictures in folders, a head in a folder.
func Example() {
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := shapes.Write(filepath.Join(dir, "pictures"), 0, 20, 32, false, 1); err != nil { // or yours
		log.Fatal(err)
	}
	pictures, err := data.Folder(filepath.Join(dir, "pictures"))
	if err != nil {
		log.Fatal(err)
	}
	model, err := converter.Load("../../cmd/vitago/testdata/demo/tiny-clip.pt")
	if err != nil {
		log.Fatal(err)
	}
	cache, err := probe.OpenCache(filepath.Join(dir, "features"))
	if err != nil {
		log.Fatal(err)
	}
	extractor := probe.Extractor{Model: model, Features: clipvit.Features{Kind: clipvit.Embedding}, Cache: cache}
	result, err := probe.Run(context.Background(), probe.Config{Extractor: extractor, Train: pictures})
	if err != nil {
		log.Fatal(err)
	}
	if err := result.Head.Save(filepath.Join(dir, "head")); err != nil {
		log.Fatal(err)
	}

	// Later, elsewhere.
	head, err := probe.LoadHead(filepath.Join(dir, "head"))
	if err != nil {
		log.Fatal(err)
	}
	if err := head.Check(model); err != nil {
		log.Fatal(err)
	}
	_, err = extractor.Each(context.Background(), &data.Dataset{Samples: pictures.Samples[45:46]}, func(_ int, x []float32) error {
		p := head.Predict(x)
		best := slices.Index(p, slices.Max(p))
		fmt.Println(head.Classes[best])
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: ring
}

// The regression by itself, on features from anywhere.
func ExampleRegress() {
	fit, err := probe.Regress(context.Background(), &probe.Set{
		X: []float32{-2, -1, 1, 2}, Dim: 1, Labels: []int{0, 0, 1, 1}, Classes: []string{"left", "right"},
	}, 1)
	if err != nil {
		log.Fatal(err)
	}
	// scikit-learn's LogisticRegression(C=1) finds 1.0066 with these.
	fmt.Printf("%.4f\n", fit.W[1]-fit.W[0])
	// Output: 1.0066
}

// How well scores tell pictures of a class from others, as scikit-learn's average_precision_score has it, and its mean over classes.
func ExampleMeanAveragePrecision() {
	fmt.Printf("%.4f\n", probe.AveragePrecision([]float64{0.1, 0.4, 0.35, 0.8}, []bool{false, false, true, true}))
	scores := []float64{0.9, 0.2, 0.3, 0.7, 0.8, 0.6} // [3,2]
	fmt.Printf("%.4f\n", probe.MeanAveragePrecision(scores, [][]int{{0}, {1}, {0, 1}}))
	// Output:
	// 0.8333
	// 1.0000
}

// The strength of the penalty is found by pictures that are not fitted to.
func ExampleSweep() {
	classes := []string{"left", "right"}
	train := &probe.Set{X: []float32{-2, -1, 0.5, -0.5, 1, 2}, Dim: 1, Labels: []int{0, 0, 0, 1, 1, 1}, Classes: classes}
	validation := &probe.Set{X: []float32{-1.5, 1.5}, Dim: 1, Labels: []int{0, 1}, Classes: classes}
	best, all, err := probe.Sweep(context.Background(), train, validation, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("λ 10^%.2f of %d; %.0f %% right\n", math.Log10(best.Lambda), len(all), 100*best.Validation.Accuracy())
	// Output: λ 10^-6.00 of 11; 100 % right
}

// The classifier that a checkpoint of transformers has on its tower.
func ExampleHeadOf() {
	m, err := converter.Open("../../testdata/families/hf5-classifier")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	head, err := probe.HeadOf(context.Background(), m)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(head.Classes, head.Features, head.Dim())
	// Output: [cat dog a, b] mean of layer -1 16
}
