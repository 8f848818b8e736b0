package compare_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/compare"
)

func ExampleModels() {
	// OpenAI's names in half precision, and the same CLIP as OpenCLIP has it, in bfloat16.
	a, errA := converter.Open("../../testdata/tiny/openai_torch1.7.1.pt")
	b, errB := converter.Open("../../testdata/tiny/openclip.pt")
	if err := errors.Join(errA, errB); err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	defer b.Close()
	r, err := compare.Models(context.Background(), a, b, compare.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Summary)
	worst := r.Tensors[0]
	for _, t := range r.Tensors {
		if t.RelativeL2 > worst.RelativeL2 {
			worst = t
		}
	}
	fmt.Printf("%s: %s, relative L2 %.4f\n", worst.Name, worst.Verdict, worst.RelativeL2)
	// Output:
	// The vision tower is identical up to rounding to bfloat16 (in B). The text tower is identical up to rounding to bfloat16 (in B).
	// Blocks.1.Norm2.B: rounded to bfloat16, relative L2 0.0019
}
