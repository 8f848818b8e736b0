package search

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// changed makes an index of two shards, of which a row is deleted and one has another name.
func changed(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "index")
	fill(t, dir, 8, 0, 5, WriterOptions{ShardRows: 3})
	w, err := NewWriter(dir, space(8), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.Delete(1)
	w.Rename(2, Record{Path: "/other/name.jpg", Size: 7, Modified: 8})
	w.Describe(4, map[string]string{"place": "elsewhere"})
	if err := errors.Join(w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// readAll goes through all that an index has.
func readAll(dir string) error {
	x, err := Open(dir)
	if err != nil {
		return err
	}
	defer x.Close()
	for r, err := range x.Records() {
		if err != nil {
			return err
		}
		_ = x.Half(r.Index)
	}
	return nil
}

// TestCut: an index of which a file is cut short, or gone, is one that is damaged, by the name of the file.
func TestCut(t *testing.T) {
	dir := changed(t)
	if err := readAll(dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range files(t, dir) {
		path := filepath.Join(dir, name)
		for n := 0; n < len(text); n++ {
			step := 97 // where the size alone tells
			if strings.HasSuffix(name, manifestName) {
				step = 3
			}
			if n > 10 && n < len(text)-10 && n%step != 0 {
				continue
			}
			if n == len(text)-1 && strings.HasSuffix(name, manifestName) {
				continue // without a newline it is whole
			}
			if err := os.Truncate(path, int64(n)); err != nil {
				t.Fatal(err)
			}
			if err := readAll(dir); !errors.Is(err, ErrDamaged) || !strings.Contains(filepath.ToSlash(err.Error()), filepath.ToSlash(path)) {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, n, len(text), err)
			}
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Rename(path, path+".gone"); err != nil {
			t.Fatal(err)
		}
		if err := readAll(dir); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNoIndex) {
			t.Errorf("without %s: %v", name, err)
		}
		if err := os.Rename(path+".gone", path); err != nil {
			t.Fatal(err)
		}
	}
	if err := readAll(dir); err != nil {
		t.Fatal(err)
	}
}

// TestFlip: metadata of which a bit has changed are damaged.
func TestFlip(t *testing.T) {
	dir := changed(t)
	for name, text := range files(t, dir) {
		if !strings.Contains(name, "metadata_") {
			continue
		}
		path := filepath.Join(dir, name)
		for n := 0; n < len(text); n += 41 {
			flipped := []byte(text)
			flipped[n] ^= byte(1 << (n % 8))
			if err := os.WriteFile(path, flipped, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := readAll(dir); !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d of %s: %v", n, name, err)
			}
		}
		os.WriteFile(path, []byte(text), 0o666)
	}
}

// TestCompactDamaged: vectors that have changed do not become those of a new index.
func TestCompactDamaged(t *testing.T) {
	dir := changed(t)
	path := filepath.Join(dir, vectorsFile(0))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Compact(t.Context(), dir, WriterOptions{}); !errors.Is(err, ErrDamaged) || !strings.Contains(filepath.ToSlash(err.Error()), filepath.ToSlash(path)) {
		t.Errorf("compacted: %v", err)
	}
	text[len(text)-1] ^= 1
	if err := errors.Join(os.WriteFile(path, text, 0o666), Compact(t.Context(), dir, WriterOptions{}), opened(t, dir).Verify(t.Context())); err != nil {
		t.Error(err)
	}
}

// seeds gives the files of an index with some ending to a fuzzer.
func seeds(f *testing.F, ending string) {
	f.Helper()
	dir := changed(f)
	for name, text := range files(f, dir) {
		if strings.HasSuffix(name, ending) {
			f.Add([]byte(text))
			f.Add([]byte(text[:len(text)/2]))
		}
	}
}

func FuzzManifest(f *testing.F) {
	seeds(f, manifestName)
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text)
		if err == nil && (m.rows() < 0 || m.Space.Dim < 1) {
			t.Errorf("%d rows of %d values", m.rows(), m.Space.Dim)
		}
	})
}

func FuzzChanges(f *testing.F) {
	seeds(f, ".jsonl")
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseChanges(text, 5)
		if err != nil {
			return
		}
		again, err := parseChanges(c.encode(), 5)
		if err != nil || again.dead != c.dead || len(again.of) != len(c.of) {
			t.Errorf("%d dead, %d changed; then %d, %d: %v", c.dead, len(c.of), again.dead, len(again.of), err)
		}
	})
}

// FuzzPending: whatever a process has left, the rows that are taken are whole, and another can be added.
func FuzzPending(f *testing.F) {
	head := pendingHead{version, strings.Repeat("0", 64), 3, 4}
	left := f.TempDir()
	p, err := openPending(left, head, func(int, *Record, []uint16) {})
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if err := p.add(&Record{Path: fmt.Sprint("/", i)}, []uint16{1, 2, 3, uint16(i)}); err != nil {
			f.Fatal(err)
		}
	}
	if err := p.close(); err != nil {
		f.Fatal(err)
	}
	of := files(f, left)
	f.Add([]byte(of[string(filepath.Separator)+pendingJournal]), []byte(of[string(filepath.Separator)+pendingVectors]))
	f.Add([]byte(of[string(filepath.Separator)+pendingJournal]), []byte(of[string(filepath.Separator)+pendingVectors][:140]))
	f.Fuzz(func(t *testing.T, journal, vectors []byte) {
		dir := t.TempDir()
		if err := errors.Join(os.WriteFile(filepath.Join(dir, pendingJournal), journal, 0o666), os.WriteFile(filepath.Join(dir, pendingVectors), vectors, 0o666)); err != nil {
			t.Fatal(err)
		}
		rows := 0
		p, err := openPending(dir, head, func(row int, r *Record, half []uint16) {
			if row != rows || len(half) != 4 {
				t.Errorf("row %d has %d values and is called %d", rows, len(half), row)
			}
			rows++
		})
		if err != nil {
			return
		}
		if err := errors.Join(p.add(&Record{Path: "/new"}, []uint16{5, 6, 7, 8}), p.close()); err != nil || p.rows != rows+1 {
			t.Fatalf("%d rows behind %d: %v", p.rows, rows, err)
		}
		again := 0
		p, err = openPending(dir, head, func(int, *Record, []uint16) { again++ })
		if err != nil || again != rows+1 {
			t.Errorf("%d rows, want %d: %v", again, rows+1, err)
		}
		if err == nil {
			err = p.close()
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// FuzzList: a list of paths has absolute ones, or is refused.
func FuzzList(f *testing.F) {
	f.Add([]byte("a.png\r\n/b.png\n\n  c d.png "))
	f.Add([]byte("\ufeffa\x00.png"))
	path := filepath.Join(f.TempDir(), "list.txt")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o666); err != nil {
			t.Fatal(err)
		}
		all, err := readList(path)
		if err == nil && len(all) == 0 {
			t.Error("an empty list")
		}
		for _, p := range all {
			if !filepath.IsAbs(p) || strings.ContainsRune(p, 0) || !utf8.ValidString(p) {
				t.Errorf("path %q", p)
			}
		}
	})
}

func FuzzVectors(f *testing.F) {
	seeds(f, ".npy")
	f.Fuzz(func(t *testing.T, b []byte) {
		if half, err := readVectors(b, 3, 8); err == nil && len(half) != 24 {
			t.Errorf("%d values", len(half))
		}
	})
}

func FuzzCodes(f *testing.F) {
	seeds(f, ".bin")
	f.Fuzz(func(t *testing.T, b []byte) {
		aligned := append(make([]byte, 0, len(b)+64), b...)
		if scales, codes, err := readCodes(aligned, 3, 8); err == nil && (len(scales) != 3 || len(codes) != 24) {
			t.Errorf("%d scales, %d codes", len(scales), len(codes))
		}
	})
}

func FuzzMetadata(f *testing.F) {
	seeds(f, ".parquet")
	var sums []fileOf
	dir := changed(f)
	for _, n := range []int{0, 1} {
		sum, err := sumFile(filepath.Join(dir, metadataFile(n)))
		if err != nil {
			f.Fatal(err)
		}
		sums = append(sums, sum)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		for _, sum := range sums {
			m, err := checkedMetadata(b, sum, 3)
			if err == nil {
				_ = m.each(0, func(int, *Record) bool { return true })
				_ = m.each(1, func(int, *Record) bool { return false })
			}
		}
	})
}

// TestChangeDead: a row that is deleted takes no other change, which would be one too many for its file.
func TestChangeDead(t *testing.T) {
	dir := changed(t)
	w, err := NewWriter(dir, space(8), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.Delete(1) // again
	for name, f := range map[string]func(){
		"renamed": func() { w.Rename(1, record(1)) }, "described": func() { w.Describe(1, nil) }, "none": func() { w.Delete(5) }, "below": func() { w.Rename(-1, record(1)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	w.Delete(2) // which has another name
	if err := errors.Join(w.Commit(), w.Close(), readAll(dir)); err != nil {
		t.Error(err)
	}
}

// TestAddRefuses: vectors and records that an index cannot have.
func TestAddRefuses(t *testing.T) {
	w, err := NewWriter(filepath.Join(t.TempDir(), "index"), space(2), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, c := range []struct {
		r    Record
		v    []float32
		want string
	}{
		{Record{Path: "/a"}, []float32{1}, "vector has 1 values, want 2"},
		{Record{Path: "/a"}, []float32{0, 0}, "the vector is zero"},
		{Record{Path: "/a"}, []float32{0, float32(math.Inf(1))}, "value 2 of 2 is +Inf"},
		{Record{}, []float32{0, 1}, "has no path"},
		{Record{Path: "/a", Caption: "\xff"}, []float32{0, 1}, `column "caption" is "\xff", want UTF-8`},
	} {
		if err := w.Add(c.r, c.v); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v %v: %v, want %q", c.r, c.v, err, c.want)
		}
	}
	if err := w.Add(Record{Path: "/a"}, []float32{0, 3}); err != nil || w.Len() != 1 {
		t.Errorf("%d rows: %v", w.Len(), err)
	}
	for _, name := range []string{"", "caption", "path", "\xff"} {
		if _, err := NewWriter(filepath.Join(t.TempDir(), "index"), space(2), WriterOptions{Columns: []string{name}}); err == nil {
			t.Errorf("a column is called %q", name)
		}
	}
}
