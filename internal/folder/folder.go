// Package folder writes files and directories that appear complete or not at all.
//
// An output has a temporary name until it is complete. Errors have the name that it was to get, which is the one that
// a user knows.
package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Make makes dir and the folders above it that are missing. For an output that comes to nothing, undo
// removes those of them that are empty.
func Make(dir string) (undo func(), err error) {
	var made []string // the deepest first
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		// A link that leads nowhere is there: it is not ours to remove.
		if _, err := os.Lstat(d); !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		made = append(made, d)
	}
	undo = func() {
		for _, d := range made {
			os.Remove(d) // fails if it is not empty
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}

// Target returns the path to which links lead, even where nothing lies there yet. Links that lead in a circle are an error.
func Target(path string) (string, error) {
	if _, err := os.Stat(path); err == nil {
		return filepath.EvalSymlinks(path)
	} else if _, e := os.Lstat(path); e != nil {
		return path, nil // no link
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	const most = 255 // no system follows more
	for range most {
		to, err := os.Readlink(path)
		if err != nil {
			return path, nil // the end
		}
		if !filepath.IsAbs(to) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			to = filepath.Join(dir, to)
		}
		path = to
	}
	return "", fmt.Errorf("%s: more than %d links, one behind the other", path, most)
}

// Inside says whether a path is that of a folder, or below it, by its name or through links. Neither need be there.
func Inside(path, folder string) bool {
	path, err1 := filepath.Abs(path)
	folder, err2 := filepath.Abs(folder)
	below := func(path, folder string) bool {
		rel, err := filepath.Rel(folder, path)
		return err == nil && filepath.IsLocal(rel)
	}
	return errors.Join(err1, err2) == nil && (below(path, folder) || below(behind(path), behind(folder)))
}

// Holds says whether the working directory is a folder, or below it. Who replaces that folder leaves the user's shell in one
// that has been removed.
func Holds(folder string) bool {
	wd, err := os.Getwd()
	return err == nil && Inside(wd, folder)
}

// behind returns an absolute path without links, as far as it is there.
func behind(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	dir := filepath.Dir(path)
	if dir == path {
		return path
	}
	return filepath.Join(behind(dir), filepath.Base(path))
}

// unwritable returns the error that path cannot be written, since err came when something was to be
// created beside it.
func unwritable(path string, err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		err = e.Err // its path is a temporary one
	}
	return fmt.Errorf("%s: cannot write in the folder %s: %w", path, filepath.Dir(path), err)
}

// renameError returns the error that what is complete cannot get the name path, since err came when it was renamed.
func renameError(path string, err error) error {
	if e := (*os.LinkError)(nil); errors.As(err, &e) {
		err = e.Err // one of its paths is a temporary one
	}
	return &fs.PathError{Op: "rename", Path: path, Err: err}
}

// renamed returns err with the name to in place of from, which is a temporary one. If err is nil, so is it.
func renamed(err error, from, to string) error {
	if err == nil {
		return nil
	}
	return renamedError{err, strings.ReplaceAll(err.Error(), from, to)}
}

type renamedError struct {
	error
	text string
}

func (r renamedError) Error() string { return r.text }
func (r renamedError) Unwrap() error { return r.error }
