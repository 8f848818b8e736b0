package embeddings

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/journal"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
)

// What lies beside a file, behind its name.
const (
	partialSuffix = ".partial"
	journalSuffix = ".partial.journal"
	lockSuffix    = ".partial.lock"
	newSuffix     = ".partial.new" // what gets another name as soon as it is whole
	aboutSuffix   = ".about.json"
	namesSuffix   = ".names.jsonl"
)

// NamesFile returns the path of the names of a file of format npy: a JSON string a line, in the order of the rows.
func NamesFile(path string) string { return path + namesSuffix }

// Options are choices of [Create]. The zero value makes a file that is not there.
type Options struct {
	Resume    bool // go on with what has been begun; what is complete stays, what is not there is begun
	Overwrite bool // begin again, and in the end replace the file that is there
}

// syncEvery is after how long what is written is brought onto the disk, for when the machine loses power: 10 ms in 5 s
// are 0.2 %.
const syncEvery = 5 * time.Second

// These bring a file and the entries of a folder onto the disk. Tests that do it thousands of times leave them out.
var (
	fsync   = (*os.File).Sync
	syncDir = folder.SyncDir
)

// A Writer writes the rows of a file, from the one after [Writer.Done] to the last. One goroutine may use it. After an error
// of Write or Fail no more can be written; what was written before is kept.
type Writer struct {
	spec  Spec
	about record
	path  string // of the file, behind links; "" if there is only out
	out   io.Writer
	notes []string
	err   error // that ended it

	space func() (*clip.Space, error) // that of the rows, when all are there; nil if Spec says it

	data, journal *os.File
	atEnd         func()
	buf, entry    []byte // what was written last

	done, failed int
	end          int64  // of what is written
	crc          uint32 // of it
	at           int64  // of the journal
	sum          uint32 // of it
	whole        bool   // the journal says that all rows are there
	finished     bool   // the file has its name
	synced       time.Time
}

// to returns a Writer of rows that are not kept: to standard output, say. Done is 0, and [Writer.Commit] writes nothing more.
// s.Format has to be given.
func to(w io.Writer, s Spec) (*Writer, error) {
	s, err := s.complete("output")
	if err != nil {
		return nil, err
	}
	head, err := s.head()
	if err != nil {
		return nil, fmt.Errorf("embeddings: %w", err)
	}
	if _, err := w.Write(head); err != nil {
		return nil, fmt.Errorf("embeddings: %w", err)
	}
	return &Writer{spec: s, out: w}, nil
}

// Check returns what [Create] would find wrong with a file before it knows of its rows, such as [ErrExists] and
// [ErrUnfinished].
func (o Options) Check(path string) error {
	path, special, err := resolve(path)
	if err != nil || special && !o.Resume {
		return err
	}
	switch {
	case o.Resume && o.Overwrite:
		return fmt.Errorf("embeddings: %s: cannot both be resumed and begun again", path)
	case special:
		return fmt.Errorf("embeddings: %s: is no file that could be resumed", path)
	case o.Resume || o.Overwrite:
		return nil
	}
	n, err := begun(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path + partialSuffix); err == nil && n > 0 {
		return fmt.Errorf("embeddings: %s has been begun, with %s, and %w", path, plural.Of(n, "row"), ErrUnfinished)
	}
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("embeddings: %s exists, and %w", path, ErrExists)
	}
	return nil // anything else is said when it is made
}

// begun returns how many rows a journal has, 0 if there is none.
func begun(path string) (n int, err error) {
	f, err := os.Open(path + journalSuffix)
	if err != nil { // which is said when it is made, if it is not that there is none
		return 0, nil //nolint:nilerr
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return 0, nil // likewise
	}
	j := journal.NewReader(f)
	ok, err := j.Next(&record{})
	if err != nil {
		return 0, named(path, err)
	}
	if !ok {
		return 0, unreadable(path)
	}
	for {
		var p point
		if ok, err := j.Next(&p); err != nil {
			return 0, named(path, err)
		} else if !ok || p.Whole {
			return n, nil
		}
		n++
	}
}

func unreadable(path string) error {
	return fmt.Errorf("embeddings: %s: %w: what says how it was begun cannot be read", path, ErrDamaged)
}

// resolve returns the path of a file behind links, or that it is special: a device or a pipe.
func resolve(path string) (real string, special bool, err error) {
	info, err := os.Stat(path)
	_, base := filepath.Split(path)
	switch {
	case err != nil && base == "":
		return path, false, fmt.Errorf("embeddings: %s: names a folder, want a file", path)
	case err != nil: // perhaps of a link to what is not there yet
	case info.IsDir():
		return path, false, fmt.Errorf("embeddings: %s: is a directory, want a file", path)
	case !info.Mode().IsRegular():
		return path, true, nil
	}
	if real, err = folder.Target(path); err != nil {
		return path, false, fmt.Errorf("embeddings: %w", err)
	}
	return real, false, nil
}

// Create begins a file, or goes on with one. It makes the folders above it that are missing. A device or a pipe is written to
// as it is.
//
// With o.Resume rows that are there already are not written again: Done says how many. Their settings, model and names have
// to be those of s, or the error is a [MismatchError]. A row that has failed stays so. Of a file that is complete all rows are
// done.
//
// Errors are [ErrExists], [ErrUnfinished], [ErrInUse], [ErrOther], [ErrDamaged], or those of the file system.
func Create(path string, s Spec, o Options) (_ *Writer, err error) {
	if err := o.Check(path); err != nil {
		return nil, err
	}
	if s, err = s.complete(path); err != nil {
		return nil, err
	}
	path, special, err := resolve(path)
	if err != nil {
		return nil, err
	}
	if special {
		return createSpecial(path, s)
	}
	w := &Writer{spec: s, path: path, synced: time.Now()}
	if err := w.inTheWay(); err != nil {
		return nil, err
	}
	if w.about, err = newRecord(&w.spec); err != nil {
		return nil, fmt.Errorf("embeddings: %s: %w", path, err)
	}
	undo, err := folder.Make(filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return nil, fmt.Errorf("embeddings: %w", err)
	}
	unlock, err := folder.Lock(path + lockSuffix)
	if err != nil {
		undo()
		if errors.Is(err, ErrInUse) {
			return nil, fmt.Errorf("embeddings: %s: %w", path, err)
		}
		return nil, unwritable(path, err)
	}
	w.atEnd = func() {
		unlock()
		undo() // removes empty folders alone
	}
	if err = o.Check(path); err == nil { // of what it is now that nobody else can change it
		err = w.open(o)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// inTheWay returns an error if a directory has a name that is needed, rather than when all rows have been made.
func (w *Writer) inTheWay() error {
	for _, suffix := range []string{partialSuffix, journalSuffix, newSuffix, aboutSuffix, namesSuffix} {
		if info, err := os.Lstat(w.path + suffix); err == nil && info.IsDir() && (suffix != namesSuffix || w.spec.Format == "npy") {
			return fmt.Errorf("embeddings: %s: is a directory, want a file or nothing", w.path+suffix)
		}
	}
	return nil
}

func createSpecial(path string, s Spec) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("embeddings: %w", err)
	}
	w, err := to(f, s)
	if err != nil {
		f.Close()
		return nil, err
	}
	w.atEnd = func() { f.Close() }
	return w, nil
}

// open finds out what is there, and goes on behind it.
func (w *Writer) open(o Options) (err error) {
	w.journal, err = os.OpenFile(w.path+journalSuffix, os.O_RDWR, 0)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return named(w.path, err)
	}
	_, err = os.Stat(w.path)
	exists := err == nil
	switch {
	case there && o.Resume:
		return w.goOn(exists)
	case there: // to be overwritten, or without rows
		return w.begin(exists)
	case exists && o.Resume:
		return w.recognise()
	}
	if _, err := os.Lstat(w.path + partialSuffix); err == nil {
		return fmt.Errorf("embeddings: %s: is there, and nothing says what it is: remove it", w.path+partialSuffix)
	}
	return w.begin(exists)
}

// begin begins again, to replace a file in the end or not.
func (w *Writer) begin(replace bool) (err error) {
	if w.journal != nil {
		w.journal.Close()
		w.journal = nil
	}
	if err := removeAll(w.path+partialSuffix, w.path+journalSuffix); err != nil { // in this order
		return named(w.path, err)
	}
	w.about.Replace = replace
	entry, sum, err := journal.Append(nil, 0, w.about)
	if err != nil {
		return named(w.path, err)
	}
	if err := w.put(journalSuffix, func(f io.Writer) error { return write(f, entry) }); err != nil {
		return unwritable(w.path, err)
	}
	w.at, w.sum = int64(len(entry)), sum
	if w.journal, err = os.OpenFile(w.path+journalSuffix, os.O_RDWR, 0); err == nil {
		_, err = w.journal.Seek(w.at, io.SeekStart)
	}
	if err != nil {
		return named(w.path, err)
	}
	if err = w.openData(); err != nil && w.data == nil {
		_ = removeAll(w.path + journalSuffix)
	}
	return err
}

// openData opens the rows, and makes their head if it is not there.
func (w *Writer) openData() error {
	head, err := w.spec.head()
	if err == nil {
		w.data, err = os.OpenFile(w.path+partialSuffix, os.O_RDWR|os.O_CREATE, 0o666)
	}
	if err != nil {
		return named(w.path, err)
	}
	there := make([]byte, len(head))
	if n, _ := io.ReadFull(w.data, there); n < len(head) || !bytes.Equal(head, there) {
		err = w.data.Truncate(0)
		if err == nil {
			_, err = w.data.WriteAt(head, 0)
		}
	}
	if err == nil {
		_, err = w.data.Seek(int64(len(head)), io.SeekStart)
	}
	w.end, w.crc = int64(len(head)), crc32.Checksum(head, journal.Castagnoli)
	return named(w.path, err)
}

// goOn goes on with what was begun.
func (w *Writer) goOn(exists bool) error {
	var was record
	j, ok, err := w.rewind(&was)
	if err != nil {
		return err
	}
	if !ok {
		return unreadable(w.path)
	}
	if err := was.compare(w.path, &w.about); err != nil {
		return w.firstOther(j, err)
	}
	w.about.Replace = was.Replace
	w.note(&was)
	if _, err := os.Stat(w.path + partialSuffix); errors.Is(err, fs.ErrNotExist) && exists {
		if done, err := w.renamed(j); err != nil || done {
			return err
		}
		if j, _, err = w.rewind(&was); err != nil {
			return err
		}
	}
	if exists && !was.Replace {
		return fmt.Errorf("embeddings: %s exists, since after its rows were begun, and %w", w.path, ErrExists)
	}
	if err := w.openData(); err != nil {
		return err
	}
	w.at, w.sum = j.End, j.Sum
	data, lost := bufio.NewReaderSize(w.data, 1<<18), 0
	for {
		var p point
		if ok, err := j.Next(&p); err != nil {
			return named(w.path, err)
		} else if !ok {
			break
		}
		switch {
		case lost == 0 && p.Whole && w.done == w.about.Rows:
			w.whole = true
		case lost > 0 || p.Whole || !w.holds(data, &p):
			lost++
			continue
		}
		w.at, w.sum = j.End, j.Sum
	}
	if lost > 0 {
		w.notes = append(w.notes, fmt.Sprintf("%s: rows from number %d on were damaged, and are made again", w.path, w.done+1))
	}
	return w.cut()
}

// rewind reads the journal from its beginning, first what it is about. ok is false if that cannot be read.
func (w *Writer) rewind(r *record) (j *journal.Reader, ok bool, err error) {
	if _, err := w.journal.Seek(0, io.SeekStart); err != nil {
		return nil, false, named(w.path, err)
	}
	j = journal.NewReader(w.journal)
	ok, err = j.Next(r)
	if err == nil && ok && r.Version != version {
		return nil, false, fmt.Errorf("embeddings: %s: was begun by version %d of this format, want %d", w.path, r.Version, version)
	}
	return j, ok, named(w.path, err)
}

// firstOther returns the error that what was begun is other than what is asked for: of names, the first that differs, if it
// is of a row that is done.
func (w *Writer) firstOther(j *journal.Reader, err error) error {
	if e := (*MismatchError)(nil); !errors.As(err, &e) || e.What != rowsSetting && e.What != namesSetting {
		return err
	}
	for i := 0; ; i++ {
		var p point
		if ok, e := j.Next(&p); !ok || e != nil || p.Whole || i >= len(w.spec.Names) {
			return err
		}
		if string(p.Name) != w.spec.Names[i] {
			return &MismatchError{w.path, fmt.Sprintf("%s %d", w.spec.Kind, i+1), pyjson.Printable(string(p.Name)), pyjson.Printable(w.spec.Names[i])}
		}
	}
}

// note says what is no other setting, and yet may change a bit.
func (w *Writer) note(was *record) {
	if was.Kernel != w.about.Kernel {
		w.notes = append(w.notes, fmt.Sprintf("%s: its first rows were computed by the kernel %s, and the others will be by %s: the last digits may differ", w.path, was.Kernel, w.about.Kernel))
	}
	if was.Vitago != w.about.Vitago {
		w.notes = append(w.notes, fmt.Sprintf("%s: was begun with version %s, and this is %s", w.path, cmp.Or(was.Vitago, "unknown"), cmp.Or(w.about.Vitago, "unknown")))
	}
}

// holds reports whether the rows hold the one that p is about, which is then done.
func (w *Writer) holds(data io.Reader, p *point) bool {
	n, sum := p.End-w.end, running{w.crc}
	if w.done >= w.about.Rows || n <= 0 || string(p.Name) != w.spec.Names[w.done] {
		return false
	}
	if _, err := io.CopyN(&sum, data, n); err != nil || sum.crc != p.CRC {
		return false
	}
	w.end, w.crc = p.End, sum.crc
	w.count(p)
	return true
}

// count counts a row.
func (w *Writer) count(p *point) {
	w.done++
	if p.Error != "" {
		w.failed++
	}
}

// A running checksum is that of what is written to it, behind what was before.
type running struct{ crc uint32 }

func (r *running) Write(b []byte) (int, error) {
	r.crc = crc32.Update(r.crc, journal.Castagnoli, b)
	return len(b), nil
}

// cut removes what lies behind the last row that is whole.
func (w *Writer) cut() error {
	err := errors.Join(w.data.Truncate(w.end), w.journal.Truncate(w.at))
	if err == nil {
		_, err = w.data.Seek(w.end, io.SeekStart)
	}
	if err == nil {
		_, err = w.journal.Seek(w.at, io.SeekStart)
	}
	return named(w.path, err)
}

// Done returns how many rows are there: the next to be written has the name of this number, from 0.
func (w *Writer) Done() int { return w.done }

// Failed returns how many of the rows that are there have an error in place of values.
func (w *Writer) Failed() int { return w.failed }

// Complete reports whether the file is complete under its name, so that nothing is left to do.
func (w *Writer) Complete() bool { return w.finished }

// Notes returns what a user may want to know of what was resumed, a line each: rows that were damaged, another version.
func (w *Writer) Notes() []string { return w.notes }

// Write writes a row, whose name has to be the next of Spec.Names. All values have to be finite.
func (w *Writer) Write(name string, x []float32) error {
	if err := w.next(name); err != nil {
		return err
	}
	if n := w.spec.values(); len(x) != n {
		return fmt.Errorf("embeddings: %s: %d values, want %d", name, len(x), n)
	}
	if i := op.NotFinite(x); i >= 0 { // NaN stands for a row that has failed
		return fmt.Errorf("embeddings: %s: %s: value %d of %d is %v, want a finite number", name, w.spec.Feature, i+1, len(x), x[i])
	}
	b, err := w.spec.row(w.buf[:0], name, x)
	if err != nil {
		return fmt.Errorf("embeddings: %s: %w", name, err)
	}
	return w.keep(b, &point{Name: pyjson.Name(name)})
}

// Fail writes what stands in the place of a row: why there is none.
func (w *Writer) Fail(name string, why error) error {
	if err := w.next(name); err != nil {
		return err
	}
	b, err := w.spec.failed(w.buf[:0], name, why.Error())
	if err != nil {
		return fmt.Errorf("embeddings: %s: %w", name, err)
	}
	return w.keep(b, &point{Name: pyjson.Name(name), Error: pyjson.Name(cmp.Or(why.Error(), "failed"))})
}

// next returns an error unless a row of that name may be written now.
func (w *Writer) next(name string) error {
	switch {
	case w.err != nil:
		return w.err
	case w.done >= len(w.spec.Names):
		return fmt.Errorf("embeddings: %s: all %d rows are written", name, w.done)
	case w.spec.Names[w.done] != name:
		return fmt.Errorf("embeddings: row %d is of %s, want %s", w.done+1, name, w.spec.Names[w.done])
	}
	return nil
}

// keep writes a row, and then that it is there.
func (w *Writer) keep(b []byte, p *point) error {
	w.buf = b
	if w.out != nil {
		if _, err := w.out.Write(b); err != nil {
			w.err = fmt.Errorf("embeddings: %w", err)
			return w.err
		}
		w.count(p)
		return nil
	}
	_, err := w.data.Write(b)
	if err == nil {
		p.End, p.CRC = w.end+int64(len(b)), crc32.Update(w.crc, journal.Castagnoli, b)
		err = w.log(p)
	}
	if err == nil && time.Since(w.synced) > syncEvery {
		err = errors.Join(fsync(w.data), fsync(w.journal))
		w.synced = time.Now()
	}
	if err != nil {
		w.err = named(w.path, err)
		return w.err
	}
	return nil
}

// log says in the journal that a row is there, which is then done, or that all are.
func (w *Writer) log(p *point) (err error) {
	sum := uint32(0)
	if w.entry, sum, err = journal.Append(w.entry[:0], w.sum, p); err != nil {
		return err
	}
	if _, err := w.journal.Write(w.entry); err != nil {
		return err
	}
	w.at, w.sum = w.at+int64(len(w.entry)), sum
	if p.Whole {
		w.whole = true
		return nil
	}
	w.end, w.crc = p.End, p.CRC
	w.count(p)
	return nil
}

// Commit makes the file appear under its name when all rows are written. It lies on the disk then.
func (w *Writer) Commit() error {
	switch {
	case w.finished:
		return nil
	case w.err != nil:
		return w.err
	case w.done < len(w.spec.Names):
		return fmt.Errorf("embeddings: %d of %d rows are written", w.done, len(w.spec.Names))
	case w.out != nil:
		w.finished = true
		return nil
	}
	err := fsync(w.data)
	if err == nil && !w.whole {
		p := &point{Whole: true}
		if w.space != nil {
			p.Space, err = w.space()
		}
		if err == nil {
			err = w.log(p)
		}
	}
	if err == nil {
		err = fsync(w.journal)
	}
	if err == nil {
		err = w.appear()
	}
	if err != nil {
		w.err = named(w.path, err)
	}
	return w.err
}

// appear gives the rows the name of the file. Whenever it is stopped, goOn goes on with it.
func (w *Writer) appear() error {
	if _, err := os.Lstat(w.path); err == nil && !w.about.Replace {
		return fmt.Errorf("%s exists, since after its rows were begun, and %w", w.path, ErrExists)
	}
	if err := removeAll(w.path + aboutSuffix); err != nil {
		return err
	}
	if w.spec.Format == "npy" {
		if err := removeAll(w.path); err != nil { // or it would have the names of the new one
			return err
		}
		if err := w.writeNames(); err != nil {
			return err
		}
	}
	data := w.data
	w.data = nil
	if err := data.Close(); err != nil {
		return err
	}
	if err := os.Rename(w.path+partialSuffix, w.path); err != nil {
		return err
	}
	return w.tell()
}

func (w *Writer) writeNames() error {
	return w.put(namesSuffix, func(f io.Writer) error { return writeNames(f, w.spec.Names) })
}

// put makes a file appear beside the file, whole and on the disk.
func (w *Writer) put(suffix string, fill func(io.Writer) error) error {
	f, err := os.Create(w.path + newSuffix) // of one name, so that it does not stay when this process is killed
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f), fsync(f), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(w.path+newSuffix, w.path+suffix); err != nil {
		return err
	}
	syncDir(filepath.Dir(w.path))
	return nil
}

func write(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

// tell writes what the file is about, and removes the journal.
func (w *Writer) tell() error {
	var was record
	j, _, err := w.rewind(&was)
	if err != nil {
		return err
	}
	w.about.Replace, w.about.Bytes, w.about.CRC, w.about.Failed = false, w.end, w.crc, []failure{}
	for row := 0; ; row++ {
		var p point
		if ok, err := j.Next(&p); err != nil {
			return err
		} else if !ok || p.Whole {
			if p.Space != nil {
				w.about.isOf(p.Space)
			}
			break
		}
		if p.Error != "" {
			w.about.Failed = append(w.about.Failed, failure{row, p.Name, p.Error})
		}
	}
	text, err := folder.JSON(w.about)
	if err != nil {
		return err
	}
	if err := w.put(aboutSuffix, func(f io.Writer) error { return write(f, text) }); err != nil {
		return err
	}
	w.journal.Close()
	w.journal = nil
	w.finished = true
	return removeAll(w.path + journalSuffix)
}

// renamed finishes what was stopped when the rows had become the file, and reports whether that is so.
func (w *Writer) renamed(j *journal.Reader) (bool, error) {
	n, failed, last, whole := 0, 0, point{}, false
	for !whole {
		var p point
		if ok, err := j.Next(&p); err != nil {
			return false, named(w.path, err)
		} else if !ok {
			return false, nil
		}
		if whole = p.Whole; !whole {
			last = p
			n++
		}
		if p.Error != "" {
			failed++
		}
	}
	size, crc, err := sumFile(w.path)
	if err != nil {
		return false, named(w.path, err)
	}
	if n != w.about.Rows || n > 0 && (size != last.End || crc != last.CRC) {
		return false, nil
	}
	w.done, w.failed, w.end, w.crc = n, failed, size, crc
	return true, named(w.path, w.tell())
}

// recognise finds out whether a file is the one that is asked for, and complete.
func (w *Writer) recognise() error {
	was, err := readRecord(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("embeddings: %s exists, no %s says how it was made, and %w", w.path, filepath.Base(w.path+aboutSuffix), ErrExists)
	case err != nil:
		return err
	}
	if err := was.compare(w.path, &w.about); err != nil {
		return err
	}
	if err := was.check(w.path); err != nil {
		return err
	}
	if _, err := os.Stat(w.path + namesSuffix); w.spec.Format == "npy" && err != nil {
		if err := w.writeNames(); err != nil {
			return named(w.path, err)
		}
	}
	w.done, w.failed, w.finished = was.Rows, len(was.Failed), true
	return nil
}

// readRecord reads what a file is about.
func readRecord(path string) (*record, error) {
	r := &record{}
	text, err := folder.ReadSmall(path+aboutSuffix, maxAbout)
	if err != nil {
		return nil, named(path, err)
	}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("embeddings: %s: %w: %w", path+aboutSuffix, ErrDamaged, err)
	}
	if r.Version != version {
		return nil, fmt.Errorf("embeddings: %s: is of version %d of this format, want %d", path+aboutSuffix, r.Version, version)
	}
	return r, nil
}

// check returns an [ErrDamaged] if a file is not what r is about.
func (r *record) check(path string) error {
	size, crc, err := sumFile(path)
	if err != nil {
		return named(path, err)
	}
	if size != r.Bytes || crc != r.CRC {
		return fmt.Errorf("embeddings: %s: %w: has %d bytes with the CRC-32C %08x, want %d with %08x", path, ErrDamaged, size, crc, r.Bytes, r.CRC)
	}
	return nil
}

// sumFile returns the size of a file and the checksum of its bytes.
func sumFile(path string) (int64, uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var sum running
	n, err := io.Copy(&sum, f)
	return n, sum.crc, err
}

// Close ends the work on the file. Rows that are done and not committed are kept, on the disk; where there are none, nothing
// is left.
func (w *Writer) Close() error {
	var errs []error
	if w.data != nil && w.done > 0 {
		errs = append(errs, w.cut(), fsync(w.data), fsync(w.journal))
	}
	fresh := w.data != nil && w.done == 0 && !w.finished
	for _, f := range []*os.File{w.data, w.journal} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	w.data, w.journal = nil, nil
	if fresh {
		errs = append(errs, removeAll(w.path+partialSuffix, w.path+journalSuffix))
	}
	if w.err == nil {
		w.err = errClosed
	}
	if w.atEnd != nil { // before others may come
		if w.path != "" {
			errs = append(errs, removeAll(w.path+newSuffix))
		}
		w.atEnd()
		w.atEnd = nil
	}
	return named(w.path, errors.Join(errs...))
}

var errClosed = errors.New("embeddings: the file has been closed")

// removeAll removes files that need not be there.
func removeAll(paths ...string) error {
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
