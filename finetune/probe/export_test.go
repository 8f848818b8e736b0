package probe

import (
	"archive/zip"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter/checkpoint"
)

// exported is a head of two classes.
func exported() *Head {
	h := &Head{Classes: []string{"Löwe, gelb", "日"}, Features: clipvit.Features{Kind: clipvit.Embedding}, Linear: linear.New[float32](3, 2)}
	copy(h.Linear.W.Data().F32(), []float32{0.1, -2, 3e-9, 4, 5, 1. / 3})
	copy(h.Linear.B.Data().F32(), []float32{7, -0.25})
	return h
}

func TestWriteCSV(t *testing.T) {
	var b bytes.Buffer
	if err := exported().WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	// numpy.float32 reads these to the bit: genfromtxt of numpy 2 gave the array below back.
	const want = "class,bias,w0,w1,w2\n\"Löwe, gelb\",7,0.1,-2,3e-09\n日,-0.25,4,5,0.33333334\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	h := exported()
	h.Classes = h.Classes[:1]
	if err := h.WriteCSV(io.Discard); err == nil {
		t.Error("half a head is written")
	}
	if err := exported().WriteCSV(failing{}); err == nil {
		t.Error("a write that fails is no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteNPZ(t *testing.T) {
	var b bytes.Buffer
	if err := exported().WriteNPZ(&b); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"coef.npy", "intercept.npy", "classes.npy", "features.npy", "multi.npy"} {
		f, err := z.File[i].Open()
		if err != nil || z.File[i].Name != name {
			t.Fatalf("file %d is %s: %v", i, z.File[i].Name, err)
		}
		raw, err := io.ReadAll(f)
		if err != nil || bytes.IndexByte(raw, '\n')%64 != 63 {
			t.Errorf("%s: the header ends at %d: %v", name, bytes.IndexByte(raw, '\n'), err)
		}
		if name == "classes.npy" && (!strings.Contains(string(raw[:64]), "'<U10'") || !bytes.HasSuffix(raw, append([]byte{0xe5, 0x65, 0, 0}, make([]byte, 36)...))) {
			t.Errorf("classes are %q", raw)
		}
	}
	// Numbers come back through the reader of checkpoints.
	for name, want := range map[string][]float32{"coef.npy": {0.1, -2, 3e-9, 4, 5, 1. / 3}, "intercept.npy": {7, -0.25}} {
		i := slices.IndexFunc(z.File, func(f *zip.File) bool { return f.Name == name })
		f, _ := z.File[i].Open()
		raw, _ := io.ReadAll(f)
		c, err := checkpoint.OpenReader(bytes.NewReader(raw), int64(len(raw)), name)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, c.Tensors()[0].Len())
		if err := c.Tensors()[0].Float32s(got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v: %v", name, got, err)
		}
	}
	if err := exported().WriteNPZ(failing{}); err == nil {
		t.Error("a write that fails is no error")
	}
}
