// Openai asks Vitago's server by the official client of OpenAI: nothing in this program is Vitago's.
//
//	vitago serve --model demo=builtin:demo
//	go -C examples/openai run . http://localhost:8080/v1 "a red circle" "a blue square"
//
// It is a module of its own, so that nobody else has its dependencies.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: openai ADDRESS TEXT...")
		os.Exit(2)
	}
	client := openai.NewClient(option.WithBaseURL(os.Args[1]), option.WithAPIKey("none"))
	answer, err := client.Embeddings.New(context.Background(), openai.EmbeddingNewParams{
		Model: "demo", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: os.Args[2:]},
	})
	if err != nil {
		log.Fatal(err)
	}
	for i, e := range answer.Data {
		fmt.Printf("%s: %d values, the first %.4f\n", os.Args[2+i], len(e.Embedding), e.Embedding[0])
	}
}
