// Text compares texts by CLIP's text tower: it prints the tokens of each, and the cosines of their embeddings.
//
//	go run ./examples/text builtin:demo "a red circle" "a blue circle" "a star"
//
// In the place of builtin:demo stands any checkpoint with both towers, say OpenAI's ViT-L-14-336px.pt.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/vitago/vitago/clip"
	_ "github.com/vitago/vitago/demo" // builtin:demo
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: text MODEL TEXT...")
		os.Exit(2)
	}
	if err := compare(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// compare prints a line of tokens for each text, and a row of cosines with all.
func compare(path string, texts []string) error {
	model, err := clip.Open(path)
	if err != nil {
		return err
	}
	defer model.Close()
	embeddings, err := model.EncodeText(context.Background(), texts) // [][]float32
	if err != nil {
		return err
	}
	tokenizer, _, err := model.Tokenizer()
	if err != nil {
		return err
	}
	for _, text := range texts {
		tokens, err := tokenizer.Encode(text)
		if err != nil {
			return err
		}
		fmt.Printf("%q: %d tokens %v\n", text, len(tokens), tokens)
	}
	for _, a := range embeddings {
		for _, b := range embeddings {
			fmt.Printf("%7.4f", clip.Cosine(a, b))
		}
		fmt.Println()
	}
	return nil
}
