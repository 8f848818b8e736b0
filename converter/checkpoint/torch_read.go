package checkpoint

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"

	"github.com/nlpodyssey/gopickle/types"
)

// globals are the Python names that a pickle of tensors needs, and what stands for them here. Any other stands for a
// class of which nothing is known (see findGlobal).
//
// Sources: pytorch/pytorch, torch/_weights_only_unpickler.py, _get_allowed_globals; torch/_utils.py, _rebuild_….
var globals = map[string]any{
	"collections OrderedDict":                             function(newDict),
	"torch._utils _rebuild_tensor":                        function(rebuildTensor),
	"torch._utils _rebuild_tensor_v2":                     function(rebuildTensor),
	"torch._utils _rebuild_tensor_v3":                     function(rebuildTyped),
	"torch._utils _rebuild_parameter":                     function(firstArg),
	"torch._utils _rebuild_parameter_with_state":          function(firstArg),
	"torch._utils _rebuild_device_tensor_from_cpu_tensor": function(firstArg),
	"torch._tensor _rebuild_from_type_v2":                 function(rebuildSubclass),
	"torch.nn.parameter Parameter":                        function(firstArg),
	"torch.nn.parameter Buffer":                           function(firstArg),
	"torch._utils _rebuild_qtensor":                       unreadable("quantized"),
	"torch._utils _rebuild_sparse_tensor":                 unreadable("sparse"),
	"torch._utils _rebuild_sparse_csr_tensor":             unreadable("sparse"),
	"torch._utils _rebuild_nested_tensor":                 unreadable("nested"),
	"torch._utils _rebuild_wrapper_subclass":              unreadable("of a subclass without elements of its own"),
	"torch._utils _rebuild_meta_tensor_no_storage":        unreadable("on the device meta, without elements"),
	"torch._utils _rebuild_device_tensor_from_numpy":      unreadable("an array of NumPy's, of a device that torch does not know"),
	"numpy.core.multiarray _reconstruct":                  unreadable("an array of NumPy's"),
	"numpy._core.multiarray _reconstruct":                 unreadable("an array of NumPy's"),
	"builtins set":                                        function(setOf),
	"builtins frozenset":                                  function(setOf),
	"__builtin__ set":                                     function(setOf),
	"torch Size":                                          function(firstArg),
	"torch device":                                        function(nothing),
	"torch.jit._pickle build_intlist":                     function(firstArg),
	"torch.jit._pickle build_boollist":                    function(firstArg),
	"torch.jit._pickle build_doublelist":                  function(firstArg),
	"torch.jit._pickle build_tensorlist":                  function(firstArg),
	"torch.jit._pickle restore_type_tag":                  function(firstArg),

	"torch FloatStorage":           storageClass(F32),
	"torch HalfStorage":            storageClass(F16),
	"torch BFloat16Storage":        storageClass(BF16),
	"torch DoubleStorage":          storageClass(F64),
	"torch LongStorage":            storageClass(I64),
	"torch IntStorage":             storageClass("I32"),
	"torch ShortStorage":           storageClass("I16"),
	"torch CharStorage":            storageClass("I8"),
	"torch ByteStorage":            storageClass("U8"),
	"torch BoolStorage":            storageClass("BOOL"),
	"torch ComplexFloatStorage":    storageClass("C64"),
	"torch ComplexDoubleStorage":   storageClass("C128"),
	"torch QInt8Storage":           storageClass("I8"),
	"torch QUInt8Storage":          storageClass("U8"),
	"torch QInt32Storage":          storageClass("I32"),
	"torch QUInt4x2Storage":        storageClass("U8"),
	"torch QUInt2x4Storage":        storageClass("U8"),
	"torch.storage UntypedStorage": storageClass("U8"),

	"torch float32": F32, "torch float": F32, "torch float16": F16, "torch half": F16, "torch bfloat16": BF16, "torch float64": F64, "torch double": F64,
	"torch int64": I64, "torch int32": DType("I32"), "torch int16": DType("I16"), "torch int8": DType("I8"), "torch uint8": DType("U8"), "torch bool": DType("BOOL"),
	"torch uint16": DType("U16"), "torch uint32": DType("U32"), "torch uint64": DType("U64"), "torch complex64": DType("C64"), "torch complex128": DType("C128"),
	"torch float8_e4m3fn": DType("F8_E4M3"), "torch float8_e5m2": DType("F8_E5M2"), "torch float8_e4m3fnuz": DType("F8_E4M3FNUZ"),
	"torch float8_e5m2fnuz": DType("F8_E5M2FNUZ"), "torch float8_e8m0fnu": DType("F8_E8M0"),
}

// findGlobal returns what stands for a Python global: of one that is not known, a class whose instances are
// skipped. No code of such a class is known here, nor anything like it: what a pickle calls is never run.
func findGlobal(module, name string) any {
	if v := globals[module+" "+name]; v != nil {
		return v
	}
	if module == scriptRoot || strings.HasPrefix(module, scriptRoot+".") {
		return scriptClass{name}
	}
	return class{module + "." + name}
}

// A class is anything in Python that makes a value: a class or a function. Only its name is known.
type class struct{ name string }

// Call implements gopickle's types.Callable. A dictionary among the arguments is what a class that is derived from
// dict begins with. What is made of a module of torch's, as by torch.compile, stands for it.
func (c class) Call(args ...any) (any, error) {
	if _, name, _ := cutLast(c.name, "."); strings.HasSuffix(name, "Tensor") && name != "Tensor" {
		return unread{"a " + c.name}, nil
	}
	o := &object{class: c.name}
	for _, arg := range args {
		if m, ok := arg.(*object); ok && isModule(m) {
			return m, nil
		}
		if d, ok := arg.(*types.Dict); ok {
			o.items = *d
			break
		}
	}
	return o, nil
}

// PyNew implements gopickle's types.PyNewable.
func (c class) PyNew(args ...any) (any, error) { return c.Call(args...) }

// cutLast cuts a text at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}

// An object is an instance of a class of which nothing is known. It takes what a pickle does to it.
type object struct {
	class string
	items types.Dict // as of a dictionary
	state *types.Dict
}

// Set implements gopickle's types.DictSetter.
func (o *object) Set(key, value any) { o.items.Set(key, value) }

// Append implements gopickle's types.ListAppender, for classes derived from list or set.
func (o *object) Append(any) {}

// Call implements gopickle's types.Callable, for functions that functions return.
func (o *object) Call(...any) (any, error) { return &object{class: o.class}, nil }

// PyNew implements gopickle's types.PyNewable.
func (o *object) PyNew(...any) (any, error) { return &object{class: o.class}, nil }

// PySetState implements gopickle's types.PyStateSettable. A state is a dictionary of attributes, or one beside
// another of slots.
func (o *object) PySetState(state any) error {
	if t, ok := state.(*types.Tuple); ok && t.Len() == 2 {
		state = t.Get(0)
	}
	if d, ok := state.(*types.Dict); ok {
		o.state = d
	}
	return nil
}

// newDict stands for collections.OrderedDict, which Python 2 gave its items as an argument.
func newDict(args []any) (any, error) {
	o := &object{class: "collections.OrderedDict"}
	if len(args) == 0 {
		return o, nil
	}
	if pairs, ok := args[0].(*types.List); ok {
		for _, p := range *pairs {
			var kv []any
			switch p := p.(type) {
			case *types.List:
				kv = *p
			case *types.Tuple:
				kv = *p
			}
			if len(kv) == 2 {
				o.Set(kv[0], kv[1])
			}
		}
	}
	return o, nil
}

// setOf stands for set and frozenset, which protocols before 4 make of a list.
func setOf(args []any) (any, error) {
	if len(args) > 0 {
		if l, ok := args[0].(*types.List); ok {
			return l, nil
		}
	}
	return types.NewList(), nil
}

// A function is a Python callable.
type function func(args []any) (any, error)

// Call implements gopickle's types.Callable.
func (f function) Call(args ...any) (any, error) { return f(args) }

// PyNew implements gopickle's types.PyNewable.
func (f function) PyNew(args ...any) (any, error) { return f(args) }

func firstArg(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("a function is called without arguments")
	}
	return args[0], nil
}

func nothing([]any) (any, error) { return nil, nil }

// An unread is a tensor of a kind that is not read. It is an error to want it, and none that it is there.
type unread struct{ kind string }

func unreadable(kind string) function {
	return func([]any) (any, error) { return unread{kind}, nil }
}

// PySetState implements gopickle's types.PyStateSettable: arrays of NumPy's have their elements in their state.
func (unread) PySetState(any) error { return nil }

// A storageClass is a torch.…Storage.
type storageClass DType

// Call implements gopickle's types.Callable: a storage that is built and not found in the file.
func (c storageClass) Call(...any) (any, error) { return &object{class: "torch.storage"}, nil }

// A pickledTensor is a tensor as the pickle describes it, not yet checked against its storage.
type pickledTensor struct {
	data           *storage
	offset         int64
	shape, strides []int64
}

// PySetState implements gopickle's types.PyStateSettable, for attributes of tensors.
func (*pickledTensor) PySetState(any) error { return nil }

// rebuildTensor stands for torch._utils._rebuild_tensor_v2(storage, offset, size, stride,
// requires_grad, hooks).
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("_rebuild_tensor_v2 has %d arguments, want at least 4", len(args))
	}
	if o, ok := args[0].(*object); ok {
		return unread{"in a " + o.class}, nil
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

// rebuildTyped stands for torch._utils._rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype),
// of types that are younger than the classes of storages: its storage is of bytes.
func rebuildTyped(args []any) (any, error) {
	if len(args) < 7 {
		return nil, fmt.Errorf("_rebuild_tensor_v3 has %d arguments, want at least 7", len(args))
	}
	v, err := rebuildTensor(args[:6])
	t, ok := v.(*pickledTensor)
	if !ok {
		return v, err
	}
	dtype, ok := args[6].(DType)
	if !ok {
		c, _ := args[6].(class)
		return unread{"of " + c.name}, nil
	}
	if t.data.dtype != dtype {
		if t.data.dtype.Size() != 1 {
			return nil, fmt.Errorf("_rebuild_tensor_v3 has a storage of %s, want one of bytes", t.data.dtype)
		}
		t.data = t.data.as(dtype)
	}
	return t, nil
}

// rebuildSubclass stands for torch._tensor._rebuild_from_type_v2(function, type, arguments, state): a tensor with
// attributes, or of a class of its own that has the elements of a tensor.
func rebuildSubclass(args []any) (any, error) {
	if len(args) < 3 {
		return nil, fmt.Errorf("_rebuild_from_type_v2 has %d arguments, want at least 3", len(args))
	}
	f, isFunction := args[0].(function)
	t, isTuple := args[2].(*types.Tuple)
	if !isFunction || !isTuple {
		c, _ := args[1].(class)
		return unread{"a " + c.name}, nil
	}
	return f(*t)
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

// notStorage returns what a persistent identifier stands for that is of no storage, or of one of a class that
// is not known; nil of any other.
func notStorage(pid any) *object {
	t, ok := pid.(*types.Tuple)
	if !ok || len(*t) < 2 {
		return nil
	}
	kind, ok := (*t)[0].(string)
	c, isClass := (*t)[1].(class)
	switch {
	case ok && kind == "module": // by which torch.save of a whole module noted its source
		if isClass {
			return &object{class: c.name}
		}
		return &object{class: "module"}
	case ok && kind != "storage":
		return &object{class: "reference to a " + kind}
	case ok && isClass:
		return &object{class: c.name}
	}
	return nil
}

// parseStorageID reads ('storage', class, key, location, elements[, view]).
func parseStorageID(v any) (id storageID, err error) {
	t, ok := v.(*types.Tuple)
	if !ok || len(*t) < 5 {
		return id, errors.New("persistent identifier is not a tuple of a storage")
	}
	a := *t
	if a[0] != "storage" {
		return id, fmt.Errorf("persistent identifier of a %.40q, want a storage", shown(a[0]))
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
	size := int64(entry.UncompressedSize64)
	if size > maxPickle {
		return fmt.Errorf("%s has %d bytes, want at most %d", entry.Name, size, maxPickle)
	}
	sum := crc32.NewIEEE()
	r := io.TeeReader(io.NewSectionReader(pkl, 0, size), sum)
	scanned, scanErr := scanPickle(r)
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("%s: %w", entry.Name, err)
	}
	if want := entry.CRC32; want != 0 && sum.Sum32() != want {
		return fmt.Errorf("%s/data.pkl is damaged: its CRC-32 is %08x, want %08x", a.root, sum.Sum32(), want)
	}
	if scanErr != nil {
		return fmt.Errorf("%s/data.pkl: %w", a.root, scanErr)
	}
	storages := map[string]*storage{}
	v, err := scanned.run(func(pid any) (any, error) {
		if o := notStorage(pid); o != nil {
			return o, nil
		}
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
	if scanned.at != size {
		return fmt.Errorf("%s/data.pkl: %d bytes after the end of the pickle", a.root, size-scanned.at)
	}
	sortChecks(c)
	return c.pickled(v, size)
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
