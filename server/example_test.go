package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server"
	"github.com/vitago/vitago/server/engine"
)

// A server in a program, which a client asks in the format of OpenAI's embeddings.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	config := server.Config{Engine: engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}}, Log: slog.New(slog.DiscardHandler)}
	s, err := server.New(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	listeners, err := server.Listen(config, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, listeners...) }()

	answer, err := http.Post("http://"+listeners[0].Addr().String()+"/v1/embeddings", "application/json", strings.NewReader(`{"input": ["a red circle"]}`))
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(answer.Body); err != nil {
		log.Fatal(err)
	}
	var vectors struct {
		Data []struct{ Embedding []float32 }
	}
	if err := json.Unmarshal(body.Bytes(), &vectors); err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Status, len(vectors.Data), len(vectors.Data[0].Embedding))

	stop() // requests in flight end first
	fmt.Println(<-ended)
	// Output:
	// 200 OK 1 64
	// <nil>
}

// Who may ask, as server.Config.Tokens names a file: of its tokens the second stands there as its SHA-256.
func ExampleReadTokens() {
	dir, err := os.MkdirTemp("", "tokens")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "tokens")
	text := "# photo service\nphotos 0123456789abcdef0123456789abcdef\nother sha256:" + strings.Repeat("0f", 32) + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	tokens, err := server.ReadTokens(file)
	if err != nil {
		log.Fatal(err)
	}
	name, ok := tokens.Find("0123456789abcdef0123456789abcdef") // what a client shows
	fmt.Println(tokens.Len(), name, ok)
	// Output: 2 photos true
}
