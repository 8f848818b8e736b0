package api_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitago/vitago/server/api"
)

// pattern is one of [http.ServeMux] with a method.
var pattern = regexp.MustCompile(`^(GET|POST|PUT|DELETE|PATCH) (/\S*)$`)

// private are the beginnings of paths that are the page's, or for who runs the server.
var private = []string{"/ui/", "/{$}", "/favicon.ico", "/healthz", "/readyz", "/metrics"}

// The document has every route that a package of the server has in its source.
func TestEveryRouteIsDescribed(t *testing.T) {
	var d struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(api.OpenAPI(), &d); err != nil {
		t.Fatal(err)
	}
	found := 0
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			m := pattern.FindStringSubmatch(text)
			if err != nil || m == nil || slices.ContainsFunc(private, func(p string) bool { return strings.HasPrefix(m[2], p) }) {
				return true
			}
			found++
			if d.Paths[strings.ReplaceAll(m[2], "...", "")][strings.ToLower(m[1])] == nil {
				t.Errorf("%s: the document does not have %s", path, text)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("no route was found in the source")
	}
}

func TestRoutes(t *testing.T) {
	routes := map[string][]string{}
	for _, r := range api.Routes() {
		routes[r.Method+" "+r.Path] = r.Parameters
	}
	for want, parameters := range map[string][]string{
		"POST /v1/images:encode": nil, "GET /v1/models:list": nil, "GET /v1/images:countTokens": {"model", "width", "height"}, "GET /v1/finetuning/runs/{id}:watch": {"from"},
	} {
		if got, there := routes[want]; !there || !slices.Equal(got, parameters) {
			t.Errorf("%s has the parameters %q, want %q", want, got, parameters)
		}
	}
	if _, there := routes["POST /v1/embeddings"]; there {
		t.Error("a route of a format is among those of the services")
	}
}

func TestReason(t *testing.T) {
	if got := api.Reason("invalid_image"); got != "INVALID_IMAGE" || api.Word(got) != "invalid_image" {
		t.Errorf("got %q and %q", got, api.Word(got))
	}
}
