package output

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
)

// A File is one that a shard has.
type File struct {
	Name   string `json:"name"`   // in the dataset, with slashes
	Path   string `json:"-"`      // where [Writer.Close] has left it
	Bytes  int64  `json:"bytes"`  // of the file
	SHA256 string `json:"sha256"` // in hexadecimal digits
	Rows   int    `json:"rows"`   // of vectors in it; 0 of a file without any
}

// A format is how rows are written and read.
type format struct {
	names  func(s *Spec, number int) []string
	create func(s *Spec, files []*file) sink                              // as many as names
	read   func(s *Spec, files []*input, rows int) iter.Seq2[*Row, error] // rows that are valid in themselves, in a slice that may be used again
}

// A sink takes the rows of a shard.
type sink interface {
	write(r *Row) error
	close() error // writes what is left
}

var formats map[string]*format

func init() { // they call Validate, which looks for them
	formats = map[string]*format{"npy": npyFormat, "parquet": parquetFormat, "csv": csvFormat, "jsonl": jsonlFormat}
}

// Formats returns the names of the formats, sorted.
func Formats() []string { return []string{"csv", "jsonl", "npy", "parquet"} }

// A file is one that is being written.
type file struct {
	*bufio.Writer
	f    *os.File
	name string
}

func create(dir, name string) (*file, error) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, err
	}
	return &file{bufio.NewWriterSize(f, 1<<16), f, name}, nil
}

// finish brings all onto the disk and returns what the file is.
func (f *file) finish(rows int) (_ File, err error) {
	defer func() { err = errors.Join(err, f.f.Close()) }()
	if err := errors.Join(f.Flush(), f.f.Sync()); err != nil {
		return File{}, err
	}
	if _, err := f.f.Seek(0, io.SeekStart); err != nil {
		return File{}, err
	}
	h := sha256.New()
	n, err := io.Copy(h, f.f)
	return File{f.name, f.f.Name(), n, hex.EncodeToString(h.Sum(nil)), rows}, err
}

// A Writer writes the files of one shard. One goroutine may use it. It has to be closed or discarded.
type Writer struct {
	dir    string
	number int
	spec   Spec
	sink   sink // nil before the first row
	files  []*file
	failed *file // nil before the first failure
	rows   int
	fails  int
	keys   keys
	err    error // that ended it
}

// Create begins the files of a shard in a folder, which has to be that of this shard alone until they are published. Memory does not grow with
// their rows, but for 16 bytes of each key.
func Create(dir string, number int, s Spec) (*Writer, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if number < 0 {
		return nil, fmt.Errorf("output: the number of the shard is %d, want 0 or more", number)
	}
	s.Columns = slices.Clone(s.Columns)
	return &Writer{dir: dir, number: number, spec: s, keys: keys{}}, nil
}

// Write writes a row, and keeps nothing of it. An error that is an [ErrRow] is of this row alone, which may be given to [Writer.Fail] then: no
// such vector, a value of another type, a key that another row has. Any other ends the shard.
func (w *Writer) Write(r Row) error {
	if w.err != nil {
		return w.err
	}
	clean, err := r.written(&w.spec)
	if err == nil {
		err = w.keys.check(clean.Key)
	}
	if err != nil {
		return fmt.Errorf("output: %s: %w: %w", printable(r.Key), ErrRow, err)
	}
	if w.sink == nil {
		for _, name := range w.spec.Names(w.number) {
			file, err := create(w.dir, name)
			if err != nil {
				return w.end(err)
			}
			w.files = append(w.files, file)
		}
		w.sink = formats[w.spec.Format].create(&w.spec, w.files)
	}
	if err := w.sink.write(clean); err != nil {
		return w.end(err)
	}
	w.keys.add(clean.Key)
	w.rows++
	return nil
}

// A failure is a line of the errors.
type failure struct {
	Key    string `json:"key"`
	Path   string `json:"image_path"`
	Stage  string `json:"stage"`
	Reason string `json:"reason"`
}

// Fail writes why a sample has no row.
func (w *Writer) Fail(f Failure) error {
	if w.err != nil {
		return w.err
	}
	if w.failed == nil {
		file, err := create(w.dir, w.spec.ErrorsName(w.number))
		if err != nil {
			return w.end(err)
		}
		w.failed = file
	}
	if err := writeJSON(w.failed, failure{clean(f.Key), clean(f.Path), clean(f.Stage), clean(f.Reason)}); err != nil {
		return w.end(err)
	}
	w.fails++
	return nil
}

// writeJSON writes a value in a line.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Rows returns how many rows have been written, and Failures how many samples have failed.
func (w *Writer) Rows() int { return w.rows }

// Failures returns how many samples have failed.
func (w *Writer) Failures() int { return w.fails }

// Close writes what is left, brings it onto the disk, and returns the files, that of the errors last. A shard without rows has none but that. If
// anything has gone wrong, it removes what it has written.
func (w *Writer) Close() (files []File, err error) {
	if w.err != nil {
		return nil, errors.Join(w.err, w.Discard())
	}
	w.err = errors.New("output: the shard is closed")
	defer func() {
		if err != nil {
			files, err = nil, errors.Join(fmt.Errorf("output: %w", err), w.Discard())
		}
	}()
	if w.sink != nil {
		if err := w.sink.close(); err != nil {
			return nil, err
		}
	}
	for _, f := range w.files {
		x, err := f.finish(w.rows)
		if err != nil {
			return nil, err
		}
		files = append(files, x)
	}
	if w.failed != nil {
		x, err := w.failed.finish(w.fails)
		if err != nil {
			return nil, err
		}
		files = append(files, x)
	}
	return files, nil
}

// Discard removes what has been written. After [Writer.Close] it removes the files as well, if they are still there.
func (w *Writer) Discard() error {
	if w.err == nil {
		w.err = errors.New("output: the shard is discarded")
	}
	var errs []error
	for _, f := range append(slices.Clone(w.files), w.failed) {
		if f == nil {
			continue
		}
		_ = f.f.Close() // may be closed
		if err := os.Remove(f.f.Name()); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// end keeps the error that ended the shard.
func (w *Writer) end(err error) error {
	w.err = fmt.Errorf("output: %w", err)
	return w.err
}

// keys are those of a shard, as the first half of their SHA-256.
type keys map[[16]byte]struct{}

func short(key string) [16]byte {
	h := sha256.Sum256([]byte(key))
	return [16]byte(h[:])
}

func (k keys) check(key string) error {
	if _, ok := k[short(key)]; ok {
		return errors.New("another row has this key")
	}
	return nil
}

func (k keys) add(key string) { k[short(key)] = struct{}{} }

// parseSum reads hexadecimal digits.
func parseSum(to *[32]byte, text string) error {
	if len(text) != 2*len(to) {
		return fmt.Errorf("%s is %.80q, want %d hexadecimal digits", sha256Column, text, 2*len(to))
	}
	b, err := hex.DecodeString(text)
	if err != nil || !bytes.Equal([]byte(hex.EncodeToString(b)), []byte(text)) {
		return fmt.Errorf("%s is %.80q, want %d hexadecimal digits in lower case", sha256Column, text, 2*len(to))
	}
	copy(to[:], b)
	return nil
}
