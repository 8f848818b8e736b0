package converter_test

import (
	"context"
	"fmt"

	"github.com/vitago/vitago/converter"
)

func ExampleModel_Text() {
	source, err := converter.Open(archive) // or a directory that Convert wrote
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	model, err := source.Text(context.Background())
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
