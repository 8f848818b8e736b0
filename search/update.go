package search

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/internal/pyjson"
)

// UpdateOptions are choices of [Update]. The zero value is fine.
type UpdateOptions struct {
	WriterOptions
	Batch    int                                 // as of [clip.StreamOptions]
	Rehash   bool                                // files are read even if size and time are those of before
	Strict   bool                                // a picture that cannot be read ends it
	Describe func(path string) map[string]string // the values of the user's columns, nil for none; nil leaves those that are there
	Progress func(done, total int)               // called after each picture; nil is fine
	Skipped  func(path string, cause error)      // called for each picture that cannot be read; nil is fine
	Notes    func(source Source, notes []string) // what a source has that was left out and may have been wanted; nil is fine
}

// A Report says what [Update] did. Pictures are counted once, under the first that is true of them.
type Report struct {
	Added     int `json:"added"`     // are new
	Changed   int `json:"changed"`   // have other contents
	Copied    int `json:"copied"`    // are new, with the contents of others, whose vectors they have
	Renamed   int `json:"renamed"`   // have another path
	Unchanged int `json:"unchanged"` // are as before
	Deleted   int `json:"deleted"`   // are gone
	Failed    int `json:"failed"`    // cannot be read; the file errors.jsonl of the index has them with reasons
	Resumed   int `json:"resumed"`   // of Unchanged, those that a run before had added and not committed
	Pictures  int `json:"pictures"`  // that the index has in the end
}

// ErrEmptied is of a folder or tar that has no pictures any more, of which the index has some. It may be a disk that is not
// mounted; [Forget] deletes them.
var ErrEmptied = errors.New("has no pictures any more")

// Update brings an index up to date with sources, and begins it if it is not there. Files whose size and time have not changed are
// not read. Those that are read are known by the SHA-256 of their contents: one that has another path is not encoded again. A
// picture that is gone from a folder or tar is deleted, as is a file of a list that is gone. Rows of other sources stay.
//
// It commits when all is done, and whenever a shard is full. If it ends early, by an error or the end of ctx, what has been encoded
// is kept, and the next Update goes on behind it. Memory grows by some 100 bytes a row. Errors are those of [NewWriter] and
// [clip.Model.Stream], and an [ErrEmptied].
func Update(ctx context.Context, m *clip.Model, dir string, sources []Source, o UpdateOptions) (_ *Report, err error) {
	space, err := m.Space(ctx)
	if err != nil {
		return nil, err
	}
	m.ReleaseText()
	stream := func(ctx context.Context, pictures iter.Seq[clip.Picture]) iter.Seq2[clip.Encoded, error] {
		return m.Stream(ctx, pictures, clip.StreamOptions{Batch: o.Batch, SkipErrors: true})
	}
	return (&update{o: o, sources: sources, stream: stream}).all(ctx, dir, space)
}

// all does an update from its beginning to its end.
func (u *update) all(ctx context.Context, dir string, space clip.Space) (_ *Report, err error) {
	u.known, u.report = known{rows: map[key]int32{}, contents: map[key]int32{}}, &Report{}
	if err := u.survey(ctx, dir, space); err != nil {
		return nil, err
	}
	u.w, err = newWriter(dir, &space, u.o.WriterOptions, func(row int, r *Record, _ []uint16) {
		u.early = append(u.early, Row{row, Record{Path: r.Path, Size: r.Size, Modified: r.Modified, SHA256: r.SHA256}})
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, u.w.Close()) }()
	if u.before, err = Open(dir); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, u.before.Close()) }()
	if err := u.load(); err != nil {
		return nil, err
	}
	if u.failures, err = folder.Create(filepath.Join(dir, errorsName)); err != nil {
		return nil, fmt.Errorf("search: %s: %w", dir, err)
	}
	defer u.failures.Discard()
	return u.report, errors.Join(u.run(ctx), u.listFailures())
}

// A key is half a SHA-256 of a path or of contents, which no two have in common.
type key [16]byte

func keyOf(b []byte) key {
	h := sha256.Sum256(b)
	return key(h[:16])
}

// known is what the index has when an update begins, and then of paths those that are met.
type known struct {
	rows           map[key]int32 // by path; met for one that was not there
	contents       map[key]int32 // one row of each, of those that are committed
	size, modified []int64       // by row
	hash           []key         // of the contents
	seen           []bool
}

// met is in the place of a row that is not there yet.
const met = -1

// An update is one in the making.
type update struct {
	o       UpdateOptions
	sources []Source
	given   *Given // is gone through in the place of the only source, if it is not nil
	stream  func(ctx context.Context, pictures iter.Seq[clip.Picture]) iter.Seq2[clip.Encoded, error]
	w       *Writer
	before  *Index
	known   known
	report  *Report
	early   []Row    // that were pending
	window  []Record // of before, from row at on
	at      int
	archive string          // the tar that was last looked into
	members map[string]bool // the paths of its pictures

	looking  sync.Mutex // of who goes through the sources
	mu       sync.Mutex // of what follows, and of report
	waiting  []waiting  // pictures on their way to a vector
	failures *folder.File
	failed   int
	total    int
	done     int
	tell     sync.Mutex // of calls of the options' functions
	broken   error      // that ended the sources

	later []func() error // what is done when all vectors are there
}

// A waiting picture has a record, and perhaps a row that it replaces.
type waiting struct {
	record Record
	old    int
}

// load reads what is there.
func (u *update) load() error {
	k, n := &u.known, u.w.Len()
	k.size, k.modified, k.hash, k.seen = make([]int64, n), make([]int64, n), make([]key, n), make([]bool, n)
	put := func(r *Row) {
		k.size[r.Index], k.modified[r.Index], k.hash[r.Index] = r.Size, r.Modified, key(r.SHA256[:16])
		p := keyOf([]byte(r.Path))
		if old, ok := k.rows[p]; ok { // which a run before has replaced
			u.w.Delete(int(old))
			k.seen[old] = true
		}
		k.rows[p] = int32(r.Index)
	}
	for r, err := range u.before.Records() {
		if err != nil {
			return err
		}
		put(&r)
		k.contents[key(r.SHA256[:16])] = int32(r.Index)
	}
	for _, r := range u.early {
		put(&r)
	}
	return nil
}

// survey goes through the sources, for the progress: what cannot be read is said before an index is begun or changed.
func (u *update) survey(ctx context.Context, dir string, space clip.Space) error {
	if about, err := readManifest(dir); err == nil && about.Print != space.Fingerprint() {
		return &SpaceError{dir, about.Space, space}
	}
	for _, s := range u.sources {
		notes, err := u.each(s, func(item) { u.total++ })
		if err != nil {
			return err
		}
		if len(notes) > 0 && u.o.Notes != nil {
			u.o.Notes(s, notes)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// run does all.
func (u *update) run(ctx context.Context) error {
	if err := u.encode(ctx); err != nil {
		return err
	}
	if u.broken != nil {
		return u.broken
	}
	for _, f := range u.later {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := f(); err != nil {
			return err
		}
	}
	if err := u.deleteGone(); err != nil {
		return err
	}
	for _, s := range u.sources {
		if u.given == nil && !slices.Contains(u.w.about.Sources, s) {
			u.w.about.Sources, u.w.changed = append(slices.Clone(u.w.about.Sources), s), true
		}
	}
	if err := u.w.Commit(); err != nil {
		return err
	}
	u.report.Pictures = u.w.Len() - u.w.changes.dead
	return nil
}

// encode adds what is new.
func (u *update) encode(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	defer func() { // nobody goes through the sources any more, nor will
		cancel()
		u.looking.Lock()
		u.looking.Unlock() //nolint:staticcheck // it was waited for
	}()
	for x, err := range u.stream(ctx, u.pictures(inner)) {
		if err != nil {
			return err
		}
		if err := u.take(x); err != nil {
			return err
		}
	}
	return nil
}

// pictures yields those that have to be encoded.
func (u *update) pictures(ctx context.Context) iter.Seq[clip.Picture] {
	return func(yield func(clip.Picture) bool) {
		u.looking.Lock()
		defer u.looking.Unlock()
		for _, s := range u.sources {
			n, more := 0, true
			_, err := u.each(s, func(it item) {
				n++
				if !more || ctx.Err() != nil {
					return
				}
				p, ok, err := u.look(&it)
				switch {
				case err != nil:
					u.broken, more = err, false
				case ok:
					more = yield(p)
				default:
					u.step()
				}
			})
			if err == nil && n == 0 && s.whole() && u.has(s) {
				err = fmt.Errorf("search: %s: %w, and the index has some of it: is a disk missing?", s.Path, ErrEmptied)
			}
			if u.broken == nil {
				u.broken = err
			}
			if u.broken != nil || !more || ctx.Err() != nil {
				return
			}
		}
	}
}

// has says whether the index has pictures of a source.
func (u *update) has(s Source) bool {
	for r, err := range u.before.Records() {
		if err == nil && below(r.Path, s.Path) {
			return true
		}
	}
	return false
}

// step counts a picture.
func (u *update) step() {
	u.mu.Lock()
	u.done++
	done := u.done
	u.mu.Unlock()
	if u.o.Progress != nil {
		u.tell.Lock()
		defer u.tell.Unlock()
		u.o.Progress(done, max(u.total, done))
	}
}

// look finds out what has become of a picture, and returns it if it has to be encoded. An error ends all.
func (u *update) look(it *item) (_ clip.Picture, encode bool, err error) {
	k, p := &u.known, keyOf([]byte(it.path))
	row, there := k.rows[p]
	if row == met || there && k.seen[row] {
		return clip.Picture{}, false, nil // twice in the sources
	}
	if !utf8.ValidString(it.path) {
		return clip.Picture{}, false, u.fail(it.path, fmt.Errorf("its name is %q, want UTF-8, which parquet wants", it.path))
	}
	if it.modified == 0 && there { // of a list: it is gone
		return clip.Picture{}, false, nil
	}
	if there && !u.o.Rehash && it.size == k.size[row] && it.modified == k.modified[row] {
		k.seen[row] = true
		u.count(&u.report.Unchanged)
		if int(row) >= u.before.Len() {
			u.count(&u.report.Resumed)
		}
		return clip.Picture{}, false, u.describe(int(row), it.path)
	}
	if !there {
		k.rows[p] = met
	}
	content, hash, err := read(it)
	if err != nil {
		if there {
			k.seen[row] = true // it is there, and its contents are not known to have changed
		}
		return clip.Picture{}, false, u.fail(it.path, err)
	}
	r := Record{Path: it.path, Caption: it.caption, SHA256: hash, Size: it.size, Modified: it.modified}
	if u.o.Describe != nil {
		r.Columns = u.o.Describe(it.path)
	}
	old := met
	if there {
		k.seen[row] = true
		if k.hash[row] == key(hash[:16]) {
			u.count(&u.report.Unchanged)
			if it.size != k.size[row] || it.modified != k.modified[row] {
				u.later = append(u.later, func() error { u.w.Rename(int(row), r); return nil })
			}
			return clip.Picture{}, false, u.describe(int(row), it.path)
		}
		old = int(row)
	}
	if twin, ok := k.contents[key(hash[:16])]; ok {
		return clip.Picture{}, false, u.adopt(int(twin), old, r)
	}
	r.Width, r.Height, _ = clipvit.ImageSize(bytes.NewReader(content)) // what is wrong with it is said when it is decoded
	u.mu.Lock()
	u.waiting = append(u.waiting, waiting{r, old})
	u.mu.Unlock()
	return clip.Bytes(it.path, content), true, nil
}

// adopt gives a picture the vector of a row with the same contents: that is renamed, or, if its file is there still, copied. The
// row that the picture had before, if any, is deleted.
func (u *update) adopt(twin, old int, r Record) error {
	was, err := u.recordOf(twin)
	if err != nil {
		return err
	}
	r.Width, r.Height = was.Width, was.Height
	if old == met && !u.known.seen[twin] && !u.there(was.Path) {
		u.known.seen[twin] = true
		u.count(&u.report.Renamed)
		u.later = append(u.later, func() error {
			u.w.Rename(twin, r)
			if u.o.Describe != nil {
				u.w.Describe(twin, r.Columns)
			}
			return nil
		})
		return nil
	}
	if old != met {
		u.count(&u.report.Changed)
	} else {
		u.count(&u.report.Copied)
	}
	u.later = append(u.later, func() error {
		err := u.w.add(&r, u.before.Half(twin))
		if u.w.err != nil {
			return err
		}
		if old != met {
			u.w.Delete(old)
		}
		if err != nil {
			return u.fail(r.Path, err)
		}
		return nil
	})
	return nil
}

// there says whether the picture of a path is there. It reads a tar once for all that follow one another.
func (u *update) there(path string) bool {
	if _, err := os.Stat(path); err == nil {
		return true
	}
	archive, _, ok := inTar(path)
	if !ok {
		return false
	}
	if u.archive != archive {
		u.archive, u.members = archive, map[string]bool{}
		samples, _, err := data.Shard(archive)
		if err != nil {
			return false
		}
		for _, s := range samples {
			u.members[s.Path] = true
		}
	}
	return u.members[path]
}

// recordOf returns what a row is of that was there before. Rows are mostly asked for in their order, and read so.
func (u *update) recordOf(row int) (Record, error) {
	const many = 256
	if row < u.at || row >= u.at+len(u.window) {
		s, i := u.before.of(row)
		u.window, u.at = u.window[:0], row
		err := s.records.each(i, func(_ int, r *Record) bool {
			u.before.changes.apply(row+len(u.window), r)
			u.window = append(u.window, *r)
			return len(u.window) < many
		})
		if err != nil {
			u.window = nil
			return Record{}, u.before.unreadable(s, err)
		}
	}
	return u.window[row-u.at], nil
}

// describe gives a row the values of the user's columns, if they are others.
func (u *update) describe(row int, path string) error {
	if u.o.Describe == nil || row >= u.before.Len() {
		return nil
	}
	columns := u.o.Describe(path)
	was, err := u.recordOf(row)
	if err == nil && !maps.Equal(columns, was.Columns) {
		u.later = append(u.later, func() error { u.w.Describe(row, columns); return nil })
	}
	return err
}

// read returns the contents of a picture, and their sum.
func read(it *item) (content []byte, hash Hash, err error) {
	if it.size > pillow.MaxBytes {
		return nil, hash, fmt.Errorf("%w: %d bytes, want at most %d", clip.ErrTooLarge, it.size, pillow.MaxBytes)
	}
	f, err := it.open()
	if err != nil {
		return nil, hash, reason(err)
	}
	defer f.Close()
	b := bytes.NewBuffer(make([]byte, 0, it.size+bytes.MinRead))
	if _, err := b.ReadFrom(io.LimitReader(f, pillow.MaxBytes+1)); err != nil {
		return nil, hash, reason(err)
	}
	return b.Bytes(), sha256.Sum256(b.Bytes()), nil
}

func (u *update) count(n *int) {
	u.mu.Lock()
	*n++
	u.mu.Unlock()
}

// take adds the vector of the picture that has waited longest.
func (u *update) take(x clip.Encoded) error {
	u.mu.Lock()
	next := u.waiting[0]
	u.waiting = u.waiting[1:]
	u.mu.Unlock()
	defer u.step()
	err := x.Err
	if err == nil {
		if err = u.w.Add(next.record, x.Vector); u.w.err != nil {
			return u.w.err
		}
	}
	if next.old != met { // after Add, which may commit: no commit is without the picture
		u.w.Delete(next.old)
	}
	switch {
	case err != nil:
		return u.fail(next.record.Path, err)
	case next.old != met:
		u.count(&u.report.Changed)
	default:
		u.count(&u.report.Added)
	}
	return nil
}

// fail lists a picture that cannot be read. It returns the error if that ends all.
func (u *update) fail(path string, err error) error {
	text := err.Error()
	for _, before := range []string{"search: ", "clip: ", path + ": "} {
		text = strings.TrimPrefix(text, before)
	}
	if u.o.Strict {
		return fmt.Errorf("search: %s: %w", path, &stated{text, err})
	}
	u.count(&u.report.Failed)
	if u.o.Skipped != nil {
		u.tell.Lock()
		u.o.Skipped(path, &stated{path + ": " + text, err})
		u.tell.Unlock()
	}
	line, err := json.Marshal(map[string]pyjson.Name{"image": pyjson.Name(path), "error": pyjson.Name(text)})
	if err == nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.failed++
		_, err = u.failures.Write(append(line, '\n'))
	}
	return err
}

// A stated error has another text than its cause.
type stated struct {
	text  string
	cause error
}

func (s *stated) Error() string { return s.text }
func (s *stated) Unwrap() error { return s.cause }

// deleteGone deletes what has not been seen: of folders and tars all that is in them no more, and of lists the files that are gone.
func (u *update) deleteGone() error {
	gone := func(r *Row) bool {
		return slices.ContainsFunc(u.sources, func(s Source) bool { return s.whole() && below(r.Path, s.Path) })
	}
	listed := map[string]bool{}
	for _, s := range u.sources {
		if !s.whole() {
			if _, err := u.each(s, func(it item) {
				if it.modified == 0 {
					listed[it.path] = true
				}
			}); err != nil {
				return err
			}
		}
	}
	drop := func(r *Row) {
		if !u.known.seen[r.Index] && !u.w.changes.isDead(r.Index) && (gone(r) || listed[r.Path]) {
			u.w.Delete(r.Index)
			u.report.Deleted++
		}
	}
	if slices.Contains(u.known.seen[:u.before.Len()], false) { // or they need not be read
		for r, err := range u.before.Records() {
			if err != nil {
				return err
			}
			drop(&r)
		}
	}
	for _, r := range u.early {
		drop(&r)
	}
	return nil
}

// listFailures makes the list of pictures that cannot be read appear, or removes that of before.
func (u *update) listFailures() error {
	if u.failed > 0 {
		return u.failures.Commit()
	}
	u.failures.Discard()
	if err := os.Remove(filepath.Join(u.w.dir, errorsName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("search: %w", err)
	}
	return nil
}

// Forget deletes the pictures of sources from an index, by their absolute paths: folders and tars with all that is in them, which may
// be gone, lists with the files that they name, or files. It returns how many there were. A path of which the index knows nothing is
// an error, and nothing is deleted then.
func Forget(dir string, paths []string) (n int, err error) {
	w, err := newWriter(dir, nil, WriterOptions{}, func(int, *Record, []uint16) {})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.Commit(); err != nil {
		return 0, err
	}
	x, err := Open(dir)
	if err != nil {
		return 0, err
	}
	defer x.Close()
	for _, path := range paths {
		found, listed := false, map[string]bool{}
		left := []Source{}
		for _, s := range w.about.Sources {
			if s.Path != path {
				left = append(left, s)
				continue
			}
			found = true
			if s.Kind == listSource {
				all, err := readList(path)
				if err != nil {
					return 0, fmt.Errorf("search: %s: a list whose pictures are to be deleted: %w", path, err)
				}
				for _, p := range all {
					listed[p] = true
				}
			}
		}
		w.about.Sources = left
		for r, err := range x.Records() {
			if err != nil {
				return 0, err
			}
			if below(r.Path, path) || listed[r.Path] {
				found = true
				if !w.changes.isDead(r.Index) {
					w.Delete(r.Index)
					n++
				}
			}
		}
		if !found {
			return 0, fmt.Errorf("search: %s: the index has no source and no pictures of %s", dir, path)
		}
		w.changed = true
	}
	return n, w.Commit()
}
