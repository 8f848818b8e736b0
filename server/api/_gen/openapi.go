package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/types/pluginpb"
)

// The document of the formats of other services, which is written by hand, and that of all.
const (
	formats  = root + "/formats.openapi.yaml"
	document = root + "/openapi.json"
)

// A node is an object of JSON.
type node = map[string]any

// merge writes one document of those of the services and of that of the formats. No path and no schema may be in two of them with
// different contents. Errors of the services are those of package status.
func merge(files []*pluginpb.CodeGeneratorResponse_File) error {
	text, err := os.ReadFile(formats)
	if err != nil {
		return err
	}
	var all node
	if err := yaml.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("%s: %w", formats, err)
	}
	paths, schemas := all["paths"].(node), all["components"].(node)["schemas"].(node)
	for _, f := range files {
		var one node
		if err := json.Unmarshal([]byte(f.GetContent()), &one); err != nil {
			return fmt.Errorf("%s: %w", f.GetName(), err)
		}
		found, _ := one["paths"].(node)
		for _, methods := range found {
			for _, operation := range methods.(node) {
				operation.(node)["responses"].(node)["default"] = node{
					"description": "What was wrong; the statuses are those of docs/serving.md.",
					"content":     node{"application/json": node{"schema": node{"$ref": "#/components/schemas/error"}}},
				}
			}
		}
		if err := add(paths, found); err != nil {
			return err
		}
		components, _ := one["components"].(node)
		found, _ = components["schemas"].(node)
		if err := add(schemas, found); err != nil {
			return err
		}
	}
	if text, err = json.MarshalIndent(all, "", " "); err != nil {
		return err
	}
	return os.WriteFile(filepath.FromSlash(document), append(text, '\n'), 0o644)
}

// add adds what is not there yet.
func add(to, from node) error {
	for name, v := range from {
		was, there := to[name]
		if there && fmt.Sprint(was) != fmt.Sprint(v) { // maps are printed in order
			return fmt.Errorf("two documents have %s", name)
		}
		to[name] = v
	}
	return nil
}
