package main

import (
	"archive/tar"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestShardTables: medians of the runs, ratios to shards, and no row of what was not measured.
func TestShardTables(t *testing.T) {
	s := &shardRace{Config: "tiny", Files: 64, Tar: 8, Failed: map[string]string{"memory": "no room"}, Runs: []shardRun{
		{Contender: "vitago encode, local files", Rate: 50, CPU: 0.04, Peak: 2e9, Memory: 1e9, Cosine: 1},
		{Contender: "vitago encode --shards, tars on S3", Rate: 48, CPU: 0.041, Server: 0.0002, Peak: 2e9, Memory: 1e9, Cosine: 1}, {Contender: "vitago encode --shards, tars on S3", Rate: 52, CPU: 0.043, Server: 0.0004, Peak: 2e9, Memory: 1e9, Cosine: 1},
		{Contender: oneProcess, Rate: 20, CPU: 0.04}, {Contender: twoProcesses, Rate: 38, CPU: 0.05},
	}, Growth: []shardPoint{{1000, 70e6}, {10000, 77e6}}}
	got := s.markdown()
	for _, want := range []string{
		"| vitago encode, local files | 50.0 | 40.0 | 0.0 | 1.00 | 2.00 | 1.00 | 1.00 |", "tars on S3 | 50.0 | 42.0 | 0.3 | 1.00 |", "| " + twoProcesses + " | 38.0 | 50.0 | 1.90 |", "| 10000 | 77.0 | 1.10 |", "Not measured: memory (no room).", "64 JPEG files, 8 in a tar",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "clip-retrieval") {
		t.Errorf("a row of what was not measured:\n%s", got)
	}
	if err := s.wrong(); err != nil {
		t.Error(err)
	}
	s.Runs[2].Cosine = 0.99
	if err := s.wrong(); err == nil || !strings.Contains(err.Error(), "tars on S3: the cosine") {
		t.Errorf("%v, want that the vectors are others", err)
	}
	if r := s.of("none"); !math.IsNaN(r.Rate) {
		t.Errorf("rate %v of what was not measured", r.Rate)
	}
}

// TestBucket: tars hold the pictures in their order, and are served whole, in ranges, and as nothing where there is none.
func TestBucket(t *testing.T) {
	dir := t.TempDir()
	if _, err := writePictures(filepath.Join(dir, "files"), "", 3); err != nil {
		t.Fatal(err)
	}
	if err := writeTars(filepath.Join(dir, "files"), filepath.Join(dir, "tars"), 2); err != nil {
		t.Fatal(err)
	}
	all, err := inBucket(filepath.Join(dir, "tars"))
	if err != nil || strings.Join(all, " ") != "s3://bench/tars/00000.tar s3://bench/tars/00001.tar" {
		t.Fatal(all, err)
	}
	server := httptest.NewServer(bucket(dir))
	defer server.Close()
	ask := func(method, name, ranges string) (*http.Response, []byte) {
		r, err := http.NewRequest(method, server.URL+"/bench/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	a, b := ask("GET", "tars/00001.tar", "")
	want, err := os.ReadFile(filepath.Join(dir, "tars", "00001.tar"))
	if err != nil || string(b) != string(want) || a.Header.Get("ETag") == "" {
		t.Errorf("%d bytes, ETag %q, %v", len(b), a.Header.Get("ETag"), err)
	}
	if a, b := ask("GET", "tars/00001.tar", "bytes=0-9"); a.StatusCode != http.StatusPartialContent || string(b) != string(want[:10]) {
		t.Errorf("a range is %d, %q", a.StatusCode, b)
	}
	if a, b := ask("HEAD", "tars/00001.parquet", ""); a.StatusCode != http.StatusNotFound || len(b) > 0 {
		t.Errorf("what is not there is %d, %q", a.StatusCode, b)
	}
	if err := repeatTar(filepath.Join(dir, "files"), filepath.Join(dir, "many.tar"), 7); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "many.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for r := tar.NewReader(f); ; n++ {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n != 7 {
		t.Errorf("%d files, want 7", n)
	}
}
