package search

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/kernel"
)

// nearest is what [Index.Find] finds, by sorting.
func nearest(x *Index, rows []Row, query []float32, k int, chosen func(r *Record) bool) (all []Hit) {
	for _, r := range rows {
		if chosen == nil || chosen(&r.Record) {
			all = append(all, Hit{r, kernel.ExactDot(x.Half(r.Index), query)})
		}
	}
	slices.SortStableFunc(all, func(a, b Hit) int {
		if a.Cosine > b.Cosine {
			return -1
		} else if a.Cosine < b.Cosine {
			return 1
		}
		return 0
	})
	return all[:min(k, len(all))]
}

// TestFind: by codes and by halves, in several shards, without what is deleted, and with filters.
func TestFind(t *testing.T) {
	const dim = 24
	dir := filepath.Join(t.TempDir(), "index")
	fill(t, dir, dim, 0, 500, WriterOptions{ShardRows: 70})
	s := space(dim)
	w, err := NewWriter(dir, s, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 500; i += 11 {
		w.Delete(i)
	}
	moved := record(1)
	moved.Path = "/elsewhere/cats/moved.png"
	w.Rename(1, moved)
	if err := errors.Join(w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	x := opened(t, dir)
	var rows []Row
	for r, err := range x.Records() {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	half := 0.3
	for _, c := range []struct {
		name   string
		o      FindOptions
		chosen func(r *Record) bool
	}{
		{"all", FindOptions{}, nil},
		{"three", FindOptions{K: 3}, nil},
		{"more than there are", FindOptions{K: 1000}, nil},
		{"a threshold", FindOptions{K: 1000, Least: &half}, func(*Record) bool { return true }},
		{"a path", FindOptions{K: 7, Filter: Filter{Paths: []string{"0003*.jpg", "cats/*"}}}, func(r *Record) bool {
			return strings.HasPrefix(r.Name(), "0003") || r.Path == moved.Path
		}},
		{"not a path", FindOptions{K: 7, Filter: Filter{Exclude: []string{"/pictures/**"}}}, func(r *Record) bool { return r.Path == moved.Path }},
		{"a column", FindOptions{K: 9, Filter: Filter{Where: []Condition{{"place", "=", "place 2"}}}}, func(r *Record) bool { return r.Columns["place"] == "place 2" }},
		{"no column", FindOptions{K: 9, Filter: Filter{Where: []Condition{{"place", "=", ""}}}}, func(r *Record) bool { return r.Columns["place"] == "" }},
		{"numbers", FindOptions{K: 9, Filter: Filter{Where: []Condition{{"width", ">", "200"}, {"width", "<=", "300"}, {"caption", "!=", ""}}}}, func(r *Record) bool {
			return r.Width > 200 && r.Width <= 300 && r.Caption != ""
		}},
		{"none", FindOptions{Filter: Filter{Where: []Condition{{"size", "<", "1000"}}}}, func(*Record) bool { return false }},
	} {
		for i := range 3 {
			query := vector(1000+i, dim)
			want := nearest(x, rows, query, max(c.o.K, 10*btoi(c.o.K == 0)), c.chosen)
			if c.o.Least != nil {
				want = slices.DeleteFunc(want, func(h Hit) bool { return h.Cosine < *c.o.Least })
			}
			for _, c.o.Halves = range []bool{false, true} {
				got, err := x.Find(t.Context(), query, c.o)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
					t.Fatalf("%s, halves %v: got %v, want %v", c.name, c.o.Halves, got, want)
				}
			}
		}
	}
	var queries [][]float32
	for i := range 12 {
		q := vector(1000+i, dim)
		for k := range q {
			q[k] *= 3 // lengths do not count
		}
		queries = append(queries, q)
	}
	all, err := x.FindAll(t.Context(), queries, FindOptions{K: 4})
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range queries {
		unit, err := Combine(Term{q, 2})
		if err != nil {
			t.Fatal(err)
		}
		if want := nearest(x, rows, unit, 4, nil); !reflect.DeepEqual(all[i], want) {
			t.Errorf("query %d: got %v, want %v", i, all[i], want)
		}
	}
	for k, v := range x.Vector(17) {
		if v != kernel.FromHalf(x.Half(17)[k]) {
			t.Errorf("value %d of the vector is %v", k, v)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestFindRefuses: queries and filters that are wrong.
func TestFindRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	fill(t, dir, 4, 0, 3, WriterOptions{})
	x := opened(t, dir)
	ok, nan := []float32{1, 0, 0, 0}, math.NaN()
	for _, c := range []struct {
		query []float32
		o     FindOptions
		want  error
		text  string
	}{
		{[]float32{1}, FindOptions{}, nil, "a query has 1 values, want the 4"},
		{[]float32{0, 0, 0, 0}, FindOptions{}, ErrQuery, "zeros"},
		{[]float32{1, float32(math.NaN()), 0, 0}, FindOptions{}, nil, "no finite number"},
		{[]float32{1, float32(math.Inf(1)), 0, 0}, FindOptions{}, nil, "no finite number"},
		{ok, FindOptions{K: -1}, ErrQuery, "-1 rows"},
		{ok, FindOptions{Least: &nan}, ErrQuery, "the least cosine is NaN"},
		{ok, FindOptions{Filter: Filter{Where: []Condition{{"places", "=", "x"}}}}, ErrFilter, `no column "places", want one of path, caption, width, height, size, sha256, place`},
		{ok, FindOptions{Filter: Filter{Where: []Condition{{"place", "~", "x"}}}}, ErrFilter, `operator is "~"`},
		{ok, FindOptions{Filter: Filter{Paths: []string{"a["}}}, ErrFilter, `glob "a["`},
		{ok, FindOptions{Filter: Filter{Exclude: []string{"["}}}, ErrFilter, `glob "["`},
		{ok, FindOptions{Filter: Filter{Exclude: []string{""}}}, ErrFilter, "a glob is empty"},
		{ok, FindOptions{Filter: Filter{Where: []Condition{{"width", "=", ">3"}}}}, ErrFilter, `column width is compared with ">3", want a number`},
		{ok, FindOptions{Filter: Filter{Where: []Condition{{"size", ">", "NaN"}}}}, ErrFilter, `column size is compared with "NaN", want a number`},
	} {
		if _, err := x.Find(t.Context(), c.query, c.o); err == nil || !strings.Contains(err.Error(), c.text) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%v %+v: error %v, want %s", c.query, c.o, err, c.text)
		}
	}
	for _, least := range []float64{0, -1, 1.1, math.NaN()} {
		if _, err := x.Duplicates(t.Context(), least, DuplicatesOptions{}); !errors.Is(err, ErrQuery) {
			t.Errorf("duplicates at %v: %v", least, err)
		}
	}
	if _, err := x.Duplicates(t.Context(), 1, DuplicatesOptions{Filter: Filter{Paths: []string{"["}}}); !errors.Is(err, ErrFilter) {
		t.Errorf("duplicates: %v", err)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := x.Find(ctx, ok, FindOptions{}); !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestClose: whoever searches an index that has been closed gets an error, and a search that runs is waited for.
func TestClose(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	fill(t, dir, 4, 0, 3, WriterOptions{})
	x := opened(t, dir)
	query := []float32{1, 0, 0, 0}
	if _, err := x.Find(t.Context(), query, FindOptions{}); err != nil {
		t.Fatal(err)
	}
	closing := make(chan error)
	found, err := x.Duplicates(t.Context(), 0.01, DuplicatesOptions{Progress: func(int, int) {
		go func() { closing <- x.Close() }()
		select {
		case <-closing:
			t.Error("closed while it was searched")
		case <-time.After(10 * time.Millisecond):
		}
	}})
	if err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	if err := <-closing; err != nil {
		t.Error(err)
	}
	_, err1 := x.Find(t.Context(), query, FindOptions{})
	_, err2 := x.Duplicates(t.Context(), 0.9, DuplicatesOptions{})
	_, err3 := x.Record(0)
	var err4 error
	for _, err4 = range x.Records() {
	}
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, os.ErrClosed) || !strings.HasPrefix(err.Error(), "search: "+dir+": ") {
			t.Errorf("%d: error %v, want one of a closed index", i, err)
		}
	}
}

// TestFindEmpty: an index without rows has no hits.
func TestFindEmpty(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	fill(t, dir, 4, 0, 0, WriterOptions{})
	x := opened(t, dir)
	for _, halves := range []bool{false, true} {
		if hits, err := x.Find(t.Context(), []float32{1, 0, 0, 0}, FindOptions{Halves: halves}); err != nil || len(hits) != 0 {
			t.Errorf("%v, %v", hits, err)
		}
	}
	if c, err := x.Duplicates(t.Context(), 0.9, DuplicatesOptions{}); err != nil || len(c) != 0 {
		t.Errorf("%v, %v", c, err)
	}
}

// TestFindDamaged: a vector with an infinity is an error that names the file and the row.
func TestFindDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	fill(t, dir, 4, 0, 10, WriterOptions{ShardRows: 6})
	path := filepath.Join(dir, vectorsFile(1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1], b[len(b)-2] = 0x7c, 0
	if err := errors.Join(os.Remove(path), os.WriteFile(path, b, 0o666)); err != nil {
		t.Fatal(err)
	}
	x := opened(t, dir)
	if _, err := x.Find(t.Context(), []float32{1, 0, 0, 0}, FindOptions{Halves: true}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "img_emb_00001.npy: damaged: row 3 ") {
		t.Errorf("error %v", err)
	}
	if _, err := x.Find(t.Context(), []float32{1, 0, 0, 0}, FindOptions{K: 10}); !errors.Is(err, ErrDamaged) {
		t.Errorf("by codes: error %v", err)
	}
}

func TestCombine(t *testing.T) {
	a, b := []float32{3, 0, 0}, []float32{0, 0.5, 0}
	for _, c := range []struct {
		terms []Term
		want  []float32
	}{
		{[]Term{{a, 1}}, []float32{1, 0, 0}},
		{[]Term{{a, -2}}, []float32{-1, 0, 0}},
		{[]Term{{a, 1}, {b, 1}}, []float32{float32(math.Sqrt(0.5)), float32(math.Sqrt(0.5)), 0}},
		{[]Term{{a, 3}, {b, -4}}, []float32{0.6, -0.8, 0}},
		{[]Term{{a, 1e308}, {b, 1e308}}, []float32{float32(math.Sqrt(0.5)), float32(math.Sqrt(0.5)), 0}},
		{[]Term{{a, 1e-320}}, []float32{1, 0, 0}},
		{[]Term{{a, 0}, {b, 2}}, []float32{0, 1, 0}},
	} {
		got, err := Combine(c.terms...)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, %v, want %v", c.terms, got, err, c.want)
		}
	}
	nan := float32(math.NaN())
	for _, c := range []struct {
		terms []Term
		want  string
	}{
		{nil, "search: no query: got 0 terms, want 1 or more"},
		{[]Term{{a, 1}, {a, -1}}, "search: no query: 2 terms cancel each other"},
		{[]Term{{a, 0}}, "search: no query: all weights are 0"},
		{[]Term{{a, 0}, {b, 0}}, "search: no query: all weights are 0"},
		{[]Term{{a, 1}, {b[:2], 1}}, "search: term 2 of 2 has 2 values, and the first has 3"},
		{[]Term{{a, 1}, {[]float32{0, 0, 0}, 1}}, "search: no query: term 2 of 2 is a vector of zeros"},
		{[]Term{{[]float32{nan, 0, 0}, 1}}, "search: term 1 of 1 has a value that is no finite number"},
		{[]Term{{a, math.Inf(1)}}, "search: term 1 of 1 has the weight +Inf, want a finite number"},
	} {
		if _, err := Combine(c.terms...); err == nil || err.Error() != c.want || strings.Contains(c.want, "no query") && !errors.Is(err, ErrQuery) {
			t.Errorf("%v: error %v, want %s", c.terms, err, c.want)
		}
	}
}

func TestParseCondition(t *testing.T) {
	for text, want := range map[string]Condition{
		"a=b": {"a", "=", "b"}, "a!=": {"a", "!=", ""}, "year>=2020": {"year", ">=", "2020"}, "year<=2": {"year", "<=", "2"}, "x<1": {"x", "<", "1"}, "x>1": {"x", ">", "1"},
		"a==b": {"a", "=", "=b"}, "é=<>": {"é", "=", "<>"},
	} {
		if got, err := ParseCondition(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "a", "=b", "!=", "a!b"} {
		if c, err := ParseCondition(text); !errors.Is(err, ErrFilter) {
			t.Errorf("%q: got %v, %v", text, c, err)
		}
	}
}

func TestMatchPath(t *testing.T) {
	for _, c := range []struct {
		glob, path string
		want       bool
	}{
		{"*.jpg", "/photos/cats/a.jpg", true}, {"cats/*.jpg", "/photos/cats/a.jpg", true}, {"photos/*.jpg", "/photos/cats/a.jpg", false},
		{"/photos/**", "/photos/cats/a.jpg", true}, {"/cats/**", "/photos/cats/a.jpg", false}, {"cats/**", "/photos/cats/a.jpg", true},
		{"/**/a.jpg", "/photos/cats/a.jpg", true}, {"**/cats/**/*.jpg", "/photos/cats/x/y/a.jpg", true}, {"/*.jpg", "/a.jpg", true}, {"/*.jpg", "/x/a.jpg", false},
		{"a.jpg", "/x/ba.jpg", false}, {"?.jpg", "/x/a.jpg", true}, {"[ab].jpg", "/x/c.jpg", false}, {"", "/x/a.jpg", false}, {"**", "/x/a.jpg", true},
		{"shard.tar/*.jpg", "/data/shard.tar/0001.jpg", true}, {"cats/**/cats/*", "/cats/a/cats/b/cats/c", true},
	} {
		if got, err := matchPath(c.glob, c.path); err != nil || got != c.want {
			t.Errorf("%q, %q: got %v, %v, want %v", c.glob, c.path, got, err, c.want)
		}
	}
}

// FuzzMatchPath: no glob takes long, panics or is right for one path and wrong for another.
func FuzzMatchPath(f *testing.F) {
	f.Add("**/a*/**/b?/[c-d]", "/x/ab/y/bc/c")
	f.Add(strings.Repeat("**/", 50)+"x", strings.Repeat("a/", 200))
	f.Fuzz(func(t *testing.T, glob, name string) {
		_, err := matchPath(glob, name)
		if _, again := matchPath(glob, ""); (err == nil) != (again == nil) || err != nil && !errors.Is(err, ErrFilter) {
			t.Errorf("%v, and %v", err, again)
		}
	})
}

// FuzzParseCondition: what is read means the same when it is written.
func FuzzParseCondition(f *testing.F) {
	f.Add("a=b")
	f.Add("a>=!=")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCondition(text)
		if err == nil && (c.Column+c.Op+c.Value != text || c.Column == "") {
			t.Errorf("%q is %+v", text, c)
		}
		c.holds(&Record{})
	})
}

// TestDuplicates: vectors that are the same, and those that are alike, hang together.
func TestDuplicates(t *testing.T) {
	const dim = 32
	dir := filepath.Join(t.TempDir(), "index")
	w, err := NewWriter(dir, space(dim), WriterOptions{ShardRows: 5})
	if err != nil {
		t.Fatal(err)
	}
	near := vector(2, dim)
	near[0] += 0.1
	clip.Normalize(near)
	for i, v := range [][]float32{vector(1, dim), vector(2, dim), vector(3, dim), vector(1, dim), near, vector(4, dim), vector(1, dim), vector(4, dim)} {
		if err := w.Add(record(i), v); err != nil {
			t.Fatal(err)
		}
	}
	w.Delete(5)
	if err := errors.Join(w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	x := opened(t, dir)
	rows := func(all []Cluster) (rows [][]int) {
		for _, c := range all {
			var of []int
			for _, h := range c {
				of = append(of, h.Index)
				if want := record(h.Index); h.Path != want.Path {
					t.Errorf("row %d has the path %s", h.Index, h.Path)
				}
			}
			rows = append(rows, of)
		}
		return rows
	}
	done := 0
	same, err := x.Duplicates(t.Context(), 1, DuplicatesOptions{Progress: func(n, total int) { done = n * 10 / total }})
	if err != nil || !reflect.DeepEqual(rows(same), [][]int{{0, 3, 6}}) || same[0][2].Cosine != 1 || done != 10 {
		t.Errorf("%v, %v, progress %d", rows(same), err, done)
	}
	alike, err := x.Duplicates(t.Context(), 0.99, DuplicatesOptions{Filter: Filter{Exclude: []string{"00003.jpg"}}})
	if err != nil || !reflect.DeepEqual(rows(alike), [][]int{{0, 6}, {1, 4}}) {
		t.Errorf("%v, %v", rows(alike), err)
	}
}

// TestRecordOpen: a picture is in a folder or in a tar.
func TestRecordOpen(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range map[string]string{"0.txt": "no", "in/1.jpg": "yes", "./3.jpg": "as tar writes it"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	archive, file := filepath.Join(dir, "a.tar"), filepath.Join(dir, "b.jpg")
	if err := errors.Join(w.Close(), os.WriteFile(archive, b.Bytes(), 0o600), os.WriteFile(file, []byte("b"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: "b", archive + "/in/1.jpg": "yes", archive + "/3.jpg": "as tar writes it", filepath.Join(archive, "2.jpg"): "", filepath.Join(dir, "none.jpg"): "", filepath.Join(dir, "x", "y.jpg"): ""} {
		f, err := (&Record{Path: path}).Open()
		if want == "" {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: error %v", path, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		got, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}
