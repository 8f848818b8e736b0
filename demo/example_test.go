package demo_test

import (
	"context"
	"fmt"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/zeroshot"
)

// What is in the pictures of the program?
func Example() {
	ctx := context.Background()
	m, err := demo.Open()
	if err != nil {
		panic(err)
	}
	judge, err := zeroshot.New(ctx, m, []string{"red circle", "blue square", "small purple moon", "three blue stars"}, []string{"a photo of a {}."})
	if err != nil {
		panic(err)
	}
	for _, p := range demo.Pictures() {
		if p.Name() != "red-circle.png" && p.Name() != "small-moon.png" && p.Name() != "three-stars.png" {
			continue
		}
		labels, err := judge.Classify(ctx, p)
		if err != nil {
			panic(err)
		}
		fmt.Println(p.Name(), labels[0][0].Name)
	}
	// Output:
	// red-circle.png red circle
	// small-moon.png small purple moon
	// three-stars.png three blue stars
}
