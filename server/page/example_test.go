package page_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/page"
)

// The page in a program's own server.
func Example() {
	e, err := engine.New(context.Background(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close(context.Background())
	mux := http.NewServeMux()
	page.Register(mux, page.Options{Engine: e, Examples: demo.Pictures()})

	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.Header.Set("Accept", "text/html")
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, request)
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), "<html"))
	// Output: 200 true
}
