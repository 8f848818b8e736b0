package compare

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"testing"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/golden"
)

// The types of elements, by short names.
type DType = checkpoint.DType

const F16, BF16, F32, F64, I64 = checkpoint.F16, checkpoint.BF16, checkpoint.F32, checkpoint.F64, checkpoint.I64

// fixtures are one tiny CLIP in every form; see testdata/gen/checkpoints.py.
var fixtures = []struct {
	path      string
	container string
	dialect   string
	text      bool
}{
	{"openai_torch1.7.1.pt", "TorchScript archive", "OpenAI", true},
	{"openai_torch1.13.1.pt", "TorchScript archive", "OpenAI", true},
	{"openai_torch2.9.1.pt", "TorchScript archive", "OpenAI", true},
	{"shared_torch1.8.1.pt", "TorchScript archive", "OpenAI", true},
	{"float32_torch2.0.1.pt", "TorchScript archive", "OpenAI", true},
	{"thirdparty_torch2.9.1.pt", "TorchScript archive", "OpenAI", true},
	{"state_torch1.7.1.pt", "torch.save archive", "OpenAI", true},
	{"state_torch2.9.1.pt", "torch.save archive", "OpenAI", true},
	{"state_legacy.pt", "legacy torch.save", "OpenAI", true},
	{"huggingface", "directory of safetensors", "Hugging Face", true},
	{"huggingface-vision", "directory of safetensors", "Hugging Face", false},
	{"huggingface-bin", "directory of torch.save archive", "Hugging Face", false},
}

func tiny(t testing.TB, name string) string { return golden.Path(t, "testdata/tiny/"+name) }

// A named is a tensor in memory.
type named struct {
	name  string
	dtype DType
	shape []int
	data  []byte
}

// contents returns all tensors of a file.
func contents(t testing.TB, path string) []named {
	t.Helper()
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all []named
	for _, x := range c.Tensors() {
		b, err := io.ReadAll(x.Reader())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, named{x.Name, x.DType, x.Shape, b})
	}
	return all
}

// asSafetensors returns a safetensors file of tensors.
func asSafetensors(t testing.TB, tensors []named) []byte {
	t.Helper()
	var (
		entries []checkpoint.Entry
		b       bytes.Buffer
	)
	for _, x := range tensors {
		entries = append(entries, checkpoint.Entry{Name: x.name, DType: x.dtype, Shape: x.shape})
	}
	emit := func(i int, w io.Writer) error { _, err := w.Write(tensors[i].data); return err }
	if err := checkpoint.WriteSafetensors(&b, map[string]string{"format": "pt"}, entries, emit); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openBytes(b []byte) (*converter.Model, error) {
	return converter.OpenReader(bytes.NewReader(b), int64(len(b)), "test.pt")
}

// compareFiles compares the checkpoints at two paths.
func compareFiles(ctx context.Context, a, b string, o Options) (*Comparison, error) {
	ma, err := converter.Open(a)
	if err != nil {
		return nil, err
	}
	defer ma.Close()
	mb, err := converter.Open(b)
	if err != nil {
		return nil, err
	}
	defer mb.Close()
	return Models(ctx, ma, mb, o)
}

// vector returns a tensor of type F16 with values of its own.
func vector(name string, shape ...int) named {
	f := make([]float32, checkpoint.Entry{Shape: shape}.Len())
	for i := range f {
		f[i] = float32(len(name)) + float32(i%97)/8
	}
	x := named{name: name, dtype: F16}
	x.set(f, shape...)
	return x
}

// decode turns elements of a floating type into float32.
func decode(dst []float32, src []byte, from DType) {
	x, err := checkpoint.NewTensor("x", from, []int{len(dst)}, bytes.NewReader(src))
	if err == nil {
		err = x.Float32s(dst)
	}
	if err != nil {
		panic(err)
	}
}

// encode turns float32 into elements of a floating type.
func encode(dst []byte, src []float32, to DType) error {
	raw, err := binary.Append(nil, binary.LittleEndian, src)
	if err != nil {
		return err
	}
	x, err := checkpoint.NewTensor("x", F32, []int{len(src)}, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	var b bytes.Buffer
	err = checkpoint.NewCopier().Copy(context.Background(), &b, x, 0, len(src), to)
	copy(dst, b.Bytes())
	return err
}
