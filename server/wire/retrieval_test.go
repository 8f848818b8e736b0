package wire

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/server/engine"
)

// TestRetrieval finds pictures as clip-retrieval's clients do.
func TestRetrieval(t *testing.T) {
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pictures, err := search.NewSource("../../demo/pictures")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "index")
	if _, err := search.Update(t.Context(), m, dir, []search.Source{pictures}, search.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(t.Context(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}, {Name: "found", Path: demo.Name, Index: dir}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(t.Context()) })
	base := serve(t, Options{Engine: e})

	type hit struct {
		ID         int
		Similarity float64
		ImagePath  string `json:"image_path"`
	}
	find := func(query string) []hit {
		t.Helper()
		code, h, got := post(t, base+"/knn-service", "", `{`+query+`,"deduplicate":true,"use_safety_model":true,"use_violence_detector":true,"indice_name":"found",`+
			`"use_mclip":false,"aesthetic_score":9,"aesthetic_weight":0.5,"modality":"image","num_images":2,"num_result_ids":4}`)
		var hits []hit
		if err := json.Unmarshal([]byte(got), &hits); err != nil || code != 200 {
			t.Fatal(code, got, err)
		}
		if len(h.Get(FingerprintHeader)) != 64 {
			t.Errorf("the fingerprint is %q", h.Get(FingerprintHeader))
		}
		return hits
	}
	vector, err := json.Marshal(reference(t, "image", "blue-square.png", ""))
	if err != nil {
		t.Fatal(err)
	}
	var first hit
	for query, want := range map[string]string{
		`"text":null,"image":"` + base64.StdEncoding.EncodeToString(picture(t, "red-circle.png")) + `","image_url":null,"embedding_input":null`: "red-circle.png",
		`"text":"","embedding_input":` + string(vector):                           "blue-square.png",
		`"text":"a red circle"`:                                                   "red-circle.png",
		`"text":"` + strings.TrimSpace(strings.Repeat("a red circle ", 40)) + `"`: "",
	} {
		hits := find(query)
		if len(hits) != 4 || hits[1].ImagePath == "" || hits[2].ImagePath != "" || hits[0].Similarity < hits[3].Similarity {
			t.Errorf("%.60s: got %v", query, hits)
		}
		if want != "" && filepath.Base(hits[0].ImagePath) != want {
			t.Errorf("%.60s: got %v, want %s", query, hits[0], want)
		}
		if strings.Contains(query, `"image":"`) {
			if first = hits[0]; first.Similarity < 0.999 {
				t.Errorf("the picture itself has a similarity of %v", first.Similarity)
			}
		}
	}
	code, _, got := post(t, base+"/metadata", "", fmt.Sprintf(`{"ids":[%d],"indice_name":"found"}`, first.ID))
	if want := fmt.Sprintf(`[{"id":%d,"metadata":{"image_path":%q}}]`, first.ID, first.ImagePath); code != 200 || got != want {
		t.Errorf("%d %s, want %s", code, got, want)
	}
	for _, test := range []struct {
		path, body string
		status     int
		has        string
	}{
		{"/knn-service", `{"indice_name":"found","num_images":1}`, 400, "0 of text, image, image_url and embedding_input"},
		{"/knn-service", `{"text":"a","image":"AAAA","indice_name":"found","num_images":1}`, 400, "there are 2"},
		{"/knn-service", `{"text":"a","indice_name":"found"}`, 400, "num_images is 0"},
		{"/knn-service", `{"text":"a","indice_name":"found","num_images":1,"modality":"text"}`, 400, "want image"},
		{"/knn-service", `{"text":"a","indice_name":"laion5B","num_images":1}`, 404, "laion5B"},
		{"/knn-service", `{"text":"a","indice_name":"demo","num_images":1}`, 400, "index"},
		{"/knn-service", `{"image_url":"https://example.com/a.png","indice_name":"found","num_images":1}`, 400, "does not fetch"},
		{"/knn-service", `{"embedding_input":[1,2],"indice_name":"found","num_images":1}`, 400, "2"},
		{"/knn-service", `{"embedding_input":[1e99],"indice_name":"found","num_images":1}`, 400, "no float32"},
		{"/metadata", `{"ids":[7],"indice_name":"found"}`, 404, "id 7"},
		{"/metadata", `{"ids":[1e99],"indice_name":"found"}`, 400, "whole number"},
	} {
		code, _, got := post(t, base+test.path, "", test.body)
		if code != test.status || !strings.Contains(got, test.has) || !strings.HasPrefix(got, `{"message":`) {
			t.Errorf("%s: %d %s, want %d and %s", test.body, code, got, test.status, test.has)
		}
	}
	if code, got := get(t, base+"/indices-list"); code != 200 || got != `["found"]` {
		t.Errorf("%d %s", code, got)
	}
	if code, got := get(t, base+"/meta"); code != 200 || got != `{"model":"demo","projection_dim":64,"image_size":64,"max_position_embeddings":32}` {
		t.Errorf("%d %s", code, got)
	}
}

// TestFound forgets those that were found first.
func TestFound(t *testing.T) {
	f := newFound(2)
	for id := range 3 {
		f.put(id+1, &search.Record{Path: fmt.Sprint(id)})
		f.put(id+1, &search.Record{Path: fmt.Sprint(id)})
	}
	for id, want := range map[int]bool{1: false, 2: true, 3: true} {
		if _, ok := f.get(id); ok != want {
			t.Errorf("%d: %v, want %v", id, ok, want)
		}
	}
	if len(f.by) != 2 {
		t.Errorf("%d are remembered", len(f.by))
	}
}
