package checkpoint

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// npyOf returns a file of NumPy's format with a header of version 1 and data.
func npyOf(header string, data []byte) []byte {
	b := append([]byte(npyMagic+"\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return append(append(b, header...), data...)
}

const plainNPY = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"

// TestNPZ reads what numpy.savez wrote, as the tests' own reader does, and verifies its checksums.
func TestNPZ(t *testing.T) {
	for _, file := range []string{"testdata/tiny/clip_expected.npz", "testdata/families/llava.npz"} {
		want := golden.Load(t, file)
		c, err := Open(golden.Path(t, file))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.SHA256(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.Verify(t.Context(), c.Tensors()...); err != nil {
			t.Error(err)
		}
		if names := c.Names(); c.Container() != "npz archive" || len(names) != len(want.Names()) {
			t.Errorf("%s: a %s of %d tensors, want an npz archive of %d", file, c.Container(), len(names), len(want.Names()))
		}
		for _, x := range c.Tensors() {
			if !slices.Equal(x.Shape, want.Shape(x.Name)) {
				t.Errorf("%s: shape %v, want %v", x.Name, x.Shape, want.Shape(x.Name))
			}
			if x.DType != F32 {
				continue
			}
			got := make([]float32, x.Len())
			if err := x.Float32s(got); err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, x.Name, got, want.Float32(x.Name), 0)
		}
	}
}

// TestNPYHeader: the header is NumPy's own, byte by byte.
func TestNPYHeader(t *testing.T) {
	for _, c := range []struct {
		dtype DType
		shape []int
		dict  string
	}{
		{F32, []int{2, 3}, plainNPY},
		{F64, []int{7}, "{'descr': '<f8', 'fortran_order': False, 'shape': (7,), }"},
		{F16, nil, "{'descr': '<f2', 'fortran_order': False, 'shape': (), }"},
		{"U8", []int{1, 2, 3, 4}, "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 3, 4), }"},
	} {
		got := NPYHeader(c.dtype, c.shape)
		if want := fmt.Sprintf("\x93NUMPY\x01\x00\x76\x00%-117s\n", c.dict); string(got) != want {
			t.Errorf("%s %v: got %q, want %q", c.dtype, c.shape, got, want)
		}
	}
}

// TestNPZWrite: what is written is read again, by us and by a reader that knows nothing of the writer.
func TestNPZWrite(t *testing.T) {
	all := []named{
		{"a/weight", F32, []int{2, 3}, floats(6)},
		{"half", F16, []int{5}, make([]byte, 10)},
		{"double", F64, []int{2}, bytes.Repeat([]byte{3}, 16)},
		{"scalar", F32, nil, floats(1)},
		{"empty", F32, []int{0}, nil},
	}
	entries, emit := entriesOf(all)
	var b bytes.Buffer
	if err := WriteNPZ(&b, entries, emit); err != nil {
		t.Fatal(err)
	}
	c, err := openBytes(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range c.Tensors() {
		got, err := io.ReadAll(x.Reader())
		if w := all[i]; err != nil || x.Name != w.name || x.DType != w.dtype || !slices.Equal(x.Shape, w.shape) || !bytes.Equal(got, w.data) {
			t.Errorf("%s is %s %v (%v), want %s %s %v", x.Name, x.DType, x.Shape, err, w.name, w.dtype, w.shape)
		}
	}
	if _, err := c.SHA256(t.Context()); err != nil {
		t.Error(err)
	}

	path := filepath.Join(t.TempDir(), "x.npz")
	entries, emit = entriesOf([]named{all[0], all[3]}) // of types that the other reader knows
	b.Reset()
	if err := WriteNPZ(&b, entries, emit); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path, b.Bytes(), 0o666)
	f := golden.LoadFile(t, path)
	golden.Compare(t, "weight", f.Float32("a/weight"), []float32{0, 1, 2, 3, 4, 5}, 0)
	if len(f.Shape("scalar")) != 0 {
		t.Errorf("a scalar has the shape %v", f.Shape("scalar"))
	}

	b.Reset()
	if err := WriteNPY(&b, entries[0], emit); err != nil {
		t.Fatal(err)
	}
	if c, err = openBytes(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if x, ok := c.Tensor("arr_0"); !ok || !slices.Equal(x.Shape, []int{2, 3}) || c.Container() != "npy" {
		t.Errorf("a %s of %v", c.Container(), c.Names())
	}

	for _, e := range []Entry{{"b", BF16, nil}, {"b", "F8_E4M3", []int{1}}} {
		if err := WriteNPZ(io.Discard, []Entry{e}, emit); err == nil || !strings.Contains(err.Error(), "which NumPy does not have") {
			t.Errorf("%s: error is %v", e.DType, err)
		}
		if err := WriteNPY(io.Discard, e, emit); err == nil || !strings.Contains(err.Error(), "which NumPy does not have") {
			t.Errorf("%s: error is %v", e.DType, err)
		}
	}
	z := NewNPZWriter(io.Discard)
	if _, err := z.Create(Entry{"x", F32, []int{2}}); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Create(Entry{"y", F32, nil}); err == nil || !strings.Contains(err.Error(), "x: 0 bytes written, want 8") {
		t.Errorf("error is %v", err)
	}
	if err := WriteNPZ(io.Discard, []Entry{{"x", F32, nil}, {"x", F32, nil}}, emit); err == nil || !strings.Contains(err.Error(), "two tensors are called x") {
		t.Errorf("error is %v", err)
	}
	if err := z.Close(); err == nil || !strings.Contains(err.Error(), "x: 0 bytes written, want 8") {
		t.Errorf("error is %v", err)
	}
}

// lying returns an entry of deflated data that claims to be of another size, its checksum being right for the data.
func lying(data []byte, claimed int) entry {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // of a level that there is
	w.Write(data)
	w.Close()
	return entry{name: "w.npy", data: b.Bytes(), edit: func(h *zip.FileHeader) {
		h.Method, h.UncompressedSize64, h.CRC32 = zip.Deflate, uint64(claimed), crc32.ChecksumIEEE(data)
	}}
}

// TestNPYVersions: a header of version 2 or 3 has a longer length, and says the same.
func TestNPYVersions(t *testing.T) {
	for _, version := range []byte{2, 3} {
		b := append([]byte(npyMagic), version, 0, byte(len(plainNPY)), 0, 0, 0)
		c, err := openBytes(append(append(b, plainNPY...), floats(6)...))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 6)
		if err := c.Tensors()[0].Float32s(got); err != nil || !slices.Equal(got, []float32{0, 1, 2, 3, 4, 5}) {
			t.Errorf("version %d: %v (%v)", version, got, err)
		}
	}
}

// TestHostileNPY opens arrays that are broken or lie. TestHostile has zip archives that do.
func TestHostileNPY(t *testing.T) {
	dict := func(descr, order, shape string) string {
		return fmt.Sprintf("{'descr': %s, 'fortran_order': %s, 'shape': %s, }\n", descr, order, shape)
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"the magic alone", []byte(npyMagic), "no header of NumPy's"},
		{"version", []byte(npyMagic + "\x04\x00\x00\x00"), "version 4.0, want 1.0, 2.0 or 3.0"},
		{"long header", []byte(npyMagic + "\x02\x00\xff\xff\xff\xff"), "header of 4294967295 bytes, want at most 10000"},
		{"truncated header", npyOf(plainNPY, nil)[:30], "truncated: header of 59 bytes"},
		{"no dictionary", npyOf("[1, 2]", nil), "want a dictionary"},
		{"code", npyOf("{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}", nil), "__import__"},
		{"a record", npyOf(dict("[('a', '<f4')]", "False", "(1,)"), make([]byte, 4)), "an array of plain numbers"},
		{"objects", npyOf(dict("'|O'", "False", "(1,)"), make([]byte, 8)), `elements are "|O", want numbers`},
		{"big-endian", npyOf(dict("'>f4'", "False", "(1,)"), make([]byte, 4)), `elements are ">f4", want numbers, little endian`},
		{"Fortran's order", npyOf(dict("'<f4'", "True", "(2, 3)"), floats(6)), "Fortran's order, want C's"},
		{"shape of a number", npyOf(dict("'<f4'", "False", "'6'"), floats(6)), "want a tuple"},
		{"twice", npyOf("{'descr': '<f4', 'descr': '<f4', 'shape': ()}", floats(1)), "two items called descr"},
		{"missing", npyOf("{'descr': '<f4', 'shape': ()}", floats(1)), "want descr, fortran_order and shape"},
		{"too short", npyOf(plainNPY, floats(5)), "claims more than the 5 elements"},
		{"too long", npyOf(plainNPY, floats(7)), "is 24 bytes, want 28"},
		{"half an element", npyOf(plainNPY, make([]byte, 25)), "25 bytes of elements, want a multiple of the 4 of F32"},
		{"shape that overflows", npyOf(dict("'<f4'", "False", "(4294967296, 4294967296)"), floats(6)), "claims more"},
		{"shape that is a number in Python", npyOf(dict("'<f4'", "False", "(6)"), floats(6)), "want a tuple"},
		{"shape that is nothing in Python", npyOf(dict("'<f4'", "False", "(2 3)"), floats(6)), "an array of plain numbers"},
		{"nothing between absurd sizes", npyOf(dict("'<f4'", "False", "(1099511627776, 0)"), nil), "claims more"},
		{"number that overflows", npyOf(dict("'<f4'", "False", "(99999999999999999999,)"), floats(6)), "out of range"},
		{"too many dimensions", npyOf(dict("'<f4'", "False", "(1, 1, 1, 1, 1, 1, 1, 1, 6)"), floats(6)), "9 dimensions"},
		{"npz of a text", zipOf(t, entry{name: "a.npy", data: []byte("hello, world")}), `a.npy: begins with "hello, w"`},
		{"npz of nothing", zipOf(t, entry{name: "a.npy"}), "a.npy: no header"},
		{"npz that cannot be shown", zipOf(t, entry{name: "\x1b[2J.npy", data: npyOf(plainNPY, floats(6))}), "cannot be shown"},
		{"npz of a name twice", zipOf(t, entry{name: "a.npy", data: npyOf(plainNPY, floats(6))}, entry{name: "a.npy", data: npyOf(plainNPY, floats(6))}), "two entries are called"},
		{"npz that is a bomb", zipOf(t, lying(npyOf(dict("'|u1'", "False", "(1073741824,)"), make([]byte, 1<<20)), 1<<30)), "entries claim"},
		{"npz whose array is larger than its entry", zipOf(t, lying(npyOf(plainNPY, floats(6)), 40)), "header of 69 bytes, want at most the 40 of the file"},
		{"npz whose array is smaller than its entry", zipOf(t, lying(npyOf(plainNPY, floats(6)), 1001)), "is 24 bytes, want 932"},
		{"npz and more", zipOf(t, entry{name: "a.npy", data: npyOf(plainNPY, floats(6))}, entry{name: "a.txt"}), "none of 2 entries is FOLDER/data.pkl"},
	} {
		if _, err := openBytes(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q in it", c.name, err, c.want)
		}
	}
	// What an entry claims and does not have is missed when it is read, and what it has beyond is never read.
	for claimed, want := range map[int]string{100: "unexpected EOF", 10: "is damaged"} {
		head := npyOf(dict("'|u1'", "False", fmt.Sprintf("(%d,)", claimed)), nil)
		c, err := openBytes(zipOf(t, lying(append(head, make([]byte, 50)...), len(head)+claimed)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Verify(t.Context(), c.Tensors()...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("of %d bytes that are 50: error is %v, want %q in it", claimed, err, want)
		}
		if raw, err := io.ReadAll(c.Tensors()[0].Reader()); (err == nil) != (claimed == len(raw)) {
			t.Errorf("%d bytes were read (%v), want %d", len(raw), err, claimed)
		}
	}
	// Damage is found, wherever it is.
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		b := zipOf(t, entry{name: "w.npy", data: npyOf(plainNPY, floats(6)), method: method})
		b[bytes.LastIndex(b, []byte("PK\x01\x02"))+16] ^= 1 // CRC-32 in the directory
		c, err := openBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.SHA256(t.Context()); err == nil || !strings.Contains(err.Error(), "w.npy is damaged") {
			t.Errorf("error is %v, want that w.npy is damaged", err)
		}
		if err := c.Verify(t.Context(), c.Tensors()...); err == nil || !strings.Contains(err.Error(), "w.npy is damaged") {
			t.Errorf("error is %v, want that w.npy is damaged", err)
		}
	}
}

// FuzzNPY opens arrays with any header, in an archive, where its length fits.
func FuzzNPY(f *testing.F) {
	f.Add(plainNPY+"\n", 24, false)
	f.Add("{'shape': (), 'fortran_order': False, 'descr': '<f8'}", 8, true)
	f.Fuzz(func(t *testing.T, header string, data int, compressed bool) {
		if data < 0 || data > 1<<16 || len(header) > 1<<15 {
			return
		}
		b := npyOf(header, make([]byte, data))
		checkFile(t, b)
		e := entry{name: "w.npy", data: b}
		if compressed {
			e.method = zip.Deflate
		}
		checkFile(t, zipOf(t, e))
	})
}

// A sparse is a file of which only what is not zero is kept.
type sparse struct {
	size  int64
	kept  map[int64][]byte // by offset
	zeros []byte           // as many as are written at a time, at most
}

func (s *sparse) Write(p []byte) (int, error) {
	if !bytes.Equal(p, s.zeros[:len(p)]) {
		s.kept[s.size] = bytes.Clone(p)
	}
	s.size += int64(len(p))
	return len(p), nil
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(max(min(int64(len(p)), s.size-off), 0))
	clear(p[:n])
	for at, b := range s.kept {
		if lo := max(at, off); lo < min(at+int64(len(b)), off+int64(n)) {
			copy(p[lo-off:n], b[lo-at:])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// TestLargeNPZ: an array may have more than 4 GB, and others may lie behind as many.
func TestLargeNPZ(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 4 GB to nowhere")
	}
	const large = 1<<32 + 10
	f := &sparse{kept: map[int64][]byte{}, zeros: make([]byte, 8<<20)}
	entries := []Entry{{"large", "U8", []int{2, large / 2}}, {"small", F32, []int{6}}}
	err := WriteNPZ(f, entries, func(i int, w io.Writer) error {
		if i == 1 {
			_, err := w.Write(floats(6))
			return err
		}
		for n := 0; n < large-1; {
			k, err := w.Write(f.zeros[:min(len(f.zeros)/2, large-1-n)])
			if n += k; err != nil {
				return err
			}
		}
		_, err := w.Write([]byte{7})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenReader(f, f.size, "large.npz")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 6)
	if err := c.byName["small"].Float32s(got); err != nil || !slices.Equal(got, []float32{0, 1, 2, 3, 4, 5}) {
		t.Errorf("behind the large array: %v (%v)", got, err)
	}
	last, x := make([]byte, 2), c.byName["large"]
	if err := x.read(last, large-2); err != nil || !slices.Equal(x.Shape, entries[0].Shape) || !bytes.Equal(last, []byte{0, 7}) {
		t.Errorf("the large array of shape %v ends with %v (%v)", x.Shape, last, err)
	}
}
