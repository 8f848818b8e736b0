package main

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestServeTables: medians of the runs, ratios to our server, and no row of what was not measured.
func TestServeTables(t *testing.T) {
	s := &serveRace{Config: "tiny", Files: 300, Clients: 64, Failed: map[string]string{}, Runs: []serveRun{
		{Contender: "vitago encode", Rate: 50}, {Contender: "vitago encode", Rate: 52}, {Contender: "vitago encode", Rate: 40},
		{Contender: "vitago serve", Rate: 49, First: 0.5, Memory: 250e6, Peak: 300e6, Cosine: 1},
	}, Growth: []servePoint{{1000, 70e6}, {20000, 71.4e6}}}
	got := s.markdown()
	for _, want := range []string{"| vitago encode | 50.0 |  |  |  | 0.98 |", "| vitago serve | 49.0 | 0.50 | 0.25 | 0.30 | 1.00 | 1.00 | 1.00 |", "| 20000 | 71.4 | 1.020 |"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "FastAPI") {
		t.Errorf("a row of what was not measured:\n%s", got)
	}
	if err := s.wrong(); err != nil {
		t.Error(err)
	}
	s.Runs[3].Cosine = 0.99
	if err := s.wrong(); err == nil || !strings.Contains(err.Error(), "vitago serve: the cosine") {
		t.Errorf("%v, want that the vectors are others", err)
	}
	s.Runs[3].Cosine = 1
	s.Runs = append(s.Runs, serveRun{Contender: "vitago serve, bf16", Rate: 80, Cosine: 0.99995})
	if err := s.wrong(); err != nil {
		t.Errorf("%v, and bfloat16 has its own bound", err)
	}
	if r, _, _, _ := s.of("none"); !math.IsNaN(r) {
		t.Errorf("rate %v of what was not measured", r)
	}
}

// TestPost: so many clients, every file by turns, and the errors of any.
func TestPost(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "image/jpeg" {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		_, _ = w.Write([]byte(`{"data":[{"embedding":[1,2]}]}`))
	}))
	defer h.Close()
	s := &server{url: h.URL}
	client := newClient(4)
	defer client.CloseIdleConnections()
	got, err := s.post(t.Context(), client, [][]byte{[]byte("a"), []byte("b")}, 4, 9)
	if err != nil || len(got) != 9 || got[8][1] != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := s.post(t.Context(), client, [][]byte{[]byte("\x89PNG")}, 4, 9); err == nil || !strings.Contains(err.Error(), "418") {
		t.Errorf("%v, want the status", err)
	}
}
