package clip_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/tasks/imageclassification/clip"
)

// Any labels, without training.
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
	all, err := m.ClassifyImages(context.Background(), imageclassification.Request{
		Images: [][]byte{picture},
		Labels: []string{"blue square", "red circle", "green heart"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(all[0].Labels[0].Name)
	// Output: red circle
}

// Without tasks.Load, of a folder on the disk: one that a run of finetune has written needs no labels.
func ExampleLoadImageClassification() {
	m, err := clip.LoadImageClassification("../../../testdata/families/hf5-classifier") // of random weights
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../../cmd/vitago/testdata/demo/cat.png")
	if err != nil {
		log.Fatal(err)
	}
	all, err := m.ClassifyImages(context.Background(), imageclassification.Request{Images: [][]byte{picture}, TopK: 2})
	if err != nil {
		log.Fatal(err)
	}
	for _, label := range all[0].Labels {
		fmt.Printf("%.2f %s\n", label.Probability, label.Name)
	}
	// Output:
	// 1.00 dog
	// 0.00 a, b
}
