package output

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestDamage: a byte that is another, one that is missing and one more are found in every file, wherever they are, and so is a file that is gone.
func TestDamage(t *testing.T) {
	for _, s := range specs() {
		dir := t.TempDir()
		w, err := Create(dir, 0, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rowsOf(&s, 3) {
			if err := w.Write(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Fail(Failure{Key: "x"}); err != nil {
			t.Fatal(err)
		}
		files, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		st := open(t, dir)
		for _, f := range files {
			whole, err := os.ReadFile(f.Path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := map[string][]byte{"empty": nil, "longer": append(slices.Clone(whole), 'x'), "shorter": whole[:len(whole)-1], "half": whole[:len(whole)/2]}
			for at := 0; at < len(whole); at += 1 + len(whole)/15 {
				b := slices.Clone(whole)
				b[at] ^= 0x11
				damaged[strings.Repeat("x", at%7)+"byte "+hex.EncodeToString([]byte{byte(at >> 8), byte(at)})] = b
			}
			for _, what := range slices.Sorted(maps.Keys(damaged)) {
				if err := os.WriteFile(f.Path, damaged[what], 0o666); err != nil {
					t.Fatal(err)
				}
				if err := Check(t.Context(), st, files, s); err == nil || !strings.Contains(err.Error(), f.Name) {
					t.Errorf("%s, %s: error %v, want one of the file", f.Name, what, err)
				}
			}
			if err := os.Remove(f.Path); err != nil {
				t.Fatal(err)
			}
			if err := Check(t.Context(), st, files, s); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is gone: error %v", f.Name, err)
			}
			if err := os.WriteFile(f.Path, whole, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := Check(t.Context(), st, files, s); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Check(ctx, st, files, s); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the end of the context", err)
		}
	}
}

// TestForeign: files whose sums are right, and which are not what the dataset has, are found.
func TestForeign(t *testing.T) {
	for _, s := range specs() {
		if !s.Texts {
			continue
		}
		dir := t.TempDir()
		st := open(t, dir)
		files := write(t, dir, 0, s, rowsOf(&s, 3)...)
		wrong := func(want string, files []File, change func(s *Spec)) {
			t.Helper()
			x := s
			x.Columns = slices.Clone(s.Columns)
			change(&x)
			if err := Check(t.Context(), st, files, x); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q", s.Format, err, want)
			}
		}
		same := func(*Spec) {}
		for _, n := range []int{2, 4} {
			more := slices.Clone(files)
			for i := range more {
				more[i].Rows = n
			}
			wrong("", more, same)
		}
		if s.Format == "npy" {
			wrong("a shard has 2 files and 3 rows, want 3 and 1 or more", files[:2], same)
			wrong("text_emb/text_emb_0000.npy has 3 rows, want 3 in a file of img_emb", []File{files[2], files[1], files[0]}, same)
		}
		wrong("", files, func(s *Spec) { s.Dim = 4 })
		wrong(`"score"`, files, func(s *Spec) { s.Columns[2].Type = Text })
		wrong("", files, func(s *Spec) { s.Columns = s.Columns[:4] })
		if s.Format != "csv" || s.Header {
			wrong(`good`, files, func(s *Spec) { s.Columns[3].Name = "good" })
		}
		if s.Half {
			wrong("want the head", files, func(s *Spec) { s.Half = false })
		}
		if s.Header {
			wrong("row 0 of 3", files, func(s *Spec) { s.Header = false })
		}
		for want, second := range map[string]func(r *Row){
			"key 1: another row has this key": func(*Row) {},
			"length":                          func(r *Row) { r.Key, r.Image = "key 2", []float32{1, 1, 1, 1, 1} },
			"N":                               func(r *Row) { r.Key, r.Text[4] = "key 2", float32(math.NaN()) },
			"has no key":                      func(r *Row) { r.Key = "" },
			"width":                           func(r *Row) { r.Key, r.Width = "key 2", -1 },
		} {
			w, err := Create(dir, 0, s)
			if err != nil {
				t.Fatal(err)
			}
			r := row(&s, 1)
			if err := w.Write(r); err != nil {
				t.Fatal(err)
			}
			second(&r)
			if err := w.sink.write(&r); err != nil { // unchecked
				t.Fatal(err)
			}
			w.rows++
			if files, err = w.Close(); err != nil {
				t.Fatal(err)
			}
			wrong(want, files, same)
		}
	}
}

// TestFooter: a length of the footer beyond the file's is refused before memory is asked for.
func TestFooter(t *testing.T) {
	s := specs()[len(specs())-1]
	files := write(t, t.TempDir(), 0, s, rowsOf(&s, 2)...)
	whole, err := os.ReadFile(files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	long := slices.Clone(whole)
	copy(long[len(long)-8:], "\xff\xff\xff\x7f")
	for want, b := range map[string][]byte{"": whole, "its footer has 2147483647 bytes": long, "has 11 bytes, want at least 12": whole[:11]} {
		err := eachRow(bytes.NewReader(b), int64(len(b)), s.fields(true), 2, func([]any) bool { return true })
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// resummed returns files with the sums that they have now.
func resummed(t testing.TB, files []File) []File {
	t.Helper()
	files = slices.Clone(files)
	for i, f := range files {
		b, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.Sum256(b)
		files[i].Bytes, files[i].SHA256 = int64(len(b)), hex.EncodeToString(h[:])
	}
	return files
}

// fuzz reads bytes as a file of a shard: there is an error, or as many valid rows as there should be.
func fuzz(f *testing.F, format, folder string) {
	dir := f.TempDir()
	s := Spec{Format: format, Dim: 3, Normalized: true, Texts: true, Columns: columns[:4], Half: format == "npy", Digits: 1}
	files := write(f, dir, 0, s, rowsOf(&s, 3)...)
	at := slices.IndexFunc(files, func(x File) bool { return strings.HasPrefix(x.Name, folder+"/") })
	whole, err := os.ReadFile(files[at].Path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(bytes.ToUpper(whole))
	st := open(f, dir)
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(files[at].Path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		n := 0
		for r, err := range Rows(t.Context(), st, resummed(t, files), s) {
			if err != nil {
				return
			}
			if len(r.Image) != s.Dim || len(r.Text) != s.Dim || len(r.Columns) != len(s.Columns) || r.Key == "" {
				t.Fatalf("%+v", r)
			}
			n++
		}
		if n != 3 {
			t.Errorf("%d rows and no error, want 3", n)
		}
	})
}

func FuzzNPY(f *testing.F)      { fuzz(f, "npy", "img_emb") }
func FuzzMetadata(f *testing.F) { fuzz(f, "npy", "metadata") }
func FuzzParquet(f *testing.F)  { fuzz(f, "parquet", "parquet") }
func FuzzCSV(f *testing.F)      { fuzz(f, "csv", "csv") }
func FuzzJSONL(f *testing.F)    { fuzz(f, "jsonl", "jsonl") }
