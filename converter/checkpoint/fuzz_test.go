package checkpoint

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// checkFile opens data and does everything with it that a user may. Nothing may panic, and what it
// costs must be in proportion to the data.
func checkFile(t *testing.T, data []byte) {
	var c *File
	if n, limit := allocated(func() { c, _ = openBytes(data) }), allocLimit(len(data)); n > limit {
		t.Errorf("opening allocated %d bytes for %d of data, want at most %d", n, len(data), limit)
	}
	if c == nil {
		return
	}
	// A view may be gathered from maxSpan at a time; tensors share storages up to maxShare times.
	c.SHA256(t.Context())
	c.Verify(t.Context(), c.Tensors()...)
	total := int64(0)
	for _, x := range c.Tensors() {
		n := x.Bytes()
		if total += n; total > maxShare*(maxInflate*int64(len(data))+freeInflate)+maxShare {
			t.Errorf("tensors have %d bytes in a file of %d", total, len(data))
		}
		if n > 1<<16 {
			continue // costs time, not insight
		}
		raw, err := io.ReadAll(x.Reader())
		if err == nil && int64(len(raw)) != n {
			t.Errorf("%s has %d bytes, want %d", x.Name, len(raw), n)
		}
		if x.DType.IsFloat() {
			x.Float32s(make([]float32, x.Len()))
		}
	}
}

// FuzzTorch opens damaged archives, of torch.jit.save and torch.save in both forms.
func FuzzTorch(f *testing.F) {
	// Small files: the fuzzer tries thousands of them a second. TestTruncated has real ones.
	for _, b := range goodFiles(f) {
		f.Add(b)
	}
	for _, file := range []string{"legacy5.pt", "module.pt", "mmengine.pth", "script.pt"} {
		b, err := os.ReadFile(golden.Path(f, "testdata/containers/"+file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(checkFile)
}

// FuzzPickle puts a pickle into a sound archive, where checksums do not stop it.
func FuzzPickle(f *testing.F) {
	f.Add(stateDictOf(good))
	f.Add(newPickler().global("__torch__.any.Thing", "Thing").op(")\x81}(").str("w").tensor(good).str("training").op("\x88ub.").Bytes())
	f.Add(newPickler().op("}(").str("state_dict").op("}(").str("w").tensor(good).op("uu.").Bytes())
	f.Add(newPickler().global("torch._utils", "_rebuild_parameter").op("(").tensor(good).op("\x88").global("collections", "OrderedDict").op(")RtR.").Bytes())
	f.Add(newPickler().str("collections").str("OrderedDict").op("\x93)R\x94(").str("w").tensor(good).op("u}b.").Bytes())
	for _, b := range besides() {
		f.Add(b)
	}
	f.Add(lattice(10))
	f.Add(deepDicts(10))
	for _, file := range []string{"openai_torch1.7.1.pt", "state_torch2.9.1.pt"} {
		b, err := os.ReadFile(golden.Path(f, "testdata/tiny/"+file))
		if err != nil {
			f.Fatal(err)
		}
		a, err := newArchive(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			f.Fatal(err)
		}
		r, _, err := a.open(a.root + "/data.pkl")
		if err != nil {
			f.Fatal(err)
		}
		pickle, err := io.ReadAll(io.NewSectionReader(r, 0, maxPickle))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pickle)
	}
	f.Fuzz(func(t *testing.T, pickle []byte) { checkFile(t, torchZip(t, pickle)) })
}

// FuzzSafetensors opens damaged safetensors files. The header comes apart from the data, so that
// its length fits.
func FuzzSafetensors(f *testing.F) {
	f.Add(`{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 24)
	f.Add(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[],"data_offsets":[0,2]},"b":{"dtype":"I64","shape":[0],"data_offsets":[2,2]}} `, 2)
	for _, file := range []string{"tiny/huggingface-vision", "families/llava-hf"} {
		b, err := os.ReadFile(golden.Path(f, "testdata/"+file+"/model.safetensors"))
		if err != nil {
			f.Fatal(err)
		}
		n := int(b[0]) | int(b[1])<<8
		f.Add(string(b[8:8+n]), len(b)-8-n)
	}
	f.Fuzz(func(t *testing.T, header string, data int) {
		if data >= 0 && data < 1<<20 {
			checkFile(t, safetensorsOf(header, data))
		}
	})
}

// FuzzScan feeds pickles to the checks, and what they leave of them to gopickle, which must run it without a panic.
func FuzzScan(f *testing.F) {
	f.Add(stateDictOf(good))
	for _, b := range besides() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, pickle []byte) {
		s, err := scanPickle(bytes.NewReader(pickle))
		if err != nil {
			return
		}
		if s.at < 1 || s.at > int64(len(pickle)) {
			t.Errorf("a pickle of %d bytes is said to have %d", len(pickle), s.at)
		}
		s.run(func(any) (any, error) { return &object{}, nil })
	})
}
