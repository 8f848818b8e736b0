package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"

	"github.com/nlpodyssey/gopickle/types"
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
