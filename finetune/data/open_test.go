package data

import (
	"errors"
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
