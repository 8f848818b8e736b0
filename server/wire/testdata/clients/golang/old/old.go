// Package old is OpenAI's client for Go before version 3, which makes of base64 an empty vector without an error.
package old

import (
	"context"

	"github.com/openai/openai-go"
	"github.com/openai/openai-go/option"
)

// Embed returns the vectors of texts and data URIs.
func Embed(ctx context.Context, base, model string, input []string) ([][]float64, error) {
	c := openai.NewClient(option.WithBaseURL(base), option.WithAPIKey("none"))
	r, err := c.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: model, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: input}})
	if err != nil {
		return nil, err
	}
	all := make([][]float64, len(r.Data))
	for i, d := range r.Data {
		all[i] = d.Embedding
	}
	return all, nil
}
