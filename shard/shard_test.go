package shard

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/embeddings"
	"github.com/vitago/vitago/shard/input"
	"github.com/vitago/vitago/shard/output"
)

// model is the small one, opened once.
var model = sync.OnceValue(func() *clip.Model {
	m, err := demo.Open()
	if err != nil {
		panic(err)
	}
	return m
})

// photos writes so many pictures, and returns their folder. Those of which broken says so are no pictures.
func photos(t testing.TB, n int, broken func(i int) bool) string {
	t.Helper()
	dir := t.TempDir()
	all := demo.Pictures()
	for i := range n {
		var b bytes.Buffer
		if broken != nil && broken(i) {
			b.WriteString("no picture")
		} else {
			img, err := all[i%len(all)].Decode()
			if err == nil {
				err = png.Encode(&b, img)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.png", i)), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// open opens a job, with settings that most tests have.
func open(t testing.TB, o Options) *Job {
	t.Helper()
	j, err := Open(t.Context(), model(), o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// all encodes all shards that a source of a job gives.
func all(t testing.TB, j *Job) Report {
	t.Helper()
	s, err := j.Assigned(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := j.Work(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tree returns the contents of a dataset's files by their names, without what lies beside it.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if name = filepath.ToSlash(name); !strings.HasPrefix(name, beside) {
			b, err := os.ReadFile(path)
			files[name] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// rows returns the keys and vectors of all rows of a dataset, in order.
func rows(t testing.TB, dir string) (keys []string, vectors [][]float32) {
	t.Helper()
	d, err := openDataset(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for n := range d.plan.Shards {
		r, _, err := d.readRecord(t.Context(), n)
		if err != nil || r == nil {
			t.Fatalf("shard %d: record %v, error %v", n, r, err)
		}
		for row, err := range output.Rows(t.Context(), d.store, r.Files, d.plan.Spec) {
			if err != nil {
				t.Fatal(err)
			}
			keys, vectors = append(keys, row.Key), append(vectors, slices.Clone(row.Image))
		}
	}
	return keys, vectors
}

// naive returns the names and vectors that embeddings.Encode writes of the pictures in a folder.
func naive(t testing.TB, dir string) (names []string, vectors [][]float32) {
	t.Helper()
	pictures, _, err := clip.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "naive.npy")
	if _, err := embeddings.Encode(t.Context(), model(), pictures, path, embeddings.EncodeOptions{Normalize: true, SkipErrors: true}); err != nil {
		t.Fatal(err)
	}
	set, err := embeddings.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range set.Vectors {
		if v != nil && v[0] == v[0] { // NaN of a picture that could not be read
			names, vectors = append(names, filepath.Base(set.Names[i])), append(vectors, v)
		}
	}
	return names, vectors
}

// TestSame: the rows of all shards, one after the other, are those of one encode, to the bit, whatever the shards, batches and workers.
func TestSame(t *testing.T) {
	in := photos(t, 23, func(i int) bool { return i == 7 || i == 22 })
	names, want := naive(t, in)
	if len(want) != 21 {
		t.Fatalf("%d vectors, want 21", len(want))
	}
	for _, c := range []struct{ perShard, batch, workers int }{{1, 0, 1}, {4, 3, 1}, {5, 1, 3}, {8, 0, 2}, {100, 0, 2}} {
		out := t.TempDir()
		o := Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: c.perShard}, Float32: true, Batch: c.batch, MaxErrors: 1, Resume: true}
		var workers sync.WaitGroup
		var done, rowsDone atomic.Int64
		for range c.workers {
			workers.Go(func() {
				j, err := Open(t.Context(), model(), o)
				if err != nil {
					t.Error(err)
					return
				}
				s, end, err := j.Claims(t.Context(), ClaimOptions{Lease: time.Second})
				if err != nil {
					t.Error(err)
					return
				}
				defer end()
				r, err := j.Work(t.Context(), s)
				if err != nil || r.Failed > 0 {
					t.Errorf("%+v: %+v, error %v", c, r, err)
				}
				done.Add(int64(r.Done))
				rowsDone.Add(int64(r.Rows))
			})
		}
		workers.Wait()
		keys, got := rows(t, out)
		if !slices.Equal(keys, names) || !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%+v: %d rows of %q, want the %d of %q, with the same bits", c, len(got), keys, len(want), names)
		}
		if n := (23 + c.perShard - 1) / c.perShard; done.Load() != int64(n) || rowsDone.Load() != 21 {
			t.Errorf("%+v: workers have done %d shards with %d rows, want %d with 21", c, done.Load(), rowsDone.Load(), n)
		}
		clean(t, out)
	}
}

// clean fails if something of the work is left: a claim, a temporary file, a failure.
func clean(t testing.TB, out string) {
	t.Helper()
	for _, dir := range []string{"claims", "tmp", "failed"} {
		left, err := os.ReadDir(filepath.Join(out, "vitago", dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range left {
			t.Errorf("vitago/%s/%s is left", dir, e.Name())
		}
	}
}

// TestAhead: shards are read while the tower waits, and it goes on while shards are being published. No more than maxInFlight are in work.
func TestAhead(t *testing.T) {
	const each, shards = 5, maxInFlight + 3
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	wait := func(what string, c <-chan struct{}) {
		select {
		case <-c:
		case <-ctx.Done():
			t.Errorf("%s: it stands still", what)
		}
	}
	read, written := make(chan struct{}), make(chan struct{})
	var begun, published atomic.Int64
	o := Options{Output: t.TempDir(), Inputs: []string{photos(t, each*shards, nil)}, Input: input.Options{PerShard: each}, Batch: 4}
	o.Progress = func(p Progress) {
		switch p {
		case Progress{Shard: 0, Samples: 1, Rows: 1}:
			wait("the first row, while others are read", read)
		case Progress{Shard: maxInFlight - 1, Samples: each, Rows: each}:
			if n, p := begun.Load(), published.Load(); n != maxInFlight || p != 0 {
				t.Errorf("%d shards are begun and %d published, want %d and 0", n, p, maxInFlight)
			}
			close(written)
		}
	}
	j := open(t, o)
	j.recording = func(n int) {
		wait(fmt.Sprintf("publishing shard %d, while others are encoded", n), written)
		published.Add(1)
	}
	s, err := j.Assigned(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	next := s.Next
	s.Next = func(ctx context.Context) (int, bool, error) {
		n, ok, err := next(ctx)
		if ok && begun.Add(1) == maxInFlight {
			close(read)
		}
		return n, ok, err
	}
	if r, err := j.Work(ctx, s); err != nil || r.Done != shards || r.Rows != each*shards {
		t.Errorf("%+v, %v, want %d shards of %d rows", r, err, shards, each)
	}
}

// TestBytes: the files of a dataset are the same bytes, whatever the order in which workers made them.
func TestBytes(t *testing.T) {
	in := photos(t, 10, nil)
	for _, format := range output.Formats() {
		o := Options{Inputs: []string{in}, Input: input.Options{PerShard: 3}, Format: format}
		var trees []map[string]string
		for _, order := range [][]int{{0, 1, 2, 3}, {3, 1, 0, 2}} {
			o.Output = t.TempDir()
			j := open(t, o)
			for _, n := range order {
				if r, err := j.Shard(t.Context(), n); err != nil || r.Rows != []int{3, 3, 3, 1}[n] {
					t.Fatal(n, r, err)
				}
			}
			trees = append(trees, tree(t, o.Output))
		}
		if len(trees[0]) == 0 || !maps.Equal(trees[0], trees[1]) {
			t.Errorf("%s: the files differ", format)
		}
	}
}

// TestTwo: of two workers that encode one shard at once, one puts the record, and the other publishes for it or finds it done.
func TestTwo(t *testing.T) {
	in, out := photos(t, 4, nil), t.TempDir()
	o := Options{Output: out, Inputs: []string{in}, Resume: true}
	a, b := open(t, o), open(t, o)
	other, goOn := make(chan *Record, 1), make(chan bool)
	a.recording = func(int) { // b is faster, but is paused behind its record, until a has published
		paused := make(chan bool)
		b.recorded = func(int) { close(paused); <-goOn }
		go func() {
			r, err := b.Shard(t.Context(), 0)
			if err != nil {
				t.Error(err)
			}
			other <- r
		}()
		<-paused
	}
	r, err := a.Shard(t.Context(), 0)
	if err != nil || r.Worker != b.worker {
		t.Fatalf("record %+v, error %v, want that of %s", r, err, b.worker)
	}
	close(goOn)
	if r := <-other; r == nil || r.Worker != b.worker {
		t.Errorf("record %+v, want that of %s", r, b.worker)
	}
	if keys, _ := rows(t, out); len(keys) != 4 {
		t.Errorf("rows %q, want 4", keys)
	}
	clean(t, out)
}

// TestAgain: a number that comes again while its shard is in work, as from a queue that heard nothing of it, is a shard that is done before, and
// neither is in the other's way.
func TestAgain(t *testing.T) {
	in := photos(t, 6, nil)
	for range 5 {
		out := t.TempDir()
		j := open(t, Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 2}})
		numbers := []int{0, 0, 1, 1, 0, 2, 2}
		r, err := j.Work(t.Context(), Source{Next: func(context.Context) (n int, ok bool, err error) {
			if len(numbers) == 0 {
				return 0, false, nil
			}
			n, numbers = numbers[0], numbers[1:]
			return n, true, nil
		}})
		if err != nil || r.Done != 3 || r.Before != 4 || r.Rows != 6 {
			t.Errorf("%+v, error %v, want 3 done and 4 before", r, err)
		}
		if v, err := Verify(t.Context(), out, func(err error) { t.Error(err) }); err != nil || v.Rows != 6 {
			t.Errorf("%+v, error %v", v, err)
		}
		clean(t, out)
	}
}

// TestVoid: a record whose files are gone is void, and a new one takes its place.
func TestVoid(t *testing.T) {
	in, out := photos(t, 5, nil), t.TempDir()
	o := Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 2}, Resume: true}
	all(t, open(t, o))
	before := tree(t, out)
	if err := os.Remove(filepath.Join(out, "metadata", "metadata_1.parquet")); err != nil {
		t.Fatal(err)
	}
	j := open(t, o)
	if todo, err := j.Todo(t.Context()); err != nil || !slices.Equal(todo, []int{1}) {
		t.Fatalf("to do are %v, error %v, want 1 alone", todo, err)
	}
	if r := all(t, j); r.Done != 1 || r.Before != 2 {
		t.Errorf("%+v, want 1 done and 2 before", r)
	}
	if after := tree(t, out); !maps.Equal(before, after) {
		t.Error("the files are not what they were")
	}
	if r, g, err := j.readRecord(t.Context(), 1); err != nil || g != 1 || r.Generation != 1 {
		t.Errorf("record %+v of generation %d, error %v, want generation 1", r, g, err)
	}
	clean(t, out)
}

// TestPublish: what died behind its record is published by whoever comes next, and is not encoded again.
func TestPublish(t *testing.T) {
	in, out := photos(t, 3, nil), t.TempDir()
	o := Options{Output: out, Inputs: []string{in}, Resume: true}
	a := open(t, o)
	died := errors.New("died")
	a.recorded = func(int) { panic(died) }
	func() {
		defer func() { recover() }()
		f := readAlone(t, a, 0)
		(&work{Job: a}).record(t.Context(), f)
	}()
	if files := tree(t, out); len(files) != 0 {
		t.Fatalf("published are %d files, want none", len(files))
	}
	b := open(t, o)
	r := all(t, b)
	if r.Before != 1 || r.Done != 0 {
		t.Errorf("%+v, want what was done before", r)
	}
	if keys, _ := rows(t, out); len(keys) != 3 {
		t.Errorf("rows %q, want 3", keys)
	}
}

// readAlone writes the rows of a shard, as a worker does before it puts the record.
func readAlone(t testing.TB, j *Job, n int) *flight {
	t.Helper()
	w := &work{Job: j, inFlight: map[*flight]bool{}}
	f, err := w.open(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	p, err := j.part(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Open(t.Context(), j.plan.Input)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for s, err := range r.Samples() {
		if err != nil {
			t.Fatal(err)
		}
		v, err := model().Encode(t.Context(), clip.Bytes(s.Path, s.Image))
		if err != nil {
			t.Fatal(err)
		}
		f.samples++
		if err := w.add(t.Context(), f, &item{of: f, sample: &s}, clip.Encoded{Vector: v[0]}); err != nil {
			t.Fatal(err)
		}
	}
	f.sum = r.SHA256()
	return f
}

// writeTar writes a tar of WebDataset with a picture for each caption; "" is none.
func writeTar(t testing.TB, path string, captions []string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, content []byte) {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o666, Size: int64(len(content)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := photos(t, len(captions), nil)
	for i, c := range captions {
		content, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%03d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		add(fmt.Sprintf("%03d.png", i), content)
		if c != "" {
			add(fmt.Sprintf("%03d.txt", i), []byte(c))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}
