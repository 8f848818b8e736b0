package peft_test

import (
	"fmt"
	"log"

	"github.com/vitago/vitago/converter/peft"
)

// What an adapter of the Python library does to a tower's weights. Package converter merges it as it opens a model; see
// converter.Adapter.
func ExampleOpen() {
	const dir = "../../testdata/peft/0.21.2/plain"
	fmt.Println(peft.In(dir))
	a, err := peft.Open(dir, func(parameter string) bool { return true }) // of all modules
	if err != nil {
		log.Fatal(err)
	}
	change := a.Changes[0]
	weights := make([]float32, change.Shape[0]*change.Shape[1]) // the model's; here zeros
	change.Apply(weights)
	fmt.Println(len(a.Changes), "changes, the first of", change.Parameter, change.Shape)
	// Output:
	// true
	// 8 changes, the first of text_model.encoder.layers.0.self_attn.q_proj.weight [8 8]
}

func ExampleReadConfig() {
	c, err := peft.ReadConfig("../../testdata/peft/0.21.2/plain")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Rank, c.Alpha, c.DoRA, c.Bias)
	// Output: 2 3 false none
}

// Two adapters as one.
func ExampleCombine() {
	all := func(parameter string) bool { return true }
	plain, err := peft.Open("../../testdata/peft/0.21.2/plain", all)
	if err != nil {
		log.Fatal(err)
	}
	second, err := peft.Open("../../testdata/peft/0.21.2/second", all)
	if err != nil {
		log.Fatal(err)
	}
	both, err := peft.Combine(peft.Cat, []*peft.Adapter{plain, second}, []float64{0.7, -0.3})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(plain.Changes), len(second.Changes), len(both.Changes))
	// Output: 8 8 16
}
