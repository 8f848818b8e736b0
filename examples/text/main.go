// Text encodes a text with a model of cybertron's: what is registered with nobody goes to cybertron.
// The first time it downloads the model from Hugging Face and converts it.
//
//	go run ./examples/text [-models DIR] [-model NAME] TEXT
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/nlpodyssey/cybertron/pkg/models/bert"
	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"

	"github.com/vitago/vitago/tasks"
)

func main() {
	models := flag.String("models", "models", "`directory` of the models")
	model := flag.String("model", textencoding.DefaultModel, "`name` of the model")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: text [-models DIR] [-model NAME] TEXT")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	response, err := encode(&tasks.Config{ModelsDir: *models, ModelName: *model}, flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(response.Vector.Data().F32())
}

// encode returns what the model says of a text: the mean over its words.
func encode(conf *tasks.Config, text string) (response textencoding.Response, err error) {
	encoder, err := tasks.Load[textencoding.Interface](conf)
	if err != nil {
		return response, err
	}
	return encoder.Encode(context.Background(), text, int(bert.MeanPooling))
}
