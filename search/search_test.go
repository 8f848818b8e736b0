package search

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/kernel"
)

// space is that of vectors of so many values.
func space(dim int) clip.Space {
	return clip.Space{Vision: "v", Text: "t", Features: "embedding", Dim: dim, Normalized: true, Precision: "f32", Preprocessing: "{}"}
}

// record is one of a number.
func record(i int) Record {
	r := Record{Path: fmt.Sprintf("/pictures/%05d.jpg", i), Width: 100 + i, Height: 50, SHA256: Hash{byte(i), byte(i >> 8), 1}, Size: int64(1000 + i), Modified: int64(i) + 1, Columns: map[string]string{}}
	if i%3 == 0 {
		r.Caption = fmt.Sprintf("the picture %d – ä", i)
	}
	if i%2 == 0 {
		r.Columns["place"] = fmt.Sprint("place ", i%5)
	}
	return r
}

// vector is one of a number, of length 1.
func vector(i, dim int) []float32 {
	rng := rand.New(rand.NewPCG(uint64(i), 7))
	v := make([]float32, dim)
	for k := range v {
		v[k] = float32(rng.NormFloat64())
	}
	clip.Normalize(v)
	return v
}

// fill adds rows from one to another, and commits them.
func fill(t testing.TB, dir string, dim, from, to int, o WriterOptions) {
	t.Helper()
	o.Columns = []string{"place"}
	w, err := NewWriter(dir, space(dim), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		if err := w.Add(record(i), vector(i, dim)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// opened opens an index.
func opened(t testing.TB, dir string) *Index {
	t.Helper()
	x, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

// holds fails unless an index has the rows of numbers, in order, one by one and together.
func holds(t testing.TB, x *Index, numbers ...int) {
	t.Helper()
	var rows []int
	for r, err := range x.Records() {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r.Index)
		alone, err := x.Record(r.Index)
		if err != nil || !reflect.DeepEqual(alone, r.Record) {
			t.Fatalf("row %d is %+v alone, %+v among others: %v", r.Index, alone, r.Record, err)
		}
		if n := len(rows) - 1; n < len(numbers) {
			if want := record(numbers[n]); !reflect.DeepEqual(alone, want) {
				t.Errorf("row %d: got %+v, want %+v", r.Index, alone, want)
			}
			for k, v := range vector(numbers[n], x.Dim()) {
				if got := x.Half(r.Index)[k]; got != kernel.ToHalf(v) {
					t.Fatalf("row %d: value %d is %x, want %x", r.Index, k, got, kernel.ToHalf(v))
				}
			}
		}
	}
	if len(rows) != len(numbers) || x.Live() != len(numbers) {
		t.Errorf("got %d rows, %d live, want %d", len(rows), x.Live(), len(numbers))
	}
}

// upTo returns the numbers from one to another.
func upTo(from, to int) (all []int) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

// TestWriter: what is added is read again, over several shards and runs.
func TestWriter(t *testing.T) {
	const dim = 24
	dir := filepath.Join(t.TempDir(), "a", "index")
	fill(t, dir, dim, 0, 10, WriterOptions{ShardRows: 4})
	x := opened(t, dir)
	if len(x.shards) != 3 {
		t.Errorf("%d shards, want 3", len(x.shards))
	}
	holds(t, x, upTo(0, 10)...)
	fill(t, dir, dim, 10, 400, WriterOptions{})
	holds(t, x, upTo(0, 10)...)
	holds(t, opened(t, dir), upTo(0, 400)...)
	for _, s := range x.shards {
		for i := range s.rows {
			for k, c := range s.codes[i*dim : (i+1)*dim] {
				if d := float32(c)*s.scales[i] - kernel.FromHalf(s.row(i, dim)[k]); d > s.scales[i]*0.5001 || -d > s.scales[i]*0.5001 {
					t.Fatalf("row %d: value %d differs by %v from its code, at a scale of %v", i, k, d, s.scales[i])
				}
			}
		}
	}
}

// TestCurrent: an index is current until somebody commits.
func TestCurrent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	fill(t, dir, 8, 0, 5, WriterOptions{})
	x := opened(t, dir)
	current := func(want bool) {
		t.Helper()
		if got, err := x.Current(); got != want || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	current(true)
	w, err := NewWriter(dir, space(8), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(record(5), vector(5, 8)); err != nil {
		t.Fatal(err)
	}
	current(true)
	if err := errors.Join(w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	current(false)
	x = opened(t, dir)
	current(true)
	if err := os.Remove(filepath.Join(dir, manifestName)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Current(); !errors.Is(err, ErrNoIndex) {
		t.Errorf("got %v, want ErrNoIndex", err)
	}
}
