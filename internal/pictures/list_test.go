package pictures

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestEnding(t *testing.T) {
	for e, want := range map[string]bool{"jpg": true, "jfif": true, "tiff": true, "JPG": true, ".png": false, "": false, "txt": false, "heic": false} {
		if Ending(e) != want {
			t.Errorf("%q: %v, want %v", e, !want, want)
		}
	}
	for e, want := range map[string]string{"heic": "HEIC", "cr2": "camera raw", "jpg": "", "": ""} {
		if got := Unread(e); got != want {
			t.Errorf("%q: %q, want %q", e, got, want)
		}
	}
	for e := range plain {
		if Ending(e) || Unread(e) != "" {
			t.Errorf("%q is the ending of pictures, too", e)
		}
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"set/b.png", "set/a.JPG", "set/c/x.jfif", "set/c.tif", "set/.DS_Store", "set/._b.png", "set/.git/x.png", "set/Thumbs.db", "set/notes.txt",
		"set/1.heic", "set/2.HEIC", "set/3.heif", "set/c/4.hif", "set/5.avif", "real/1.png"} {
		put(name, "")
	}
	put("set/photo", "\xff\xd8\xff\xe0rest of it")
	put("set/scan.dat", "II*\x00")
	put("set/BMW", "BMW is no bitmap")
	want := []string{"a.JPG", "b.png", "c/x.jfif", "c.tif"}
	notes := []string{
		"left out 4 pictures of the format HEIC, which is not read: 1.heic, 2.HEIC, 3.heif and 1 more",
		"left out 1 picture of the format AVIF, which is not read: 5.avif",
		"left out 1 JPEG picture whose name does not end as one's: photo",
		"left out 1 TIFF picture whose name does not end as one's: scan.dat",
	}
	if os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "set", "more")) == nil {
		for from, to := range map[string]string{"one.gif": "real/1.png", "gone.png": "absent", "gone": "absent"} {
			if err := os.Symlink(filepath.Join(dir, to), filepath.Join(dir, "set", from)); err != nil {
				t.Fatal(err)
			}
		}
		want = []string{"a.JPG", "b.png", "c/x.jfif", "c.tif", "gone.png", "more/1.png", "one.gif"}
		notes = slices.Insert(notes, 2, "left out 1 link to nothing: gone")
	}
	check := func(dir string) {
		t.Helper()
		paths, left, err := List(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range paths {
			rel, err := filepath.Rel(dir, p)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, filepath.ToSlash(rel))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		said := strings.ReplaceAll(strings.Join(left.Notes(), "\n"), dir+string(filepath.Separator), "")
		said = strings.ReplaceAll(said, filepath.Join("c", "4.hif"), "c/4.hif")
		if said != strings.Join(notes, "\n") {
			t.Errorf("got\n%s\nwant\n%s", said, strings.Join(notes, "\n"))
		}
	}
	set := filepath.Join(dir, "set")
	check(set)
	if os.Symlink(set, filepath.Join(dir, "link")) == nil {
		check(filepath.Join(dir, "link")) // the folder itself is a link
		if err := os.Symlink(dir, filepath.Join(set, "c", "loop")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := List(set); err == nil || !strings.Contains(err.Error(), "loop") || !strings.HasSuffix(err.Error(), "is a link to a folder that it is in") {
			t.Errorf("a loop: error %v", err)
		}
	}
	if _, _, err := List(filepath.Join(dir, "absent")); !os.IsNotExist(err) {
		t.Errorf("no folder: error %v", err)
	}
}

// TestListBytes: names are bytes, and stay those that they are.
func TestListBytes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("names are text here")
	}
	dir := t.TempDir()
	for _, name := range []string{"caf\xe9.png", "caf\xe8.png", "caf\xe9.heic", "a\nb.png"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Skipf("no such names here: %v", err)
		}
	}
	paths, left, err := List(dir)
	if err != nil || len(paths) != 3 || filepath.Base(paths[1]) != "caf\xe8.png" || filepath.Base(paths[2]) != "caf\xe9.png" {
		t.Errorf("got %q, %v", paths, err)
	}
	if notes := left.Notes(); len(notes) != 1 || !strings.HasSuffix(notes[0], `caf\xe9.heic"`) {
		t.Errorf("got %q", notes)
	}
}
