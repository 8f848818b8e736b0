package notebook_test

import (
	"fmt"
	"image"

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

// Two checkpoints, and what became of one.
func ExampleCompare() {
	fmt.Println(notebook.Compare("../testdata/tiny/openai_torch1.7.1.pt", "../testdata/tiny/huggingface").Verdict)
	// Output: identical
}

// Pictures from a file, and from the program itself.
func ExampleFile() {
	model := notebook.Open("builtin:demo")
	grey := image.NewGray(image.Rect(0, 0, 64, 64))
	pictures := notebook.Pictures{notebook.File("../demo/pictures/red-circle.png"), notebook.FromImage("grey", grey)}
	answers := model.Classify(pictures, "a red circle", "a blue square")
	fmt.Println(answers.Pictures.Names(), answers.Labels[0][0].Name)
	// Output: [../demo/pictures/red-circle.png grey] a red circle
}

// What a language model gets in the place of a picture.
func ExampleOpenEncoder() {
	encoder := notebook.OpenEncoder("../testdata/families/xcomposer2-hd", "xcomposer2-4khd") // of random weights
	defer encoder.Close()
	tokens := encoder.Tokens(notebook.File("../demo/pictures/red-circle.png"))
	fmt.Println(tokens.Rows, "×", tokens.Cols, "tiles;", len(tokens.Values), "tokens of", len(tokens.Values[0]))
	// Output: 5 × 5 tiles; 117 tokens of 12
}

// The model that a training has written, or any checkpoint with a classifier.
func ExampleOpenTuned() {
	tuned := notebook.OpenTuned("../testdata/families/hf5-classifier") // of random weights
	defer tuned.Close()
	answers := tuned.Classify(notebook.Pictures{notebook.File("../cmd/vitago/testdata/demo/cat.png")})
	fmt.Println(answers.Labels[0][0].Name)
	// Output: dog
}
