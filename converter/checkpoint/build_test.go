package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"
)

// A pickler writes the few operations that torch's picklers write.
type pickler struct{ bytes.Buffer }

func newPickler() *pickler {
	p := &pickler{}
	p.WriteString("\x80\x02")
	return p
}

func (p *pickler) op(codes string) *pickler { p.WriteString(codes); return p }

func (p *pickler) str(s string) *pickler {
	p.WriteByte('X')
	binary.Write(p, binary.LittleEndian, uint32(len(s)))
	p.WriteString(s)
	return p
}

func (p *pickler) int(n int64) *pickler {
	if int64(int32(n)) == n {
		p.WriteByte('J')
		binary.Write(p, binary.LittleEndian, int32(n))
	} else {
		p.WriteString("\x8a\x08")
		binary.Write(p, binary.LittleEndian, n)
	}
	return p
}

func (p *pickler) global(module, name string) *pickler {
	p.WriteString("c" + module + "\n" + name + "\n")
	return p
}

func (p *pickler) ints(ns []int64) *pickler {
	p.op("(")
	for _, n := range ns {
		p.int(n)
	}
	return p.op("t")
}

// A pickled is a tensor to be written, whatever nonsense it is.
type pickled struct {
	name           string
	class          string // FloatStorage, …
	key            string
	elements       int64
	offset         int64
	shape, strides []int64
}

func (p *pickler) tensor(t pickled) *pickler {
	p.global("torch._utils", "_rebuild_tensor_v2").op("((").str("storage").global("torch", t.class)
	p.str(t.key).str("cpu").int(t.elements).op("tQ").int(t.offset)
	p.ints(t.shape).ints(t.strides).op("\x89")
	return p.global("collections", "OrderedDict").op(")RtR")
}

// stateDictOf returns a dictionary of tensors.
func stateDictOf(ts ...pickled) []byte {
	p := newPickler().op("}(")
	for _, t := range ts {
		p.str(t.name).tensor(t)
	}
	return p.op("u.").Bytes()
}

// good is a tensor as it should be: [2,3], float32, the numbers 0 to 5.
var good = pickled{"w", "FloatStorage", "0", 6, 0, []int64{2, 3}, []int64{3, 1}}

func floats(n int) []byte {
	var b []byte
	for i := range n {
		b, _ = binary.Append(b, binary.LittleEndian, float32(i))
	}
	return b
}

// An entry is a record of a zip file; edit may spoil its header after all else is set.
type entry struct {
	name   string
	data   []byte
	method uint16
	edit   func(h *zip.FileHeader)
}

func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: e.method, CRC32: crc32.ChecksumIEEE(e.data)}
		h.UncompressedSize64, h.CompressedSize64 = uint64(len(e.data)), uint64(len(e.data))
		if e.method == zip.Deflate {
			f, err := w.CreateHeader(h)
			if err != nil {
				t.Fatal(err)
			}
			f.Write(e.data)
			continue
		}
		if e.edit != nil {
			e.edit(h)
		}
		f, err := w.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(e.data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// torchZip returns an archive of one pickle and the storage 0, plus more entries.
func torchZip(t testing.TB, pickle []byte, more ...entry) []byte {
	return zipOf(t, append([]entry{{name: "m/data.pkl", data: pickle}, {name: "m/data/0", data: floats(6)}}, more...)...)
}

// legacyOf returns a file of torch.save's old form.
func legacyOf(pickle []byte, keys []string, storages ...[]byte) []byte {
	b := bytes.Clone(legacyMagic)
	b = append(b, newPickler().int(1001).op(".").Bytes()...)
	b = append(b, newPickler().op("}(").str("little_endian").op("\x88u.").Bytes()...)
	b = append(b, pickle...)
	list := newPickler().op("](")
	for _, k := range keys {
		list.str(k)
	}
	b = append(b, list.op("e.").Bytes()...)
	for _, s := range storages {
		b = append(b, s...)
	}
	return b
}

// sized puts the number of elements of 4 bytes in front of a storage.
func sized(data []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(data)/4)), data...)
}

// safetensorsOf returns a file of a header and data.
func safetensorsOf(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func openBytes(b []byte) (*File, error) {
	return OpenReader(bytes.NewReader(b), int64(len(b)), "test.pt")
}

// A named is a tensor in memory.
type named struct {
	name  string
	dtype DType
	shape []int
	data  []byte
}

// entriesOf returns the entries of tensors, and what writes them.
func entriesOf(tensors []named) (entries []Entry, emit Emit) {
	for _, x := range tensors {
		entries = append(entries, Entry{x.name, x.dtype, x.shape})
	}
	return entries, func(i int, w io.Writer) error { _, err := w.Write(tensors[i].data); return err }
}

// asSafetensors returns a safetensors file of tensors.
func asSafetensors(t testing.TB, tensors []named) []byte {
	t.Helper()
	var b bytes.Buffer
	entries, emit := entriesOf(tensors)
	if err := WriteSafetensors(&b, map[string]string{"format": "pt"}, entries, emit); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
