package search

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"github.com/edsrzf/mmap-go"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/journal"
)

// What lies in the folder of a pending shard.
const (
	pendingVectors  = "vectors.npy"
	pendingMetadata = "metadata.parquet"
	pendingCodes    = "codes.bin"
	pendingJournal  = "journal"
)

// syncEvery is after how long what is written is brought onto the disk, for when the machine loses power: 10 ms in 5 s
// are 0.2 %.
const syncEvery = 5 * time.Second

// A pendingHead is the first line of the journal of a pending shard.
type pendingHead struct {
	Version int    `json:"version"`
	Print   string `json:"fingerprint"`
	Number  int    `json:"number"` // of the shard that it becomes
	Dim     int    `json:"dim"`
}

// A pendingRow is a line of the journal: that a row is there.
type pendingRow struct {
	Record
	CRC uint32 `json:"crc32c"` // of the vector
}

// A pending is a shard that is being written: vectors behind room for their head, and a journal of what they are of.
type pending struct {
	dir           string // where it lies
	head          pendingHead
	data, journal *os.File
	rows          int
	sum           uint32 // of the journal
	at            int64  // the size of the journal
	buf           []byte
	synced        time.Time
}

// vectorsHead returns the head of an npy of so many rows. It has 128 bytes for any number that an index can have.
func vectorsHead(rows, dim int) []byte { return checkpoint.NPYHeader(checkpoint.F16, []int{rows, dim}) }

// openPending goes on with what is pending, and gives each row that is there to a function. What is torn is cut off.
func openPending(dir string, head pendingHead, there func(row int, r *Record, half []uint16)) (_ *pending, err error) {
	p := &pending{dir: dir, head: head, synced: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return p, err
	}
	if p.journal, err = os.OpenFile(filepath.Join(dir, pendingJournal), os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return p, err
	}
	if p.data, err = os.OpenFile(filepath.Join(dir, pendingVectors), os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return p, err
	}
	j := journal.NewReader(p.journal)
	var was pendingHead
	ok, err := j.Next(&was)
	if err != nil {
		return p, err
	}
	if !ok || was != head { // torn, or of a shard that is there already
		return p, p.begin()
	}
	p.at, p.sum = j.End, j.Sum
	if _, err := p.data.Seek(int64(len(vectorsHead(1, head.Dim))), io.SeekStart); err != nil {
		return p, err
	}
	data := bufio.NewReaderSize(p.data, 1<<18)
	half := make([]uint16, head.Dim)
	raw := bytesOf(half)
	for {
		var r pendingRow
		if ok, err := j.Next(&r); err != nil {
			return p, err
		} else if !ok {
			break
		}
		if _, err := io.ReadFull(data, raw); err != nil || crc32.Checksum(raw, journal.Castagnoli) != r.CRC {
			break // it is made again, with those behind it
		}
		there(p.rows, &r.Record, half)
		p.at, p.sum = j.End, j.Sum
		p.rows++
	}
	return p, p.cut()
}

// bytesOf returns the memory of a vector, which is little-endian on all systems that there is Go's assembly for.
func bytesOf(half []uint16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(half))), 2*len(half))
}

// begin begins with no rows.
func (p *pending) begin() error {
	line, sum, err := journal.Append(nil, 0, p.head)
	if err != nil {
		return err
	}
	p.rows, p.at, p.sum = 0, int64(len(line)), sum
	if err := p.journal.Truncate(0); err != nil {
		return err
	}
	if _, err := p.journal.WriteAt(line, 0); err != nil {
		return err
	}
	return p.cut()
}

// end returns where the rows end.
func (p *pending) end() int64 {
	return int64(len(vectorsHead(1, p.head.Dim))) + 2*int64(p.rows)*int64(p.head.Dim)
}

// cut removes what lies behind the last row that is whole.
func (p *pending) cut() error { return errors.Join(p.data.Truncate(p.end()), p.journal.Truncate(p.at)) }

// add writes a row, and then that it is there.
func (p *pending) add(r *Record, half []uint16) error {
	raw := bytesOf(half)
	if _, err := p.data.WriteAt(raw, p.end()); err != nil {
		return err
	}
	line, sum, err := journal.Append(p.buf[:0], p.sum, pendingRow{*r, crc32.Checksum(raw, journal.Castagnoli)})
	if err != nil {
		return err
	}
	p.buf = line
	if _, err := p.journal.WriteAt(line, p.at); err != nil {
		return err
	}
	p.at, p.sum, p.rows = p.at+int64(len(line)), sum, p.rows+1
	if time.Since(p.synced) > syncEvery {
		p.synced = time.Now()
		return errors.Join(p.data.Sync(), p.journal.Sync())
	}
	return nil
}

// seal makes a shard of the rows: all its files are on the disk, still in the folder of what is pending.
func (p *pending) seal(columns []string) (s shardOf, err error) {
	s = shardOf{Number: p.head.Number, Rows: p.rows}
	if err := p.cut(); err != nil {
		return s, err
	}
	if _, err := p.data.WriteAt(vectorsHead(p.rows, p.head.Dim), 0); err != nil {
		return s, err
	}
	if err := p.data.Sync(); err != nil {
		return s, err
	}
	if s.Metadata, err = p.put(pendingMetadata, func(w io.Writer) error { return p.writeMetadata(w, columns) }); err != nil {
		return s, err
	}
	if s.Codes, err = p.put(pendingCodes, p.writeCodes); err != nil {
		return s, err
	}
	s.Vectors, err = sumFile(filepath.Join(p.dir, pendingVectors))
	return s, err
}

// put writes a file onto the disk, and returns what it is.
func (p *pending) put(name string, fill func(w io.Writer) error) (fileOf, error) {
	path := filepath.Join(p.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return fileOf{}, err
	}
	w := bufio.NewWriterSize(f, 1<<18)
	err = fill(w)
	if err == nil {
		err = w.Flush()
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fileOf{}, err
	}
	return sumFile(path)
}

// writeMetadata writes what the journal has of the rows.
func (p *pending) writeMetadata(w io.Writer, columns []string) error {
	j := journal.NewReader(io.NewSectionReader(p.journal, 0, p.at))
	if _, err := j.Next(&pendingHead{}); err != nil {
		return err
	}
	m := newMetadataWriter(w, columns)
	for i := range p.rows {
		var r pendingRow
		if ok, err := j.Next(&r); err != nil || !ok {
			return fmt.Errorf("row %d of %d of the journal cannot be read again: %w", i, p.rows, errors.Join(err, ErrDamaged))
		}
		if err := m.write(&r.Record); err != nil {
			return err
		}
	}
	return m.close()
}

// writeCodes writes the codes of the rows.
func (p *pending) writeCodes(w io.Writer) (err error) {
	m, err := mmap.Map(p.data, mmap.RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Unmap()) }()
	half, err := readVectors(m, p.rows, p.head.Dim)
	if err != nil {
		return err
	}
	return writeCodes(w, half, p.head.Dim)
}

// sync brings all onto the disk.
func (p *pending) sync() error {
	if p.data == nil {
		return nil
	}
	return errors.Join(p.data.Sync(), p.journal.Sync())
}

// close closes the files.
func (p *pending) close() error {
	var errs []error
	for _, f := range []*os.File{p.data, p.journal} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	p.data, p.journal = nil, nil
	return errors.Join(errs...)
}

// publish gives the files of a sealed shard their names, in the order in which [restore] takes them back.
func publish(dir, from string, number int) error {
	for _, d := range []string{vectorsDir, metadataDir, codesDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o777); err != nil {
			return err
		}
	}
	for _, move := range [][2]string{{pendingCodes, codesFile(number)}, {pendingMetadata, metadataFile(number)}, {pendingVectors, vectorsFile(number)}} {
		if err := os.Rename(filepath.Join(from, move[0]), filepath.Join(dir, move[1])); err != nil {
			return err
		}
	}
	for _, d := range []string{vectorsDir, metadataDir, codesDir, filepath.Dir(vectorsDir)} {
		folder.SyncDir(filepath.Join(dir, d))
	}
	return nil
}

// restore takes back what was published of a shard that no manifest names: its vectors become pending again, and the rest is made
// again.
func restore(dir string, number int) error {
	from, to := filepath.Join(dir, vectorsFile(number)), filepath.Join(dir, pendingDir, pendingVectors)
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, pendingDir, pendingJournal)); err != nil {
		return nil //nolint:nilerr // nothing says what they are of
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweep removes the files of shards and changes that no manifest names, and those that were not written to the end.
func sweep(dir string, m *manifest) error {
	keep := map[string]bool{}
	for _, s := range m.Shards {
		keep[vectorsFile(s.Number)], keep[metadataFile(s.Number)], keep[codesFile(s.Number)] = true, true, true
	}
	if m.Changes != nil {
		keep[changesDir+"/"+m.Changes.File] = true
	}
	var errs []error
	for _, d := range []string{vectorsDir, metadataDir, codesDir, changesDir} {
		entries, err := os.ReadDir(filepath.Join(dir, d))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(entries) > 0 {
			errs = append(errs, folder.Clean(filepath.Join(dir, d)))
		}
		for _, e := range entries {
			if name := d + "/" + e.Name(); !keep[name] && ours(name) {
				if err := os.Remove(filepath.Join(dir, name)); runtime.GOOS != "windows" { // where a reader may have it open
					errs = append(errs, err)
				}
			}
		}
	}
	return errors.Join(errs...)
}

// ours says whether a file has a name that an index gives.
func ours(name string) bool {
	var n int
	for _, form := range []func(int) string{vectorsFile, metadataFile, codesFile, changesFile} {
		if k, err := fmt.Sscanf(name, strings.Replace(form(0), "00000", "%d", 1), &n); k == 1 && err == nil && form(n) == name {
			return true
		}
	}
	return false
}

func changesFile(generation int) string {
	return fmt.Sprintf("%s/changes_%05d.jsonl", changesDir, generation)
}
