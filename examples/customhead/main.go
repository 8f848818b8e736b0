// Customhead puts a head of one's own, a network of two layers, on a frozen tower: it is trained, saved with its classes, loaded, and names pictures.
//
//	go run ./examples/customhead builtin:demo shapes/train head shapes/test/ring/00040.png shapes/test/star/00041.png
//
// shapes/train, which examples/shapes writes, has a folder for each class. head is a folder; if it is there, nothing is trained.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/initializers"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/mat/rand"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/activation"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clip"
	_ "github.com/vitago/vitago/demo" // builtin:demo
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
)

// Head is any spago model: x [B,E] ─▶ Hidden ─▶ ReLU ─▶ Out ─▶ logits [B,K].
type Head struct {
	nn.Module
	Hidden, Out *linear.Model
}

// NewHead returns a head for embeddings of so many numbers and k classes. Out is zero: all classes are equally likely.
func NewHead(width, k int) *Head {
	h := &Head{Hidden: linear.New[float32](width, 64), Out: linear.New[float32](64, k)}
	initializers.XavierUniform(h.Hidden.W, initializers.Gain(activation.ReLU), rand.NewLockedRand(1))
	return h
}

// Forward is what makes it a [finetune.Head].
func (h *Head) Forward(x mat.Tensor) mat.Tensor {
	return finetune.Linear(ag.ReLU(finetune.Linear(x, h.Hidden)), h.Out)
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: customhead MODEL PICTURES HEAD IMAGE...")
		os.Exit(2)
	}
	ctx := context.Background()
	model, err := clip.Open(os.Args[1])
	check(err)
	tower, err := model.Vision(ctx) // frozen
	check(err)
	pictures, err := data.Folder(os.Args[2])
	check(err)
	head := NewHead(tower.Config.OutputDim(), len(pictures.Classes))
	if _, err := os.Stat(os.Args[3]); err != nil {
		result, err := finetune.TrainHead(ctx, tower, head, pictures, 60, 3e-3)
		check(err)
		fmt.Printf("%d steps, classes %v\n", result.Steps, pictures.Classes)
		check(finetune.SaveHead(os.Args[3], head, pictures.Classes))
	}
	classes, err := finetune.LoadHead(os.Args[3], head)
	check(err)
	classifier := finetune.ClassifyBy(model, head, classes)
	for _, file := range os.Args[4:] {
		labels, err := classifier.Classify(ctx, clip.File(file))
		check(err)
		fmt.Printf("%s: %s %.2f\n", file, labels[0][0].Name, labels[0][0].Probability)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
