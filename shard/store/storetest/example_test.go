package storetest_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/vitago/vitago/shard/store/storetest"
)

// The first two requests of a client fail, each in another way. [storetest.NewServer] is an S3 that does so.
func ExampleFaultyHandler() {
	plan := storetest.Each(http.MethodGet, storetest.Error500, storetest.Error503)
	server := httptest.NewServer(storetest.FaultyHandler(http.NotFoundHandler(), plan))
	defer server.Close()
	for range 3 {
		answer, err := http.Get(server.URL)
		if err != nil {
			log.Fatal(err)
		}
		answer.Body.Close()
		fmt.Println(answer.StatusCode)
	}
	// Output:
	// 500
	// 503
	// 404
}
