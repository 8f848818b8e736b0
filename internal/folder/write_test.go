package folder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// names returns what is in a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// says fails the test unless the file at path holds content.
func says(t *testing.T, path, content string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("%s is %q (%v), want %q", path, got, err, content)
	}
}

// TestFile: a link keeps pointing to the file, and a device stays one.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("target", link); err != nil {
		t.Skip(err)
	}
	write := func(path string) {
		t.Helper()
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Discard()
		if _, err := f.WriteString("new"); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		if path != os.DevNull { // what gets the temporary name now is another's
			if err := os.WriteFile(f.Name(), nil, 0o666); err != nil {
				t.Fatal(err)
			}
			f.Discard()
			if err := os.Remove(f.Name()); err != nil {
				t.Errorf("Discard after Commit: %v", err)
			}
		}
	}
	write(link)
	if got, _ := os.ReadFile(target); string(got) != "new" {
		t.Errorf("target is %q, want new", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v (%v)", info, err)
	}
	write(os.DevNull)

	// So does a link to what is not there yet, and one that leads in a circle is said to.
	far := filepath.Join(t.TempDir(), "far")
	ahead, circle := filepath.Join(t.TempDir(), "ahead"), filepath.Join(t.TempDir(), "circle")
	if err := errors.Join(os.Symlink(far, ahead), os.Symlink("circle", circle)); err != nil {
		t.Fatal(err)
	}
	write(ahead)
	if got, _ := os.ReadFile(far); string(got) != "new" {
		t.Errorf("far is %q, want new", got)
	}
	if f, err := Create(circle); err == nil || !strings.Contains(err.Error(), "circle: too many") {
		t.Errorf("a circle of links: %v, %v", f, err)
	}

	// Errors have the name that the file was to get.
	f, err := Create(target)
	if err != nil {
		t.Fatal(err)
	}
	f.Discard()
	for what, err := range map[string]error{"write": func() error { _, err := f.Write([]byte("x")); return err }(), "commit": f.Commit()} {
		if err == nil || !strings.Contains(err.Error(), target) || strings.Contains(err.Error(), ".partial") {
			t.Errorf("%s after the end: error is %v, want one about %s", what, err, target)
		}
	}
	if got := names(t, dir); got != "link target" {
		t.Errorf("found %s", got)
	}
}

// TestWriteFile: a file appears with the bits of any other, in folders that are made for it; of one that fails
// nothing is left, and what was there stays.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "file")
	mine := errors.New("mine")
	fail := func(f *os.File) error {
		if _, err := f.WriteString("half"); err != nil {
			return err
		}
		return &fs.PathError{Op: "write", Path: f.Name(), Err: mine}
	}
	failed := func() {
		t.Helper()
		err := Prefix("pkg", WithParents(path, func() error { return WriteFile(path, fail) }))
		if want := "write " + path + ": mine"; !errors.Is(err, mine) || err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	failed()
	if got := names(t, dir); got != "" {
		t.Errorf("left: %s", got)
	}
	if err := WriteBytes(path, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its folder: error is %v", err)
	}
	if err := WithParents(path, func() error { return WriteBytes(path, []byte("first")) }); err != nil {
		t.Fatal(err)
	}
	failed()
	says(t, path, "first")
	if err := WriteCached(path, []byte("second")); err != nil {
		t.Fatal(err)
	}
	says(t, path, "second")
	if got := names(t, filepath.Dir(path)); got != "file" {
		t.Errorf("found %s, want the file", got)
	}

	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	want, err1 := os.Stat(plain)
	got, err2 := os.Stat(path)
	if err := errors.Join(err1, err2); err != nil || got.Mode() != want.Mode() {
		t.Errorf("mode %v, want %v (%v)", got.Mode(), want.Mode(), err)
	}

	// What fails here is told apart from what the function says.
	for _, err := range []error{
		WriteBytes(dir, nil),
		WriteBytes(dir+string(filepath.Separator)+"x"+string(filepath.Separator), nil),
		WriteBytes(filepath.Join(plain, "x"), nil),
		WithParents(filepath.Join(plain, "x", "y"), nil),
		WriteBytes(filepath.Join(dir, strings.Repeat("x", 250)), nil),
		WriteFile(filepath.Join(dir, "closed"), (*os.File).Close),
	} {
		if text := Prefix("pkg", err); err == nil || !strings.HasPrefix(text.Error(), "pkg: ") || strings.Contains(text.Error(), partial) {
			t.Errorf("error is %v", text)
		}
	}
	if got := names(t, dir); got != "a plain" {
		t.Errorf("found %s, want a plain", got)
	}
}

// TestWriteDir: a directory appears complete, in place of another if that is wanted, or not at all.
func TestWriteDir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "out")
	fill := func(content string) func(string) error {
		return func(tmp string) error {
			if got := names(t, tmp); got != "" {
				t.Errorf("the new directory holds %s", got)
			}
			if !isFresh(tmp) || isFresh(path) || isFresh(filepath.Dir(tmp)) { // its entries would never be synced, or too often
				t.Errorf("%s is fresh: %v, %s: %v", tmp, isFresh(tmp), path, isFresh(path))
			}
			return os.WriteFile(filepath.Join(tmp, content), []byte(content), 0o666)
		}
	}
	failed := func(replace bool) {
		t.Helper()
		err := Prefix("pkg", WithParents(path, func() error {
			return WriteDir(path, replace, func(tmp string) error { return os.Mkdir(filepath.Join(tmp, "b", "c"), 0o777) })
		}))
		if want := filepath.Join(path, "b", "c"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), partial) || strings.HasPrefix(err.Error(), "pkg: ") {
			t.Errorf("error is %v, want one about %s", err, want)
		}
	}
	failed(false)
	if got := names(t, dir); got != "" {
		t.Errorf("left: %s", got)
	}
	for _, replace := range []bool{true, false} { // whether or not there is something to replace
		name := path + string(filepath.Separator)
		if err := WithParents(name, func() error { return WriteDir(name, replace, fill("first")) }); err != nil {
			t.Fatal(err)
		}
		says(t, filepath.Join(path, "first"), "first")
		failed(true)
		says(t, filepath.Join(path, "first"), "first")
		if err := Prefix("pkg", WriteDir(path, false, fill("second"))); err == nil || !strings.HasPrefix(err.Error(), "pkg: rename "+path+": ") {
			t.Errorf("error is %v, want that something has the name", err)
		}
		says(t, filepath.Join(path, "first"), "first")
		if err := WriteDir(path, true, fill("second")); err != nil {
			t.Fatal(err)
		}
		if got := names(t, path); got != "second" {
			t.Errorf("%s is in the directory, want second", got)
		}
		if got := names(t, filepath.Dir(path)); got != "out" {
			t.Errorf("%s is there, want out", got)
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	err := Prefix("pkg", WriteDir(filepath.Join(dir, strings.Repeat("x", 250)), true, fill("x")))
	if err == nil || !strings.HasPrefix(err.Error(), "pkg: ") || !strings.Contains(err.Error(), "cannot write in the folder "+dir) {
		t.Errorf("error is %v", err)
	}
}

// TestInTheWay: what cannot be replaced stays, and the error has its name alone.
func TestInTheWay(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"empty", "full"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file", filepath.Join("full", "file")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	late := filepath.Join(dir, "late")
	nothing := func(string) error { return nil }
	for path, write := range map[string]func(path string) error{
		filepath.Join(dir, "file"):  func(path string) error { return WriteDir(path, false, nothing) },
		filepath.Join(dir, "full"):  func(path string) error { return WriteDir(path, false, nothing) },
		filepath.Join(dir, "empty"): func(path string) error { return WriteBytes(path, nil) },
		late: func(path string) error { // a directory that appears meanwhile
			return WriteFile(path, func(*os.File) error { return os.MkdirAll(filepath.Join(path, "x"), 0o777) })
		},
	} {
		err := write(path)
		if err == nil || !strings.Contains(err.Error(), path+": ") || strings.Contains(err.Error(), partial) {
			t.Errorf("error is %v, want one about %s alone", err, path)
		}
	}
	if got, want := names(t, dir), "empty file full late"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	says(t, filepath.Join(dir, "file"), "x")
	says(t, filepath.Join(dir, "full", "file"), "x")
}

// TestClean: of what was killed, nothing is left but what was to be replaced.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{
		".a.partial-1/new/half", ".a.partial-1/old/whole", // killed between two names
		"b/whole", ".b.partial-2/old/older", // killed before the end
		".c.partial-3",              // a file
		"d.partial-4", ".e", "f/.g", // of somebody else
	} {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := Clean(dir); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, dir), ".e a b d.partial-4 f"; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
	for _, sub := range []string{"a", "b"} {
		if got := names(t, filepath.Join(dir, sub)); got != "whole" {
			t.Errorf("%s holds %s, want whole", sub, got)
		}
	}
	if err := Clean(filepath.Join(dir, "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want %v", err, fs.ErrNotExist)
	}
}

// TestWriteDirLink: a link keeps pointing to the directory, and the directory is that of the link.
func TestWriteDirLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.Symlink("target", link); err != nil {
		t.Skip(err)
	}
	for _, content := range []string{"first", "second"} { // there is nothing yet, and there is
		if err := WriteDir(link, true, func(tmp string) error { return os.WriteFile(filepath.Join(tmp, content), nil, 0o666) }); err != nil {
			t.Fatal(err)
		}
		if got := names(t, target); got != content {
			t.Errorf("the target has %s, want %s", got, content)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link is %v (%v)", info, err)
		}
	}
	if got := names(t, dir); got != "link target" {
		t.Errorf("found %s", got)
	}
}

// CommitNew takes no name that something has, whether by links or where there are none.
func TestCommitNew(t *testing.T) {
	write := func(path, content string) error {
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Discard()
		if _, err := f.WriteString(content); err != nil {
			t.Fatal(err)
		}
		return f.CommitNew()
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "claim")
	if err := write(path, "first"); err != nil {
		t.Fatal(err)
	}
	if err := write(path, "second"); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), partial) {
		t.Errorf("got %v, want that %s exists", err, path)
	}
	failed := errors.New("no links here")
	for _, name := range []string{"third", "fourth"} {
		tmp := filepath.Join(dir, name)
		if err := os.WriteFile(tmp, []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
		to := map[string]string{"third": path, "fourth": filepath.Join(dir, "new")}[name]
		if err := renameNew(tmp, to, failed); errors.Is(err, failed) {
			t.Log("this system replaces files whenever it renames")
		} else if (err == nil) != (name == "fourth") || err != nil && !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "first" {
		t.Errorf("got %q, %v", b, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 { // claim, third, new; or fourth in its place
		t.Errorf("got %v, %v", entries, err)
	}
}
