package input

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// write makes files of a map from names, with slashes, to contents, below a new folder.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// entry is a file in a tar file; a name that ends in a slash is a folder.
type entry struct{ name, text string }

// tarOf returns a tar file.
func tarOf(t testing.TB, format tar.Format, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.text)), Typeflag: tar.TypeReg, Format: format}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag, h.Size = tar.TypeDir, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, e.text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// parts lists parts, which become JSON and back.
func parts(t testing.TB, o Options, inputs ...string) (all []Part, err error) {
	t.Helper()
	for p, e := range Parts(t.Context(), inputs, o) {
		if e != nil {
			return all, e
		}
		b, e := json.Marshal(p)
		if e != nil {
			t.Fatal(e)
		}
		var q Part
		if e := json.Unmarshal(b, &q); e != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%s becomes %+v, %v; want %+v", b, q, e, p)
		}
		all = append(all, q)
	}
	return all, nil
}

// samples reads a part: a line a sample.
func samples(t testing.TB, ctx context.Context, p Part, o Options) (lines []string, r *Reader, err error) {
	t.Helper()
	r, err = p.Open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	for s, err := range r.Samples() {
		if err != nil {
			return lines, r, err
		}
		line := s.Key + "=" + string(s.Image)
		if s.HasCaption {
			line += fmt.Sprintf(" %q", s.Caption)
		}
		for i, v := range s.Columns {
			if v != nil {
				line += fmt.Sprintf(" %s:%T:%v", o.Columns[i].Name, v, v)
			}
		}
		if s.Err != nil {
			if s.Image != nil {
				t.Errorf("%s: has an error and a picture", s.Key)
			}
			line = s.Key + ": " + s.Err.Error()
			if errors.Is(s.Err, ErrDownload) {
				line += " [download]"
			}
		} else if s.SHA256 != sha256.Sum256(s.Image) {
			t.Errorf("%s: SHA-256 is %x", s.Key, s.SHA256)
		}
		lines = append(lines, line)
	}
	return lines, r, nil
}

// all reads inputs as a whole: a line a sample, and "--" between parts.
func all(t testing.TB, o Options, inputs ...string) string {
	t.Helper()
	ps, err := parts(t, o, inputs...)
	var lines []string
	for i, p := range ps {
		if i > 0 {
			lines = append(lines, "--")
		}
		some, _, err := samples(t, t.Context(), p, o)
		lines = append(lines, some...)
		if err != nil {
			lines = append(lines, "error: "+err.Error())
		}
	}
	if err != nil {
		lines = append(lines, "error: "+err.Error())
	}
	return strings.Join(lines, "\n")
}

func check(t *testing.T, name, got, dir, want string) {
	t.Helper()
	if got = strings.ReplaceAll(got, dir, "$DIR"); got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestFolder(t *testing.T) {
	dir := write(t, map[string]string{"a/1.jpg": "A1", "a/2.PNG": "A2", "b.webp": "B", "a.heic": "H", ".hidden/x.jpg": "X", "a/.y.jpg": "Y", "notes.txt": "n", "c.jpg": "C"})
	check(t, "folder", all(t, Options{PerShard: 2}, dir), dir, "a/1.jpg=A1\na/2.PNG=A2\n--\nb.webp=B\nc.jpg=C")
	var notes []string
	for _, err := range Parts(t.Context(), []string{dir}, Options{Note: func(n string) { notes = append(notes, n) }}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(t, "notes", strings.Join(notes, "\n"), dir, "left out 1 picture of the format HEIC, which is not read: $DIR/a.heic")
}

func TestTar(t *testing.T) {
	dir := write(t, map[string]string{"x.tar": tarOf(t, tar.FormatPAX, entry{"d/", ""}, entry{"d/1.jpg", "one"}, entry{"d/1.txt", " a cat\n"}, entry{"d/2.txt", "b"}, entry{"d/2.png", "two"})})
	check(t, "tar", all(t, Options{}, filepath.Join(dir, "x.tar")), dir, "d/1=one \"a cat\"\nd/2=two \"b\"")
}
