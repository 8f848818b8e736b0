package checkpoint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/folder"
)

// A File is a set of named tensors, in one file or in several. Its methods may be called by many
// goroutines at once, but for Close.
type File struct {
	name      string // for errors
	container string
	tensors   []*Tensor
	byName    map[string]*Tensor
	classes   map[string]bool   // of the objects in a TorchScript archive
	absent    []string          // tensors in files that are not there, and need not be
	metadata  map[string]string // of safetensors
	unread    map[string]string // tensors of kinds that are not read, by name, and of which
	files     []*sourceFile
	packed    []check // of parts that are compressed
	closers   []io.Closer

	verified sync.Map // the storages, by *storage, whose checksums were found right

	summing chan struct{} // full while one computes sum and others wait
	sum     string        // SHA-256, once it is known
}

// A container is a format of single files.
type container struct {
	name  string
	sniff func(head []byte) bool
	open  func(r io.ReaderAt, size int64, c *File) error
}

// containers are the formats that Open knows. The first that recognises the head of a file has it.
var containers = []*container{
	{"zip archive", func(h []byte) bool { return bytes.HasPrefix(h, []byte("PK\x03\x04")) }, openZip},
	{"legacy torch.save", func(h []byte) bool { return legacyStart(h) >= 0 }, openLegacy},
	{"npy", isNPY, openNPY},
	{"safetensors", isSafetensors, openSafetensors},
}

// otherSize is how many bytes of a file otherFormat wants.
const otherSize = folder.KindSize

// others are formats that files of weights come in and that are not read, with what is to be done.
var others = []struct {
	at         int
	magic, say string
}{
	{0, "version https://git-lfs", "a pointer of Git LFS, and the file itself is not here: git lfs pull fetches it"},
	{257, "ustar", "a tar archive: unpack it, or, if storages, tensors and pickle are in it, as in torch's oldest files, load it and save it again with torch"},
	{0, "\x1f\x8b", "compressed by gzip: unpack it"},
	{0, "\x28\xb5\x2f\xfd", "compressed by zstd: unpack it"},
	{0, "\xfd7zXZ\x00", "compressed by xz: unpack it"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"},
	{0, "\x89HDF\r\n\x1a\n", "HDF5, as Keras saves weights, which is not read"},
}

// otherFormat says what a file is that begins so, "" if that is not known.
func otherFormat(begin []byte) string {
	for _, o := range others {
		if len(begin) > o.at && bytes.HasPrefix(begin[o.at:], []byte(o.magic)) {
			return o.say
		}
	}
	if len(begin) > 2 && begin[0] == 0x80 && begin[1] <= 5 {
		return "a pickle, and none that torch.save wrote: save the weights with torch.save or safetensors"
	}
	return ""
}

// headSize is how many bytes of a file the formats are recognised by.
const headSize = 64

// Recognised says whether a file begins as those of named tensors do that are read or written here. A single array of
// NumPy's, which has no name, is none of them.
func Recognised(r io.Reader) (bool, error) {
	head, err := io.ReadAll(io.LimitReader(r, headSize))
	return sniff(head) != nil && !isNPY(head) || isGGUF(head), err
}

func sniff(head []byte) *container {
	for _, k := range containers {
		if k.sniff(head) {
			return k
		}
	}
	return nil
}

// errCut is of a file that has an end before its time.
var errCut = errors.New("the file is cut short")

// ErrUnknownFormat is returned for files that are no checkpoint in a format known here.
var ErrUnknownFormat = errors.New("not a TorchScript archive, torch.save file, safetensors file, npz or npy file, or model directory")

// Open opens a file in one of the known containers, which are told apart by what they hold, never by
// their names. Tensors are read from the file when they are asked for, so it must be closed in the end.
func Open(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("checkpoint: %s: not a file", path)
	}
	// The file is read, not mapped into memory. What a map has shown stays resident beside the model that was
	// made from it: 0.6 GB for 300 million parameters. And a file that shrinks under a map ends the process.
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	if info, err = f.Stat(); err != nil { // of what was opened
		f.Close()
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	c, err := OpenReader(f, info.Size(), path)
	if err != nil {
		f.Close()
		return nil, err
	}
	c.closers = append(c.closers, f)
	return c, nil
}

// OpenReader is [Open] for one file of the given size that need not lie on a disk. The name
// stands in errors.
func OpenReader(r io.ReaderAt, size int64, name string) (c *File, err error) {
	defer func() {
		// gopickle was written for files of friends. The checks before it should leave nothing that
		// makes it panic; this is for what they overlook.
		if p := recover(); p != nil {
			c, err = nil, fmt.Errorf("checkpoint: %s: malformed: %.200v", name, p)
		}
	}()
	head := make([]byte, min(size, headSize))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("checkpoint: %s: %w", name, err)
	}
	k := sniff(head)
	switch {
	case isGGUF(head):
		return nil, fmt.Errorf("checkpoint: %s: GGUF is written, not read: %w", name, ErrUnknownFormat)
	case k == nil:
		begin := make([]byte, min(size, otherSize))
		if _, err := r.ReadAt(begin, 0); err != nil && err != io.EOF {
			return nil, fmt.Errorf("checkpoint: %s: %w", name, err)
		}
		if what := otherFormat(begin); what != "" {
			return nil, fmt.Errorf("checkpoint: %s: %s: %w", name, what, ErrUnknownFormat)
		}
		if kind := folder.Kind(begin); kind != "" {
			return nil, fmt.Errorf("checkpoint: %s: %w; it is %s", name, ErrUnknownFormat, kind)
		}
		return nil, fmt.Errorf("checkpoint: %s: %w (%d bytes, beginning with %.16q)", name, ErrUnknownFormat, size, head)
	}
	c = newFile(name, k.name)
	c.files = []*sourceFile{{r: r, size: size}}
	if err := k.open(r, size, c); err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %s: %w", name, c.container, err)
	}
	if err := c.finish(); err != nil {
		return nil, err
	}
	return c, nil
}

// New returns a File without files and tensors, for who has tensors of [NewTensor] alone. Its container is its
// name.
func New(name string) *File { return newFile(name, name) }

func newFile(name, container string) *File {
	return &File{
		name: name, container: container, byName: map[string]*Tensor{}, classes: map[string]bool{}, unread: map[string]string{},
		summing: make(chan struct{}, 1),
	}
}

// A Member is a file whose tensors are to have a prefix in front of their names.
type Member struct {
	File   *File  // which must not be nil
	Prefix string // "" leaves the names as they are
}

// Join returns the tensors of all members, in their order, as one File, which closes them with itself. The
// name stands in errors. After an error the members are closed.
func Join(name, container string, members ...Member) (*File, error) {
	all := newFile(name, container)
	var errs []error
	for _, m := range members {
		errs = append(errs, all.include(m.File, m.Prefix))
	}
	if err := cmp.Or(errors.Join(errs...), all.finish()); err != nil {
		all.Close()
		return nil, err
	}
	return all, nil
}

// include takes all that another file has, with prefix in front of the names, and closes it with its own.
func (c *File) include(part *File, prefix string) error {
	c.closers = append(c.closers, part)
	c.files = append(c.files, part.files...)
	c.packed = append(c.packed, part.packed...)
	c.absent = append(c.absent, part.absent...)
	maps.Copy(c.classes, part.classes)
	for name, kind := range part.unread {
		if err := c.addUnread(prefix+name, kind); err != nil {
			return fmt.Errorf("checkpoint: %s: %w", part.name, err)
		}
	}
	for _, t := range part.tensors {
		t.Name = prefix + t.Name
		if err := c.add(t); err != nil {
			return fmt.Errorf("checkpoint: %s: %w", part.name, err)
		}
	}
	return nil
}

// finish checks the tensors as a whole.
func (c *File) finish() error {
	if len(c.tensors) == 0 && len(c.unread) > 0 {
		name := slices.Min(slices.Collect(maps.Keys(c.unread)))
		return fmt.Errorf("checkpoint: %s: %s without tensors that can be read: %s: %s", c.name, c.container, name, c.unread[name])
	}
	if len(c.tensors) == 0 {
		return fmt.Errorf("checkpoint: %s: %s without tensors", c.name, c.container)
	}
	seen := map[*storage]bool{}
	var claimed, held int64
	for _, t := range c.tensors {
		if data := t.data.root(); !seen[data] {
			seen[data] = true
			held += data.size
		}
		claimed += t.Bytes()
		if claimed < 0 {
			return fmt.Errorf("checkpoint: %s: tensors claim more than 2⁶³ bytes", c.name)
		}
	}
	if claimed/maxShare > held {
		return fmt.Errorf("checkpoint: %s: tensors claim %d bytes of storages that hold %d, more than %d times over", c.name, claimed, held, maxShare)
	}
	return nil
}

// add adds a tensor under its name.
func (c *File) add(t *Tensor) error {
	if err := checkName(t.Name); err != nil {
		return err
	}
	if c.byName[t.Name] != nil || c.unread[t.Name] != "" {
		return fmt.Errorf("two tensors are called %s", t.Name)
	}
	if len(c.tensors) == maxTensors {
		return fmt.Errorf("more than %d tensors", maxTensors)
	}
	c.byName[t.Name] = t
	c.tensors = append(c.tensors, t)
	return nil
}

// addUnread notes a tensor of a kind that is not read.
func (c *File) addUnread(name, kind string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if c.byName[name] != nil || c.unread[name] != "" {
		return fmt.Errorf("two tensors are called %s", name)
	}
	if len(c.unread) == maxTensors {
		return fmt.Errorf("more than %d tensors", maxTensors)
	}
	c.unread[name] = kind
	return nil
}

// checkName returns an error if a name cannot be shown or is absurdly long.
func checkName(name string) error {
	if len(name) == 0 || len(name) > maxName {
		return fmt.Errorf("a tensor's name has %d bytes, want 1 to %d", len(name), maxName)
	}
	if !utf8.ValidString(name) || slices.ContainsFunc([]rune(name), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("tensor name %.80q has characters that cannot be shown", name)
	}
	return nil
}

// Name returns the name that stands in errors: the path that was opened.
func (c *File) Name() string { return c.name }

// Classes returns the names of the classes of all objects in a TorchScript archive, sorted, without the
// module that they are in. Other containers have none.
func (c *File) Classes() []string { return slices.Sorted(maps.Keys(c.classes)) }

// Absent returns the names of tensors that are in files which an index names and which are not there; see
// [OpenIndex].
func (c *File) Absent() []string { return slices.Clone(c.absent) }

// Unread returns the tensors of kinds that are not read, by their names and of which kind each is: quantized, say, or of
// a type that has no whole bytes. They are none of [File.Tensors].
func (c *File) Unread() map[string]string { return maps.Clone(c.unread) }

// Bytes returns the size of the files.
func (c *File) Bytes() (n int64) {
	for _, f := range c.files {
		n += f.size
	}
	return n
}

// Metadata returns what a safetensors file says beside its tensors, strings by name; nil of other containers.
func (c *File) Metadata() map[string]string { return maps.Clone(c.metadata) }

// Container returns what kind of file or files c is.
func (c *File) Container() string { return c.container }

// Names returns the names of all tensors, in the order of the file.
func (c *File) Names() []string {
	names := make([]string, len(c.tensors))
	for i, t := range c.tensors {
		names[i] = t.Name
	}
	return names
}

// Tensor returns the tensor of a name.
func (c *File) Tensor(name string) (*Tensor, bool) {
	t, ok := c.byName[name]
	return t, ok
}

// Tensors returns all tensors, in the order of the file.
func (c *File) Tensors() []*Tensor { return slices.Clone(c.tensors) }

// Close closes the files. Tensors cannot be read any more.
func (c *File) Close() error {
	var errs []error
	for _, f := range c.closers {
		errs = append(errs, f.Close())
	}
	c.closers = nil
	return errors.Join(errs...)
}

// cmpErr returns err, or instead where err does not say what is wrong.
func cmpErr(err, instead error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return instead
	}
	return err
}
