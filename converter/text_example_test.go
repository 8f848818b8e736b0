package converter_test

import (
	"context"
	"fmt"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter"
)

// The tokenizer makes ids of texts, the tower vectors of ids. Package clip does both in one call.
func ExampleModel_Text() {
	source, err := converter.Open("../testdata/families/hf5-clip") // or an archive, or a directory that Convert wrote
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
	tokenizer, _, err := source.Tokenizer("") // its own
	if err != nil {
		fmt.Println(err)
		return
	}
	ids, err := tokenizer.Tokenize([]string{"a cat", "a photo of a cat"}, model.Config.Context, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	embeddings, err := model.Forward(ids) // [2,E]
	if err != nil {
		fmt.Println(err)
		return
	}
	x, e := embeddings.Value().Data().F32(), model.Config.EmbedDim
	fmt.Println(ids)
	fmt.Printf("%v, cosine %.3f\n", embeddings.Shape(), clip.Cosine(x[:e], x[e:]))
	// Output:
	// [[23 8 17 24] [23 8 22 18 8 17 24]]
	// [2 10], cosine 0.493
}
