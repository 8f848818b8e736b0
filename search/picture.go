package search

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Open opens the file of a record: in a folder, or in a tar, in which it reads up to it. Errors are those of the file system.
func (r *Record) Open() (io.ReadCloser, error) {
	f, err := os.Open(r.Path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return f, err
	}
	for dir := filepath.Dir(r.Path); filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		info, e := os.Stat(dir)
		if e != nil {
			continue
		}
		if !info.Mode().IsRegular() {
			break
		}
		return openMember(dir, filepath.ToSlash(strings.TrimPrefix(r.Path, dir+string(filepath.Separator))))
	}
	return nil, err
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
		if head.Name == name {
			return &member{in, f}, nil
		}
	}
}
