package search

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vitago/vitago/clip"
)

// A memory is a Store in memory.
type memory struct {
	space clip.Space
	rows  map[string]Entry
}

func (m *memory) Space() clip.Space { return m.space }

func (m *memory) Put(_ context.Context, entries iter.Seq2[Entry, error]) (n int, err error) {
	for e, err := range entries {
		if err != nil {
			return 0, err
		}
		e.Half = slices.Clone(e.Half)
		m.rows[e.Path] = e
		n++
	}
	return n, nil
}

func (m *memory) Replace(ctx context.Context, entries iter.Seq2[Entry, error]) (int, error) {
	m.rows = map[string]Entry{}
	return m.Put(ctx, entries)
}

func (m *memory) Delete(context.Context, []string) (int, error)       { return 0, nil }
func (m *memory) Find(context.Context, []float32, int) ([]Hit, error) { return nil, nil }

// TestCopyTo: a store gets the rows that are not deleted, under the names that they have now, and none of another space.
func TestCopyTo(t *testing.T) {
	const dim = 8
	dir := filepath.Join(t.TempDir(), "index")
	fill(t, dir, dim, 0, 20, WriterOptions{ShardRows: 7})
	w, err := NewWriter(dir, space(dim), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.Delete(3)
	moved := record(5)
	moved.Path = "/elsewhere/moved.png"
	w.Rename(5, moved)
	if err := errors.Join(w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	x := opened(t, dir)
	s := &memory{space: space(dim), rows: map[string]Entry{"/old.png": {}}}
	n, err := x.CopyTo(t.Context(), s)
	if err != nil || n != 19 || len(s.rows) != 19 {
		t.Fatalf("%d rows, %v, want 19", n, err)
	}
	for row, err := range x.Records() {
		if err != nil {
			t.Fatal(err)
		}
		e, ok := s.rows[row.Path]
		if !ok || e.SHA256 != row.SHA256 || !slices.Equal(e.Half, x.Half(row.Index)) || !slices.Equal(e.Float32(), x.Vector(row.Index)) {
			t.Errorf("%s: %+v", row.Path, e)
		}
	}
	if _, ok := s.rows["/elsewhere/moved.png"]; !ok {
		t.Error("a renamed picture is not there")
	}
	other := &memory{space: space(dim), rows: map[string]Entry{}}
	other.space.Vision += "x"
	if _, err := x.CopyTo(t.Context(), other); !errors.Is(err, ErrSpace) || len(other.rows) != 0 {
		t.Errorf("another space: error %v, %d rows", err, len(other.rows))
	}
}
