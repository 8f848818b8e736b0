package converter_test

import (
	"fmt"

	"github.com/vitago/vitago/converter"
)

func ExampleLoadText() {
	model, err := converter.LoadText(archive) // or a directory that Convert wrote
	if err != nil {
		fmt.Println(err)
		return
	}
	embeddings, err := model.Forward([][]int{{48, 21, 7, 49}}) // from a cliptext.Tokenizer
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(embeddings.Shape(), "of", model.Config.Vocab, "words")
	// Output: [1 10] of 50 words
}
