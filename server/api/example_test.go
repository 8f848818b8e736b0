package api_test

import (
	"fmt"

	"github.com/vitago/vitago/server/api"
)

// The routes, for a client in another language or a proxy.
func Example() {
	for _, r := range api.Routes() {
		if r.Path == "/v1/images:encode" {
			fmt.Println(r.Method, r.Path)
		}
	}
	fmt.Println(api.Reason("invalid_image"), api.Word("INVALID_IMAGE"))
	// Output:
	// POST /v1/images:encode
	// INVALID_IMAGE invalid_image
}
