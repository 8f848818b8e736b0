package clip_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imageencoding"
	"github.com/vitago/vitago/tasks/imageencoding/clip"
)

func Example() {
	encoder, err := tasks.Load[imageencoding.Interface](&tasks.Config{
		ModelsDir: "../../../testdata/tiny", // and imageencoding.DefaultModel in a real program
		ModelName: "huggingface",
	})
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../../cmd/vitago/testdata/demo/cat.png")
	if err != nil {
		log.Fatal(err)
	}
	response, err := encoder.EncodeImage(context.Background(), picture)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Vector.Shape())
	// Output: [10 1]
}

// Of a model that is loaded already, here the small one of the program. A folder is loaded by [clip.LoadImageEncoding].
func ExampleNew() {
	ctx := context.Background()
	model, err := demo.Open()
	if err != nil {
		log.Fatal(err)
	}
	encoder, err := clip.New(ctx, model)
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../../demo/pictures/red-circle.png")
	if err != nil {
		log.Fatal(err)
	}
	responses, err := encoder.EncodeImages(ctx, imageencoding.Request{Images: [][]byte{picture, picture}, Normalize: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range responses {
		fmt.Println(r.Kind, r.Vector.Shape())
	}
	// Output:
	// embedding [64 1]
	// embedding [64 1]
}

func ExampleLoadImageEncoding() {
	encoder, err := clip.LoadImageEncoding("../../../testdata/tiny/huggingface")
	if err != nil {
		log.Fatal(err)
	}
	_, err = encoder.EncodeImage(context.Background(), []byte("no picture"))
	fmt.Println(errors.Is(err, imageencoding.ErrImage))
	// Output: true
}
