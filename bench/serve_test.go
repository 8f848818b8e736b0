package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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

// fakeInfinity listens where infinity's arguments say, and answers what is asked as infinity wants it, offline.
func fakeInfinity(args []string) error {
	of := func(name string) string { return args[slices.Index(args, name)+1] }
	return http.ListenAndServe(of("--host")+":"+of("--port"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Model, Modality string
			Input           []string
		}
		err := json.NewDecoder(r.Body).Decode(&q)
		if err != nil || r.URL.Path != of("--url-prefix")+"/embeddings" || q.Model != of("--served-model-name") || q.Modality != "image" || len(q.Input) != 1 ||
			q.Input[0] != "data:image/jpeg;base64,YQ==" || os.Getenv("HF_HUB_OFFLINE") != "1" || os.Getenv("INFINITY_HOME") != of("--model-id") {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		_, _ = w.Write([]byte(`{"data":[{"embedding":[1,2]}]}`))
	}))
}

// TestInfinity: the server is started with the model of both towers, of which the vision tower is the one that the others have, and asked in its
// own way; without an interpreter the reason is said.
func TestInfinity(t *testing.T) {
	o := options{dir: t.TempDir(), config: configs["tiny"], clients: 4}
	if err := writeModel(o.dir, o.config); err != nil {
		t.Fatal(err)
	}
	c := choose(serveContenders, []string{"infinity"})[0]
	r := serveRun{Contender: c.name}
	if err := r.serve(t.Context(), o, c, nil); err == nil || !strings.Contains(err.Error(), "-infinity names one") {
		t.Errorf("%v, want that there is no interpreter", err)
	}
	o.infinity = os.Args[0]
	if err := r.serve(t.Context(), o, c, bytes.SplitAfter([]byte(strings.Repeat("a", 32)), nil)); err != nil {
		t.Fatal(err)
	}
	if r.Rate <= 0 || r.First <= 0 || r.Cosine != 1 || runtime.GOOS == "linux" && r.Memory <= 0 {
		t.Errorf("%+v", r)
	}
	var data [2][]byte // of the tensors, behind their header
	for i, dir := range []string{o.dir, filepath.Join(o.dir, "infinity")} {
		b, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		data[i] = b[8+binary.LittleEndian.Uint64(b):]
	}
	if !bytes.HasPrefix(data[1], data[0]) {
		t.Error("the vision tower has other weights")
	}
}
