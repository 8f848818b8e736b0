package finetune_test

import (
	"context"
	"fmt"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
)

// Both towers learn from a table of pictures and captions, 8 pairs a step, of which 4 go through them at a time.
func ExampleContrastive() {
	dir, err := os.MkdirTemp("", "captions")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	table := "filepath,title\n"
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 16 {
		name := fmt.Sprintf("%d.png", i)
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			fmt.Println(err)
			return
		}
		png.Encode(f, picture(rng, i%2))
		f.Close()
		table += name + "," + []string{"red", "blue"}[i%2] + "\n"
	}
	os.WriteFile(filepath.Join(dir, "captions.csv"), []byte(table), 0o666)

	// A real model has its tokenizer in its directory: cliptext.ReadTokenizer.
	words := map[string]int{"<|startoftext|>": 48, "<|endoftext|>": 49, "red</w>": 8, "blue</w>": 9}
	merges := []string{"r e", "re d</w>", "b l", "bl u", "blu e</w>"}
	for i, w := range []string{"r", "e", "d</w>", "re", "b", "l", "u", "e</w>"} {
		words[w] = i
	}
	words["bl"], words["blu"] = 10, 11
	tokenizer, err := cliptext.NewTokenizerOf(words, merges)
	if err != nil {
		fmt.Println(err)
		return
	}
	clip, err := converter.Open("../testdata/tiny/huggingface")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer clip.Close()
	tower, err := clip.Vision(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := clip.Text(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	pictures, err := data.Table(filepath.Join(dir, "captions.csv"))
	if err != nil {
		fmt.Println(err)
		return
	}
	recipe, err := finetune.FindRecipe("contrastive")
	if err != nil {
		fmt.Println(err)
		return
	}
	recipe.Batch, recipe.Accumulate, recipe.Epochs, recipe.Rate, recipe.TextRate = 4, 2, 20, 1e-3, 1e-3
	source := &data.Loader{Data: pictures, Config: tower.Config, BatchSize: recipe.Batch, Shuffle: true}
	t, err := finetune.New(finetune.Config{
		Tower: tower, Objective: &finetune.Contrastive{Text: text, Tokenizer: tokenizer}, Recipe: recipe, Train: source,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := t.Run(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	_, recall, err := t.Evaluate(context.Background(), source)
	fmt.Println(t.Steps(), "steps; nearest to their own:", recall, err)
	// Output: 40 steps; nearest to their own: 1 <nil>
}
