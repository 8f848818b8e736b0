package imagetextsimilarity_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
	_ "github.com/vitago/vitago/tasks/imagetextsimilarity/clip" // does it
)

func Example() {
	model, err := tasks.Load[imagetextsimilarity.Interface](&tasks.Config{
		ModelsDir: "../../testdata/families", // and imagetextsimilarity.DefaultModel in a real program
		ModelName: "hf5-clip",                // of random weights
	})
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../cmd/vitago/testdata/demo/cat.jpg")
	if err != nil {
		log.Fatal(err)
	}
	response, err := model.CompareImagesTexts(context.Background(), imagetextsimilarity.Request{
		Images: [][]byte{picture},
		Texts:  []string{"a photo of a cat", "a"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.3f\n", response.Cosines[0])
	// Output: [0.342 0.121]
}
