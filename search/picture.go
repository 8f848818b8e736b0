package search

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	slash "path"
	"path/filepath"
	"syscall"
)

// Open opens the file of a record: in a folder, or in a tar, in which it reads up to it. Errors are those of the file system.
func (r *Record) Open() (io.ReadCloser, error) {
	f, err := os.Open(r.Path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return f, err
	}
	if archive, name, ok := inTar(r.Path); ok {
		return openMember(archive, name)
	}
	return nil, err
}

// inTar returns the tar that a path leads through, and the name in it, if there is a file in the way.
func inTar(path string) (archive, name string, ok bool) {
	for dir := filepath.Dir(path); filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil {
			return dir, path[len(dir)+1:], info.Mode().IsRegular() && len(path) > len(dir)+1
		}
	}
	return "", "", false
}

// A member is a file in a tar.
type member struct {
	io.Reader
	file *os.File
}

func (m *member) Close() error { return m.file.Close() }

// openMember opens a file in a tar.
func openMember(path, name string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	in := tar.NewReader(f)
	for {
		head, err := in.Next()
		if err != nil {
			f.Close()
			if errors.Is(err, io.EOF) {
				err = fs.ErrNotExist
			}
			return nil, fmt.Errorf("search: %s: %s: %w", path, name, err)
		}
		if slash.Clean(head.Name) == filepath.ToSlash(name) {
			return &member{in, f}, nil
		}
	}
}
