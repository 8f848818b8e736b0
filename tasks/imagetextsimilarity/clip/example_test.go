package clip_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
	"github.com/vitago/vitago/tasks/imagetextsimilarity/clip"
)

// Which text says best what a picture shows.
func Example() {
	model, err := demo.Open()
	if err != nil {
		log.Fatal(err)
	}
	m, err := clip.New(context.Background(), model)
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../../demo/pictures/red-circle.png")
	if err != nil {
		log.Fatal(err)
	}
	got, err := m.CompareImagesTexts(context.Background(), imagetextsimilarity.Request{
		Images: [][]byte{picture},
		Texts:  []string{"a red circle", "a blue square"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(got.Probabilities[0][0] > 0.9)
	// Output: true
}

func ExampleLoadSimilarity() {
	m, err := clip.LoadSimilarity("../../../testdata/families/hf5-clip") // of random weights
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../../cmd/vitago/testdata/demo/cat.jpg")
	if err != nil {
		log.Fatal(err)
	}
	got, err := m.CompareImagesTexts(context.Background(), imagetextsimilarity.Request{Images: [][]byte{picture}, Texts: []string{"a photo of a cat", "a"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.3f\n", got.Cosines[0])
	// Output: [0.342 0.121]
}
