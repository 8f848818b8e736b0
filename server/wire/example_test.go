package wire_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/wire"
)

// The formats of other services in a program's own server: here Ollama's.
func Example() {
	e, err := engine.New(context.Background(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close(context.Background())
	mux := http.NewServeMux()
	wire.Register(mux, wire.Options{Engine: e})

	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/api/embed", strings.NewReader(`{"model": "demo", "input": "a red circle"}`)))
	fmt.Println(answer.Code, answer.Header().Get(wire.FingerprintHeader) != "", strings.Contains(answer.Body.String(), `"embeddings":[[`))
	// Output: 200 true true
}
