package cliptext_test

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clip"
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

// Two captions and what their embeddings have in common.
func ExampleModel_Forward() {
	tokenizer, err := cliptext.NewTokenizer([]string{"c a", "ca t</w>"})
	if err != nil {
		fmt.Println(err)
		return
	}
	model, err := cliptext.New(cliptext.Config{
		Vocab: tokenizer.Len(), Context: 9, Width: 8, Heads: 2, Layers: 1, MLPWidth: 32, EmbedDim: 5,
		Activation: transformer.QuickGELU, NormEps: 1e-5, End: tokenizer.Len() - 1,
	}) // its weights are zero; converter.Model.Text reads those of a checkpoint
	if err != nil {
		fmt.Println(err)
		return
	}
	rng := rand.New(rand.NewPCG(1, 2))
	nn.ForEachParam(model, func(p *nn.Param) {
		for i := range p.Data().F32() {
			p.Data().F32()[i] = float32(rng.NormFloat64())
		}
	})
	model.Freeze()
	ids, err := tokenizer.Tokenize([]string{"a cat", "A  cat", "a dog"}, model.Config.Context, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	embeddings, err := model.Forward(ids) // [3,E]
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ids, embeddings.Shape())
	x, e := embeddings.Value().Data().F32(), model.Config.EmbedDim
	for i := range ids {
		fmt.Printf("%.2f\n", clip.Cosine(x[:e], x[i*e:(i+1)*e]))
	}
	// Output:
	// [[514 320 513 515] [514 320 513 515] [514 320 67 78 326 515]] [3 5]
	// 1.00
	// 1.00
	// 0.98
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

// The tokenizer that stands beside a model's weights.
func ExampleReadTokenizer() {
	tokenizer, err := cliptext.ReadTokenizer("../testdata/families/hf5-clip")
	if err != nil {
		fmt.Println(err)
		return
	}
	ids, err := tokenizer.Encode("a photo of a cat")
	fmt.Println(tokenizer.Rules(), ids, err)
	_, err = tokenizer.Encode("a dog")
	fmt.Println(errors.Is(err, cliptext.ErrText), err)
	// Output:
	// transformers [8 22 18 8 17] <nil>
	// true cliptext: the vocabulary of 25 tokens lacks "dog": none of them is "d"
}

// The same files, in memory.
func ExampleNewTokenizerFiles() {
	files, err := cliptext.ReadFiles("../testdata/families/hf5-clip")
	if err != nil {
		fmt.Println(err)
		return
	}
	tokenizer, err := cliptext.NewTokenizerFiles(files)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(files), tokenizer.Len())
	// Output: 2 25
}

// A vocabulary of one's own: what it has no token for cannot be encoded.
func ExampleNewTokenizerOf() {
	words := map[string]int{"a</w>": 0, "c": 1, "at</w>": 2, "t</w>": 3, "a": 4, "cat</w>": 5, "<|startoftext|>": 6, "<|endoftext|>": 7}
	tokenizer, err := cliptext.NewTokenizerOf(words, []string{"a t</w>", "c at</w>"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tokenizer.Encode("a cat"))
	fmt.Println(tokenizer.Encode("a dog"))
	// Output:
	// [0 5] <nil>
	// [] cliptext: the vocabulary of 8 tokens lacks "dog": none of them is "d"
}

// A frozen tower, filled one parameter at a time.
func ExampleNewFrozen() {
	paths := 0
	model, err := cliptext.NewFrozen(cliptext.Config{
		Vocab: 10, Context: 5, Width: 8, Heads: 2, Layers: 1, MLPWidth: 16, EmbedDim: 4, Activation: transformer.GELU, NormEps: 1e-5, End: 9,
	}, func(path string, values []float32) error {
		paths++
		clear(values) // a reader of files would set them
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	embeddings, err := model.Forward([][]int{{8, 1, 2, 9}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(paths, "parameters", embeddings.Shape())
	// Output: 18 parameters [1 4]
}
