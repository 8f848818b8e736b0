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

// What is not complete is called ".NAME.partial-" and a number. A temporary directory holds what is new under the name
// fresh, and takes in what is about to be replaced under the name replaced.
const (
	partial  = ".partial-"
	fresh    = "new"
	replaced = "old"
)

// own is an error of this package itself, and not of a function that it was given.
type own struct{ error }

func (e own) Unwrap() error { return e.error }

// Prefix puts "pkg: " in front of an error of this package. An error of the function that [WriteFile] or [WriteDir]
// was given stays as it is, since it has a prefix.
func Prefix(pkg string, err error) error {
	if e, ok := err.(own); ok { //nolint:errorlint // only the outermost counts
		return fmt.Errorf("%s: %w", pkg, e.error)
	}
	return err
}

// WithParents makes the folders above path that are missing, and calls write. If that fails, it removes those of
// them that are empty.
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

// WriteFile has write fill a file, which gets the name path when it is complete and lies on the disk. It takes the
// place of the file that has that name, or that a link of that name leads to. Its folder has to be there. If
// anything fails, nothing is left.
func WriteFile(path string, write func(f *os.File) error) error {
	return writeFile(path, true, write)
}

// WriteBytes is [WriteFile] with the content of the file.
func WriteBytes(path string, content []byte) error {
	return WriteFile(path, bytesOf(content))
}

// JSON returns v indented, with <, > and & as they are, and with a newline at the end.
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

// MustJSON is [JSON] of a value that JSON has a form for, such as maps of strings and numbers. It panics for others.
func MustJSON(v any) []byte {
	text, err := JSON(v)
	if err != nil {
		panic(err)
	}
	return text
}

// WriteCached is [WriteBytes] without waiting for the disk, which takes milliseconds. If the machine loses power, the
// file may be lost or damaged, and its reader has to find that out.
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

// A File gets its name when it is complete: by [File.Commit].
type File struct {
	*os.File
	path string // "" if the file has its name already: a device or a pipe
	undo func() // removes the folders that were made for it, if they are empty
	done bool   // it has its name
}

// Create creates a file that will have the name path, and makes the folders above it that are missing. It takes the
// place of what [WriteFile] would replace. A device or a pipe is opened as it is.
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
		return &File{File: f, undo: func() {}}, nil
	}
	if path, err = Target(path); err != nil {
		return nil, err
	}
	dir, base := filepath.Split(path)
	if base == "" {
		return nil, fmt.Errorf("%s: names a folder, want a file", path)
	}
	// os.CreateTemp would make it unreadable for others.
	tmp := filepath.Join(dir, fmt.Sprintf(".%s%s%08x", base, partial, rand.Uint32()))
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, unwritable(path, err)
	}
	return &File{File: f, path: path, undo: func() {}}, nil
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
	return renamed(err, f.Name(), f.path)
}

// Commit makes the file appear, on the disk.
func (f *File) Commit() error { return f.commit(true) }

func (f *File) commit(durable bool) error {
	if f.path == "" {
		f.done = true
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
		return renameError(f.path, err)
	}
	f.done = true
	if dir := filepath.Dir(f.path); durable && !isFresh(dir) {
		SyncDir(dir)
	}
	return nil
}

// CommitNew makes the file appear, on the disk, unless something has its name already: that is an error of the kind
// [fs.ErrExist]. Of many that do so at the same time, in one process or in several, one wins.
func (f *File) CommitNew() error {
	if f.path == "" {
		return &fs.PathError{Op: "create", Path: f.Name(), Err: fs.ErrExist}
	}
	if err := f.Sync(); err != nil {
		return f.Named(err)
	}
	if err := f.Close(); err != nil {
		return f.Named(err)
	}
	if err := nameNew(f.Name(), f.path); err != nil {
		if e := (*os.LinkError)(nil); errors.As(err, &e) {
			err = e.Err // one of its paths is a temporary one
		}
		return &fs.PathError{Op: "create", Path: f.path, Err: err}
	}
	f.done = true
	SyncDir(filepath.Dir(f.path))
	return nil
}

// nameNew gives the file tmp the name path, which nothing may have yet.
func nameNew(tmp, path string) error {
	err := os.Link(tmp, path)
	if errors.Is(err, fs.ErrExist) {
		// A network file system may have done it, lost its answer, and have tried again.
		if a, e := os.Lstat(tmp); e == nil {
			if b, e := os.Lstat(path); e == nil && os.SameFile(a, b) {
				err = nil
			}
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		return renameNew(tmp, path, err) // not every file system has links
	}
	if err == nil {
		os.Remove(tmp)
	}
	return err
}

// IsPartial says whether a name in a folder is that of an output which is not complete.
func IsPartial(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, partial)
}

// isFresh says whether dir is one that [WriteDir] fills, and makes durable when it is full.
func isFresh(dir string) bool {
	return filepath.Base(dir) == fresh && strings.Contains(filepath.Base(filepath.Dir(dir)), partial)
}

// Discard removes what was written; after [File.Commit] it does nothing.
func (f *File) Discard() {
	if f.done {
		return
	}
	f.Close()
	if f.path != "" {
		os.Remove(f.Name())
	}
	f.undo()
}

// WriteDir has fill write the files of a new directory dir, which gets the name path when it is complete. What has
// that name, or that a link of that name leads to, is replaced if replace is set, and an error otherwise. The folder of
// path has to be there. If anything fails, nothing is left but what was there.
func WriteDir(path string, replace bool, fill func(dir string) error) (err error) {
	if path, err = Target(filepath.Clean(path)); err != nil {
		return own{err}
	}
	parent := filepath.Dir(path)
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(path)+partial)
	if err != nil {
		return own{unwritable(path, err)}
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
	made := filepath.Join(tmp, fresh)
	if err := os.Mkdir(made, 0o777); err != nil {
		return own{unwritable(path, err)}
	}
	if err := fill(made); err != nil {
		return renamed(err, made, path)
	}
	SyncDir(made)
	old := filepath.Join(tmp, replaced)
	moved := false
	if replace {
		err := os.Rename(path, old)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return own{renameError(path, err)}
		}
		moved = err == nil
	}
	if err := os.Rename(made, path); err != nil {
		if moved {
			if e := os.Rename(old, path); e != nil {
				keep = true
				return own{fmt.Errorf("%w; what was %s is now %s: %w", renameError(path, err), path, old, renameError(path, e))}
			}
		}
		return own{renameError(path, err)}
	}
	SyncDir(parent)
	return nil
}

// Clean removes from dir what a killed process left of its outputs. It first puts back what was about to be
// replaced.
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

// SyncDir makes the entries of a directory durable where the system can do that.
func SyncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // not every system can sync a directory
		d.Close()
	}
}
