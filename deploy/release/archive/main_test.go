package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestPack: both forms have all files with their modes, below one folder, and the same bytes whenever and by whomever they were written.
func TestPack(t *testing.T) {
	at := time.Unix(1700000000, 0).UTC()
	sums := map[string][32]byte{}
	for turn, mask := range []os.FileMode{0o777, 0o700} {
		folder := filepath.Join(t.TempDir(), "vitago-v1")
		for name, m := range map[string]os.FileMode{"vitago": 0o777, "README.md": 0o666, "man/man1/vitago.1": 0o666} {
			path := filepath.Join(folder, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("content of "+name), m&mask); err != nil {
				t.Fatal(err)
			}
		}
		for _, ext := range []string{".tar.gz", ".zip"} {
			out := filepath.Join(t.TempDir(), "out"+ext)
			if err := pack(folder, out, at); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(b)
			if turn > 0 && sums[ext] != sum {
				t.Errorf("%s is another the second time", ext)
			}
			sums[ext] = sum
			want := "vitago-v1/README.md -rw-r--r-- 1700000000 content of README.md\nvitago-v1/man/man1/vitago.1 -rw-r--r-- 1700000000 content of man/man1/vitago.1\nvitago-v1/vitago -rwxr-xr-x 1700000000 content of vitago\n"
			if got := list(t, out); got != want {
				t.Errorf("%s: got\n%swant\n%s", ext, got, want)
			}
		}
	}
	if err := pack(t.TempDir(), filepath.Join(t.TempDir(), "out.rar"), at); err == nil {
		t.Error("a form that there is not was written")
	}
}

// list reads an archive with the standard library.
func list(t *testing.T, path string) (text string) {
	t.Helper()
	line := func(name string, mode os.FileMode, at time.Time, r io.Reader) {
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("%s %v %d %s\n", name, mode, at.Unix(), b)
	}
	if filepath.Ext(path) == ".zip" {
		z, err := zip.OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			line(f.Name, f.Mode(), f.Modified, r)
			r.Close()
		}
		return text
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(unpacked); ; {
		h, err := r.Next()
		if err == io.EOF {
			return text
		}
		if err != nil {
			t.Fatal(err)
		}
		line(h.Name, h.FileInfo().Mode(), h.ModTime, r)
	}
}
