package folder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// exists says whether there is something of that name.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestMake: what was made is taken away again, and nothing else.
func TestMake(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	undo, err := Make(deep)
	if err != nil || !exists(deep) {
		t.Fatalf("%s is there: %v (%v)", deep, exists(deep), err)
	}
	undo()
	if exists(filepath.Join(dir, "a")) || !exists(dir) {
		t.Errorf("a is left: %v; what was there before is left: %v", exists(filepath.Join(dir, "a")), exists(dir))
	}

	if undo, err = Make(deep); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "a", "b", "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	undo()
	if exists(deep) || !exists(file) {
		t.Errorf("the empty folder is left: %v; the file is left: %v", exists(deep), exists(file))
	}

	if undo, err = Make(dir); err != nil {
		t.Fatal(err)
	}
	undo()
	if !exists(dir) {
		t.Error("a folder that was there is removed")
	}

	// A part of the way only.
	if _, err := Make(filepath.Join(file, "x")); err == nil {
		t.Error("a folder was made in a file")
	}
	if !exists(file) {
		t.Error("the file in the way is removed")
	}
	if link := filepath.Join(dir, "link"); os.Symlink("nowhere", link) == nil { // Windows may forbid it
		if _, err := Make(filepath.Join(link, "x")); err == nil || !exists(link) {
			t.Errorf("error is %v, the link is left: %v; want an error and the link", err, exists(link))
		}
	}
}

func TestErrors(t *testing.T) {
	path := filepath.Join("out", "x.npy")
	err := unwritable(path, &fs.PathError{Op: "open", Path: filepath.Join("out", ".x.npy.partial-1"), Err: fs.ErrPermission})
	if want := path + ": cannot write in the folder out: permission denied"; err.Error() != want || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %q, want %q and the cause", err, want)
	}
	full := errors.New("full")
	err = renamed(&fs.PathError{Op: "write", Path: "a/.x.partial-1/new/config.json", Err: full}, "a/.x.partial-1/new", "a/x")
	if got, want := err.Error(), "write a/x/config.json: full"; got != want || !errors.Is(err, full) {
		t.Errorf("got %q, want %q and the cause", got, want)
	}
	if err := renamed(nil, "a", "b"); err != nil {
		t.Errorf("no error became %v", err)
	}
	if strings.Contains(unwritable("x", full).Error(), "..") {
		t.Error("the folder of a file without one is not .")
	}
}

func TestInside(t *testing.T) {
	for path, want := range map[string]bool{
		"a": true, "a/b/c": true, "./x/../a": true, "a-b": false, "b": false, ".": false, "a/../b": false,
	} {
		if got := Inside(filepath.FromSlash(path), "a"); got != want {
			t.Errorf("%s is in a: %v, want %v", path, got, want)
		}
	}

	// Through links, even to what is not there.
	dir := t.TempDir()
	data, link := filepath.Join(dir, "data"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(data, 0o777), os.Mkdir(filepath.Join(dir, "other"), 0o777)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("data", link); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		path, folder string
		want         bool
	}{
		{"link/x/y", "data", true}, {"data/x", "link", true}, {"link", "data", true}, {"other/x", "link", false}, {"link2/x", "data", false}, {"data2", "link", false},
	} {
		if got := Inside(filepath.Join(dir, c.path), filepath.Join(dir, c.folder)); got != c.want {
			t.Errorf("%s inside %s: got %v, want %v", c.path, c.folder, got, c.want)
		}
	}
}
