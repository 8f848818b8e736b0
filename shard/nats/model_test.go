package nats

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// modelFolder writes a folder of files, one of several chunks of the object store, and returns it.
func modelFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vit-tiny")
	for name, content := range map[string]string{
		"config.json": "{}", "model.safetensors": strings.Repeat("weights ", 100_000), "tokenizer/merges.txt": "a b\n", ".cache/x": "hidden", ".gitignore": "hidden", "empty": "",
	} {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestModel: a folder comes out of the object store as it was, once; what was damaged in the cache is an error, and what was damaged on
// the way leaves nothing.
func TestModel(t *testing.T) {
	ctx := within(t)
	_, nc := embedded(t, t.TempDir())
	dir, cache := modelFolder(t), t.TempDir()
	m, err := DescribeModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	q, err := Create(ctx, nc, Options{}, Description{Model: m})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a driver that is begun again finds them there
		if err := q.PutModel(ctx, dir); err != nil {
			t.Fatal(err)
		}
	}
	if q, err = Attach(ctx, nc, Options{}); err != nil {
		t.Fatal(err)
	}
	at, err := q.GetModel(ctx, cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer/merges.txt", "empty"} {
		want, _ := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if got, err := os.ReadFile(filepath.Join(at, filepath.FromSlash(name))); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
	if _, err := os.Stat(filepath.Join(at, ".gitignore")); err == nil {
		t.Error("a hidden file went along")
	}
	// From the cache, without the broker's objects.
	if err := q.js.DeleteObjectStore(ctx, q.modelBucket()); err != nil {
		t.Fatal(err)
	}
	if again, err := q.GetModel(ctx, cache); err != nil || again != at {
		t.Errorf("from the cache: %s, %v, want %s", again, err, at)
	}
	if err := os.WriteFile(filepath.Join(at, "config.json"), []byte("[]"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := q.GetModel(ctx, cache); err == nil || !strings.Contains(err.Error(), "config.json: 2 bytes with SHA-256") {
		t.Errorf("a damaged cache: %v", err)
	}
	// The broker has other bytes under the name.
	if err := q.PutModel(ctx, dir); err != nil {
		t.Fatal(err)
	}
	objects, err := q.js.ObjectStore(ctx, q.modelBucket())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := objects.PutBytes(ctx, "config.json", []byte("[]")); err != nil {
		t.Fatal(err)
	}
	cache = t.TempDir()
	if _, err := q.GetModel(ctx, cache); err == nil || !strings.Contains(err.Error(), "want 2 with") {
		t.Errorf("other bytes at the broker: %v", err)
	}
	if left, _ := os.ReadDir(cache); len(left) != 0 {
		t.Errorf("%v is left of a model that could not be brought", left)
	}
}

// TestModelFile: a checkpoint that is one file keeps its name, of which its form may depend.
func TestModelFile(t *testing.T) {
	ctx := within(t)
	_, nc := embedded(t, t.TempDir())
	from := filepath.Join(modelFolder(t), "model.safetensors")
	m, err := DescribeModel(from)
	if err != nil {
		t.Fatal(err)
	}
	q, err := Create(ctx, nc, Options{}, Description{Model: m})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.PutModel(ctx, from); err != nil {
		t.Fatal(err)
	}
	at, err := q.GetModel(ctx, t.TempDir())
	if err != nil || filepath.Base(at) != "model.safetensors" {
		t.Fatal(at, err)
	}
	want, _ := os.ReadFile(from)
	if got, _ := os.ReadFile(at); !bytes.Equal(got, want) {
		t.Error("other bytes")
	}
}

// TestModelNames: a broker cannot have a worker write elsewhere than into its cache.
func TestModelNames(t *testing.T) {
	for _, c := range []struct {
		m    Model
		want string
	}{
		{Model{Name: "m"}, "0 files"}, {Model{Name: "../m", Files: []ModelFile{{Name: "a"}}}, `"../m"`}, {Model{Name: "a/m", Files: []ModelFile{{Name: "a"}}}, "without folders"},
		{Model{Name: "m", Files: []ModelFile{{Name: "../a"}}}, `"../a"`}, {Model{Name: "m", Files: []ModelFile{{Name: "/a"}}}, `"/a"`},
		{Model{Name: "m", Files: []ModelFile{{Name: ""}}}, `""`}, {Model{Name: "m", File: true, Files: []ModelFile{{Name: "a"}}}, "its own name"},
	} {
		if err := c.m.check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %s", c.m, err, c.want)
		}
	}
	if _, err := DescribeModel(t.TempDir()); err == nil || !strings.Contains(err.Error(), "has no file") {
		t.Errorf("an empty folder: %v", err)
	}
}
