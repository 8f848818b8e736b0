package finetune_test

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/losses"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/optim"
)

// picture returns noise that is more red than blue, or the other way round.
func picture(rng *rand.Rand, class int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range 16 * 16 {
		c := [3]uint8{uint8(rng.IntN(200)), uint8(rng.IntN(200)), uint8(rng.IntN(200))}
		c[2*class] += 55
		img.Set(i%16, i/16, color.RGBA{c[0], c[1], c[2], 255})
	}
	return img
}

// A head of one's own, made of spago's parts, on a tower that is frozen, learns in its last block, or learns as
// a whole, trained with spago's ag.
func Example() {
	train := func(learns string) (loss float64, err error) {
		tower, err := converter.Load("../testdata/tiny/huggingface") // frozen
		if err != nil {
			return 0, err
		}
		switch learns {
		case "last block":
			tower.Blocks[len(tower.Blocks)-1].Unfreeze() // no graph is kept of what lies before
		case "all":
			tower.Unfreeze()
		}
		head := linear.New[float32](tower.Config.EmbedDim, 2)
		groups := []optim.Group{{Name: "head", Rate: 0.1, Params: optim.Collect(head)}, {Name: "tower", Rate: 1e-3, Params: optim.Collect(tower)}}
		optimizer, err := optim.NewAdamW(groups, optim.DefaultAdamW)
		rng := rand.New(rand.NewPCG(1, 2))
		for step := 0; step < 100 && err == nil; step++ {
			patches, labels := pictures(rng, tower.Config)
			var each []mat.Tensor
			for i, x := range ag.RowViews(tower.Embedding(patches)) {
				each = append(each, losses.CrossEntropy(head.Forward(ag.T(x))[0], labels[i]))
			}
			mean := ag.Mean(each)
			loss = mean.Item().F64()
			if err = ag.Backward(mean); err == nil {
				err = optimizer.Step(1) // names a gradient that is no number
			}
			optimizer.ZeroGrad()
		}
		return loss, err
	}
	for _, learns := range []string{"head", "last block", "all"} {
		loss, err := train(learns)
		fmt.Printf("%s learns: %v %v\n", learns, loss < 0.2, err)
	}
	// Output:
	// head learns: true <nil>
	// last block learns: true <nil>
	// all learns: true <nil>
}

// pictures returns patches of four pictures and their classes.
func pictures(rng *rand.Rand, c clipvit.Config) (patches *mat.Dense[float32], labels []int) {
	var rows []float32
	for i := range 4 {
		one, err := clipvit.Preprocess(picture(rng, i%2), c)
		if err != nil {
			panic(err)
		}
		rows = append(rows, one.Data().F32()...)
		labels = append(labels, i%2)
	}
	return mat.NewDense[float32](mat.WithShape(len(rows)/c.PatchLen(), c.PatchLen()), mat.WithBacking(rows)), labels
}

// A recipe, on a folder of pictures.
func ExampleTrainer() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	writePictures(dir)

	pictures, err := data.Folder(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	train, validation, err := pictures.Split(0.25, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	tower, err := converter.Load("../testdata/tiny/huggingface")
	if err != nil {
		fmt.Println(err)
		return
	}
	recipe, err := finetune.FindRecipe("lora")
	if err != nil {
		fmt.Println(err)
		return
	}
	recipe.Rate, recipe.HeadRate, recipe.Epochs, recipe.Accumulate = 0.01, 0.1, 10, 1 // a tiny tower
	trainer, err := finetune.New(finetune.Config{
		Tower: tower, Head: finetune.NewClassifier(tower.Config.EmbedDim, train.Classes), Objective: finetune.Classification{}, Recipe: recipe,
		Train:      &data.Loader{Data: train, Config: tower.Config, BatchSize: 8, Shuffle: true, Seed: 1},
		Validation: &data.Loader{Data: validation, Config: tower.Config, BatchSize: 8},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := trainer.Run(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d steps, accuracy %.0f%%\n", result.Steps, 100*result.Best.Score)
	// Output: 30 steps, accuracy 100%
}

// writePictures writes 16 of each class as dir/CLASS/NUMBER.png.
func writePictures(dir string) {
	rng := rand.New(rand.NewPCG(3, 4))
	for class, name := range []string{"red", "blue"} {
		_ = os.Mkdir(filepath.Join(dir, name), 0o777)
		for i := range 16 {
			f, err := os.Create(filepath.Join(dir, name, fmt.Sprint(i)+".png"))
			if err != nil {
				panic(err)
			}
			if err := png.Encode(f, picture(rng, class)); err != nil {
				panic(err)
			}
			f.Close()
		}
	}
}
