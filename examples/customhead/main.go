// Customhead trains a head of one's own, a network of two layers, on the embeddings of a frozen tower, saves it with its
// classes, and loads it again to name pictures.
//
//	go run ./examples/customhead train builtin:demo shapes/train head
//	go run ./examples/customhead predict builtin:demo head shapes/test/ring/*.png
//
// shapes/train, which examples/shapes writes, has a folder for each class. head is a folder that gets the file head.safetensors.
package main

import (
	"context"
	"fmt"
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

// Head is a model of one's own.
//
//	x [B,E] ── Hidden ─▶ ReLU ── Out ─▶ logits [B,K]
type Head struct {
	nn.Module
	Hidden, Out *linear.Model
}

// NewHead returns a head for k classes. Out is zero: all of them are equally likely.
func NewHead(width, k int) *Head {
	const hidden = 64
	h := &Head{Hidden: linear.New[float32](width, hidden), Out: linear.New[float32](hidden, k)}
	initializers.XavierUniform(h.Hidden.W, initializers.Gain(activation.ReLU), rand.NewLockedRand(1))
	return h
}

// Forward implements [finetune.Head].
func (h *Head) Forward(x mat.Tensor) mat.Tensor {
	return finetune.Linear(ag.ReLU(finetune.Linear(x, h.Hidden)), h.Out)
}

// train fits a head to the pictures in folder and saves it.
func train(ctx context.Context, model *clip.Model, folder, dir string) error {
	pictures, err := data.Folder(folder)
	if err != nil {
		return err
	}
	tower, err := model.Vision(ctx) // frozen
	if err != nil {
		return err
	}
	recipe, err := finetune.FindRecipe("probe") // the head alone learns
	if err != nil {
		return err
	}
	recipe.Epochs, recipe.HeadRate = 60, 3e-3
	head := NewHead(tower.Config.OutputDim(), len(pictures.Classes))
	trainer, err := finetune.New(finetune.Config{
		Tower: tower, Head: head, Objective: finetune.Classification{}, Recipe: recipe,
		Train: &data.Loader{Data: pictures, Config: tower.Config, BatchSize: recipe.Batch, Shuffle: true, Strict: true},
	})
	if err != nil {
		return err
	}
	result, err := trainer.Run(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d steps, classes %v\n", result.Steps, pictures.Classes)
	return finetune.SaveHead(dir, head, pictures.Classes)
}

// predict prints the class of each image, and how probable it is.
func predict(ctx context.Context, model *clip.Model, dir string, files []string) error {
	tower, err := model.Vision(ctx)
	if err != nil {
		return err
	}
	classes, err := finetune.LoadHead(dir, nil)
	if err != nil {
		return err
	}
	head := NewHead(tower.Config.OutputDim(), len(classes))
	if _, err := finetune.LoadHead(dir, head); err != nil {
		return err
	}
	for _, file := range files {
		embeddings, err := model.Encode(ctx, clip.File(file))
		if err != nil {
			return err
		}
		x := mat.NewDense[float32](mat.WithShape(1, len(embeddings[0])), mat.WithBacking(embeddings[0]))
		p := ag.Softmax(ag.T(head.Forward(x))).Value().(mat.Matrix) // [K,1]
		best := p.ArgMax()
		fmt.Printf("%s: %s %.2f\n", file, classes[best], p.Data().F32()[best])
	}
	return nil
}

// run does what the arguments say.
func run(ctx context.Context, verb, path string, args []string) error {
	model, err := clip.Open(path)
	if err != nil {
		return err
	}
	defer model.Close()
	if verb == "train" {
		return train(ctx, model, args[0], args[1])
	}
	return predict(ctx, model, args[0], args[1:])
}

func main() {
	n := len(os.Args)
	if n < 5 || os.Args[1] != "predict" && (os.Args[1] != "train" || n != 5) {
		fmt.Fprintln(os.Stderr, "usage: customhead train MODEL PICTURES HEAD\n       customhead predict MODEL HEAD IMAGE...")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
