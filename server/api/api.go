// Package api has the protocol of a Vitago server: the .proto files in vitago/v1 with the Go code that is generated from them, and the
// OpenAPI document.
package api

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
)

//go:generate go run -C _gen .

// Domain is that of the ErrorInfo of an error.
const Domain = "vitago"

// Reason returns the reason of an ErrorInfo for a word of package status: "INVALID_IMAGE" for "invalid_image".
func Reason(word string) string { return strings.ToUpper(word) }

// Word returns the word of a reason.
func Word(reason string) string { return strings.ToLower(reason) }

//go:embed openapi.json
var document []byte

// OpenAPI returns the document that describes every path of a server.
func OpenAPI() []byte { return document }

// Routes returns the method and path of every route that the document has of the services, as "POST /v1/images:encode".
func Routes() (all []string) {
	var d struct {
		Paths map[string]map[string]struct {
			ID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		panic(err) // it is part of the program
	}
	for path, methods := range d.Paths {
		for m, o := range methods {
			if strings.Contains(o.ID, "Service_") { // as the generator has it of a service's method
				all = append(all, strings.ToUpper(m)+" "+path)
			}
		}
	}
	slices.Sort(all)
	return all
}
