package rpc_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/vitago/vitago/server/api"
	"github.com/vitago/vitago/server/rpc"
)

// Whatever a body has, the answer is JSON, and it is no fault of the server.
func FuzzGateway(f *testing.F) {
	mux := http.NewServeMux()
	if err := rpc.Gateway(mux, rpc.Options{Engine: newEngine(f)}); err != nil {
		f.Fatal(err)
	}
	var paths []string
	for _, r := range api.Routes() {
		if r.Method == http.MethodPost {
			paths = append(paths, r.Path)
		}
	}
	paths = append(paths, "/v1/encode")
	for i := range paths {
		for _, body := range []string{
			`{"images": ["iVBORw0KGgo="], "labels": ["a", "b"], "threshold": {"probability": "NaN"}}`, `{"texts": ["a red circle"], "dimensions": -1}`,
			`{"query": [{"vector": [1e39, "Infinity"], "weight": -1}], "top_k": 1e3}`, `{"image": "AAAA", "captions": ["a red circle"], "blocks": 2147483647}`,
			`{"input": "a red circle", "pooling_strategy": 1}`, `{"request": {"data": [{}], "a": null}}`, `[`, `null`, ``,
		} {
			f.Add(uint8(i), []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, path uint8, body []byte) {
		p := paths[int(path)%len(paths)]
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, p, bytes.NewReader(body)))
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %.200q of %.200q", p, w.Code, w.Body, body)
		}
	})
}
