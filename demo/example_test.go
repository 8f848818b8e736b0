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
	judge, err := zeroshot.New(ctx, m, []string{"circle", "square", "heart", "moon"}, []string{"a photo of a {}."})
	if err != nil {
		panic(err)
	}
	for _, p := range demo.Pictures() {
		if p.Name() != "red-circle.png" && p.Name() != "small-moon.png" && p.Name() != "blue-square.png" {
			continue
		}
		labels, err := judge.Classify(ctx, p)
		if err != nil {
			panic(err)
		}
		fmt.Println(p.Name(), labels[0][0].Name)
	}
	// Output:
	// blue-square.png square
	// red-circle.png circle
	// small-moon.png moon
}
