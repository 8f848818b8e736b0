package main

import (
	"os"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// The document is one of OpenAPI, and all that it refers to is there.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	d, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"/v1/images:encode", "/v1/embeddings", "/v1/encode", "/openapi.json"} {
		if d.Paths.Find(want) == nil {
			t.Errorf("the document has no %s", want)
		}
	}
}
