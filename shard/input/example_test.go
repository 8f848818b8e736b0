package input_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vitago/vitago/shard/input"
)

// The parts of a folder are listed, and the samples of the first are read.
func Example() {
	ctx, o := context.Background(), input.Options{PerShard: 3}
	for part, err := range input.Parts(ctx, []string{"../../demo/pictures"}, o) {
		if err != nil {
			log.Fatal(err)
		}
		r, err := part.Open(ctx, o)
		if err != nil {
			log.Fatal(err)
		}
		defer r.Close()
		for sample, err := range r.Samples() {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(sample.Key, len(sample.Image) > 0, sample.Err)
		}
		break
	}
	// Output:
	// blue-square.png true <nil>
	// circle-left-of-cross.png true <nil>
	// four-hearts.png true <nil>
}

// What samples have besides pictures and captions: a folder has nothing.
func ExampleColumns() {
	columns, err := input.Columns(context.Background(), []string{"../../demo/pictures"}, input.Options{})
	fmt.Println(len(columns), err)
	// Output: 0 <nil>
}
