package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitago/vitago/shard/store"
	"github.com/vitago/vitago/shard/store/storetest"
)

func openLocal(t *testing.T, dir string) store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLocal(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openLocal(t, filepath.Join(t.TempDir(), "made", "by", "put")) })
}

// Of processes that put under one name, one wins. Each takes part in every round.
func TestLocalProcesses(t *testing.T) {
	const processes, rounds = 4, 25
	if dir := os.Getenv("STORE_TEST_RACE"); dir != "" {
		s := openLocal(t, dir)
		for r := range rounds {
			err := store.Write(t.Context(), s, fmt.Sprintf("claims/%d", r), []byte(os.Getenv("STORE_TEST_NUMBER")), store.PutOptions{IfAbsent: true})
			if err == nil {
				fmt.Printf("won %d\n", r)
			} else if !errors.Is(err, store.ErrExists) {
				t.Fatal(err)
			}
		}
		return
	}
	dir := t.TempDir()
	type result struct {
		out []byte
		err error
	}
	results := make([]chan result, processes)
	for i := range results {
		results[i] = make(chan result, 1)
		go func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestLocalProcesses$")
			cmd.Env = append(os.Environ(), "STORE_TEST_RACE="+dir, "STORE_TEST_NUMBER="+strconv.Itoa(i))
			out, err := cmd.CombinedOutput()
			results[i] <- result{out, err}
		}()
	}
	winners := map[string]string{}
	for i := range results {
		r := <-results[i]
		if r.err != nil {
			t.Fatalf("process %d: %v\n%s", i, r.err, r.out)
		}
		for line := range strings.Lines(string(r.out)) {
			if round, ok := strings.CutPrefix(strings.TrimSpace(line), "won "); ok {
				if winners[round] != "" {
					t.Errorf("round %s was won by %s and %d", round, winners[round], i)
				}
				winners[round] = strconv.Itoa(i)
			}
		}
	}
	s := openLocal(t, dir)
	for r := range rounds {
		b, _, err := store.Read(t.Context(), s, fmt.Sprintf("claims/%d", r), 100)
		if err != nil || string(b) != winners[strconv.Itoa(r)] || len(b) == 0 {
			t.Errorf("round %d: %q is there, %v, and %q won", r, b, err, winners[strconv.Itoa(r)])
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "claims")); err != nil || len(entries) != rounds {
		t.Errorf("%d files, %v, want %d and nothing beside them", len(entries), err, rounds)
	}
}

// A put that has not ended is not seen, nor what a killed process left of one.
func TestLocalPartial(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	seen := func(stage string) {
		if got := storetest.Names(t, s, ""); got != nil {
			t.Errorf("%s: there are %q", stage, got)
		}
	}
	content := watched{strings.NewReader("content"), func() { seen("in the middle") }}
	if err := s.Put(t.Context(), "a/b", content, 7, store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "a", "b"), filepath.Join(dir, "a", ".b.partial-0000abcd")); err != nil {
		t.Fatal(err)
	}
	seen("after a kill")
}

type watched struct {
	*strings.Reader
	see func()
}

func (w watched) Read(b []byte) (int, error) {
	w.see()
	return w.Reader.Read(b)
}

// Links to files and folders are followed, and one to a folder above is an error in place of an endless list.
func TestLocalLinks(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, "x"), []byte("linked"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"file": filepath.Join(elsewhere, "x"), "folder": elsewhere, "nothing": filepath.Join(elsewhere, "none")} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Skip("no links here:", err)
		}
	}
	s := openLocal(t, dir)
	if got := storetest.Names(t, s, ""); !slices.Equal(got, []string{"file", "folder/x"}) {
		t.Errorf("got %q", got)
	}
	if b, i, err := store.Read(t.Context(), s, "file", 100); err != nil || string(b) != "linked" || i.Size != 6 {
		t.Errorf("got %q, %+v, %v", b, i, err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	var err error
	n := 0
	for _, e := range s.List(t.Context(), "") {
		err = e
		n++
	}
	if err == nil || n > 1000 {
		t.Errorf("%d items, and the error %v", n, err)
	}
}

// A file that shrinks while it is read is an error, and no short content.
func TestLocalShrinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("where an open file keeps its size")
	}
	dir := t.TempDir()
	s := openLocal(t, dir)
	path := filepath.Join(dir, "a")
	if err := os.WriteFile(path, make([]byte, 1000), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(path, 600); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); n != 600 || !errors.Is(err, store.ErrChanged) || !strings.Contains(err.Error(), "400 bytes before its size, 1000") {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for location, want := range map[string]string{
		"":           "no location",
		file:         "not a folder",
		"s9://b/x":   "nothing here opens s9://",
		"S9://b/x":   "nothing here opens s9://",
		"http://b/x": "want a folder or one of [",
	} {
		if _, err := store.Open(t.Context(), location); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", location, err, want)
		}
	}
}

func TestRegister(t *testing.T) {
	opened := ""
	open := func(_ context.Context, location string) (store.Store, error) {
		opened = location
		return nil, fs.ErrPermission
	}
	store.Register("test", open)
	if _, err := store.Open(t.Context(), "TEST://a/b"); !errors.Is(err, fs.ErrPermission) || opened != "TEST://a/b" {
		t.Errorf("%q was opened: %v", opened, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a scheme was registered twice")
		}
	}()
	store.Register("test", open)
}

// TestAlmost: a location with a slash too few is no folder, and a password is not shown.
func TestAlmost(t *testing.T) {
	store.Register("almost", func(context.Context, string) (store.Store, error) { return nil, fs.ErrPermission })
	for _, location := range []string{"almost:/b/x", "Almost:/b"} {
		if _, err := store.Open(t.Context(), location); err == nil || !strings.Contains(err.Error(), "want almost://BUCKET/PREFIX") {
			t.Errorf("%q: error %v", location, err)
		}
	}
	for location, want := range map[string]string{
		"s3://b/a:b@c": "s3://b/a:b@c", "s3://k:a/b@c/d": "s3://k:…@c/d", "s3://k:a@b": "s3://k:…@b", "s3://k@b/x": "s3://k@b/x", "a:b@c": "a:b@c", "s3://b:x/y": "s3://b:x/y", "gs://k:s@b": "gs://k:…@b",
	} {
		if got := store.Redacted(location); got != want {
			t.Errorf("%q: got %q, want %q", location, got, want)
		}
	}
	if _, err := store.Open(t.Context(), "nowhere://k:secret@b"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	if _, _, err := store.Locate("s3://k:secret@b"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	if _, err := store.Open(t.Context(), "./almost:/b"); err != nil {
		t.Error(err)
	}
}

func TestLocate(t *testing.T) {
	for _, c := range []struct{ location, root, name string }{
		{"s3://b/a/x.tar", "s3://b/a", "x.tar"},
		{"s3://b/x.tar", "s3://b", "x.tar"},
		{"s3://b/a b/c/x y.tar", "s3://b/a b/c", "x y.tar"},
		{"S3://b/x", "S3://b", "x"},
		{"s3://b/a?c#d/x", "s3://b/a?c#d", "x"},
		{"x.tar", ".", "x.tar"},
		{"./x.tar", ".", "x.tar"},
		{"a/b/x.tar", "a/b", "x.tar"},
		{"/x.tar", "/", "x.tar"},
		{"../x.tar", "..", "x.tar"},
		{"a/s3://b", "a/s3:", "b"},
	} {
		root, name, err := store.Locate(c.location)
		if err != nil || root != filepath.FromSlash(c.root) && root != c.root || name != c.name {
			t.Errorf("%q: got %q, %q, %v, want %q, %q", c.location, root, name, err, c.root, c.name)
		}
		if store.IsLocal(c.location) != !strings.HasPrefix(strings.ToLower(c.location), "s3:") {
			t.Errorf("%q: wrong about its machine", c.location)
		}
	}
	for _, location := range []string{"", "a/", "/", ".", "..", "a/..", "s3://", "s3://b", "s3://b/", "s3:///x", "s3://b//x", "s3://b/a//x", "s3://b/a/", "s3://b/../x", "s3://b/a/."} {
		if root, name, err := store.Locate(location); err == nil {
			t.Errorf("%q: got %q, %q, want an error", location, root, name)
		}
	}
}

// What Locate divides is what it was, and its name is one.
func FuzzLocate(f *testing.F) {
	for _, s := range []string{"s3://b/a/x.tar", "x.tar", "/a/b", "s3://b//x", "s3://b/a/..", "C:\\a\\x", "a\x00b", "s3://b/a b/\xff", "://x", "s3://b/x://y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, location string) {
		root, name, err := store.Locate(location)
		if err != nil {
			return
		}
		if err := store.CheckName(name); err != nil || strings.Contains(name, "/") {
			t.Errorf("%q: name %q: %v", location, name, err)
		}
		if store.IsLocal(location) {
			if filepath.Join(root, name) != filepath.Clean(location) {
				t.Errorf("%q: got %q and %q", location, root, name)
			}
		} else if root+"/"+name != location {
			t.Errorf("%q: got %q and %q", location, root, name)
		}
	})
}

// Whatever a name is, it stays in the folder: a put writes there or nowhere.
func FuzzName(f *testing.F) {
	for _, s := range []string{"a", "a/b", "../a", "a/../../b", "/a", "a//b", ".", "a\\..\\b", "C:a", "NUL", ".a.partial-1", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		above := t.TempDir()
		s := openLocal(t, filepath.Join(above, "in"))
		err := store.Write(t.Context(), s, name, []byte("x"), store.PutOptions{IfAbsent: true})
		if entries, e := os.ReadDir(above); e != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "in" {
			t.Fatalf("%q: %v lie outside, %v", name, entries, e)
		}
		if err != nil {
			return
		}
		if b, i, err := store.Read(t.Context(), s, name, 10); err != nil || string(b) != "x" || i.Name != name {
			t.Errorf("%q: %q, %+v, %v", name, b, i, err)
		}
		if got := storetest.Names(t, s, ""); !slices.Equal(got, []string{name}) {
			t.Errorf("%q: the list has %q", name, got)
		}
	})
}
