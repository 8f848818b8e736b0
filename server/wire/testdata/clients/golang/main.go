// Clients asks a server by OpenAI's client for Go, by the version of it that takes no base64, by go-openai, and by what Weaviate asks
// its module multi2vec-clip with.
//
//	clients ADDRESS VECTORS PICTURE
//
// The file VECTORS has a line of JSON for PICTURE and one for "a red circle", as encode writes them: the answers have the same bits.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	sash "github.com/sashabaranov/go-openai"
	"github.com/sirupsen/logrus"
	"github.com/weaviate/weaviate/modules/multi2vec-clip/clients"
	"github.com/weaviate/weaviate/modules/multi2vec-clip/ent"

	"clients/old"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(base, vectors, path string) error {
	ctx := context.Background()
	lines, err := os.ReadFile(vectors)
	if err != nil {
		return err
	}
	var want [2]struct{ Embedding []float32 }
	for i, line := range strings.Split(strings.TrimSpace(string(lines)), "\n") {
		if err := json.Unmarshal([]byte(line), &want[i]); err != nil {
			return err
		}
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	uri := "data:image/png;base64," + base64.StdEncoding.EncodeToString(file)
	same := func(what string, i int, got []float32) {
		if !slices.Equal(got, want[i].Embedding) {
			fmt.Fprintf(os.Stderr, "%s: %d values that differ\n", what, len(got))
			os.Exit(1)
		}
		fmt.Println("  ", what)
	}

	fmt.Println("openai-go v3")
	c := openai.NewClient(option.WithBaseURL(base+"/v1"), option.WithAPIKey("none"))
	for _, format := range []openai.EmbeddingNewParamsEncodingFormat{"", openai.EmbeddingNewParamsEncodingFormatBase64, openai.EmbeddingNewParamsEncodingFormatFloat} {
		r, err := c.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "demo", EncodingFormat: format, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{uri, "a red circle"}}})
		if err != nil {
			return err
		}
		for i, d := range r.Data {
			same(fmt.Sprintf("vector %d with encoding_format %q", i, format), i, narrow(d.Embedding))
		}
		if !r.JSON.Usage.Valid() || r.Usage.PromptTokens != 5 || r.Data[1].Index != 1 {
			return fmt.Errorf("got %s", r.RawJSON())
		}
	}
	p := openai.EmbeddingNewParams{Model: "demo", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String(uri)}}
	p.SetExtraFields(map[string]any{"modality": "image"})
	r, err := c.Embeddings.New(ctx, p)
	if err != nil {
		return err
	}
	same("modality", 0, narrow(r.Data[0].Embedding))
	_, err = c.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "other", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("a")}})
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != 404 || e.Code != "model_not_found" || e.Param != "model" {
		return fmt.Errorf("no model: %#v", err)
	}
	m, err := c.Models.Get(ctx, "ViT-B-32__openai")
	if err != nil || m.ID != "ViT-B-32__openai" {
		return fmt.Errorf("model: %v %v", m, err)
	}

	fmt.Println("openai-go v1, whose lists are of numbers only")
	got, err := old.Embed(ctx, base+"/v1", "demo", []string{uri, "a red circle"})
	if err != nil {
		return err
	}
	for i := range want {
		same(fmt.Sprintf("vector %d", i), i, narrow(got[i]))
	}

	fmt.Println("go-openai")
	config := sash.DefaultConfig("none")
	config.BaseURL = base + "/v1"
	s := sash.NewClientWithConfig(config)
	for _, format := range []sash.EmbeddingEncodingFormat{"", sash.EmbeddingEncodingFormatFloat, sash.EmbeddingEncodingFormatBase64} {
		a, err := s.CreateEmbeddings(ctx, sash.EmbeddingRequest{Model: "demo", Input: []string{uri, "a red circle"}, EncodingFormat: format})
		if err != nil {
			return err
		}
		for i, d := range a.Data {
			same(fmt.Sprintf("vector %d with encoding_format %q", i, format), i, d.Embedding)
		}
	}

	fmt.Println("weaviate")
	w := clients.New(base, time.Minute, logrus.New())
	if err := w.WaitForStartup(ctx, time.Second); err != nil {
		return err
	}
	if meta, err := w.MetaInfo(); err != nil || meta["model"] != "demo" {
		return fmt.Errorf("meta: %v %v", meta, err)
	}
	v, err := w.Vectorize(ctx, []string{"a red circle"}, []string{base64.StdEncoding.EncodeToString(file)}, ent.VectorizationConfig{})
	if err != nil {
		return err
	}
	same("image", 0, v.ImageVectors[0])
	same("text", 1, v.TextVectors[0])
	if _, err := w.Vectorize(ctx, nil, []string{"AAAA"}, ent.VectorizationConfig{}); err == nil || !strings.Contains(err.Error(), "not an image") {
		return fmt.Errorf("no picture: %v", err)
	}
	return nil
}

// narrow rounds values to float32, which they were.
func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}
