package search

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
)

// TestImport: vectors that were given make the index that encoding does, whatever their length; a second time nothing is done; what has no
// vector, is gone or was changed later is listed.
func TestImport(t *testing.T) {
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	photos, dir, other := t.TempDir(), filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	if err := os.CopyFS(photos, os.DirFS("../demo/pictures")); err != nil {
		t.Fatal(err)
	}
	all, _, err := clip.Folder(photos)
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := m.Encode(t.Context(), all...)
	if err != nil {
		t.Fatal(err)
	}
	space, err := m.Space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	given := Given{Vectors: vectors, Made: time.Now().Add(time.Hour)}
	for _, p := range all {
		given.Paths = append(given.Paths, p.Name())
	}
	for i := range vectors[0] {
		vectors[0][i] *= 3
	}
	if r, err := Import(t.Context(), dir, space, given, UpdateOptions{}); err != nil || r.Added != len(all) || r.Failed != 0 || r.Pictures != len(all) {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := Import(t.Context(), dir, space, given, UpdateOptions{}); err != nil || r.Unchanged != len(all) {
		t.Fatalf("again: %+v, %v", r, err)
	}
	source, err := NewSource(photos)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Update(t.Context(), m, other, []Source{source}, UpdateOptions{}); err != nil || r.Added != len(all) {
		t.Fatalf("%+v, %v", r, err)
	}
	a, b := opened(t, dir), opened(t, other)
	if len(a.Sources()) != 0 {
		t.Errorf("sources %v, want none", a.Sources())
	}
	of := map[string]Row{}
	for r, err := range b.Records() {
		if err != nil {
			t.Fatal(err)
		}
		of[r.Path] = r
	}
	for r, err := range a.Records() {
		if err != nil {
			t.Fatal(err)
		}
		want := of[r.Path]
		if r.SHA256 != want.SHA256 || r.Width != want.Width || r.Size != want.Size || clip.Cosine(a.Vector(r.Index), b.Vector(want.Index)) < 1-1e-6 {
			t.Errorf("%+v, want %+v", r, want)
		}
	}
	// What Update meets afterwards is there already.
	if r, err := Update(t.Context(), m, dir, []Source{source}, UpdateOptions{}); err != nil || r.Unchanged != len(all) {
		t.Errorf("updated: %+v, %v", r, err)
	}

	third := filepath.Join(t.TempDir(), "c")
	given.Vectors[1] = nil
	if err := errors.Join(os.Remove(given.Paths[2]), os.Chtimes(given.Paths[3], time.Time{}, given.Made.Add(time.Second))); err != nil {
		t.Fatal(err)
	}
	var said []string
	o := UpdateOptions{Skipped: func(path string, err error) { said = append(said, filepath.Base(path)+" "+err.Error()) }}
	r, err := Import(t.Context(), third, space, given, o)
	if err != nil || r.Failed != 3 || r.Added != len(all)-3 {
		t.Fatalf("%+v, %v", r, err)
	}
	for i, want := range []string{"has no vector", "no such file", "was changed at "} {
		if i >= len(said) || !strings.Contains(said[i], want) {
			t.Errorf("%q lacks %q", said, want)
		}
	}
	given.Paths[4] = given.Paths[0]
	if _, err := Import(t.Context(), third, space, given, UpdateOptions{}); err == nil || !strings.Contains(err.Error(), "vectors 1 and 5 are both of") {
		t.Errorf("twice: %v", err)
	}
	space.Precision = "int8"
	given.Paths, given.Vectors = given.Paths[:1], given.Vectors[:1]
	if _, err := Import(t.Context(), third, space, given, UpdateOptions{}); !errors.Is(err, ErrSpace) {
		t.Errorf("another space: %v", err)
	}
}
