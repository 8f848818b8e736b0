package input

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/pictures"
	"github.com/vitago/vitago/shard/store"
)

// Files are read ahead, several at a time: each is a request that takes as long as a network wants.
const (
	ahead   = 16
	readers = 16
)

// A wanted is a file to be read.
type wanted struct {
	Sample
	location string
	want     *File // what it was when the parts were listed, or nil
}

// files yields the pictures of files. With a table they are img2dataset's, in the order of their names, and then come the rows without one.
func (r *Reader) files(yield func(Sample, error) bool) {
	t, err := r.openTable()
	if err != nil {
		yield(Sample{}, err)
		return
	}
	whole := r.each(len(r.part.Files), func(i int) wanted {
		f, at := &r.part.Files[i], r.part.fileLocation(i)
		w := wanted{Sample: Sample{Key: string(f.Name), Path: at}, location: at}
		if t != nil {
			w.Key = stemOf(base(w.Key))
		}
		if f.Version != "" {
			w.want = f
		}
		return w
	}, func(s Sample, err error) bool {
		if t != nil && err == nil {
			t.complete(&s)
		}
		return yield(s, err)
	})
	if !whole || t == nil {
		return
	}
	for s := range t.rest() {
		if !yield(s, nil) {
			return
		}
	}
}

// each yields n files, which are read ahead. It returns whether it has yielded all.
func (r *Reader) each(n int, file func(i int) wanted, yield func(Sample, error) bool) bool {
	sums := sha256.New()
	work := pictures.Work[*wanted]{
		Items: n, Ahead: ahead, Workers: readers, Abandon: true, // a reader may be one of a pipe; the context ends those of stores
		Begin: func(i int) (*wanted, int) { w := file(i); return &w, 1 },
		Do:    func(w *wanted, _ int) { w.Image, w.Err = r.read(w) },
	}
	for w, err := range pictures.InOrder(r.ctx, work) {
		if err != nil {
			yield(Sample{}, err)
			return false
		}
		switch {
		case w.Err == nil:
			w.SHA256 = sha256.Sum256(w.Image)
			fmt.Fprintf(sums, "%x  %s\n", w.SHA256, text(w.Key))
		case !w.alone():
			yield(Sample{}, w.Err)
			return false
		}
		w.Columns = make([]any, len(r.options.Columns))
		if !yield(w.Sample, nil) {
			return false
		}
	}
	r.sum = hex.EncodeToString(sums.Sum(nil))
	return true
}

// read returns the content of a file.
func (r *Reader) read(w *wanted) ([]byte, error) {
	s, name, err := r.stores.at(r.ctx, w.location)
	if err != nil {
		return nil, err
	}
	f, err := s.Open(r.ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if w.want != nil {
		if err := store.Same(s, f.Info(), store.Info{Name: name, Size: w.want.Size, Version: w.want.Version}); err != nil {
			return nil, err
		}
	}
	if n, limit := f.Info().Size, r.options.maxBytes(); n > limit {
		return nil, tooLarge{fmt.Errorf("%s: %d bytes, want at most %d", text(w.location), n, limit)}
	}
	content := make([]byte, f.Info().Size)
	_, err = io.ReadFull(f, content)
	return content, err
}

// tooLarge is of a file above the limit.
type tooLarge struct{ error }

// alone says whether the error of a file is of it alone. That of a bucket that cannot be reached is of the part: other files
// would have it too.
func (w *wanted) alone() bool {
	return store.IsLocal(w.location) || errors.Is(w.Err, fs.ErrNotExist) || errors.Is(w.Err, store.ErrChanged) || errors.Is(w.Err, store.ErrName) || errors.As(w.Err, new(tooLarge))
}

// list yields the pictures of the lines of a list.
func (r *Reader) list(yield func(Sample, error) bool) {
	p := r.part
	f, err := r.openStream(p.Location, p.Size, p.Version, p.Offset, p.Length)
	if err != nil {
		yield(Sample{}, err)
		return
	}
	defer f.Close()
	if p.Length < 0 || p.Length > (defaultPerShard+p.Rows)*maxLine {
		yield(Sample{}, damaged(fmt.Errorf("a part of %d bytes for %d lines", p.Length, p.Rows)))
		return
	}
	var paths []string
	s := newLines(f, p.First)
	for path, ok := s.next(); ok; path, ok = s.next() {
		paths = append(paths, path)
	}
	if s.err != nil {
		yield(Sample{}, f.because(s.err))
		return
	}
	if int64(len(paths)) != p.Rows {
		yield(Sample{}, damaged(fmt.Errorf("has %d paths in %d bytes from %d on, want %d", len(paths), p.Length, p.Offset, p.Rows)))
		return
	}
	r.each(len(paths), func(i int) wanted {
		at := below(p.Location, paths[i])
		return wanted{Sample: Sample{Key: paths[i], Path: at}, location: at}
	}, yield)
}

// maxLine bounds a line of a list: names of objects have at most 1024 bytes, paths of Linux 4096.
const maxLine = 8 << 10

// lines are the paths of a list.
type lines struct {
	scanner *bufio.Scanner
	number  int64 // of paths
	offset  int64 // behind the line that was read last
	err     error
}

func newLines(r io.Reader, before int64) *lines {
	l := &lines{scanner: bufio.NewScanner(r), number: before}
	l.scanner.Buffer(make([]byte, 64<<10), maxLine)
	l.scanner.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		n, token, err := bufio.ScanLines(data, atEOF)
		l.offset += int64(n)
		return n, token, err
	})
	return l
}

// next returns the next path. Empty lines are none.
func (l *lines) next() (string, bool) {
	for l.scanner.Scan() {
		line := strings.TrimSpace(strings.TrimPrefix(l.scanner.Text(), "\ufeff"))
		if line == "" {
			continue
		}
		l.number++
		if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
			l.err = fmt.Errorf("path %d is %.80q, want text in UTF-8", l.number, line)
			return "", false
		}
		return line, true
	}
	if l.err = l.scanner.Err(); errors.Is(l.err, bufio.ErrTooLong) {
		l.err = fmt.Errorf("path %d has more than %d bytes", l.number+1, maxLine)
	}
	return "", false
}
