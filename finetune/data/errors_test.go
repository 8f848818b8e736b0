package data

import (
	"errors"
	"path/filepath"
	"testing"
)

// TestKinds: programs tell what is wrong with data apart.
func TestKinds(t *testing.T) {
	dir := write(t, map[string]string{
		"bare/a.png": "", "one/cat/a.png": "", "split/train/cat/a.png": "", "split/val/cat/b.png": "",
		"two/cat/a.png": "", "two/dog/b.png": "", "other/cat/c.png": "", "other/emu/d.png": "",
		"half.csv": "path,label\na.png,cat\nb.png,\n", "captions.csv": "path,caption\na.png,a cat\nb.png,a dog\n", "none.csv": "path,label\na.png,\n",
		"empty.csv": "path,label\n", "two.ndjson": `{"path":"a.png","label":"cat"}` + "\n" + `{"path":"b.png","label":"dog"}` + "\n",
	})
	for _, c := range []struct {
		path string
		want error // one of kinds, or nil
	}{
		{t.TempDir(), ErrEmpty}, {filepath.Join(dir, "empty.csv"), ErrEmpty},
		{filepath.Join(dir, "bare"), ErrUnlabelled}, {filepath.Join(dir, "half.csv"), ErrUnlabelled},
		{filepath.Join(dir, "captions.csv"), ErrUnlabelled}, {filepath.Join(dir, "none.csv"), ErrUnlabelled},
		{filepath.Join(dir, "one"), ErrOneClass}, {filepath.Join(dir, "split"), ErrParts}, {filepath.Join(dir, "two"), nil}, {filepath.Join(dir, "two.ndjson"), nil},
	} {
		_, err := Open(c.path, true)
		for _, kind := range []error{ErrEmpty, ErrUnlabelled, ErrOneClass, ErrParts, ErrClasses} {
			want := errors.Is(c.want, kind)
			if few := errors.Is(kind, ErrOneClass) && errors.Is(c.want, ErrUnlabelled); errors.Is(err, kind) != want && !few { // of few labels there are few classes
				t.Errorf("%s: error is %v, is %q: %v, want %v", c.path, err, kind, !want, want)
			}
		}
	}
	train, err := Folder(filepath.Join(dir, "two"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"other", "bare"} {
		validation, err := Open(filepath.Join(dir, path), path == "other")
		if err != nil {
			t.Fatal(err)
		}
		if err := Align(train, validation); !errors.Is(err, ErrClasses) {
			t.Errorf("%s: error is %v, want %q", path, err, ErrClasses)
		}
	}
}
