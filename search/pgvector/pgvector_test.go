package pgvector

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/search"
)

// server returns what to connect to: these tests want a Postgres with pgvector, and server.sh starts one.
func server(t *testing.T) string {
	t.Helper()
	dsn := os.Getenv("VITAGO_PGVECTOR")
	if dsn == "" {
		t.Fatal("VITAGO_PGVECTOR does not say which Postgres to connect to; server.sh starts one")
	}
	return dsn
}

func space(dim int) clip.Space {
	return clip.Space{Vision: "vision", Text: "text", Features: "embedding", Dim: dim, Normalized: true, Precision: "f32", Preprocessing: "{}"}
}

// table opens a table of its own.
func table(t *testing.T, s clip.Space) (*Store, string) {
	t.Helper()
	name := "public." + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "_")) + "_Ünusual\"name"
	drop := func() {
		c, err := pgx.Connect(context.Background(), server(t))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		for _, n := range []string{name, name + "_space"} {
			if _, err := c.Exec(context.Background(), "DROP TABLE IF EXISTS "+pgx.Identifier(strings.Split(n, ".")).Sanitize()); err != nil {
				t.Fatal(err)
			}
		}
	}
	drop()
	store, err := Open(t.Context(), server(t), name, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close(); drop() })
	return store, name
}

// index writes an index of n random vectors, of which every seventh is that of the row before.
func index(t *testing.T, s clip.Space, n int) *search.Index {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "index")
	w, err := search.NewWriter(dir, s, search.WriterOptions{ShardRows: 150, Columns: []string{"even", "number"}})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	v := make([]float32, s.Dim)
	for i := range n {
		if i%7 != 6 {
			for j := range v {
				v[j] = float32(rng.NormFloat64())
			}
		}
		r := search.Record{Path: fmt.Sprintf("/pictures/Straße 'q' %04d.png", i), Caption: "a\tcaption\\ of \"it\"", Width: i, Height: 7, Size: int64(i) << 33, Modified: int64(i) << 40}
		r.SHA256[0], r.SHA256[31] = byte(i), byte(i>>8)
		if i%2 == 0 {
			r.Columns = map[string]string{"even": "yes", "number": fmt.Sprint(i)}
		}
		if err := w.Add(r, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	x, err := search.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

// TestStore: what an index has, and finds, the table has and finds; and it follows the index.
func TestStore(t *testing.T) {
	s := space(40)
	store, name := table(t, s)
	x := index(t, s, 500)
	n, err := x.CopyTo(t.Context(), store)
	if err != nil || n != 500 {
		t.Fatalf("%d rows are new, %v, want 500", n, err)
	}
	if n, err = x.CopyTo(t.Context(), store); err != nil || n != 0 {
		t.Errorf("again %d rows are new, %v, want none", n, err)
	}
	same := func(what string, query []float32, k int, store *Store) {
		t.Helper()
		got, err := store.Find(t.Context(), query, k)
		if err != nil {
			t.Fatal(err)
		}
		want, err := x.Find(t.Context(), query, search.FindOptions{K: k})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d rows, want %d", what, len(got), len(want))
			return
		}
		for i, w := range want {
			if w.Index = -1; len(w.Columns) == 0 {
				w.Columns = nil
			}
			if !reflect.DeepEqual(got[i], w) {
				t.Errorf("%s: row %d is %+v, want %+v", what, i, got[i], w)
				return
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 30 {
		query := make([]float32, s.Dim)
		for j := range query {
			query[j] = float32(rng.NormFloat64()) * 1e3
		}
		same("a random query", query, 1+i*7, store)
		same("that of a row", x.Vector(i*16), 5, store)
	}
	same("more than there are", x.Vector(3), 1000, store)

	hits, err := store.FindWhere(t.Context(), x.Vector(4), 3, "columns->>'even' = $3 AND width < $4", "yes", 100)
	if err != nil || len(hits) != 3 || hits[0].Width != 4 || hits[1].Width%2 != 0 || hits[2].Width >= 100 {
		t.Errorf("among some rows %v, %v", hits, err)
	}

	// By an index.
	if err := store.CreateIndex(t.Context(), Index{}); err != nil {
		t.Fatal(err)
	}
	if err := store.CreateIndex(t.Context(), Index{}); err != nil {
		t.Error(err)
	}
	if _, err := store.Pool().Exec(t.Context(), "ANALYZE "+store.table); err != nil {
		t.Fatal(err)
	}
	indexed, err := Open(t.Context(), server(t)+" options='-c enable_seqscan=off'", name, s) // of so few rows it is not worth it
	if err != nil {
		t.Fatal(err)
	}
	defer indexed.Close()
	near, found := indexed.Near(200), 0
	for i := range 20 {
		query := x.Vector(i * 25)
		want, err := x.Find(t.Context(), query, search.FindOptions{K: 10})
		if err != nil {
			t.Fatal(err)
		}
		got, err := near.Find(t.Context(), query, 10)
		if err != nil || len(got) != 10 {
			t.Fatal(got, err)
		}
		for _, h := range want {
			if slices.ContainsFunc(got, func(g search.Hit) bool { return g.Path == h.Path && g.Cosine == h.Cosine }) {
				found++
			}
		}
	}
	if found < 190 {
		t.Errorf("%d of 200 are found by the index", found)
	}
	rows, err := indexed.Pool().Query(t.Context(), "EXPLAIN SELECT path FROM "+store.table+" ORDER BY embedding <#> $1 LIMIT 10", Halfvec(x.Half(0)))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || !strings.Contains(strings.Join(lines, "\n"), "Index Scan using") {
		t.Errorf("the index is not used: %q, %v", lines, err)
	}

	// One row less, one other, one that is new.
	all := slices.Collect(func(yield func(search.Row) bool) {
		for r, err := range x.Records() {
			if err != nil || !yield(r) {
				return
			}
		}
	})
	entry := func(i int, path, caption string) search.Entry {
		e := search.Entry{Record: all[i].Record, Half: x.Half(i)}
		e.Path, e.Caption = path, caption
		return e
	}
	if n, err := store.Put(t.Context(), entries(nil, entry(0, all[0].Path, "another"), entry(1, all[1].Path, all[1].Caption), entry(2, "/new.png", "x"))); err != nil || n != 2 {
		t.Errorf("%d rows are new or other, %v, want 2", n, err)
	}
	if n, err := store.Delete(t.Context(), []string{"/new.png", "/nowhere.png"}); err != nil || n != 1 {
		t.Errorf("%d rows were deleted, %v, want 1", n, err)
	}
	if n, err := store.Replace(t.Context(), entries(nil, entry(5, all[5].Path, all[5].Caption), entry(6, "/other.png", "y"))); err != nil || n != 1 {
		t.Errorf("%d rows are new, %v, want 1", n, err)
	}
	if left := count(t, store); left != 2 {
		t.Errorf("%d rows are left, want 2", left)
	}
	if n, err := x.CopyTo(t.Context(), store); err != nil || n != 499 || count(t, store) != 500 {
		t.Errorf("%d rows are new, %v, want 499", n, err)
	}

	// Nothing of what fails is kept.
	fails := errors.New("cannot be read")
	for what, c := range map[string]struct {
		entries iter.Seq2[search.Entry, error]
		want    string
	}{
		"a path twice":      {entries(nil, entry(0, "/twice.png", ""), entry(1, "/twice.png", "")), "/twice.png"},
		"an error":          {entries(fails, entry(0, "/a.png", "")), "cannot be read"},
		"a short vector":    {entries(nil, entry(0, "/a.png", ""), search.Entry{Record: search.Record{Path: "/b.png"}, Half: make([]uint16, 3)}), "/b.png: a vector of 3 values, want 40"},
		"a path in Latin-1": {entries(nil, entry(0, "/a.png", ""), entry(1, "/caf\xe9.png", "")), `the path "/caf\xe9.png" is not UTF-8`},
		"an infinite value": {entries(nil, entry(0, "/a.png", ""), search.Entry{Record: search.Record{Path: "/b.png"}, Half: append([]uint16{0x7c00}, make([]uint16, 39)...)}), "infinite"},
	} {
		for _, put := range []func(context.Context, iter.Seq2[search.Entry, error]) (int, error){store.Put, store.Replace} {
			if _, err := put(t.Context(), c.entries); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want %q", what, err, c.want)
			}
		}
	}
	if count(t, store) != 500 {
		t.Errorf("%d rows after what failed, want 500", count(t, store))
	}
	if _, err := store.Find(t.Context(), make([]float32, 3), 1); err == nil || !strings.Contains(err.Error(), "a query has 3 values, want 40") {
		t.Errorf("a short query: error %v", err)
	}
	if _, err := store.Find(t.Context(), make([]float32, 40), 1); !errors.Is(err, search.ErrQuery) {
		t.Errorf("a query of length 0: error %v", err)
	}
	if _, err := store.Find(t.Context(), x.Vector(0), 0); err == nil || !strings.Contains(err.Error(), "0 rows are asked for") {
		t.Errorf("no rows: error %v", err)
	}
}

func entries(err error, all ...search.Entry) iter.Seq2[search.Entry, error] {
	return func(yield func(search.Entry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(search.Entry{}, err)
		}
	}
}

func count(t *testing.T, s *Store) (n int) {
	t.Helper()
	if err := s.Pool().QueryRow(t.Context(), "SELECT count(*) FROM "+s.table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSpace: vectors of another space are refused, and those of the same one are taken by who opens the table again.
func TestSpace(t *testing.T) {
	s := space(8)
	store, name := table(t, s)
	x := index(t, s, 3)
	if _, err := x.CopyTo(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), server(t), name, s)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if count(t, again) != 3 || again.Space() != s {
		t.Errorf("opened again: %d rows of %+v", count(t, again), again.Space())
	}
	other := s
	other.Vision = "another"
	for _, o := range []clip.Space{other, space(9)} {
		e := (*search.SpaceError)(nil)
		if _, err := Open(t.Context(), server(t), name, o); !errors.Is(err, search.ErrSpace) || !errors.As(err, &e) || e.Was != s || e.Now != o {
			t.Errorf("another space: error %v", err)
		}
	}
	if _, err := index(t, other, 3).CopyTo(t.Context(), store); !errors.Is(err, search.ErrSpace) || count(t, store) != 3 {
		t.Errorf("an index of another space: error %v", err)
	}
	odd := s
	odd.Normalized = false
	for _, c := range []struct {
		dsn, name string
		s         clip.Space
		want      string
	}{
		{server(t), "a.b.c", s, `the table is "a.b.c", want NAME or SCHEMA.NAME`},
		{server(t), "", s, "want NAME"},
		{server(t), "t", space(20000), "vectors have 20000 values, want 1 to 16000"},
		{server(t), "t", odd, "of the length 1"},
		{"host=/nowhere user=x", "t", s, "/nowhere"},
		{server(t), "nowhere.t", s, `schema "nowhere" does not exist`},
	} {
		if c.want == "of the length 1" {
			c.want = "have the length 1"
		}
		if _, err := Open(t.Context(), c.dsn, c.name, c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.name, err, c.want)
		}
	}
}

// TestHalfvec: the bytes are those that Postgres makes of the same numbers.
func TestHalfvec(t *testing.T) {
	c, err := pgx.Connect(t.Context(), server(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for text, x := range map[string][]float32{"[1,-2.5,0.0001]": {1, -2.5, 0.0001}, "[0]": {0}, "[65504,-0.000000059604645,3]": {65504, -0.000000059604645, 3}} {
		for kind, got := range map[string][]byte{"halfvec": Halfvec(halves(x)), "vector": Vector(x)} {
			var want []byte
			if err := c.QueryRow(t.Context(), "SELECT "+kind+"_send($1::text::"+kind+")", text).Scan(&want); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s of %s: %s, want %s", kind, text, hex.EncodeToString(got), hex.EncodeToString(want))
			}
		}
		back, err := Halves(Halfvec(halves(x)))
		if err != nil || !slices.Equal(back, halves(x)) {
			t.Errorf("%s: %x, %v", text, back, err)
		}
	}
	for _, b := range [][]byte{nil, {0, 1}, {0, 1, 0, 0}, {0, 1, 0, 0, 0x7c, 0}, {0, 1, 0, 0, 0xfe, 0}, {0, 0, 0, 0, 0}} {
		if _, err := Halves(b); err == nil {
			t.Errorf("%x is a halfvec", b)
		}
	}
}

func halves(x []float32) []uint16 {
	h := make([]uint16, len(x))
	for i, v := range x {
		h[i] = kernel.ToHalf(v)
	}
	return h
}

func FuzzHalves(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0x3c, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Halves(b)
		if err == nil && (b[2] == 0 && b[3] == 0) && !slices.Equal(Halfvec(x), b) {
			t.Errorf("%x is %x", b, x)
		}
	})
}
