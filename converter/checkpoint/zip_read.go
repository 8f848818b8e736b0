package checkpoint

import (
	"archive/zip"
	"cmp"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
)

// Limits of a zip archive.
const (
	maxEntries = 2 * maxTensors
	// maxInflate is how many times larger than the archive its entries may be. Weights hardly
	// shrink when compressed; a bomb grows a thousandfold.
	maxInflate = 16
	// freeInflate is what the entries may have beyond that: tiny archives compress well.
	freeInflate = 1 << 16
)

// An archive is the zip container of torch.save and torch.jit.save.
//
// Source: pytorch/pytorch, torch/csrc/jit/docs/serialization.md.
type archive struct {
	r     io.ReaderAt
	size  int64
	root  string // the folder that everything of torch's is in, "" if there is none
	files map[string]*zip.File
	order []*zip.File // as in its directory
}

// openZip reads an archive of torch.save, torch.jit.save or NumPy's into c.
func openZip(r io.ReaderAt, size int64, c *File) error {
	a, err := newArchive(r, size)
	if err != nil {
		return err
	}
	if a.root == "" && a.isNPZ() {
		return a.arrays(c)
	}
	if err := a.checkTorch(); err != nil {
		return err
	}
	return a.tensors(c)
}

// newArchive reads the directory of a zip file and checks it, whatever it is of.
func newArchive(r io.ReaderAt, size int64) (*archive, error) {
	z, err := zip.NewReader(r, size)
	if errors.Is(err, zip.ErrFormat) { // it begins like an archive, and its directory is at the end
		return nil, fmt.Errorf("no directory at the end of its %d bytes: the file is cut short or damaged: %w", size, err)
	}
	if err != nil {
		return nil, err
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("%d entries, want at most %d", len(z.File), maxEntries)
	}
	a := &archive{r: r, size: size, files: make(map[string]*zip.File, len(z.File))}
	type span struct {
		name   string
		lo, hi int64
	}
	var (
		spans []span
		total uint64
	)
	for _, f := range z.File {
		name := f.Name
		const encrypted = 1<<0 | 1<<6 | 1<<13 // APPNOTE.TXT, section 4.4.4
		switch {
		case a.files[name] != nil:
			return nil, fmt.Errorf("two entries are called %.100q", name)
		case f.Flags&encrypted != 0:
			return nil, fmt.Errorf("entry %.100q is encrypted", name)
		case f.Method != zip.Store && f.Method != zip.Deflate:
			return nil, fmt.Errorf("entry %.100q is compressed by method %d, want %d or %d", name, f.Method, zip.Store, zip.Deflate)
		case f.Method == zip.Store && f.CompressedSize64 != f.UncompressedSize64:
			return nil, fmt.Errorf("entry %.100q is stored, but has %d bytes in the archive and claims %d", name, f.CompressedSize64, f.UncompressedSize64)
		case f.CompressedSize64 > uint64(size):
			return nil, fmt.Errorf("entry %.100q claims %d bytes of an archive of %d", name, f.CompressedSize64, size)
		}
		a.files[name] = f
		a.order = append(a.order, f)
		total += min(f.UncompressedSize64, math.MaxInt64/maxEntries)
		off, err := f.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("entry %.100q: %w", name, err)
		}
		if off < 0 || off > size-int64(f.CompressedSize64) {
			return nil, fmt.Errorf("entry %.100q has %d bytes at %d, beyond the end of the archive of %d", name, f.CompressedSize64, off, size)
		}
		if f.CompressedSize64 > 0 {
			spans = append(spans, span{name, off, off + int64(f.CompressedSize64)})
		}

		dir, base, _ := strings.Cut(name, "/")
		if !strings.EqualFold(base, "data.pkl") {
			continue
		}
		if base != "data.pkl" {
			return nil, fmt.Errorf("entry %.100q, want data.pkl in lower case", name)
		}
		if a.root != "" {
			return nil, fmt.Errorf("two entries are data.pkl: in %.100q and %.100q", a.root, dir)
		}
		if a.root = dir; dir == "" {
			return nil, fmt.Errorf("entry %.100q has no folder", name)
		}
	}
	if limit := uint64(size)*maxInflate + freeInflate; total > limit {
		return nil, fmt.Errorf("entries claim %d bytes, want at most %d times the %d bytes of the archive", total, maxInflate, size)
	}
	slices.SortFunc(spans, func(x, y span) int { return cmp.Compare(x.lo, y.lo) })
	for i := 1; i < len(spans); i++ {
		if spans[i].lo < spans[i-1].hi {
			return nil, fmt.Errorf("entries %.100q and %.100q overlap", spans[i-1].name, spans[i].name)
		}
	}
	return a, nil
}

// open returns a reader of an entry, and the offset in the archive if it is stored there as it is.
func (a *archive) open(name string) (r io.ReaderAt, offset int64, err error) {
	f := a.files[name]
	if f == nil {
		return nil, 0, fmt.Errorf("no entry %.100q", name)
	}
	off, err := f.DataOffset()
	if err != nil {
		return nil, 0, fmt.Errorf("entry %.100q: %w", name, err)
	}
	section := io.NewSectionReader(a.r, off, int64(f.CompressedSize64))
	if f.Method == zip.Store {
		return section, off, nil
	}
	return &inflater{src: section, size: int64(f.UncompressedSize64)}, -1, nil
}

// note adds the checksum of an entry to those of c; off is its offset if it is stored as it is. torch can be
// told to leave checksums out: it then writes 0.
func (a *archive) note(f *zip.File, off int64, c *File) {
	if f.UncompressedSize64 == 0 || f.CRC32 == 0 {
		return
	}
	k := check{f.Name, off, int64(f.UncompressedSize64), f.CRC32, nil}
	if off >= 0 {
		c.files[0].checks = append(c.files[0].checks, k)
		return
	}
	k.open = func() (io.ReaderAt, error) { r, _, err := a.open(f.Name); return r, err }
	c.packed = append(c.packed, k)
}

// sortChecks puts the checks of a single file in the order of their offsets.
func sortChecks(c *File) {
	slices.SortFunc(c.files[0].checks, func(x, y check) int { return cmp.Compare(x.offset, y.offset) })
}

// An inflater reads a compressed entry as if it were not: forwards fast, backwards by beginning
// again, and never more than the size it claims.
type inflater struct {
	src  *io.SectionReader
	size int64

	mu sync.Mutex
	r  io.Reader // nil before the first byte and behind the last
	at int64
}

// flateReaders are recycled: each has 40 kB, and an archive may have a hundred thousand entries.
var flateReaders = sync.Pool{New: func() any { return flate.NewReader(nil) }}

// done gives the memory back that inflating takes.
func (f *inflater) done() {
	_ = f.r.(flate.Resetter).Reset(io.MultiReader(), nil) // so that it keeps no file
	flateReaders.Put(f.r)
	f.r = nil
}

// ReadAt implements io.ReaderAt.
func (f *inflater) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off >= f.size {
		return 0, io.EOF
	}
	if f.r == nil || off < f.at {
		if _, err := f.src.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
		if f.r == nil {
			f.r = flateReaders.Get().(io.Reader)
		}
		if err := f.r.(flate.Resetter).Reset(f.src, nil); err != nil {
			return 0, err
		}
		f.at = 0
	}
	n, err := io.CopyN(io.Discard, f.r, off-f.at)
	f.at += n
	if err != nil {
		return 0, cmpErr(err, io.ErrUnexpectedEOF)
	}
	want := p[:min(int64(len(p)), f.size-off)]
	m, err := io.ReadFull(f.r, want)
	f.at += int64(m)
	if f.at == f.size {
		f.done()
	}
	if err == nil && m < len(p) {
		err = io.EOF
	}
	return m, err
}
