// Finetune trains a classifier in a loop of one's own, made of spago's parts, on a tower that is frozen, learns in its last
// block, or learns as a whole.
//
//	go run ./examples/finetune -learns last -epochs 5 testdata/tiny/huggingface shapes/train own
//	vitago classify --model own/model shapes/test/ring
//
// shapes/train, which examples/shapes writes, has a folder for each class. own/model is a model directory with the head and its classes in it, own/tuned.pt
// what OpenAI's own code loads. The recipes of package finetune do more: averages, checkpoints, validation. A head of
// several layers is in examples/customhead.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/losses"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	_ "github.com/vitago/vitago/demo" // builtin:demo
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/optim"
)

// A tuning is the flags.
type tuning struct {
	learns         string
	rate, headRate float64
	epochs, batch  int
}

// groups frees what of the tower is to learn, and returns all that learns.
func (f tuning) groups(tower *clipvit.Model, head *linear.Model) []optim.Group {
	groups := []optim.Group{{Name: "head", Rate: f.headRate, Params: optim.Collect(head)}}
	switch f.learns { // a loaded tower is frozen
	case "last":
		tower.Blocks[len(tower.Blocks)-1].Unfreeze() // no graph is kept of what lies before
	case "full":
		tower.Unfreeze()
	}
	if learning := optim.Collect(tower); learning != nil {
		groups = append(groups, optim.Group{Name: "tower", Rate: f.rate, Params: learning})
	}
	return groups
}

// train teaches all that is in groups the classes of pictures.
func (f tuning) train(ctx context.Context, tower *clipvit.Model, head *linear.Model, groups []optim.Group, pictures *data.Dataset) error {
	optimizer, err := optim.NewAdamW(groups, optim.DefaultAdamW)
	if err != nil {
		return err
	}
	loader := &data.Loader{Data: pictures, Config: tower.Config, BatchSize: f.batch, Shuffle: true, Strict: true}
	for epoch := range f.epochs {
		sum := 0.0
		for b, err := range loader.Batches(ctx, epoch, 0) {
			if err != nil {
				return err
			}
			var each []mat.Tensor
			logits := finetune.Linear(tower.Embedding(b.Patches), head) // [B,E] to [B,K]
			for i, row := range ag.RowViews(logits) {
				each = append(each, losses.CrossEntropy(ag.T(row), b.Labels[i]))
			}
			loss := ag.Mean(each)
			if err := ag.Backward(loss); err != nil {
				return err
			}
			optim.ClipGradNorm(groups, 1)
			if err := optimizer.Step(1); err != nil { // names a gradient that is no number
				return err
			}
			optimizer.ZeroGrad()
			sum += loss.Item().F64()
		}
		fmt.Printf("epoch %d  loss %.4f\n", epoch+1, sum/float64(loader.Len()))
	}
	return nil
}

// save writes the tower, the head and its classes as a model directory, and as OpenAI's code has the tower.
func save(ctx context.Context, tower *clipvit.Model, head *linear.Model, classes []string, source *converter.Model, out string) error {
	model := filepath.Join(out, "model")
	if _, err := converter.Save(ctx, converter.Models{Vision: tower}, source, model, converter.Options{}); err != nil {
		return err
	}
	classifier := &finetune.Classifier{Linear: head, Classes: classes}
	if err := classifier.Save(model); err != nil {
		return err
	}
	tuned, err := converter.Open(model)
	if err != nil {
		return err
	}
	defer tuned.Close()
	_, err = tuned.Export(ctx, filepath.Join(out, "tuned.pt"), converter.ExportOptions{To: "openai"})
	return err
}

// run does it all.
func (f tuning) run(ctx context.Context, model, folder, out string) error {
	if _, err := os.Stat(out); err == nil { // which would show when all has been learnt
		return fmt.Errorf("%s is there already", out)
	}
	source, err := converter.Open(model)
	if err != nil {
		return err
	}
	defer source.Close()
	tower, err := source.Vision(ctx)
	if err != nil {
		return err
	}
	pictures, err := data.Folder(folder)
	if err != nil {
		return err
	}
	head := linear.New[float32](tower.Config.OutputDim(), len(pictures.Classes)) // of zeros: all classes are equally likely
	if err := f.train(ctx, tower, head, f.groups(tower, head), pictures); err != nil {
		return err
	}
	return save(ctx, tower, head, pictures.Classes, source, out)
}

func main() {
	var f tuning
	flag.StringVar(&f.learns, "learns", "head", "what learns: head, last (and the last block) or full (and the tower)")
	flag.Float64Var(&f.rate, "rate", 1e-5, "of the tower")
	flag.Float64Var(&f.headRate, "head-rate", 1e-3, "of the head")
	flag.IntVar(&f.epochs, "epochs", 5, "times that all pictures are seen")
	flag.IntVar(&f.batch, "batch", 8, "pictures in a step")
	flag.Parse()
	if flag.NArg() != 3 || f.learns != "head" && f.learns != "last" && f.learns != "full" {
		fmt.Fprintln(os.Stderr, "usage: finetune [flags] MODEL PICTURES OUT")
		flag.PrintDefaults()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := f.run(ctx, flag.Arg(0), flag.Arg(1), flag.Arg(2)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
