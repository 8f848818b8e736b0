package folder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// partial is in the names of what is not complete: ".NAME.partial-" and a number. What a directory replaces
// is moved into the temporary one, under the name replaced.
const (
	partial  = ".partial-"
	replaced = "old"
)

// own marks the errors of this package among those of the functions that it calls.
type own struct{ error }

func (e own) Unwrap() error { return e.error }

// Prefix puts "pkg: " in front of an error of [WriteFile] or [WriteDir], unless it came from the function that
// they called, which has said already whose it is.
func Prefix(pkg string, err error) error {
	if e, ok := err.(own); ok { //nolint:errorlint // only the outermost counts
		return fmt.Errorf("%s: %w", pkg, e.error)
	}
	return err
}

// WithParents calls write after it has made the folders above path that are missing. If write fails, it removes
// those of them that are empty.
func WithParents(path string, write func() error) error {
	undo, err := Make(filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return own{err}
	}
	if err := write(); err != nil {
		undo()
		return err
	}
	return nil
}

// WriteFile has write fill a file that gets the name path when it is complete and lies on the disk, in place of
// what has that name, be it at the end of links. Its folder has to be there. If anything fails, nothing is left,
// and the error has the name path.
func WriteFile(path string, write func(f *os.File) error) error {
	return writeFile(path, true, write)
}

// WriteBytes is [WriteFile] of a content that is known.
func WriteBytes(path string, content []byte) error {
	return WriteFile(path, bytesOf(content))
}

// JSON returns what a file says of v: as a person reads it, with <, > and & as they are, and a newline at the end.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// WriteCached is [WriteBytes] in a hurry: the file appears complete or not at all, but may be lost or damaged if
// the machine loses power. What reads it has to find that out.
func WriteCached(path string, content []byte) error {
	return writeFile(path, false, bytesOf(content))
}

func bytesOf(content []byte) func(f *os.File) error {
	return func(f *os.File) error {
		if _, err := f.Write(content); err != nil {
			return own{err}
		}
		return nil
	}
}

func writeFile(path string, durable bool, write func(f *os.File) error) error {
	f, err := create(path)
	if err != nil {
		return own{err}
	}
	defer f.Discard()
	if err := write(f.File); err != nil {
		if e, ok := err.(own); ok { //nolint:errorlint // as in Prefix
			return own{f.Named(e.error)}
		}
		return f.Named(err)
	}
	if err := f.commit(durable); err != nil {
		return own{err}
	}
	return nil
}

// A File gets its name when it is complete.
type File struct {
	*os.File
	path string // "" if the file has its name already: a device or a pipe
	undo func() // removes the folders that were made for it, if they are empty
}

// Create creates a file that [File.Commit] will give the name path, in place of what has that name, be it at the end
// of links. It makes the folders above it that are missing. A device or a pipe is opened as it is.
func Create(path string) (*File, error) {
	undo, err := Make(filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return nil, err
	}
	f, err := create(path)
	if err != nil {
		undo()
		return nil, err
	}
	f.undo = undo
	return f, nil
}

// create is [Create] in a folder that is there.
func create(path string) (*File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // fails for a directory
		if err != nil {
			return nil, err
		}
		return &File{f, "", func() {}}, nil
	}
	if err == nil { // through a link
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, err
		}
	}
	dir, base := filepath.Split(path)
	if base == "" {
		return nil, fmt.Errorf("%s: names a folder, want a file", path)
	}
	// os.CreateTemp would make it unreadable for others.
	tmp := filepath.Join(dir, fmt.Sprintf(".%s%s%08x", base, partial, rand.Uint32()))
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, Unwritable(path, err)
	}
	return &File{f, path, func() {}}, nil
}

// Seekable says whether the file can be written in any order: a device or a pipe cannot.
func (f *File) Seekable() bool { return f.path != "" }

// Write writes to the file.
func (f *File) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	return n, f.Named(err)
}

// Named returns err with the name that the file is to get.
func (f *File) Named(err error) error {
	if f.path == "" {
		return err
	}
	return Renamed(err, f.Name(), f.path)
}

// Commit makes the file appear, on the disk.
func (f *File) Commit() error { return f.commit(true) }

func (f *File) commit(durable bool) error {
	if f.path == "" {
		return f.Close()
	}
	if durable {
		if err := f.Sync(); err != nil {
			return f.Named(err)
		}
	}
	if err := f.Close(); err != nil {
		return f.Named(err)
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return f.Named(err)
	}
	if durable {
		syncDir(filepath.Dir(f.path))
	}
	return nil
}

// Discard removes what was written; after [File.Commit] it does nothing.
func (f *File) Discard() {
	f.Close()
	if f.path != "" {
		os.Remove(f.Name())
	}
	f.undo()
}

// WriteDir has fill write the files of a new directory, which then gets the name path: it appears complete or not
// at all. What has that name is replaced if replace is set, and else an error. The folder of path has to be there.
// If anything fails, nothing is left, and the error has the name path.
func WriteDir(path string, replace bool, fill func(dir string) error) (err error) {
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(path)+partial)
	if err != nil {
		return own{Unwritable(path, err)}
	}
	keep := false  // tmp holds the only copy of what was to be replaced
	defer func() { // after success tmp is empty, or holds what was replaced
		if keep {
			return
		}
		if e := os.RemoveAll(tmp); e != nil && err == nil {
			err = own{e}
		}
	}()
	fresh := filepath.Join(tmp, "new")
	if err := os.Mkdir(fresh, 0o777); err != nil {
		return own{err}
	}
	if err := fill(fresh); err != nil {
		return Renamed(err, fresh, path)
	}
	syncDir(fresh)
	old := filepath.Join(tmp, replaced)
	moved := false
	if replace {
		err := os.Rename(path, old)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return own{err}
		}
		moved = err == nil
	}
	if err := os.Rename(fresh, path); err != nil {
		if moved {
			if e := os.Rename(old, path); e != nil {
				keep = true
				return own{fmt.Errorf("%w; what was %s is now %s: %w", err, path, old, e)}
			}
		}
		return own{err}
	}
	syncDir(parent)
	return nil
}

// Clean removes from dir what [WriteDir] and [WriteFile] have left that were killed, after putting back what was
// about to be replaced.
func Clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		name, _, ok := strings.Cut(e.Name(), partial)
		if name, hidden := strings.CutPrefix(name, "."); ok && hidden {
			tmp, whole := filepath.Join(dir, e.Name()), filepath.Join(dir, name)
			if _, err := os.Lstat(whole); errors.Is(err, fs.ErrNotExist) {
				_ = os.Rename(filepath.Join(tmp, replaced), whole) // which is seldom there
			}
			errs = append(errs, os.RemoveAll(tmp))
		}
	}
	return errors.Join(errs...)
}

// syncDir makes the entries of a directory durable where the system can do that.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // not every system can sync a directory
		d.Close()
	}
}
