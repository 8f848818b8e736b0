// Package api has the protocol of a Vitago server: the .proto files in vitago/v1 with the Go code that is generated from them, and the
// OpenAPI document.
//
// Programs in Go take package server/client, which speaks the protocol by the interfaces of tasks. Begin here to make a client for another
// language: [OpenAPI] has the routes over HTTP, and the .proto files beside package vitagov1 the calls over gRPC. [Reason] and [Word] are
// the names of errors on the wire.
package api

import (
	"cmp"
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

// A Route is a path of the services, as the document has it.
type Route struct {
	Method     string   // "POST"
	Path       string   // "/v1/finetuning/runs/{id}:stop"
	Parameters []string // that its URL may have
}

// Routes returns those of the services, and none of other services' formats.
func Routes() (all []Route) {
	var d struct {
		Paths map[string]map[string]struct {
			ID         string `json:"operationId"`
			Parameters []struct{ Name, In string }
		} `json:"paths"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		panic(err) // it is part of the program
	}
	for path, methods := range d.Paths {
		for m, o := range methods {
			if !strings.Contains(o.ID, "Service_") { // as the generator has it of a service's method
				continue
			}
			r := Route{Method: strings.ToUpper(m), Path: path}
			for _, p := range o.Parameters {
				if p.In == "query" {
					r.Parameters = append(r.Parameters, p.Name)
				}
			}
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Route) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Method, b.Method))
	})
	return all
}
