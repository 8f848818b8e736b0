// Client asks a server for the vectors of a text and a picture: over HTTP in the format of OpenAI's embeddings, and over gRPC by the tasks' own
// interfaces. Both give the same.
//
//	vitago serve --model demo=builtin:demo
//	go run ./examples/client localhost:8080 "a red circle" demo/pictures/red-circle.png
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/server/client"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: client ADDRESS TEXT IMAGE")
		os.Exit(2)
	}
	picture, err := os.ReadFile(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	vectors, err := embeddings(os.Args[1], []any{os.Args[2], map[string][]byte{"image": picture}}) // base64, by encoding/json
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("HTTP  %.6f\n", clip.Cosine(vectors[0], vectors[1]))

	c, err := client.New(os.Args[1], client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	r, err := c.ImageTextSimilarity("").CompareImagesTexts(context.Background(), imagetextsimilarity.Request{Images: [][]byte{picture}, Texts: os.Args[2:3]})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("gRPC  %.6f\n", r.Cosines[0][0])
}

// embeddings asks for the vectors of texts and pictures.
func embeddings(address string, input []any) (vectors [][]float32, err error) {
	body, err := json.Marshal(map[string]any{"input": input})
	if err != nil {
		return nil, err
	}
	r, err := http.Post("http://"+address+"/v1/embeddings", "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var answer struct {
		Data  []struct{ Embedding []float32 }
		Error struct{ Message string }
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || r.StatusCode != http.StatusOK || len(answer.Data) != len(input) {
		return nil, fmt.Errorf("%s: %s %v", r.Status, answer.Error.Message, err) //nolint:errorlint // err may be nil, which %w does not write
	}
	for _, d := range answer.Data {
		vectors = append(vectors, d.Embedding)
	}
	return vectors, nil
}
