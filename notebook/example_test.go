package notebook_test

import (
	"fmt"

	"github.com/vitago/vitago/notebook"
)

func Example() {
	model := notebook.Open("builtin:demo")
	photos := notebook.Demo().Named("square")
	notebook.Show(model.Classify(photos, "a red circle", "a blue square"))
	// Output:
	// blue-square.png: a blue square 100 %
	// triangle-above-square.png: a blue square 100 %
}

func ExampleTry() {
	err := notebook.Try(func() { notebook.Open("builtin:demo").Classify(notebook.Demo(), "a red circle") })
	fmt.Println(err)
	// Output: got 1 label, want at least 2
}
