package shard

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitago/vitago/shard/input"
	"github.com/vitago/vitago/shard/store"
)

// made encodes pictures in shards of two and returns the output.
func made(t *testing.T, pictures int, o Options) string {
	t.Helper()
	o.Output, o.Inputs, o.Input.PerShard, o.MaxErrors = t.TempDir(), []string{photos(t, pictures, nil)}, 2, 1
	all(t, open(t, o))
	return o.Output
}

// TestVerify: each thing that is wrong with a dataset is said, and nothing else.
func TestVerify(t *testing.T) {
	cut := func(t *testing.T, path string) {
		if err := os.Truncate(path, 100); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(t *testing.T, path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		os.WriteFile(path, b, 0o666)
	}
	for name, c := range map[string]struct {
		harm func(t *testing.T, dir string)
		want []string
	}{
		"nothing":  {func(*testing.T, string) {}, nil},
		"cut off":  {func(t *testing.T, dir string) { cut(t, dir+"/img_emb/img_emb_0.npy") }, []string{"shard 0: ", "img_emb_0.npy"}},
		"bit":      {func(t *testing.T, dir string) { flip(t, dir+"/img_emb/img_emb_2.npy") }, []string{"shard 2: ", "img_emb_2.npy"}},
		"gone":     {func(t *testing.T, dir string) { os.Remove(dir + "/metadata/metadata_1.parquet") }, []string{"shard 1: ", "metadata_1.parquet"}},
		"more":     {func(t *testing.T, dir string) { os.WriteFile(dir+"/img_emb/img_emb_7.npy", nil, 0o666) }, []string{"img_emb/img_emb_7.npy: no record has such a file"}},
		"record":   {func(t *testing.T, dir string) { cut(t, dir+"/vitago/shards/1.json") }, []string{"shard 1: vitago/shards/1.json cannot be read", "_1.", "_1."}},
		"not done": {func(t *testing.T, dir string) { os.Remove(dir + "/vitago/shards/1.json") }, []string{"shard 1: it is not done", "_1.", "_1."}},
		"unpublished": {func(t *testing.T, dir string) {
			d, err := openDataset(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			r, _, err := d.readRecord(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.store.Rename(t.Context(), r.Files[0].Name, r.Temporary+r.Files[0].Name); err != nil {
				t.Fatal(err)
			}
		}, []string{"shard 0: img_emb/img_emb_0.npy still has its temporary name"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := made(t, 6, Options{})
			c.harm(t, dir)
			var faults []string
			v, err := Verify(t.Context(), dir, func(err error) { faults = append(faults, err.Error()) })
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(faults, "\n")
			for _, w := range c.want {
				if !strings.Contains(text, w) {
					t.Errorf("%q, want %q", text, w)
				}
			}
			if (len(faults) == 0) != (c.want == nil) || v.Faults != len(faults) || v.Shards != 3 || len(faults) == 0 && (v.Rows != 6 || v.Done != 3 || v.Bytes == 0) {
				t.Errorf("%+v, faults %q", v, faults)
			}
			if name == "more" { // nobody knows whose it is
				return
			}
			// Whatever it was, the next worker mends what sizes and names show.
			if name != "bit" {
				all(t, open(t, Options{Output: dir, Resume: true}))
				if v, err := Verify(t.Context(), dir, func(err error) { t.Error("mended: ", err) }); err != nil || v.Rows != 6 {
					t.Errorf("mended: %+v, error %v", v, err)
				}
			}
		})
	}
}

// TestMerge: the rows of the merged dataset are those of the others, one after the other; what differs is refused.
func TestMerge(t *testing.T) {
	a, b, out := made(t, 5, Options{}), made(t, 15, Options{}), filepath.Join(t.TempDir(), "out")
	m, err := Merge(t.Context(), out, []string{a, b}, MergeOptions{})
	if err != nil || m.Shards != 11 || m.Rows != 20 || m.Before != 0 {
		t.Fatalf("%+v, error %v", m, err)
	}
	keysA, vectorsA := rows(t, a)
	keysB, vectorsB := rows(t, b)
	keys, vectors := rows(t, out)
	if !slices.Equal(keys, append(keysA, keysB...)) || !slices.EqualFunc(vectors, append(vectorsA, vectorsB...), slices.Equal) {
		t.Error("other rows")
	}
	for name := range tree(t, out) {
		if n := strings.TrimSuffix(name[strings.LastIndexByte(name, '_')+1:], filepath.Ext(name)); len(n) != 2 {
			t.Errorf("%s: want a number of two digits", name)
		}
	}
	if v, err := Verify(t.Context(), out, func(err error) { t.Error(err) }); err != nil || v.Rows != 20 {
		t.Errorf("%+v, error %v", v, err)
	}
	before := tree(t, out)
	if m, err := Merge(t.Context(), out, []string{a, b}, MergeOptions{}); err != nil || m.Before != 11 || !maps.Equal(tree(t, out), before) {
		t.Errorf("again: %+v, error %v", m, err)
	}
	for name, c := range map[string]struct {
		from []string
		want string
	}{
		"other files":   {[]string{a}, "another dataset has been begun there"},
		"twice":         {[]string{a, a}, "is named twice"},
		"itself":        {[]string{a, out}, "is named twice"},
		"other format":  {[]string{a, made(t, 2, Options{Format: "jsonl"})}, "cannot be merged"},
		"other numbers": {[]string{a, made(t, 2, Options{Float32: true})}, "cannot be merged"},
	} {
		if _, err := Merge(t.Context(), out, c.from, MergeOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	os.Remove(filepath.Join(a, "vitago", "shards", "1.json"))
	if _, err := Merge(t.Context(), filepath.Join(t.TempDir(), "x"), []string{a}, MergeOptions{}); err == nil || !strings.Contains(err.Error(), "shard 1 is not done") {
		t.Errorf("error %v", err)
	}
	if m, err := Merge(t.Context(), filepath.Join(t.TempDir(), "x"), []string{a}, MergeOptions{Incomplete: true}); err != nil || m.Left != 1 || m.Rows != 3 {
		t.Errorf("%+v, error %v", m, err)
	}
}

// TestStatus: sums, rate and time left of a dataset whose records are known.
func TestStatus(t *testing.T) {
	began := time.Date(2026, 11, 30, 20, 0, 0, 0, time.UTC)
	s := &Status{Shards: 8}
	for n := range 4 { // 100 rows each in 10 s, two at a time
		at := began.Add(time.Duration(n/2) * 10 * time.Second)
		s.Each = append(s.Each, ShardStatus{Shard: n, State: StateDone, Rows: 100, Failed: n, Missing: 1, Worker: fmt.Sprint("w", n%2), Kernel: "avx2", Began: at, Ended: at.Add(10 * time.Second)})
	}
	s.Each = append(s.Each, ShardStatus{Shard: 4, State: StateClaimed, Rows: 60, Worker: "w2"}, ShardStatus{Shard: 5, State: StateOpen}, ShardStatus{Shard: 6, State: StateOpen}, ShardStatus{Shard: 7, State: StateFailed, Worker: "w3"})
	s.sum()
	if s.Done != 4 || s.Claimed != 1 || s.Open != 2 || s.Failed != 1 || s.Rows != 400 || s.FailedRows != 6 || s.Missing != 4 || s.Workers != 3 || !slices.Equal(s.Kernels, []string{"avx2"}) {
		t.Errorf("%+v", s)
	}
	if s.Rate != 20 || s.Left != 12*time.Second { // 240 rows are left
		t.Errorf("%v rows/s, %v left, want 20 and 12 s", s.Rate, s.Left)
	}
	// Long ago it was slow.
	many := &Status{Shards: 41}
	for n := range 40 {
		at := began.Add(time.Duration(n) * 100 * time.Second)
		if n >= 20 {
			at = began.Add(24*time.Hour + time.Duration(n)*time.Second)
		}
		many.Each = append(many.Each, ShardStatus{Shard: n, State: StateDone, Rows: 10, Began: at, Ended: at.Add(time.Second)})
	}
	many.Each = append(many.Each, ShardStatus{Shard: 40, State: StateOpen})
	if many.sum(); many.Rate != 10 || many.Left != time.Second {
		t.Errorf("%v rows/s, %v left, want 10 and 1 s", many.Rate, many.Left)
	}
}

// TestClaimed: what a worker has stands in the status, with its rows so far.
func TestClaimed(t *testing.T) {
	in, out := photos(t, 4, nil), t.TempDir()
	j := open(t, Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 2}})
	clock := time.Now()
	c := claimsOf(t, j, &clock, 0)
	n := take(t, c, 1)[0]
	c.renew(t.Context(), n, 1)
	s, err := ReadStatus(t.Context(), out)
	if err != nil || s.Claimed != 1 || s.Open != 1 || s.Each[n].State != StateClaimed || s.Each[n].Rows != 1 || s.Each[n].Worker != j.worker || s.Workers != 1 {
		t.Errorf("%+v, error %v", s, err)
	}
}

// A listing is a store of this machine that counts how often records are listed.
type listing struct{ store.Store }

var listings atomic.Int64

func (l listing) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	if strings.HasPrefix(prefix, "vitago/shards/") {
		listings.Add(1)
	}
	return l.Store.List(ctx, prefix)
}

func init() {
	store.Register("listing", func(ctx context.Context, location string) (store.Store, error) {
		s, err := store.Open(ctx, strings.TrimPrefix(location, "listing://"))
		return listing{s}, err
	})
}

// TestListedOnce: who looks at all shards lists the records once, and not once for each.
func TestListedOnce(t *testing.T) {
	a, out := made(t, 30, Options{}), filepath.Join(t.TempDir(), "out")
	for name, of := range map[string]struct {
		do   func() error
		most int64
	}{
		"verify": {func() error {
			v, err := Verify(t.Context(), "listing://"+filepath.ToSlash(a), func(err error) { t.Error(err) })
			if v.Shards < 10 {
				t.Errorf("%d shards, want 10 or more", v.Shards)
			}
			return err
		}, 1},
		"merge": {func() error {
			_, err := Merge(t.Context(), "listing://"+filepath.ToSlash(out), []string{"listing://" + filepath.ToSlash(a)}, MergeOptions{})
			return err
		}, 2},
	} {
		listings.Store(0)
		if err := of.do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := listings.Load(); n < 1 || n > of.most {
			t.Errorf("%s lists records %d times, want at most %d", name, n, of.most)
		}
	}
}
