package data

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenPath: what is no data is an error that says what would be, and what has no labels is one where they
// are wanted.
func TestOpenPath(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	captions := write("captions.csv", "path,caption\na.png,a cat\nb.png,a dog\n")
	for path, want := range map[string]string{
		write("notes.txt", "no pictures"):  "notes.txt: want a folder, a .csv, .tsv, .jsonl or .ndjson, or .tar files",
		filepath.Join(dir, "absent"):       "absent",
		filepath.Join(dir, "absent-*.tar"): "absent-*.tar",
		captions:                           "captions.csv: pictures without labels",
	} {
		if _, err := Open(path, true); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "data: ") {
			t.Errorf("%s: error %v, want one with %q", path, err, want)
		}
	}
	d, err := Open(captions, false)
	if err != nil || len(d.Samples) != 2 {
		t.Errorf("captions, which need no labels: %v, %v", d, err)
	}

	// One class is enough to judge by, and nothing to learn.
	one := write("one.csv", "path,label\na.png,cat\nb.png,cat\n")
	if _, err := Open(one, true); !errors.Is(err, ErrOneClass) {
		t.Errorf("error %v, want that there is one class", err)
	}
	if d, err := OpenTest(one); err != nil || len(d.Classes) != 1 || len(d.Samples) != 2 {
		t.Errorf("one class to judge by: %v, %v", d, err)
	}
	if _, err := OpenTest(captions); !errors.Is(err, ErrUnlabelled) {
		t.Errorf("error %v, want that there are no labels", err)
	}
}

// TestWithin: pictures that a table names are read below the folder alone, by whatever way they would lead elsewhere.
func TestWithin(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret.png")
	for path, text := range map[string]string{
		secret:                         "secret",
		filepath.Join(dir, "a.png"):    "a",
		filepath.Join(dir, "in.csv"):   "path,label\na.png,cat\n" + filepath.Join(dir, "link.png") + ",dog\n",
		filepath.Join(dir, "abs.csv"):  "path,label\na.png,cat\n" + secret + ",dog\n",
		filepath.Join(dir, "up.jsonl"): `{"path":"a.png","label":"cat"}` + "\n" + `{"path":"../` + filepath.Base(outside) + `/secret.png","label":"dog"}` + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(secret, filepath.Join(dir, "link.png")); err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"abs.csv", "up.jsonl"} {
		path := filepath.Join(dir, name)
		if d, err := Open(path, true); err != nil || len(d.Samples) != 2 {
			t.Errorf("%s: %v, %v, want both pictures where any folder will do", name, d, err)
		}
		if _, err := Open(path, true, Within(dir)); !errors.Is(err, ErrOutside) || !strings.Contains(err.Error(), "1 of 2 pictures lies outside") {
			t.Errorf("%s: error %v, want that one lies outside", name, err)
		}
	}
	d, err := Open(filepath.Join(dir, "in.csv"), true, Within(dir))
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "a" {
		t.Errorf("inside: %q, %v", text, err)
	}
	f.Close()
	if _, err := d.Open(1); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("a link to elsewhere: error %v, want one", err)
	}
}
