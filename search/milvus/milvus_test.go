package milvus

import (
	"context"
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

	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/index"
	"github.com/milvus-io/milvus/client/v2/milvusclient"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/search"
)

// server returns what to connect to: these tests want Milvus, and server.sh starts Milvus Lite.
func server(t *testing.T) milvusclient.ClientConfig {
	t.Helper()
	address := os.Getenv("VITAGO_MILVUS")
	if address == "" {
		t.Fatal("VITAGO_MILVUS does not say which Milvus to connect to; server.sh starts one")
	}
	return milvusclient.ClientConfig{Address: address}
}

func space(dim int) clip.Space {
	return clip.Space{Vision: "vision", Text: "text", Features: "embedding", Dim: dim, Normalized: true, Precision: "f32", Preprocessing: "{}"}
}

// collection opens one of its own, without rows.
func collection(t *testing.T, s clip.Space, o ...Option) (*Store, string) {
	t.Helper()
	name := t.Name()
	clean := func() {
		ctx := context.Background()
		config := server(t)
		c, err := milvusclient.New(ctx, &config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(ctx)
		if a, err := c.DescribeAlias(ctx, milvusclient.NewDescribeAliasOption(name)); err == nil && a.CollectionName != "" {
			c.DropAlias(ctx, milvusclient.NewDropAliasOption(name))
		}
		all, err := c.ListCollections(ctx, milvusclient.NewListCollectionOption())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range all {
			if strings.HasPrefix(n, name+"_") {
				if err := c.DropCollection(ctx, milvusclient.NewDropCollectionOption(n)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	clean()
	store, err := Open(t.Context(), server(t), name, s, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close(context.Background()); clean() })
	return store, name
}

// photos writes an index of n random vectors, of which every seventh is that of the row before.
func photos(t *testing.T, s clip.Space, n int) *search.Index {
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

// count returns how many rows a store has.
func count(t *testing.T, s *Store) int {
	t.Helper()
	r, err := s.Client().Query(t.Context(), milvusclient.NewQueryOption(s.name).WithFilter(`path != ""`).WithLimit(16000).WithOutputFields("path").WithConsistencyLevel(entity.ClStrong))
	if err != nil {
		t.Fatal(err)
	}
	return r.ResultCount
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

// TestStore: what an index has, and finds, the collection has and finds; and it follows the index.
func TestStore(t *testing.T) {
	s := space(40)
	store, _ := collection(t, s)
	if hits, err := store.Find(t.Context(), slices.Repeat([]float32{1}, 40), 3); err != nil || len(hits) != 0 {
		t.Errorf("without rows: %v, %v", hits, err)
	}
	x := photos(t, s, 1100) // more than a request has
	for range 2 {
		if n, err := x.CopyTo(t.Context(), store); err != nil || n != 1100 || count(t, store) != 1100 {
			t.Fatalf("%d rows, %v, want 1100", n, err)
		}
	}
	same := func(what string, query []float32, k int) {
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
	for i := range 10 {
		query := make([]float32, s.Dim)
		for j := range query {
			query[j] = float32(rng.NormFloat64()) * 1e3
		}
		same("a random query", query, 1+i*9)
		same("that of a row", x.Vector(i*16), 5)
	}
	hits, err := store.FindWhere(t.Context(), x.Vector(4), 3, `columns["even"] == "yes" and width < 100`)
	if err != nil || len(hits) != 3 || hits[0].Width != 4 || hits[1].Width%2 != 0 || hits[2].Width >= 100 {
		t.Errorf("among some rows %v, %v", hits, err)
	}

	record, err := x.Record(0)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(i int, path, caption string) search.Entry {
		e := search.Entry{Record: record, Half: x.Half(i)}
		e.Path, e.Caption = path, caption
		return e
	}
	if n, err := store.Put(t.Context(), entries(nil, entry(0, record.Path, "another"), entry(2, "/new.png", "x"))); err != nil || n != 2 || count(t, store) != 1101 {
		t.Errorf("%d rows were put, %v, and there are %d", n, err, count(t, store))
	}
	if got, err := store.Find(t.Context(), x.Vector(0), 1); err != nil || got[0].Caption != "another" {
		t.Errorf("a row that was put again is %+v, %v", got, err)
	}
	if n, err := store.Delete(t.Context(), []string{"/new.png"}); err != nil || n != 1 || count(t, store) != 1100 {
		t.Errorf("%d rows were deleted, %v, want 1", n, err)
	}
	if n, err := store.Replace(t.Context(), entries(nil, entry(5, "/five.png", ""), entry(6, "/six.png", "y"))); err != nil || n != 2 || count(t, store) != 2 {
		t.Errorf("%d rows, %v, want 2", n, err)
	}
	if _, err := x.CopyTo(t.Context(), store); err != nil || count(t, store) != 1100 {
		t.Errorf("%d rows, %v, want 1100", count(t, store), err)
	}

	fails := errors.New("cannot be read")
	for what, c := range map[string]struct {
		entries iter.Seq2[search.Entry, error]
		want    string
	}{
		"a path twice":      {entries(nil, entry(0, "/twice.png", ""), entry(1, "/twice.png", "")), "/twice.png: is there twice"},
		"no path":           {entries(nil, entry(0, "", "")), "has no path"},
		"an error":          {entries(fails, entry(0, "/a.png", "")), "cannot be read"},
		"a short vector":    {entries(nil, entry(0, "/a.png", ""), search.Entry{Record: search.Record{Path: "/b.png"}, Half: make([]uint16, 3)}), "/b.png: a vector of 3 values, want 40"},
		"a path in Latin-1": {entries(nil, entry(0, "/a.png", ""), entry(1, "/caf\xe9.png", "")), `the path "/caf\xe9.png" is not UTF-8`},
		"a long caption":    {entries(nil, entry(0, "/a.png", strings.Repeat("x", 70000))), "has 70000 bytes, of which Milvus keeps 65535"},
		"an infinite value": {entries(nil, search.Entry{Record: search.Record{Path: "/b.png"}, Half: append([]uint16{0x7c00}, make([]uint16, 39)...)}), "infinite"},
	} {
		for _, put := range []func(context.Context, iter.Seq2[search.Entry, error]) (int, error){store.Put, store.Replace} {
			if _, err := put(t.Context(), c.entries); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want %q", what, err, c.want)
			}
		}
	}
	if count(t, store) != 1100 {
		t.Errorf("%d rows after what failed, want 1100", count(t, store))
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

// TestBy: an index of HNSW finds nearly all.
func TestBy(t *testing.T) {
	s := space(24)
	store, _ := collection(t, s, By(index.NewHNSWIndex(entity.IP, 16, 100)))
	x := photos(t, s, 500)
	if _, err := x.CopyTo(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	found := 0
	for i := range 10 {
		want, err := x.Find(t.Context(), x.Vector(i*25), search.FindOptions{K: 10})
		if err != nil {
			t.Fatal(err)
		}
		got, err := store.Find(t.Context(), x.Vector(i*25), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range want {
			if slices.ContainsFunc(got, func(g search.Hit) bool { return g.Path == h.Path && g.Cosine == h.Cosine }) {
				found++
			}
		}
	}
	if found < 95 {
		t.Errorf("%d of 100 are found", found)
	}
}

// TestSpace: vectors of another space are refused, and those of the same one are taken by who opens the collection again.
func TestSpace(t *testing.T) {
	s := space(8)
	store, name := collection(t, s)
	x := photos(t, s, 3)
	if _, err := x.CopyTo(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), server(t), name, s)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(t.Context())
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
	if _, err := photos(t, other, 3).CopyTo(t.Context(), store); !errors.Is(err, search.ErrSpace) || count(t, store) != 3 {
		t.Errorf("an index of another space: error %v", err)
	}
	odd := s
	odd.Normalized = false
	for _, c := range []struct {
		s    clip.Space
		want string
	}{{space(1), "vectors have 1 values, want 2 to 32768"}, {odd, "want a space whose vectors have the length 1"}} {
		if _, err := Open(t.Context(), server(t), name, c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
