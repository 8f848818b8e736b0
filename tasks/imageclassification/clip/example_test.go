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
