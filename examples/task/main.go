// Task encodes an image through the registry of tasks, as cybertron's programs encode text. The first
// time it downloads the model from Hugging Face, into the user's cache unless -models says otherwise.
//
//	go run ./examples/task -models testdata/tiny -model huggingface demo/pictures/red-circle.png   # a small one in this repository
//	go run ./examples/task demo/pictures/red-circle.png
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imageencoding"
	_ "github.com/vitago/vitago/tasks/imageencoding/clip" // registers itself
)

func main() {
	models := flag.String("models", "", "`directory` of the models (default vitago/models in the user's cache)")
	model := flag.String("model", imageencoding.DefaultModel, "`name` of the model")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: task [-models DIR] [-model NAME] IMAGE")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if *models == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		*models = filepath.Join(cache, "vitago", "models")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	response, err := encode(ctx, &tasks.Config{ModelsDir: *models, ModelName: *model}, flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(response.Vector.Data().F32())
}

// encode returns what the model says of an image file.
func encode(ctx context.Context, conf *tasks.Config, file string) (response imageencoding.Response, err error) {
	image, err := os.ReadFile(file)
	if err != nil {
		return response, err
	}
	encoder, err := tasks.Load[imageencoding.Interface](conf)
	if err != nil {
		return response, err
	}
	return encoder.EncodeImage(ctx, image)
}
