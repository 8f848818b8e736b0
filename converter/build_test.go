package converter

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"testing"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/projector"
)

// safetensorsOf returns a file of a header and data.
func safetensorsOf(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func openBytes(b []byte, options ...OpenOption) (*Model, error) {
	return OpenReader(bytes.NewReader(b), int64(len(b)), "test.pt", options...)
}

// sourceOf returns the source of a file in memory, without configurations beside it.
func sourceOf(t testing.TB, b []byte) *source {
	t.Helper()
	f, err := checkpoint.OpenReader(bytes.NewReader(b), int64(len(b)), "test.pt")
	if err != nil {
		t.Fatal(err)
	}
	return newSource(f, nil)
}

// A named is a tensor in memory.
type named struct {
	name  string
	dtype checkpoint.DType
	shape []int
	data  []byte
}

// contents returns all tensors of a checkpoint.
func contents(t testing.TB, path string) []named {
	t.Helper()
	s, err := openSource(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.file.Close()
	var all []named
	for _, x := range s.file.Tensors() {
		b, err := io.ReadAll(x.Reader())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, named{x.Name, x.DType, x.Shape, b})
	}
	return all
}

// fileOf returns what a writer makes of tensors.
func fileOf(t testing.TB, tensors []named, write func(w io.Writer, entries []checkpoint.Entry, emit checkpoint.Emit) error) []byte {
	t.Helper()
	var (
		entries []checkpoint.Entry
		b       bytes.Buffer
	)
	for _, x := range tensors {
		entries = append(entries, checkpoint.Entry{Name: x.name, DType: x.dtype, Shape: x.shape})
	}
	if err := write(&b, entries, func(i int, w io.Writer) error { _, err := w.Write(tensors[i].data); return err }); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// asSafetensors returns a safetensors file of tensors.
func asSafetensors(t testing.TB, tensors []named) []byte {
	t.Helper()
	return fileOf(t, tensors, func(w io.Writer, entries []checkpoint.Entry, emit checkpoint.Emit) error {
		return checkpoint.WriteSafetensors(w, map[string]string{"format": "pt"}, entries, emit)
	})
}

// noCLIP returns a sound file of torch.save with a tensor of 6 numbers, w, that is of no CLIP.
func noCLIP(t testing.TB) []byte {
	t.Helper()
	return fileOf(t, []named{{"w", checkpoint.F32, []int{2, 3}, make([]byte, 24)}}, checkpoint.WriteTorch)
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// The types of elements, by short names.
type DType = checkpoint.DType

const F16, BF16, F32, F64, I64 = checkpoint.F16, checkpoint.BF16, checkpoint.F32, checkpoint.F64, checkpoint.I64

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

// opened opens the checkpoint at path, has f use it and closes it again.
func opened[T any](path string, f func(m *Model) (T, error), options ...OpenOption) (T, error) {
	m, err := Open(path, options...)
	if err != nil {
		var none T
		return none, err
	}
	defer m.Close()
	return f(m)
}

// What a user writes who has a path and wants one thing.
func convertFile(ctx context.Context, src, dst string, o Options, options ...OpenOption) (*Report, error) {
	return opened(src, func(m *Model) (*Report, error) { return m.Convert(ctx, dst, o) }, options...)
}

func exportFile(ctx context.Context, src, dst string, o ExportOptions, options ...OpenOption) (*Report, error) {
	return opened(src, func(m *Model) (*Report, error) { return m.Export(ctx, dst, o) }, options...)
}

func loadText(path string) (*cliptext.Model, error) {
	return opened(path, func(m *Model) (*cliptext.Model, error) { return m.Text(context.Background()) })
}

func loadProjector(path string) (*Projector, error) {
	return opened(path, func(m *Model) (*Projector, error) { return m.Projector(context.Background()) })
}

func loadEncoder(ctx context.Context, path, layout string) (*projector.Encoder, error) {
	return opened(path, func(m *Model) (*projector.Encoder, error) { return m.Encoder(ctx, layout) })
}
