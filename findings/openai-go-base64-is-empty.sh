#!/usr/bin/env bash
# github.com/openai/openai-go v1.12.0, and v3 up to v3.82.0: a server that answers /embeddings in base64, as OpenAI's clients for Python and
# Node ask for unless told otherwise, gives an empty vector and no error. Here it has 2 values: [] and nil; v3.98.0 has [0.5 -1].
#
# Cause: the field is []float64, and the decoder passes over a value of another kind. Since v3.83.0 it reads base64.
# Who meets it: a gateway that answers all clients in base64. Answer with numbers unless encoding_format asks for base64.
# Seen on 2026-11-30, linux/amd64, Go 1.26.8.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'M'
module seen
go 1.26
M
cat >main.go <<'G'
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/openai/openai-go"
	"github.com/openai/openai-go/option"
	openai3 "github.com/openai/openai-go/v3"
	option3 "github.com/openai/openai-go/v3/option"
)

func main() {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AAAAPwAAgL8="}],"model":"m","usage":{"prompt_tokens":1,"total_tokens":1}}`)
	}))
	defer s.Close()
	a := openai.NewClient(option.WithBaseURL(s.URL), option.WithAPIKey("x"))
	ra, err := a.Embeddings.New(context.Background(), openai.EmbeddingNewParams{Model: "m", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("a")}})
	fmt.Println("v1.12.0", ra.Data[0].Embedding, err)
	b := openai3.NewClient(option3.WithBaseURL(s.URL), option3.WithAPIKey("x"))
	rb, err := b.Embeddings.New(context.Background(), openai3.EmbeddingNewParams{Model: "m", Input: openai3.EmbeddingNewParamsInputUnion{OfString: openai3.String("a")}})
	fmt.Println("v3.98.0", rb.Data[0].Embedding, err)
}
G
go get github.com/openai/openai-go@v1.12.0 github.com/openai/openai-go/v3@v3.98.0 2>/dev/null
go mod tidy 2>/dev/null
go run . >got
printf '%s\n' 'v1.12.0 [] <nil>' 'v3.98.0 [0.5 -1] <nil>' >want
diff want got || { echo "openai-go reads base64 in another way now" >&2; exit 1; }
echo "as seen: openai-go 1.12.0 makes of an embedding in base64 an empty one, without an error"
