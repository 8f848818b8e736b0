package shard

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitago/vitago/shard/store"
	_ "github.com/vitago/vitago/shard/store/s3"
	"github.com/vitago/vitago/shard/store/storetest"
)

// TestS3: from tars in a bucket that fails now and then to a dataset in it, by two workers: the same bytes as from files to a folder, complete, and
// nothing left about.
func TestS3(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	tars := []string{"0.tar", "1.tar", "2.tar", "3.tar"}
	for _, name := range tars {
		writeTar(t, filepath.Join(in, name), []string{"a red circle", "a blue square", "a green star"})
	}
	all(t, open(t, Options{Output: out, Inputs: []string{in}, Captions: true}))

	server := storetest.NewServer(t)
	server.Setenv(t)
	t.Setenv("TMPDIR", t.TempDir())
	bucket, err := store.Open(t.Context(), server.Location)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tars {
		b, err := os.ReadFile(filepath.Join(in, name))
		if err == nil {
			err = store.Write(t.Context(), bucket, "in/"+name, b, store.PutOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	server.Fail(storetest.Random(7, 0.05, storetest.Error500, storetest.Error503, storetest.Reset, storetest.LostAnswer, storetest.Cut))
	there := server.Location + "/out"
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			j, err := Open(t.Context(), model(), Options{Output: there, Inputs: []string{server.Location + "/in"}, Captions: true, Resume: true})
			if err != nil {
				t.Error(err)
				return
			}
			s, end, err := j.Claims(t.Context(), ClaimOptions{Lease: 3 * time.Second})
			if err != nil {
				t.Error(err)
				return
			}
			defer end()
			if r, err := j.Work(t.Context(), s); err != nil || r.Failed > 0 {
				t.Errorf("%+v, error %v", r, err)
			}
		})
	}
	workers.Wait()
	requests, faults := server.Counts()
	server.Fail(nil)
	t.Logf("%d requests, %d faults", requests, faults)
	want := tree(t, out)
	for _, i := range storetest.List(t, bucket, "out/") {
		name := strings.TrimPrefix(i.Name, "out/")
		if strings.HasPrefix(name, beside) {
			if strings.HasPrefix(name, beside+"tmp/") || strings.HasPrefix(name, beside+"claims/") {
				t.Errorf("%s is left", name)
			}
			continue
		}
		b, _, err := store.Read(t.Context(), bucket, "out/"+name, 1<<20)
		if err != nil || string(b) != want[name] && !strings.HasPrefix(name, "metadata/") { // which has the locations of pictures
			t.Errorf("%s: other bytes, or error %v", name, err)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("%d files are missing", len(want))
	}
	if v, err := Verify(t.Context(), there, func(err error) { t.Error(err) }); err != nil || v.Rows != 12 {
		t.Errorf("%+v, error %v", v, err)
	}
	if m, err := Merge(t.Context(), server.Location+"/all", []string{there, out}, MergeOptions{}); err != nil || m.Rows != 24 {
		t.Errorf("%+v, error %v", m, err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%v, error %v, are left in the folder for temporary files", left, err)
	}
}

// failingTwice is a store whose calls fail twice each.
type failingTwice struct {
	store.Store
	calls map[string]int
	err   error
}

func (f failingTwice) fails(call string) error {
	if f.calls[call]++; f.calls[call] <= 2 {
		return f.err
	}
	return nil
}

func (f failingTwice) Stat(ctx context.Context, name string) (store.Info, error) {
	if err := f.fails("stat"); err != nil {
		return store.Info{}, err
	}
	return f.Store.Stat(ctx, name)
}

func (f failingTwice) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if err := f.fails("put"); err != nil {
		return err
	}
	return f.Store.Put(ctx, name, r, size, o)
}

// TestPatience: what fails for no known reason is tried again, and what would be the same again is not.
func TestPatience(t *testing.T) {
	local, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var waited []time.Duration
	wait := func(_ context.Context, d time.Duration) error { waited = append(waited, d); return nil }
	away := errors.New("away")
	p := patient{failingTwice{local, map[string]int{}, away}, wait}
	if err := store.Write(t.Context(), p, "x", []byte("y"), store.PutOptions{IfAbsent: true}); err != nil || len(waited) != 2 {
		t.Errorf("error %v after %v", err, waited)
	}
	if i, err := p.Stat(t.Context(), "x"); err != nil || i.Size != 1 || len(waited) != 4 {
		t.Errorf("%+v, error %v, after %v", i, err, waited)
	}
	if _, err := p.Stat(t.Context(), "nothing"); !errors.Is(err, fs.ErrNotExist) || len(waited) != 4 {
		t.Errorf("error %v after %v", err, waited)
	}
	if err := store.Write(t.Context(), p, "x", nil, store.PutOptions{IfAbsent: true}); !errors.Is(err, store.ErrExists) || len(waited) != 4 {
		t.Errorf("error %v after %v", err, waited)
	}
	waited = nil
	p.Store = failingTwice{local, map[string]int{"stat": -100}, away}
	if _, err := p.Stat(t.Context(), "x"); !errors.Is(err, away) || len(waited) != len(patience) {
		t.Errorf("error %v after %v, want all attempts", err, waited)
	}
}
