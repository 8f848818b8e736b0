package clip_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vitago/vitago/demo"

	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"

	vitago "github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/textencoding/clip"
)

func Example() {
	encoder, err := tasks.Load[textencoding.Interface](&tasks.Config{
		ModelsDir: "../../../testdata/families", // and "openai/clip-vit-large-patch14" in a real program
		ModelName: "hf5-clip",
	})
	if err != nil {
		log.Fatal(err)
	}
	var vectors [][]float32
	for _, text := range []string{"a photo of a cat", "a cat"} {
		response, err := encoder.Encode(context.Background(), text, clip.Pooling)
		if err != nil {
			log.Fatal(err)
		}
		vectors = append(vectors, response.Vector.Data().F32())
	}
	fmt.Printf("%.3f\n", vitago.Cosine(vectors[0], vectors[1]))
	// Output: 0.493
}

// Of a model that is loaded already, here the small one of the program.
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
	response, err := encoder.Encode(ctx, "a red circle", clip.Pooling)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Vector.Shape())
	// Output: [64 1]
}

func ExampleLoadTextEncoding() {
	encoder, err := clip.LoadTextEncoding("../../../testdata/families/hf5-clip") // of random weights
	if err != nil {
		log.Fatal(err)
	}
	response, err := encoder.Encode(context.Background(), "a photo of a cat", clip.Pooling)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Vector.Shape())
	// Output: [10 1]
}
