package cliptext_test

import (
	"fmt"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit/transformer"
)

// The words of CLIP's own vocabulary come from [cliptext.ReadTokenizer]; this one has two merges.
func ExampleTokenizer() {
	tokenizer, err := cliptext.NewTokenizer([]string{"c a", "ca t</w>"})
	if err != nil {
		fmt.Println(err)
		return
	}
	texts, err := tokenizer.Tokenize([]string{"A cat", "Caf&eacute;"}, 77, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(texts)
	fmt.Println(tokenizer.Decode(texts[0]))
	// Output:
	// [[514 320 513 515] [514 512 69 127 358 515]]
	// <|startoftext|>a cat <|endoftext|>
}

// A directory of a model for transformers, such as a conversion writes, has five files of its tokenizer.
func ExampleTokenizer_Files() {
	tokenizer, err := cliptext.NewTokenizer([]string{"c a", "ca t</w>"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range tokenizer.Files(77) {
		fmt.Println(f.Name, len(f.Data) > 0)
	}
	// Output:
	// vocab.json true
	// merges.txt true
	// tokenizer_config.json true
	// special_tokens_map.json true
	// tokenizer.json true
}

func ExampleModel_Forward() {
	model, err := cliptext.New(cliptext.Config{
		Vocab: 50, Context: 9, Width: 8, Heads: 2, Layers: 1, MLPWidth: 32, EmbedDim: 5,
		Activation: transformer.QuickGELU, NormEps: 1e-5, End: 49,
	}) // its weights are zero; converter.Model.Text reads those of a checkpoint
	if err != nil {
		fmt.Println(err)
		return
	}
	model.Freeze()
	embeddings, err := model.Forward([][]int{{48, 3, 49}, {48, 7, 7, 1, 49}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(embeddings.Shape())
	// Output: [2 5]
}

// OpenAI's vocabulary is part of the program. Libraries differ in what they make of an entity of HTML. The ids are those of
// openai-clip 1.0.1 and transformers 5.24.0.
func ExampleNewOpenAI() {
	text := "caf&eacute;"
	for _, rules := range []cliptext.Rules{cliptext.OpenAI, cliptext.Transformers} {
		ids, err := cliptext.NewOpenAI(rules).Encode(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(rules, ids)
	}
	// Output:
	// openai [15304]
	// transformers [20867 261 68 19734 282]
}
