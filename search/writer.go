package search

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
)

// defaultShardRows is how many rows a shard has at most: 100 MB of vectors of 768 values, so that a long run is soon searched.
const defaultShardRows = 1 << 16

// WriterOptions are choices of [NewWriter]. The zero value is fine.
type WriterOptions struct {
	Columns   []string // names of the user's columns, which those that the index has stay beside
	Model     string   // where the model lies, as a hint for who searches
	ShardRows int      // how many rows a shard has at most; 0 is 65,536
}

// A Writer adds rows to an index, changes their names and deletes them. One goroutine may use it, and one process at a time.
// What has been added is kept on disk at once, and seen by readers after [Writer.Commit]. Deletions and names are kept by
// Commit.
type Writer struct {
	dir     string
	about   *manifest
	options WriterOptions
	changes changes
	changed bool // since the last commit
	pending *pending
	err     error // that ended it
	unlock  func()
	half    []uint16
	unit    []float32
}

// NewWriter begins an index of vectors of a space, or goes on with one: with rows, too, that another process has added and not
// committed. Errors are [ErrInUse], [ErrDamaged], a [SpaceError], or those of the file system.
func NewWriter(dir string, s clip.Space, o WriterOptions) (*Writer, error) {
	return newWriter(dir, &s, o, func(int, *Record, []uint16) {})
}

// newWriter is NewWriter that gives rows to a function that are there and not committed. They follow those of the shards. A
// space that is nil is that of the index.
func newWriter(dir string, s *clip.Space, o WriterOptions, there func(row int, r *Record, half []uint16)) (_ *Writer, err error) {
	if o.ShardRows == 0 {
		o.ShardRows = defaultShardRows
	}
	if o.ShardRows < 1 {
		return nil, fmt.Errorf("search: a shard has at most %d rows, want 1 or more", o.ShardRows)
	}
	for _, c := range o.Columns {
		if c == "" || isOwn(c) || !utf8.ValidString(c) {
			return nil, fmt.Errorf("search: %w: %q, want another than the index's own columns have", ErrColumn, c)
		}
	}
	if s != nil && (s.Dim < 1 || s.Dim > maxDim || !s.Normalized) {
		return nil, fmt.Errorf("search: vectors have %d values, normalised %v; want 1 to %d, and normalised", s.Dim, s.Normalized, maxDim)
	}
	w := &Writer{dir: dir, options: o}
	undo := func() {}
	_, err = readManifest(dir)
	switch {
	case errors.Is(err, ErrNoIndex) && s != nil:
		if err := vacant(dir); err != nil {
			return nil, err
		}
		if undo, err = folder.Make(dir); err != nil {
			return nil, fmt.Errorf("search: %w", err)
		}
	case err != nil:
		return nil, err
	}
	if w.unlock, err = folder.Lock(filepath.Join(dir, lockName)); err != nil {
		undo()
		return nil, fmt.Errorf("search: %s: %w", dir, reason(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
			undo()
		}
	}()
	about, err := readManifest(dir) // now that nobody else changes it
	if errors.Is(err, ErrNoIndex) && s != nil {
		about = &manifest{Version: version, Print: s.Fingerprint(), Space: *s, Model: o.Model, Columns: []string{}, Sources: []Source{}, Shards: []shardOf{}}
		err = w.writeManifest(about)
	}
	if err != nil {
		return nil, err
	}
	w.about = about
	if s != nil && s.Fingerprint() != about.Print {
		return nil, &SpaceError{dir, about.Space, *s}
	}
	if s != nil && about.Space.Text == "" && s.Text != "" {
		about.Space.Text, w.changed = s.Text, true
	}
	if o.Model != "" && o.Model != about.Model {
		about.Model, w.changed = o.Model, true
	}
	for _, c := range o.Columns {
		if at, ok := slices.BinarySearch(about.Columns, c); !ok {
			about.Columns, w.changed = slices.Insert(about.Columns, at, c), true
		}
	}
	if w.changes, err = readChanges(dir, about); err != nil {
		return nil, err
	}
	w.half = make([]uint16, about.Space.Dim)
	if err := w.openPending(there); err != nil {
		return nil, w.named(err)
	}
	return w, nil
}

// vacant returns an error if a folder has anything in it that is no part of an index.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("search: %s: %w", dir, reason(err))
	}
	for _, e := range entries {
		if e.Name() != lockName && !strings.HasPrefix(e.Name(), "."+manifestName) {
			return fmt.Errorf("search: %s: %w: it has no %s, and %s lies in it; want an index, an empty folder, or none", dir, ErrNoIndex, manifestName, e.Name())
		}
	}
	return nil
}

// openPending goes on with what is pending behind the shards.
func (w *Writer) openPending(there func(row int, r *Record, half []uint16)) (err error) {
	if err := restore(w.dir, w.about.Next); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(w.dir, compactDir)); err != nil { // which has not ended
		return err
	}
	if err := sweep(w.dir, w.about); err != nil {
		return err
	}
	first := w.about.rows()
	w.pending, err = openPending(filepath.Join(w.dir, pendingDir), pendingHead{version, w.about.Print, w.about.Next, w.about.Space.Dim}, func(row int, r *Record, half []uint16) { there(first+row, r, half) })
	return err
}

// named returns an error with the name of the index.
func (w *Writer) named(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), "search: ") {
		return err
	}
	return fmt.Errorf("search: %s: %w", w.dir, err)
}

// Len returns how many rows there are, with those that are deleted and those that are not committed.
func (w *Writer) Len() int { return w.about.rows() + w.pending.rows }

// Add adds a row. The vector need not be normalised, and is kept in float16. One that is zero or has a value that is no finite
// number is an error. So is a record whose texts are no UTF-8.
func (w *Writer) Add(r Record, vector []float32) error {
	if w.err != nil {
		return w.err
	}
	if len(vector) != len(w.half) {
		return fmt.Errorf("search: %s: vector has %d values, want %d", r.Path, len(vector), len(w.half))
	}
	if i := op.NotFinite(vector); i >= 0 {
		return fmt.Errorf("search: %s: value %d of %d is %v, want a finite number", r.Path, i+1, len(vector), vector[i])
	}
	w.unit = append(w.unit[:0], vector...)
	clip.Normalize(w.unit)
	var most float32
	for i, v := range w.unit {
		w.half[i] = kernel.ToHalf(v)
		most = max(most, float32(math.Abs(float64(v))))
	}
	if most == 0 {
		return fmt.Errorf("search: %s: the vector is zero, and has no direction", r.Path)
	}
	return w.add(&r, w.half)
}

// add adds a row that is normalised.
func (w *Writer) add(r *Record, half []uint16) error {
	if err := r.check(); err != nil {
		return err
	}
	if w.Len() >= maxRows {
		return fmt.Errorf("search: %s: has %d rows, and cannot have more", w.dir, w.Len())
	}
	if w.pending.rows >= w.options.ShardRows {
		if err := w.Commit(); err != nil {
			return err
		}
	}
	if err := w.pending.add(r, half); err != nil {
		w.err = w.named(err)
	}
	return w.err
}

// check returns an error if parquet cannot hold a record.
func (r *Record) check() error {
	texts := map[string]string{pathColumn: r.Path, captionColumn: r.Caption}
	maps.Copy(texts, r.Columns)
	for column, text := range texts {
		if !utf8.ValidString(text) {
			return fmt.Errorf("search: %q: column %q is %.80q, want UTF-8", r.Path, column, text)
		}
	}
	if r.Path == "" {
		return errors.New("search: a row has no path")
	}
	return nil
}

// Delete deletes a row. It panics for a row that there is not.
func (w *Writer) Delete(row int) {
	w.must(row)
	w.changed = w.changed || !w.changes.isDead(row)
	w.changes.kill(row)
}

// Rename gives a row the path and the caption of a record, and its file's size and time. As [Writer.Describe], it panics for a row
// that there is not, or that is deleted.
func (w *Writer) Rename(row int, r Record) {
	w.must(row)
	c := w.changes.at(row)
	c.Path, c.Size, c.Modified, c.Caption = r.Path, r.Size, r.Modified, &r.Caption
	w.changed = true
}

// Describe gives a row other values of the user's columns.
func (w *Writer) Describe(row int, columns map[string]string) {
	w.must(row)
	w.changes.at(row).Columns = maps.Clone(columns)
	w.changed = true
}

func (w *Writer) must(row int) {
	if row < 0 || row >= w.Len() {
		panic(fmt.Sprintf("search: row %d of %d", row, w.Len()))
	}
}

// Commit makes all that was done appear to readers at once.
func (w *Writer) Commit() error {
	if w.err != nil {
		return w.err
	}
	if w.pending.rows == 0 && !w.changed {
		return nil
	}
	if err := w.commit(); err != nil {
		w.err = w.named(err)
		return w.err
	}
	w.changed = false
	return nil
}

func (w *Writer) commit() error {
	next := *w.about
	next.Generation++
	next.Shards = slices.Clone(w.about.Shards)
	if w.pending.rows > 0 {
		s, err := w.pending.seal(next.Columns)
		if err != nil {
			return err
		}
		if err := errors.Join(w.pending.sync(), w.pending.close()); err != nil {
			return err
		}
		if err := publish(w.dir, w.pending.dir, s.Number); err != nil {
			return err
		}
		next.Shards, next.Next = append(next.Shards, s), s.Number+1
	}
	if err := w.writeChanges(&next); err != nil {
		return err
	}
	if err := w.writeManifest(&next); err != nil {
		return err
	}
	w.about = &next
	if err := w.pending.close(); err != nil {
		return err
	}
	return w.openPending(func(int, *Record, []uint16) {})
}

// writeChanges writes the changes of a generation.
func (w *Writer) writeChanges(m *manifest) error {
	m.Changes = nil
	n := w.changes.dead + len(w.changes.of)
	if n == 0 {
		return nil
	}
	name := changesFile(m.Generation)
	if err := os.MkdirAll(filepath.Join(w.dir, changesDir), 0o777); err != nil {
		return err
	}
	text := w.changes.encode()
	if err := folder.WriteBytes(filepath.Join(w.dir, name), text); err != nil {
		return err
	}
	h := sha256.Sum256(text)
	m.Changes = &changesOf{File: filepath.Base(name), Rows: n, fileOf: fileOf{int64(len(text)), hex.EncodeToString(h[:])}}
	return nil
}

// writeManifest replaces the manifest.
func (w *Writer) writeManifest(m *manifest) error {
	text, err := folder.JSON(m)
	if err != nil {
		return err
	}
	return folder.WriteBytes(filepath.Join(w.dir, manifestName), text)
}

// Close ends the work. Rows that are not committed are kept on the disk for the next Writer.
func (w *Writer) Close() error {
	var errs []error
	if w.pending != nil {
		if w.pending.rows > 0 {
			errs = append(errs, w.pending.sync())
		}
		empty := w.pending.data != nil && w.pending.rows == 0
		errs = append(errs, w.pending.close())
		if empty {
			errs = append(errs, os.RemoveAll(filepath.Join(w.dir, pendingDir)))
		}
	}
	w.pending = &pending{}
	if w.err == nil {
		w.err = errors.New("search: the index has been closed")
	}
	if w.unlock != nil {
		_ = folder.Clean(w.dir) // before others may come
		w.unlock()
		w.unlock = nil
	}
	return w.named(errors.Join(errs...))
}
