package search

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pictures"
)

// What a [Source] can be.
const (
	folderSource = "folder"
	tarSource    = "tar"
	listSource   = "list"
	fileSource   = "file"
)

// A Source is where pictures come from.
type Source struct {
	Kind string `json:"kind"` // "folder", "tar", "list" or "file"
	Path string `json:"path"` // absolute
}

// NewSource returns the source of a path: a folder with the pictures in it and all folders in it, a tar of WebDataset's (.tar), a
// list of paths, one a line and relative to the list's folder (.txt), or the file of a picture.
func NewSource(path string) (s Source, err error) {
	if s.Path, err = filepath.Abs(path); err != nil {
		return s, fmt.Errorf("search: %s: %w", path, err)
	}
	info, err := os.Stat(path)
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case err != nil:
		return s, fmt.Errorf("search: %s: %w", path, reason(err))
	case info.IsDir():
		s.Kind = folderSource
	case ext == ".tar", ext == ".tgz", ext == ".gz": // which data refuses in its words
		s.Kind = tarSource
	case ext == ".txt":
		s.Kind = listSource
	default:
		s.Kind = fileSource
	}
	return s, nil
}

// An item is a picture of a source.
type item struct {
	path           string
	caption        string
	size, modified int64 // modified is 0 of a file that is not there
	open           func() (io.ReadCloser, error)
}

// fileItem returns the picture in a file.
func fileItem(path string) item {
	it := item{path: path, open: func() (io.ReadCloser, error) { return os.Open(path) }}
	if info, err := os.Stat(path); err == nil {
		it.size, it.modified = info.Size(), stamp(info)
	}
	return it
}

// stamp returns when a file was changed: 1 for the beginning of 1970, since 0 is no time.
func stamp(info fs.FileInfo) int64 {
	if n := info.ModTime().UnixNano(); n != 0 {
		return n
	}
	return 1
}

// each gives visit the pictures of a source. Notes says what was left out and may have been wanted, a line each.
func (s Source) each(visit func(it item)) (notes []string, err error) {
	switch s.Kind {
	case folderSource:
		left, err := pictures.Walk(s.Path, func(path string) { visit(fileItem(path)) })
		if err != nil {
			return nil, fmt.Errorf("search: %w", err)
		}
		return left.Notes(), nil
	case tarSource:
		return s.eachMember(visit)
	case listSource:
		paths, err := readList(s.Path)
		if err != nil {
			return nil, fmt.Errorf("search: %s: %w", s.Path, err)
		}
		for _, p := range paths {
			visit(fileItem(p))
		}
		return nil, nil
	case fileSource:
		visit(fileItem(s.Path))
		return nil, nil
	}
	return nil, fmt.Errorf("search: %s: is a source of the kind %q, want %s, %s, %s or %s", s.Path, s.Kind, folderSource, tarSource, listSource, fileSource)
}

// eachMember gives visit the pictures in a tar.
func (s Source) eachMember(visit func(it item)) (notes []string, err error) {
	info, err := os.Stat(s.Path)
	if err != nil {
		return nil, fmt.Errorf("search: %s: %w", s.Path, reason(err))
	}
	samples, notes, err := data.Shard(s.Path)
	if err != nil {
		return nil, fmt.Errorf("search: %s", strings.TrimPrefix(err.Error(), "data: "))
	}
	for _, m := range samples {
		size, _ := m.InShard()
		visit(item{m.Path, m.Caption, size, stamp(info), m.Open})
	}
	return notes, nil
}

// maxList bounds a list of paths.
const maxList = 1 << 30

// readList returns the absolute paths of a list.
func readList(path string) (all []string, err error) {
	text, err := folder.ReadSmall(path, maxList)
	if err != nil {
		return nil, reason(err)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	for n, line := range strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' }) {
		switch line = strings.TrimSpace(line); {
		case line == "":
			continue
		case !utf8.ValidString(line) || strings.ContainsRune(line, 0):
			return nil, fmt.Errorf("path %d is %.80q, want text in UTF-8", n+1, line)
		case !filepath.IsAbs(line):
			line = filepath.Join(filepath.Dir(path), line)
		}
		all = append(all, filepath.Clean(line))
	}
	if len(all) == 0 {
		return nil, errors.New("got 0 paths, want at least 1")
	}
	return all, nil
}

// whole says whether a source has all pictures whose paths begin with its own: one that is not among them any more is deleted.
func (s Source) whole() bool { return s.Kind == folderSource || s.Kind == tarSource }

// below says whether a path is that of a source, or of a picture in it.
func below(path, source string) bool {
	rest, ok := strings.CutPrefix(path, source)
	return ok && (rest == "" || strings.HasSuffix(source, string(filepath.Separator)) || rest[0] == filepath.Separator || rest[0] == '/')
}
