package finetune_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/initializers"
	"github.com/nlpodyssey/spago/mat"
	spagorand "github.com/nlpodyssey/spago/mat/rand"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/activation"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
)

// MLP is a head of one's own.
//
//	x [B,M] ── Hidden ─▶ ReLU ── Out ─▶ logits [B,K]
type MLP struct {
	nn.Module
	Hidden, Out *linear.Model
}

func NewMLP(in, hidden, out int) *MLP {
	m := &MLP{Hidden: linear.New[float32](in, hidden), Out: linear.New[float32](hidden, out)}
	initializers.XavierUniform(m.Hidden.W, initializers.Gain(activation.ReLU), spagorand.NewLockedRand(1))
	return m
}

func (m *MLP) Forward(x mat.Tensor) mat.Tensor {
	return finetune.Linear(ag.ReLU(finetune.Linear(x, m.Hidden)), m.Out)
}

// A head of one's own is trained, saved with its classes, loaded, and names a picture.
func ExampleLoadHead() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	writePictures(dir) // dir/red/0.png, ..., dir/blue/15.png
	pictures, err := data.Folder(dir)
	if err != nil {
		log.Fatal(err)
	}
	tower, err := converter.Load("../testdata/tiny/huggingface") // frozen
	if err != nil {
		log.Fatal(err)
	}

	recipe, err := finetune.FindRecipe("probe") // the head alone learns
	if err != nil {
		log.Fatal(err)
	}
	recipe.HeadRate, recipe.Epochs, recipe.Batch = 0.05, 10, 8
	head := NewMLP(tower.Config.OutputDim(), 16, len(pictures.Classes))
	trainer, err := finetune.New(finetune.Config{
		Tower: tower, Head: head, Objective: finetune.Classification{}, Recipe: recipe,
		Train: &data.Loader{Data: pictures, Config: tower.Config, BatchSize: 8, Shuffle: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := trainer.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	if err := finetune.SaveHead(filepath.Join(dir, "head"), head, pictures.Classes); err != nil {
		log.Fatal(err)
	}

	// Another program.
	classes, err := finetune.LoadHead(filepath.Join(dir, "head"), nil)
	if err != nil {
		log.Fatal(err)
	}
	head = NewMLP(tower.Config.OutputDim(), 16, len(classes))
	if _, err := finetune.LoadHead(filepath.Join(dir, "head"), head); err != nil {
		log.Fatal(err)
	}
	patches, err := clipvit.Preprocess(picture(rand.New(rand.NewPCG(5, 6)), 0), tower.Config) // of a red picture
	if err != nil {
		log.Fatal(err)
	}
	p := ag.Softmax(ag.T(head.Forward(tower.Embedding(patches)))).Value().Data().F32()
	for i, class := range classes {
		fmt.Println(class, p[i] > 0.9)
	}
	// Output:
	// blue false
	// red true
}

// A head of one's own learns to tell red pictures from blue ones, on a tower that stays as it is.
func ExampleTrainHead() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	writePictures(dir) // dir/red/0.png, ..., dir/blue/15.png
	pictures, err := data.Folder(dir)
	if err != nil {
		log.Fatal(err)
	}
	tower, err := converter.Load("../testdata/tiny/huggingface") // frozen
	if err != nil {
		log.Fatal(err)
	}
	head := NewMLP(tower.Config.OutputDim(), 16, len(pictures.Classes))
	result, err := finetune.TrainHead(context.Background(), tower, head, pictures, 40, 0.05)
	if err != nil {
		log.Fatal(err)
	}
	patches, err := clipvit.Preprocess(picture(rand.New(rand.NewPCG(5, 6)), 0), tower.Config) // of a red picture
	if err != nil {
		log.Fatal(err)
	}
	p := ag.Softmax(ag.T(head.Forward(tower.Embedding(patches)))).Value().Data().F32()
	fmt.Println(result.Steps, "steps;", pictures.Classes[1], p[1] > 0.9)
	// Output: 40 steps; red true
}

// A layer of spago maps a whole batch, with gradients.
func ExampleLinear() {
	layer := linear.New[float32](3, 2) // W [2,3], B [2]
	mat.SetData[float32](layer.W.Value().(mat.Matrix), []float32{1, 0, 0, 0, 1, 1})
	x := mat.NewDense[float32](mat.WithShape(2, 3), mat.WithBacking([]float32{1, 2, 3, 4, 5, 6}))
	y := finetune.Linear(x, layer)
	fmt.Println(y.Shape(), y.Data().F32())
	// Output: [2 2] [1 5 4 11]
}

// A linear head that was saved goes on to be trained.
func ExampleLoadClassifier() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	head := finetune.NewClassifier(3, []string{"blue", "red"})
	if err := head.Save(dir); err != nil {
		log.Fatal(err)
	}
	again, err := finetune.LoadClassifier(dir)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again.Classes, again.Linear.W.Shape())
	// Output: [blue red] [2 3]
}

// A model with a classifier names pictures: what a run has written, or a checkpoint of transformers that has one.
func ExampleTunedOf() {
	ctx := context.Background()
	m, err := clip.Open("../testdata/families/hf5-classifier") // of random weights
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	tuned, err := finetune.TunedOf(ctx, m)
	if err != nil {
		log.Fatal(err)
	}
	all, err := tuned.Classify(ctx, clip.File("../cmd/vitago/testdata/demo/cat.png"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(tuned.Labels()), "labels, the best is", all[0][0].Name)
	// Output: 3 labels, the best is dog
}
