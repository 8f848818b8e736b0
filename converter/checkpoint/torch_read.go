package checkpoint

import (
	"archive/zip"
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/nlpodyssey/gopickle/types"
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

// globals are the Python names that a pickle of tensors needs, and what stands for them here.
// No other is permitted, except classes of TorchScript (see findGlobal).
var globals = map[string]any{
	"collections OrderedDict":            &types.OrderedDictClass{},
	"torch._utils _rebuild_tensor_v2":    function(rebuildTensor),
	"torch._utils _rebuild_parameter":    function(firstArg),
	"torch Size":                         function(firstArg),
	"torch device":                       function(nothing),
	"torch FloatStorage":                 storageClass(F32),
	"torch HalfStorage":                  storageClass(F16),
	"torch BFloat16Storage":              storageClass(BF16),
	"torch DoubleStorage":                storageClass(F64),
	"torch LongStorage":                  storageClass(I64),
	"torch IntStorage":                   storageClass("I32"),
	"torch ShortStorage":                 storageClass("I16"),
	"torch CharStorage":                  storageClass("I8"),
	"torch ByteStorage":                  storageClass("U8"),
	"torch BoolStorage":                  storageClass("BOOL"),
	"torch.jit._pickle build_intlist":    function(firstArg),
	"torch.jit._pickle build_boollist":   function(firstArg),
	"torch.jit._pickle build_doublelist": function(firstArg),
	"torch.jit._pickle build_tensorlist": function(firstArg),
	"torch.jit._pickle restore_type_tag": function(firstArg),
}

// findGlobal returns what stands for a Python global.
func findGlobal(module, name string) (any, error) {
	if v := globals[module+" "+name]; v != nil {
		return v, nil
	}
	if module == scriptRoot || strings.HasPrefix(module, scriptRoot+".") {
		return scriptClass{name}, nil
	}
	return nil, fmt.Errorf("global %.100q of module %.100q is not permitted", name, module)
}

// A function is a Python callable.
type function func(args []any) (any, error)

// Call implements gopickle's types.Callable.
func (f function) Call(args ...any) (any, error) { return f(args) }

func firstArg(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("a function is called without arguments")
	}
	return args[0], nil
}

func nothing([]any) (any, error) { return nil, nil }

// A storageClass is a torch.…Storage.
type storageClass DType

// A pickledTensor is a tensor as the pickle describes it, not yet checked against its storage.
type pickledTensor struct {
	data           *storage
	offset         int64
	shape, strides []int64
}

// rebuildTensor stands for torch._utils._rebuild_tensor_v2(storage, offset, size, stride,
// requires_grad, hooks).
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("_rebuild_tensor_v2 has %d arguments, want at least 4", len(args))
	}
	s, isStorage := args[0].(*storage)
	offset, isInt := args[1].(int)
	shape, isShape := intTuple(args[2])
	strides, isStrides := intTuple(args[3])
	if !isStorage || !isInt || !isShape || !isStrides {
		return nil, fmt.Errorf("_rebuild_tensor_v2 has a %T, %T, %T and %T, want storage, offset, shape and strides", args[0], args[1], args[2], args[3])
	}
	return &pickledTensor{s, int64(offset), shape, strides}, nil
}

func intTuple(v any) ([]int64, bool) {
	t, ok := v.(*types.Tuple)
	if !ok {
		return nil, false
	}
	ints := make([]int64, len(*t))
	for i, e := range *t {
		n, ok := e.(int)
		if !ok {
			return nil, false
		}
		ints[i] = int64(n)
	}
	return ints, true
}

// A storageID is the persistent identifier of a storage: what a pickle says of it.
type storageID struct {
	dtype DType
	key   string
	size  int64 // bytes
}

// shown returns a value of a pickle for an error: itself if it is simple, and else its type, since a
// collection may hold itself, or the same thing over and over.
func shown(v any) string {
	switch v.(type) {
	case nil, bool, int, float64, string:
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("%T", v)
}

// parseStorageID reads ('storage', class, key, location, elements[, view]).
func parseStorageID(v any) (id storageID, err error) {
	t, ok := v.(*types.Tuple)
	if !ok || len(*t) < 5 {
		return id, errors.New("persistent identifier is not a tuple of a storage")
	}
	a := *t
	if a[0] != "storage" {
		return id, fmt.Errorf("persistent identifier of a %.40q, want a storage: a pickled module, of which only its state_dict can be read", shown(a[0]))
	}
	class, isClass := a[1].(storageClass)
	key, isKey := a[2].(string)
	n, isInt := a[4].(int)
	if !isClass || !isKey || !isInt {
		return id, fmt.Errorf("storage has a %T, %T and %T, want class, key and size", a[1], a[2], a[4])
	}
	if len(a) > 5 && a[5] != nil {
		return id, fmt.Errorf("storage %.40q is a view of another: not supported", key)
	}
	dtype := DType(class)
	if n < 0 || int64(n) > math.MaxInt64/int64(dtype.Size()) {
		return id, fmt.Errorf("storage %.40q has %d elements", key, n)
	}
	return storageID{dtype, key, int64(n) * int64(dtype.Size())}, nil
}

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

// tensors reads the tensors of an archive of torch's into c.
func (a *archive) tensors(c *File) error {
	c.container = "torch.save archive"
	if a.files[a.root+"/constants.pkl"] != nil {
		c.container = "TorchScript archive"
	}
	pkl, _, err := a.open(a.root + "/data.pkl")
	if err != nil {
		return err
	}
	entry := a.files[a.root+"/data.pkl"]
	if entry.UncompressedSize64 > maxPickle {
		return fmt.Errorf("%s has %d bytes, want at most %d", entry.Name, entry.UncompressedSize64, maxPickle)
	}
	data := make([]byte, entry.UncompressedSize64)
	if n, err := pkl.ReadAt(data, 0); n < len(data) {
		return fmt.Errorf("%s: %w", entry.Name, cmpErr(err, io.ErrUnexpectedEOF))
	}
	if want := entry.CRC32; want != 0 && crc32.ChecksumIEEE(data) != want {
		return fmt.Errorf("%s/data.pkl is damaged: its CRC-32 is %08x, want %08x", a.root, crc32.ChecksumIEEE(data), want)
	}
	storages := map[string]*storage{}
	v, n, err := unpickle(bytes.NewReader(data), 0, int64(len(data)), func(pid any) (any, error) {
		id, err := parseStorageID(pid)
		if err != nil {
			return nil, err
		}
		s := storages[id.key]
		if s == nil {
			if s, err = a.storage(id, c); err != nil {
				return nil, err
			}
			storages[id.key] = s
		}
		if s.dtype != id.dtype || s.size != id.size {
			return nil, fmt.Errorf("%s is called %d bytes of %s and %d bytes of %s", s.name, s.size, s.dtype, id.size, id.dtype)
		}
		return s, nil
	})
	if err != nil {
		return fmt.Errorf("%s/data.pkl: %w", a.root, err)
	}
	if n != int64(len(data)) {
		return fmt.Errorf("%s/data.pkl: %d bytes after the end of the pickle", a.root, int64(len(data))-n)
	}
	sortChecks(c)
	return c.flatten(stateDict(v), n)
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

// checkTorch returns an error if it is no archive of torch's, or of one for another kind of machine.
func (a *archive) checkTorch() error {
	if a.root == "" {
		return fmt.Errorf("none of %d entries is FOLDER/data.pkl: not an archive of torch", len(a.order))
	}
	if order := a.files[a.root+"/byteorder"]; order != nil {
		r, _, err := a.open(order.Name)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(io.NewSectionReader(r, 0, 8))
		if err != nil || string(b) != "little" {
			return fmt.Errorf("byte order is %q, want little", b)
		}
	}
	return nil
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

// storage returns the storage of an identifier, and notes the checksum that the archive has of it.
func (a *archive) storage(id storageID, c *File) (*storage, error) {
	name := a.root + "/data/" + id.key
	r, off, err := a.open(name)
	if err != nil {
		return nil, err
	}
	entry := a.files[name]
	if uint64(id.size) != entry.UncompressedSize64 {
		return nil, fmt.Errorf("storage %.100q has %d bytes, want %d (%d elements of %s)", name, entry.UncompressedSize64, id.size, id.size/int64(id.dtype.Size()), id.dtype)
	}
	a.note(entry, off, c)
	return &storage{name: name, dtype: id.dtype, size: id.size, crc: entry.CRC32, r: r, compressed: off < 0}, nil
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

// legacyMagic is how torch.save began its files before version 1.6: the pickle of a number.
//
// Source: pytorch/pytorch, torch/serialization.py, _legacy_save.
var legacyMagic = []byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")

// openLegacy reads a file of four pickles (magic, version, system, object), the list of the
// storages' keys and the storages, each with its number of elements in front.
func openLegacy(r io.ReaderAt, size int64, c *File) error {
	at := int64(len(legacyMagic))
	next := func(persistent func(any) (any, error)) (any, error) {
		v, n, err := unpickle(r, at, size, persistent)
		at += n
		return v, err
	}
	refuse := func(any) (any, error) { return nil, errors.New("a storage where none is expected") }

	version, err := next(refuse)
	if err != nil {
		return err
	}
	if version != 1001 {
		return fmt.Errorf("protocol version is %.40s, want 1001", shown(version))
	}
	system, err := next(refuse)
	if err != nil {
		return err
	}
	if d, ok := system.(*types.Dict); ok {
		if little, ok := d.Get("little_endian"); ok && little != true {
			return errors.New("written on a big-endian machine: not supported")
		}
	}
	storages := map[string]*storage{}
	begin := at
	v, err := next(func(pid any) (any, error) {
		id, err := parseStorageID(pid)
		if err != nil {
			return nil, err
		}
		s := storages[id.key]
		if s == nil {
			s = &storage{name: fmt.Sprintf("storage %.40q", id.key), dtype: id.dtype, size: id.size}
			storages[id.key] = s
		}
		if s.dtype != id.dtype || s.size != id.size {
			return nil, fmt.Errorf("%s is called %d bytes of %s and %d bytes of %s", s.name, s.size, s.dtype, id.size, id.dtype)
		}
		return s, nil
	})
	if err != nil {
		return err
	}
	pickled := at - begin
	list, err := next(refuse)
	if err != nil {
		return err
	}
	keys, ok := list.(*types.List)
	if !ok {
		return fmt.Errorf("keys of the storages are a %T, want a list", list)
	}
	for _, k := range *keys {
		key, _ := k.(string)
		s := storages[key]
		if s == nil || s.r != nil {
			return fmt.Errorf("storage %.40q is listed twice or without a tensor", shown(k))
		}
		var head [8]byte
		if _, err := r.ReadAt(head[:], at); err != nil {
			return fmt.Errorf("%s: truncated: no size at byte %d of %d", s.name, at, size)
		}
		n, want := binary.LittleEndian.Uint64(head[:]), uint64(s.size)/uint64(s.dtype.Size())
		if n != want {
			return fmt.Errorf("%s has %d elements, want %d", s.name, n, want)
		}
		at += 8
		if s.size > size-at {
			return fmt.Errorf("%s: truncated: wants %d bytes at byte %d of %d", s.name, s.size, at, size)
		}
		s.r = io.NewSectionReader(r, at, s.size)
		at += s.size
	}
	for _, s := range storages {
		if s.r == nil {
			return fmt.Errorf("%s is not in the file", s.name)
		}
	}
	return c.flatten(stateDict(v), pickled)
}

// An inflater reads a compressed entry as if it were not: forwards fast, backwards by beginning
// again, and never more than the size it claims.
type inflater struct {
	src  *io.SectionReader
	size int64

	mu sync.Mutex
	r  io.Reader
	at int64
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
		f.r, f.at = flate.NewReader(f.src), 0
	}
	n, err := io.CopyN(io.Discard, f.r, off-f.at)
	f.at += n
	if err != nil {
		return 0, cmpErr(err, io.ErrUnexpectedEOF)
	}
	want := p[:min(int64(len(p)), f.size-off)]
	m, err := io.ReadFull(f.r, want)
	f.at += int64(m)
	if err == nil && m < len(p) {
		err = io.EOF
	}
	return m, err
}
