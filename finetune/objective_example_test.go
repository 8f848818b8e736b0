package finetune_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/shapes"
)

// focal is the focal loss of Lin et al., arXiv 1708.02002: the cross-entropy of a picture times (1-p)^Gamma, so that pictures whose
// label is probable already count little.
type focal struct{ Gamma float64 }

// Name has the numbers: a run goes on with the same.
func (o focal) Name() string { return fmt.Sprintf("focal loss, gamma %v", o.Gamma) }

func (o focal) Measure() string { return "accuracy" }

// Judge is made of spago's operators, which have the gradients.
func (o focal) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	if s := y.Shape(); s[0] != b.Len() {
		return nil, 0, fmt.Errorf("logits %v of %d pictures", s, b.Len())
	}
	var each []mat.Tensor
	for i, row := range ag.RowViews(y) { // [1,K]
		p := ag.At(ag.Softmax(ag.T(row)), b.Labels[i]) // of the label
		each = append(each, ag.Neg(ag.Prod(ag.Pow(ag.ReverseSubOne(p), o.Gamma), ag.Log(p))))
		if p.Item().F64() > 0.5 {
			score++
		}
	}
	return ag.Mean(each), score, nil
}

// A loss of one's own trains as the others do. A run that is stopped goes on with it to the same bits, and with no other.
func ExampleObjective() {
	dir, err := os.MkdirTemp("", "objective")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pictures := filepath.Join(dir, "pictures") // a folder for each class; here drawn ones
	if err := shapes.Write(pictures, 0, 4, 24, false, 1); err != nil {
		log.Fatal(err)
	}
	config := func(out string, o finetune.Objective) finetune.Config {
		tower, err := converter.Load("../testdata/tiny/huggingface")
		if err != nil {
			log.Fatal(err)
		}
		d, err := data.Folder(pictures)
		if err != nil {
			log.Fatal(err)
		}
		recipe, _ := finetune.FindRecipe("lora")
		recipe.Epochs = 3
		return finetune.Config{
			Tower: tower, Head: finetune.NewClassifier(tower.Config.EmbedDim, d.Classes), Objective: o, Recipe: recipe,
			Train: &data.Loader{Data: d, Config: tower.Config, BatchSize: recipe.Batch, Shuffle: true}, Dir: filepath.Join(dir, out), Resume: true,
		}
	}
	run := func(out string, stopAfter int) (loss float64) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c := config(out, focal{Gamma: 2})
		c.Sinks = []history.Sink{history.SinkFunc(func(e history.Event) error {
			if loss = e.Loss; e.Step == stopAfter {
				cancel()
			}
			return nil
		})}
		t, err := finetune.New(c)
		if err != nil {
			log.Fatal(err)
		}
		if _, err = t.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			log.Fatal(err)
		}
		return loss
	}
	straight := run("straight", 0)
	run("parts", 1) // stopped
	fmt.Println("the same bits:", run("parts", 0) == straight)
	_, err = finetune.New(config("parts", focal{Gamma: 3}))
	fmt.Println(errors.Is(err, finetune.ErrOtherRun))
	// Output:
	// the same bits: true
	// true
}

// Weights by which classes of unlike size count alike, as scikit-learn's compute_class_weight("balanced") has them.
func ExampleClassification_weights() {
	d := &data.Dataset{Classes: []string{"fine", "broken"}, Samples: make([]data.Sample, 10)} // all of the first class
	d.Samples[9].Label = 1
	weights, err := d.BalancedWeights()
	fmt.Printf("%.2f %v\n", weights, err)
	fmt.Println(finetune.Classification{Weights: weights}.Measure())
	// Output:
	// [0.56 5.00] <nil>
	// weighted accuracy
}

// Labels that do not exclude each other: each class is learnt by itself.
func ExampleMultiLabel() {
	head := finetune.NewClassifier(3, []string{"cat", "dog"})
	head.Multi = true                                                                                           // sigmoids
	y := head.Forward(mat.NewDense[float32](mat.WithShape(2, 3), mat.WithBacking([]float32{1, 2, 3, 4, 5, 6}))) // of two pictures
	b := &data.Batch{Index: []int{0, 1}, LabelSets: [][]int{{0, 1}, nil}}                                       // a cat and a dog; neither
	loss, _, err := finetune.MultiLabel{}.Judge(y, b)
	fmt.Printf("%.4f %v\n", loss.Item().F64(), err) // log 2: nothing is learnt yet
	// Output: 0.6931 <nil>
}

// A run that has ended is made longer: from there on the rates are those of the new length.
func ExampleTrainer_Lengths() {
	dir, err := os.MkdirTemp("", "lengths")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := shapes.Write(filepath.Join(dir, "pictures"), 0, 2, 24, false, 1); err != nil {
		log.Fatal(err)
	}
	for _, epochs := range []int{2, 5} {
		tower, err := converter.Load("../testdata/tiny/huggingface")
		if err != nil {
			log.Fatal(err)
		}
		d, err := data.Folder(filepath.Join(dir, "pictures"))
		if err != nil {
			log.Fatal(err)
		}
		recipe, _ := finetune.FindRecipe("last-n")
		recipe.Epochs, recipe.Blocks = epochs, 1
		t, err := finetune.New(finetune.Config{
			Tower: tower, Head: finetune.NewClassifier(tower.Config.EmbedDim, d.Classes), Objective: finetune.Classification{}, Recipe: recipe,
			Train: &data.Loader{Data: d, Config: tower.Config, BatchSize: recipe.Batch}, Dir: filepath.Join(dir, "out"), Resume: true,
		})
		if err != nil {
			log.Fatal(err)
		}
		r, err := t.Run(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Steps, "steps", t.Lengths())
	}
	last, err := finetune.LastCheckpoint(filepath.Join(dir, "out"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(finetune.ReadReached(last))
	// Output:
	// 2 steps [{0 2}]
	// 5 steps [{0 2} {2 5}]
	// {last-n 5 5} <nil>
}
