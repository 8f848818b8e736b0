package rpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/server/api"
	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/rpc"
)

// Every route answers what its method does.
func TestRoutes(t *testing.T) {
	index := filepath.Join(t.TempDir(), "index")
	source, err := search.NewSource(golden.Path(t, "demo/pictures"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := search.Update(t.Context(), model(t), index, []search.Source{source}, search.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, func(c *engine.Config) {
		c.Models[0].Index = index
		c.Models = append(c.Models, engine.Model{Name: "llava", Path: golden.Path(t, "testdata/families/llava")})
	})
	o := rpc.Options{Engine: e}
	mux := http.NewServeMux()
	if err := rpc.Gateway(mux, o); err != nil {
		t.Fatal(err)
	}
	_, conn := serve(t, o)
	names, files := pictures(t)
	circle, square := files[slices.Index(names, "red-circle.png")], files[slices.Index(names, "blue-square.png")]
	least := 0.2
	seen := map[string]bool{}
	for _, c := range []struct {
		route, method string
		request       proto.Message
		answer        proto.Message
		has           []string // members of the answer
	}{
		{"POST /v1/images:encode", vitagov1.ImageEncodingService_EncodeImages_FullMethodName, &vitagov1.EncodeImagesRequest{
			Images: [][]byte{circle, square}, Features: &vitagov1.Features{Kind: "patches", Layer: -2}, Normalize: true}, &vitagov1.EncodeImagesResponse{},
			[]string{"fingerprint", "kind", "model", "shape", "sizes", "vectors"}},
		{"POST /v1/texts:encode", vitagov1.TextEncodingService_EncodeTexts_FullMethodName, &vitagov1.EncodeTextsRequest{Texts: []string{"a red circle"}, Dimensions: 16},
			&vitagov1.EncodeTextsResponse{}, []string{"fingerprint", "model", "tokens", "vectors"}},
		{"POST /v1/images:classify", vitagov1.ImageClassificationService_ClassifyImages_FullMethodName, &vitagov1.ClassifyImagesRequest{
			Images: [][]byte{circle}, Labels: []string{"a red circle", "a blue square"}, Templates: []string{"{}"}, TopK: 1,
			Threshold: &vitagov1.ClassifyImagesRequest_Threshold{Probability: 0.5}}, &vitagov1.ClassifyImagesResponse{}, []string{"pictures"}},
		{"POST /v1/images:compare", vitagov1.ImageTextSimilarityService_CompareImagesTexts_FullMethodName, &vitagov1.CompareImagesTextsRequest{
			Images: [][]byte{circle}, Texts: []string{"a red circle", "a blue square"}}, &vitagov1.CompareImagesTextsResponse{}, []string{"pictures", "scale"}},
		{"POST /v1/images:search", vitagov1.ImageSearchService_FindImages_FullMethodName, &vitagov1.FindImagesRequest{
			Query: []*vitagov1.FindImagesRequest_Part{{Text: "a red circle"}, {Image: square, Weight: -0.5}}, TopK: 2, Least: &least}, &vitagov1.FindImagesResponse{},
			[]string{"fingerprint", "hits"}},
		{"POST /v1/images:tokens", vitagov1.VisualTokensService_EncodeTokens_FullMethodName, &vitagov1.EncodeTokensRequest{Model: "llava", Image: circle},
			&vitagov1.EncodeTokensResponse{}, []string{"cols", "rows", "shape", "tokens"}},
		{"GET /v1/images:countTokens?model=llava&width=100&height=50", vitagov1.VisualTokensService_CountTokens_FullMethodName, &vitagov1.CountTokensRequest{Model: "llava", Width: 100, Height: 50},
			&vitagov1.CountTokensResponse{}, []string{"tokens"}},
		{"POST /v1/images:explain", vitagov1.ExplanationService_ExplainImage_FullMethodName, &vitagov1.ExplainImageRequest{Image: circle, Captions: []string{"a red circle"}, Overlay: true},
			&vitagov1.ExplainImageResponse{}, []string{"height", "maps", "width", "window"}},
		{"GET /v1/models:list", vitagov1.ModelsService_ListModels_FullMethodName, &vitagov1.ListModelsRequest{}, &vitagov1.ListModelsResponse{}, []string{"models"}},
	} {
		if err := conn.Invoke(t.Context(), c.method, c.request, c.answer); err != nil {
			t.Fatalf("%s: %v", c.method, err)
		}
		method, path, _ := strings.Cut(c.route, " ")
		route, _, _ := strings.Cut(c.route, "?")
		seen[route] = true
		var body []byte
		if method == http.MethodPost {
			if body, err = (protojson.MarshalOptions{UseProtoNames: true}).Marshal(c.request); err != nil {
				t.Fatal(err)
			}
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, bytes.NewReader(body)))
		got := c.answer.ProtoReflect().New().Interface()
		if err := protojson.Unmarshal(w.Body.Bytes(), got); w.Code != http.StatusOK || err != nil || !proto.Equal(got, c.answer) {
			t.Errorf("%s: %d, %v, %.300s", c.route, w.Code, err, w.Body)
		}
		var members map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &members); err != nil {
			t.Error(err)
		}
		var has []string
		for name := range members {
			has = append(has, name)
		}
		if slices.Sort(has); !slices.Equal(has, c.has) {
			t.Errorf("%s: the answer has %q, want %q", c.route, has, c.has)
		}
	}
	for _, r := range api.Routes() {
		if route := r.Method + " " + r.Path; !seen[route] && !strings.Contains(route, "/v1/finetuning/") { // those are package client's test
			t.Errorf("%s was not called", route)
		}
	}

	for path, want := range map[string]string{
		"/v1/images:countTokens?width=0&height=1&model=llava":            "invalid_request",
		"/v1/images:countTokens?width=x":                                 "invalid_request",
		"/v1/images:countTokens?model=llava&width=1&height=1&colour=red": "colour",
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// The document is served, and a body that is too large is so by its status.
func TestGatewayLimits(t *testing.T) {
	e := newEngine(t, one)
	mux := http.NewServeMux()
	if err := rpc.Gateway(mux, rpc.Options{Engine: e}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" || !bytes.Equal(w.Body.Bytes(), api.OpenAPI()) {
		t.Errorf("the document: %d, %v", w.Code, w.Header())
	}

	w = httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/v1/texts:encode", strings.NewReader(`{"texts": ["`+strings.Repeat("a", 2000)+`"]}`))
	r.Body = http.MaxBytesReader(w, r.Body, 1000)
	mux.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "larger than 1000 bytes") {
		t.Errorf("a large body: %d %s", w.Code, w.Body)
	}

	if code, got := post(t, mux, "/v1/texts:encode", `{"texts": ["a red circle", "a blue square"]}`); code != http.StatusBadRequest {
		t.Errorf("too many: %d %v", code, got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/texts:encode", strings.NewReader(`{"texts": ["a red circle"]}`)).WithContext(ctx))
	if w.Code != 499 {
		t.Errorf("who went away: %d %s", w.Code, w.Body)
	}
}
