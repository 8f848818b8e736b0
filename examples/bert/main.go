// Bert encodes a text with a BERT of cybertron's, through the same registry of tasks as CLIP: what is registered with nobody
// goes to cybertron, which downloads the model the first time, and converts it where it lies.
//
//	go run ./examples/bert -models models -model bert "hello"   # after "cp -r tasks/testdata models": a small one in this repository
//	go run ./examples/bert "hello"
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/nlpodyssey/cybertron/pkg/models/bert"
	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"
	"github.com/rs/zerolog"

	"github.com/vitago/vitago/tasks"
)

func main() {
	models := flag.String("models", "", "`directory` with models as they were published; none are downloaded then")
	model := flag.String("model", textencoding.DefaultModel, "`name` of the model")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: bert [-models DIR] [-model NAME] TEXT")
		os.Exit(2)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		log.Fatal(err)
	}
	conf := &tasks.Config{ModelsDir: filepath.Join(cache, "vitago", "cybertron"), ModelName: *model}
	if *models != "" {
		conf.ModelsDir, conf.DownloadPolicy = *models, tasks.DownloadNever
	}
	vector, err := encode(context.Background(), conf, flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(vector)
}

// encode returns what the model says of a text: the mean over its tokens.
func encode(ctx context.Context, conf *tasks.Config, text string) ([]float32, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	stdout := os.Stdout
	os.Stdout = nil // cybertron prints of its work, in the middle of the results
	encoder, err := tasks.Load[textencoding.Interface](conf)
	os.Stdout = stdout
	if err != nil {
		return nil, err
	}
	response, err := encoder.Encode(ctx, text, int(bert.MeanPooling))
	if err != nil {
		return nil, err
	}
	return response.Vector.Data().F32(), nil
}
