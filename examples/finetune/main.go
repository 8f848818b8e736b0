// Finetune trains a classifier in a loop of one's own, on a tower that is frozen, learns in its last block, or learns as a whole.
//
//	go run ./examples/finetune -learns last testdata/tiny/huggingface shapes/train own
//	vitago classify --model own shapes/test/ring
//
// shapes/train, which examples/shapes writes, has a folder for each class; own becomes a model directory with the head in it. The recipes of
// package finetune do more, such as averages, checkpoints and validation, and examples/customhead has a head of several layers.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/nlpodyssey/spago/ag"
	"github.com/vitago/vitago/converter"
	_ "github.com/vitago/vitago/demo" // builtin:demo
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/optim"
)

func main() {
	learns := flag.String("learns", "head", "what learns: head, last (and the last block) or full (and the tower)")
	rate, headRate := flag.Float64("rate", 1e-5, "of the tower"), flag.Float64("head-rate", 1e-3, "of the head")
	epochs := flag.Int("epochs", 5, "times that all pictures are seen")
	flag.Parse()
	if flag.NArg() != 3 || *learns != "head" && *learns != "last" && *learns != "full" {
		fmt.Fprintln(os.Stderr, "usage: finetune [flags] MODEL PICTURES OUT")
		os.Exit(2)
	}
	ctx, out := context.Background(), flag.Arg(2)
	if _, err := os.Stat(out); err == nil { // it would show when all has been learnt
		log.Fatalf("%s is there already", out)
	}
	source, err := converter.Open(flag.Arg(0))
	check(err)
	tower, err := source.Vision(ctx)
	check(err)
	pictures, err := data.Folder(flag.Arg(1))
	check(err)
	head := finetune.NewClassifier(tower.Config.OutputDim(), pictures.Classes)
	switch *learns { // a loaded tower is frozen
	case "last":
		tower.Blocks[len(tower.Blocks)-1].Unfreeze() // no graph is kept of what lies before
	case "full":
		tower.Unfreeze()
	}
	groups := []optim.Group{{Name: "head", Rate: *headRate, Params: optim.Collect(head)}, {Name: "tower", Rate: *rate, Params: optim.Collect(tower)}}
	optimizer, err := optim.NewAdamW(groups, optim.DefaultAdamW)
	check(err)
	loader := &data.Loader{Data: pictures, Config: tower.Config, BatchSize: 8, Shuffle: true, Strict: true}
	for epoch := range *epochs {
		sum := 0.0
		for b, err := range loader.Batches(ctx, epoch, 0) {
			check(err)
			logits := head.Forward(tower.Embedding(b.Patches)) // [B,E] to [B,K]
			loss, _, err := finetune.Classification{}.Judge(logits, b)
			check(err)
			check(ag.Backward(loss))
			optim.ClipGradNorm(groups, 1)
			check(optimizer.Step(1)) // names a gradient that is no number
			optimizer.ZeroGrad()
			sum += loss.Item().F64()
		}
		fmt.Printf("epoch %d  loss %.4f\n", epoch+1, sum/float64(loader.Len()))
	}
	_, err = converter.Save(ctx, converter.Models{Vision: tower}, source, out, converter.Options{})
	check(err)
	check(head.Save(out))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
