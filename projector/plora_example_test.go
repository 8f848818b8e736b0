package projector_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/projector"
)

// A projection of a language model that reads three tokens of an image between two words. Before it has
// learnt, it reads all alike.
func ExamplePLoRA() {
	m, err := projector.NewPLoRA(64, 96, 8, 8, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	m.Init(rand.New(rand.NewPCG(1, 2)))
	x := mat.NewDense[float32](mat.WithShape(5, 64)) // [N,in]
	y := m.Forward(x, []bool{false, true, true, true, false})
	fmt.Println(y.Shape(), "scale", m.Scale)
	// Output: [5 96] scale 1
}
