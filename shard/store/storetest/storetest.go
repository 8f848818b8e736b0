// Package storetest is for tests: what every [store.Store] has to do, and stores that fail.
//
// A new store's test calls [Run] with a function that makes an empty one. What uses a store is tested with [Faulty], whose calls
// fail at random before or after they did what they do, and over the network with [NewServer], an S3 on loopback that answers
// late, wrong or not at all as it is told. All that is random depends on a seed.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitago/vitago/shard/store"
)

// Run tests a kind of store. open returns an empty one, a new one for each test; called twice in one test, it returns two values of the same.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s store.Store)
	}{
		{"Put", put}, {"IfAbsent", ifAbsent}, {"Race", race}, {"Open", openRanges}, {"Missing", missing}, {"List", list}, {"Rename", rename},
		{"Names", names}, {"Cancel", cancel}, {"Version", version}, {"ReaderAt", readerAt}, {"Letters", letters},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// is fails the test unless err is of a kind, and has the name of what it is about.
func is(t *testing.T, err, kind error, name string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), name) {
		t.Errorf("error %v, want one that is %q, with the name %q", err, kind, name)
	}
}

func write(t *testing.T, s store.Store, name, content string) {
	t.Helper()
	must(t, store.Write(t.Context(), s, name, []byte(content), store.PutOptions{}))
}

func read(t *testing.T, s store.Store, name string) string {
	t.Helper()
	b, _, err := store.Read(t.Context(), s, name, 1<<30)
	must(t, err)
	return string(b)
}

// List returns what a store lists.
func List(t *testing.T, s store.Store, prefix string) (infos []store.Info) {
	t.Helper()
	for i, err := range s.List(t.Context(), prefix) {
		must(t, err)
		infos = append(infos, i)
	}
	return infos
}

// Names are those of what a store lists.
func Names(t *testing.T, s store.Store, prefix string) (names []string) {
	t.Helper()
	for _, i := range List(t, s, prefix) {
		names = append(names, i.Name)
	}
	return names
}

func put(t *testing.T, s store.Store) {
	for _, content := range []string{"one", "", "three, which is longer", "4"} { // in the place of what is there
		write(t, s, "a/b/c.txt", content)
		if got := read(t, s, "a/b/c.txt"); got != content {
			t.Errorf("got %q, want %q", got, content)
		}
		if i, err := s.Stat(t.Context(), "a/b/c.txt"); err != nil || i.Size != int64(len(content)) || i.Name != "a/b/c.txt" || i.Modified.IsZero() {
			t.Errorf("got %+v, %v, want %d bytes and a time", i, err, len(content))
		}
	}
	content := strings.NewReader("from its start")
	if _, err := content.Seek(5, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	must(t, s.Put(t.Context(), "start", content, content.Size(), store.PutOptions{}))
	if got := read(t, s, "start"); got != "from its start" {
		t.Errorf("got %q", got)
	}

	// What does not come whole does not appear, nor takes it the place of what is there.
	broken := errors.New("the disk is on fire")
	for name, want := range map[string]string{"a/b/c.txt": "4", "new/d": ""} {
		if err := s.Put(t.Context(), name, breaking{strings.NewReader(strings.Repeat("x", 1000)), broken}, 1000, store.PutOptions{}); !errors.Is(err, broken) {
			t.Errorf("got %v, want the error of the content", err)
		}
		for _, wrong := range []int64{5, 7} {
			if err := s.Put(t.Context(), name, strings.NewReader("begins"), wrong, store.PutOptions{}); err == nil {
				t.Errorf("6 bytes were taken for %d", wrong)
			}
		}
		b, _, err := store.Read(t.Context(), s, name, 1000)
		if string(b) != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, b, err, want)
		}
	}
	if got, want := Names(t, s, ""), []string{"a/b/c.txt", "start"}; !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}

	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	write(t, s, "large", string(large))
	if read(t, s, "large") != string(large) {
		t.Error("a MiB came back other than it was")
	}
}

// breaking is content whose reading fails before its end.
type breaking struct {
	*strings.Reader
	err error
}

func (b breaking) Read(p []byte) (int, error) {
	if b.Len() <= 500 {
		return 0, b.err
	}
	return b.Reader.Read(p[:min(len(p), b.Len()-500)])
}

func ifAbsent(t *testing.T, s store.Store) {
	new := store.PutOptions{IfAbsent: true}
	must(t, store.Write(t.Context(), s, "claims/1.0", []byte("mine"), new))
	err := store.Write(t.Context(), s, "claims/1.0", []byte("yours"), new)
	is(t, err, store.ErrExists, "1.0")
	is(t, err, fs.ErrExist, s.String())
	if got := read(t, s, "claims/1.0"); got != "mine" {
		t.Errorf("got %q, want what was there", got)
	}
	must(t, s.Delete(t.Context(), "claims/1.0"))
	must(t, store.Write(t.Context(), s, "claims/1.0", []byte("yours"), new))
	if got := read(t, s, "claims/1.0"); got != "yours" {
		t.Errorf("got %q", got)
	}
}

// Of many that put at the same time, one wins, and what is read is the winner's.
func race(t *testing.T, s store.Store) {
	const rounds, writers = 8, 8
	for r := range rounds {
		var (
			wg     sync.WaitGroup
			winner atomic.Int32
			wins   atomic.Int32
			name   = fmt.Sprintf("race/deep/%d", r)
		)
		for w := range writers {
			wg.Go(func() {
				switch err := store.Write(t.Context(), s, name, bytes.Repeat([]byte{byte('a' + w)}, 1000), store.PutOptions{IfAbsent: true}); {
				case err == nil:
					wins.Add(1)
					winner.Store(int32(w))
				case !errors.Is(err, store.ErrExists):
					t.Errorf("writer %d: %v", w, err)
				}
			})
		}
		wg.Wait()
		if got := read(t, s, name); wins.Load() != 1 || got != strings.Repeat(string('a'+winner.Load()), 1000) {
			t.Errorf("round %d: %d won, the last of them %d, and what is there is %.3q…", r, wins.Load(), winner.Load(), got)
		}
	}
}

func openRanges(t *testing.T, s store.Store) {
	write(t, s, "digits", "0123456789")
	write(t, s, "empty", "")
	for _, c := range []struct {
		name           string
		offset, length int64
		want           string
	}{
		{"digits", 0, -1, "0123456789"}, {"digits", 0, 10, "0123456789"}, {"digits", 3, 4, "3456"}, {"digits", 3, -1, "3456789"}, {"digits", 9, 1, "9"},
		{"digits", 8, 100, "89"}, {"digits", 3, 0, ""}, {"digits", 10, -1, ""}, {"digits", 10, 0, ""}, {"digits", 10, 5, ""}, {"empty", 0, -1, ""}, {"empty", 0, 10, ""},
	} {
		r, err := s.Open(t.Context(), c.name, c.offset, c.length)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil || string(b) != c.want {
			t.Errorf("%+v: got %q, %v", c, b, err)
		}
		i := r.Info()
		must(t, r.Close())
		if want, err := s.Stat(t.Context(), c.name); err != nil || i.Name != c.name || i.Size != want.Size || i.Version != want.Version {
			t.Errorf("%+v: it is said to be %+v, want %+v, %v", c, i, want, err)
		}
	}
	for _, offset := range []int64{11, 1000, -1} {
		if _, err := s.Open(t.Context(), "digits", offset, -1); err == nil || !strings.Contains(err.Error(), fmt.Sprint(offset)) {
			t.Errorf("offset %d of 10 bytes: got %v", offset, err)
		}
	}
	r, err := s.Open(t.Context(), "digits", 0, -1)
	must(t, err)
	must(t, r.Close()) // of what was not read
	if _, _, err := store.Read(t.Context(), s, "digits", 9); err == nil || !strings.Contains(err.Error(), "10 bytes, want at most 9") {
		t.Errorf("got %v, want an error of its size", err)
	}
}

func missing(t *testing.T, s store.Store) {
	write(t, s, "folder/file", "x")
	for _, name := range []string{"none", "folder", "fold", "folder/file/below", "folder/none"} { // a folder is nothing
		_, err := s.Stat(t.Context(), name)
		is(t, err, fs.ErrNotExist, name)
		_, err = s.Open(t.Context(), name, 0, -1)
		is(t, err, fs.ErrNotExist, name)
		must(t, s.Delete(t.Context(), name))
		is(t, s.Rename(t.Context(), name, "other"), fs.ErrNotExist, name)
	}
	if got := Names(t, s, ""); !slices.Equal(got, []string{"folder/file"}) {
		t.Errorf("there are %q", got)
	}
	if got := Names(t, s, "none/"); got != nil {
		t.Errorf("there are %q", got)
	}
}

func list(t *testing.T, s store.Store) {
	if got := Names(t, s, ""); got != nil {
		t.Fatalf("an empty store has %q", got)
	}
	want := []string{"0", "A", "a", "a!", "a-b", "a.b", "a/b", "a/b.c", "a/b/c", "a0", "ab", "b/1", "b/10", "b/2", "é", "日本/語"}
	for i := range 30 {
		want = append(want, fmt.Sprintf("many/%03d", i))
	}
	slices.Sort(want)
	// A file and a folder of one name are two objects of a bucket, and cannot be in a folder.
	want = slices.DeleteFunc(want, func(name string) bool { return name == "a" || name == "a/b" })
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(want)) {
		write(t, s, want[i], want[i])
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b/", "b/1", "many/", "many/01", "m", "日", "é", "z", "b/1/"} {
		var w []string
		for _, name := range want {
			if strings.HasPrefix(name, prefix) {
				w = append(w, name)
			}
		}
		if got := Names(t, s, prefix); !slices.Equal(got, w) {
			t.Errorf("prefix %q: got %q, want %q", prefix, got, w)
		}
	}
	for _, i := range List(t, s, "") {
		if st, err := s.Stat(t.Context(), i.Name); err != nil || st.Size != int64(len(i.Name)) || st.Size != i.Size || st.Version != i.Version {
			t.Errorf("the list has %+v, Stat %+v, %v", i, st, err)
		}
	}
	n := 0
	for _, err := range s.List(t.Context(), "many/") {
		must(t, err)
		if n++; n == 3 {
			break // leaves the rest
		}
	}
}

func rename(t *testing.T, s store.Store) {
	write(t, s, "tmp/w/1.npy", "vectors")
	write(t, s, "out/1.npy", "old")
	write(t, s, "tmp/w/2.npy", "others")
	must(t, s.Rename(t.Context(), "tmp/w/1.npy", "out/1.npy"))                 // replaces
	must(t, s.Rename(t.Context(), "tmp/w/1.npy", "out/1.npy"))                 // once more
	must(t, s.Rename(t.Context(), "tmp/w/2.npy", "out/new/deep/2.npy"))        // to where nothing is
	must(t, s.Rename(t.Context(), "out/new/deep/2.npy", "out/new/deep/2.npy")) // to itself
	for name, want := range map[string]string{"out/1.npy": "vectors", "out/new/deep/2.npy": "others"} {
		if got := read(t, s, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := Names(t, s, ""); !slices.Equal(got, []string{"out/1.npy", "out/new/deep/2.npy"}) {
		t.Errorf("there are %q", got)
	}
	is(t, s.Rename(t.Context(), "none", "nothing"), fs.ErrNotExist, "none")

	// Several that do the same at once all succeed.
	var wg sync.WaitGroup
	write(t, s, "tmp/3", "three")
	for range 4 {
		wg.Go(func() {
			if err := s.Rename(t.Context(), "tmp/3", "out/3"); err != nil {
				t.Errorf("one of four: %v", err)
			}
		})
	}
	wg.Wait()
	if got := read(t, s, "out/3"); got != "three" {
		t.Errorf("got %q", got)
	}
}

// Names that lead out of a store are refused everywhere.
func names(t *testing.T, s store.Store) {
	write(t, s, "in", "x")
	for _, name := range []string{"", ".", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "/", "a/./b", "./in", "in/", "a\x00b", "a\xffb"} {
		_, err := s.Stat(t.Context(), name)
		is(t, err, store.ErrName, fmt.Sprintf("%q", name))
		_, err = s.Open(t.Context(), name, 0, -1)
		is(t, err, store.ErrName, "")
		is(t, store.Write(t.Context(), s, name, nil, store.PutOptions{}), store.ErrName, "")
		is(t, s.Rename(t.Context(), "in", name), store.ErrName, "")
		is(t, s.Rename(t.Context(), name, "in"), store.ErrName, "")
		is(t, s.Delete(t.Context(), name), store.ErrName, "")
	}
	if got := Names(t, s, ""); !slices.Equal(got, []string{"in"}) {
		t.Errorf("there are %q", got)
	}
}

// Every method ends with the cause of a context that has ended.
func cancel(t *testing.T, s store.Store) {
	write(t, s, "a", strings.Repeat("x", 1<<20))
	cause := errors.New("the user has gone")
	ctx, stop := context.WithCancelCause(t.Context())
	r, err := s.Open(ctx, "a", 0, -1)
	must(t, err)
	defer r.Close()
	stop(cause)
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, cause) {
		t.Errorf("Read: %v", err)
	}
	_, err = s.Stat(ctx, "a")
	is(t, err, cause, "")
	_, err = s.Open(ctx, "a", 0, -1)
	is(t, err, cause, "")
	is(t, store.Write(ctx, s, "b", nil, store.PutOptions{}), cause, "")
	is(t, s.Rename(ctx, "a", "b"), cause, "")
	is(t, s.Delete(ctx, "a"), cause, "")
	err = nil
	for _, e := range s.List(ctx, "") {
		err = e
	}
	is(t, err, cause, "")
	if got := Names(t, s, ""); !slices.Equal(got, []string{"a"}) {
		t.Errorf("there are %q", got)
	}
}

func version(t *testing.T, s store.Store) {
	write(t, s, "a", "one")
	first, err := s.Stat(t.Context(), "a")
	must(t, err)
	write(t, s, "a", "three")
	second, err := s.Stat(t.Context(), "a")
	must(t, err)
	if first.Version == second.Version || second.Version == "" {
		t.Errorf("versions %q and %q of different contents", first.Version, second.Version)
	}
	is(t, store.Same(s, second, first), store.ErrChanged, "a")
	must(t, store.Same(s, second, second))
}

func readerAt(t *testing.T, s store.Store) {
	write(t, s, "a", "0123456789")
	i, err := s.Stat(t.Context(), "a")
	must(t, err)
	r := store.NewReaderAt(t.Context(), s, i)
	for _, c := range []struct {
		offset int64
		length int
		want   string
		err    error
	}{{0, 4, "0123", nil}, {6, 4, "6789", nil}, {7, 4, "789", io.EOF}, {10, 1, "", io.EOF}, {99, 1, "", io.EOF}, {3, 0, "", nil}} {
		b := make([]byte, c.length)
		if n, err := r.ReadAt(b, c.offset); string(b[:n]) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%+v: got %q, %v", c, b[:n], err)
		}
	}
	if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("offset -1 was read")
	}
	write(t, s, "a", "other")
	_, err = r.ReadAt(make([]byte, 4), 0)
	is(t, err, store.ErrChanged, "a")
	must(t, s.Delete(t.Context(), "a"))
	_, err = r.ReadAt(make([]byte, 4), 0)
	is(t, err, fs.ErrNotExist, "a")
}

// Names keep their letters, those that URLs have rules for among them.
func letters(t *testing.T, s store.Store) {
	want := []string{
		"a b", "a+b", "a%20b", "a%b", "a&b=c", "a#b", "a;b", "a,b", "a=b", "a@b", "a'b", "a(b)", "a~b", "a!b", "a$b", "a[b]", "a{b}", "a^b", "a`b",
		"Zürich/straße.jpg", "e\u0301/é", "日本語", "😀", "%2e%2e/x", "...", ".hidden", "a..b", "-", "~",
	}
	slices.Sort(want)
	for _, name := range want {
		must(t, store.Write(t.Context(), s, name, []byte(name), store.PutOptions{IfAbsent: true}))
	}
	if got := Names(t, s, ""); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, name := range want {
		if got := read(t, s, name); got != name {
			t.Errorf("%q holds %q", name, got)
		}
		must(t, s.Rename(t.Context(), name, "moved/"+name))
		must(t, s.Rename(t.Context(), "moved/"+name, name))
		must(t, s.Delete(t.Context(), name))
	}
	if got := Names(t, s, ""); got != nil {
		t.Errorf("there are %q left", got)
	}
}
