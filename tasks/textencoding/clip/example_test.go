package clip_test

import (
	"context"
	"fmt"
	"log"

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
