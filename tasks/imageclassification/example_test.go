package imageclassification_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imageclassification"
	_ "github.com/vitago/vitago/tasks/imageclassification/clip" // does it
)

func Example() {
	ctx := context.Background()
	classifier, err := tasks.Load[imageclassification.Interface](&tasks.Config{
		ModelsDir: "../../testdata/families", // and imageclassification.DefaultModel in a real program
		ModelName: "hf5-clip",                // of random weights
	})
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../cmd/vitago/testdata/demo/cat.png")
	if err != nil {
		log.Fatal(err)
	}
	all, err := classifier.ClassifyImages(ctx, imageclassification.Request{
		Images:    [][]byte{picture},
		Labels:    []string{"cat", "photo"},
		Templates: []string{"a photo of a {}"}, // without a point at the end, which this vocabulary lacks
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, label := range all[0].Labels {
		fmt.Printf("%.2f %s\n", label.Probability, label.Name)
	}

	_, err = classifier.ClassifyImages(ctx, imageclassification.Request{Images: [][]byte{picture}, Labels: []string{"dog", "cat"}})
	fmt.Println("422:", errors.Is(err, imageclassification.ErrText))
	// Output:
	// 0.76 cat
	// 0.24 photo
	// 422: true
}
