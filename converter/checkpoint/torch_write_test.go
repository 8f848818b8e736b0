package checkpoint

import (
	"archive/zip"
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// torchFileOf returns an archive that writeTorch wrote of tensors.
func torchFileOf(t *testing.T, tensors []named) []byte {
	t.Helper()
	entries, emit := entriesOf(tensors)
	var b bytes.Buffer
	if err := WriteTorch(&b, entries, emit); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestTorchFile checks the container against what PyTorch documents, with Go's reader of zip files.
func TestTorchFile(t *testing.T) {
	all := []named{
		{"a.weight", F32, []int{2, 3}, floats(6)},
		{"halves", F16, []int{5}, make([]byte, 10)},
		{"brain", BF16, []int{1, 1, 7}, bytes.Repeat([]byte{1, 2}, 7)},
		{"double", F64, []int{2}, bytes.Repeat([]byte{3}, 16)},
		{"scalar", F32, []int{}, floats(1)},
		{"empty", F32, []int{0}, nil},
		{strings.Repeat("x", maxName), F16, []int{3}, make([]byte, 6)},
	}
	b := torchFileOf(t, all)
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range z.File {
		names = append(names, strings.TrimPrefix(f.Name, "archive/"))
		off, err := f.DataOffset()
		if err != nil || off%64 != 0 || f.Method != zip.Store {
			t.Errorf("%s begins at %d (%v) and is compressed by method %d, want a multiple of 64 and none", f.Name, off, err, f.Method)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r) // verifies the checksum
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		if n, ok := strings.CutPrefix(f.Name, "archive/data/"); ok {
			i, _ := strconv.Atoi(n)
			if !bytes.Equal(got, all[i].data) {
				t.Errorf("%s is %x, want %x", f.Name, got, all[i].data)
			}
		}
		if want, ok := map[string]string{"archive/version": "3\n", "archive/byteorder": "little"}[f.Name]; ok && string(got) != want {
			t.Errorf("%s is %q, want %q", f.Name, got, want)
		}
	}
	if want := []string{"data.pkl", "byteorder", "data/0", "data/1", "data/2", "data/3", "data/4", "data/5", "data/6", "version"}; !slices.Equal(names, want) {
		t.Errorf("records are %q, want %q", names, want)
	}

	k, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.scan(t.Context(), nil); err != nil {
		t.Error(err)
	}
	for i, x := range k.Tensors() {
		got, err := io.ReadAll(x.Reader())
		w := all[i]
		if err != nil || x.Name != w.name || x.DType != w.dtype || !slices.Equal(x.Shape, w.shape) || !bytes.Equal(got, w.data) {
			t.Errorf("%s is %s %v (%v), want %s %s %v", x.Name, x.DType, x.Shape, err, w.name, w.dtype, w.shape)
		}
	}
}

// TestTorchPickle compares with the pickles that the tests of the reader are made of. What torch says
// of whole files is in testdata/gen/load_exported.py.
func TestTorchPickle(t *testing.T) {
	got := pickleTensors([]Entry{
		{"w", F32, []int{2, 3}},
		{"v", BF16, nil},
		{"big", F16, []int{1 << 31}}, // elements of which int32 has no number
	})
	want := newPickler().global("collections", "OrderedDict").op(")R(").
		str("w").tensor(good).
		str("v").tensor(pickled{"v", "BFloat16Storage", "1", 1, 0, nil, nil}).
		str("big").tensor(pickled{"big", "HalfStorage", "2", 1 << 31, 0, []int64{1 << 31}, []int64{1}}).
		op("u.").Bytes()
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
	if s, err := scanPickle(bytes.NewReader(got)); err != nil || s.at != int64(len(got)) {
		t.Errorf("%+v of %d bytes: %v", s, len(got), err)
	}
}

// TestScriptFile compares classes and objects of an archive of TorchScript with lists written by hand.
// What torch says of a whole one is in testdata/gen/load_exported.py.
func TestScriptFile(t *testing.T) {
	entries := []Entry{
		{"scale", F32, nil},
		{"blocks.0.mlp.c_fc.weight", F32, []int{2, 3}},
		{"blocks.0.mlp.c_fc.bias", F32, []int{1}},
		{"blocks.1.mlp.w", F32, []int{1}},
	}
	script := Script{Class: "Net", Within: map[string]Submodule{"mlp": {"act", "Swish"}}}
	var b bytes.Buffer
	if err := WriteTorchScript(&b, script, entries, func(i int, w io.Writer) error {
		_, err := w.Write(floats(entries[i].Len()))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		f, err := z.Open("archive/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		data, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const code = `class Net(Module):
  __parameters__ = ["scale", ]
  __buffers__ = []
  scale : Tensor
  training : bool
  blocks : __torch__.Module1
class Module1(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  __annotations__["0"] = __torch__.Module2
  __annotations__["1"] = __torch__.Module5
class Module2(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  mlp : __torch__.Module3
class Module3(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  act : __torch__.Swish
  c_fc : __torch__.Module4
class Swish(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
class Module4(Module):
  __parameters__ = ["weight", "bias", ]
  __buffers__ = []
  weight : Tensor
  bias : Tensor
  training : bool
class Module5(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  mlp : __torch__.Module6
class Module6(Module):
  __parameters__ = ["w", ]
  __buffers__ = []
  w : Tensor
  training : bool
  act : __torch__.Swish
`
	if got := read("code/__torch__.py"); got != code {
		t.Errorf("got the code\n%s, want\n%s", got, code)
	}
	if got := read("constants.pkl"); got != "\x80\x02)." {
		t.Errorf("constants are %q, want an empty tuple", got)
	}
	k, err := openBytes(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if k.Container() != "TorchScript archive" || !slices.Contains(k.Classes(), "Swish") {
		t.Errorf("a %s of the classes %q", k.Container(), k.Classes())
	}
	for _, e := range entries {
		x, ok := k.Tensor(e.Name)
		if !ok {
			t.Errorf("%s is missing from %q", e.Name, k.Names())
			continue
		}
		got, err := io.ReadAll(x.Reader())
		if err != nil || !bytes.Equal(got, floats(e.Len())) || len(x.Shape) != len(e.Shape) {
			t.Errorf("%s is %v %x (%v)", e.Name, x.Shape, got, err)
		}
	}
}

// TestTorchStorages: every type that a parameter may have has a class of storages.
func TestTorchStorages(t *testing.T) {
	for d, want := range map[DType]string{F16: "HalfStorage", BF16: "BFloat16Storage", F32: "FloatStorage", F64: "DoubleStorage"} {
		if got := storageNames[d]; got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
