package checkpoint

import (
	"path/filepath"
	"slices"
	"testing"
)

// TestTensors: what is written is read, by us; other tests compare the format with the original's.
func TestTensors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	long := make([]float32, chunkSize/4+3)
	for i := range long {
		long[i] = float32(i)
	}
	want := []Values{{"b", []int{2, 1}, []float32{1, -2}}, {"a", []int{len(long)}, long}, {"scalar", nil, []float32{7}}}
	if err := WriteTensors(path, map[string]string{"k": "v"}, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadTensors(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		if g := got[i]; g.Name != w.Name || !slices.Equal(g.Shape, w.Shape) || !slices.Equal(g.Data, w.Data) {
			t.Errorf("tensor %d is %s %v, want %s %v", i, g.Name, g.Shape, w.Name, w.Shape)
		}
	}
	for _, bad := range [][]Values{
		{{"a", []int{2}, []float32{1}}},
		{{"a", nil, []float32{1}}, {"a", nil, []float32{1}}},
		{{"", nil, []float32{1}}},
	} {
		if err := WriteTensors(path, nil, bad); err == nil {
			t.Errorf("%v is written", bad)
		}
	}
}

// TestNewTensorErrors: what cannot be a tensor is an error, not a panic.
func TestNewTensorErrors(t *testing.T) {
	for _, c := range []struct {
		dtype DType
		shape []int
	}{{"F8", []int{2}}, {"", nil}, {F32, []int{-1}}, {F32, []int{1 << 40, 1 << 40}}} {
		if x, err := NewTensor("x", c.dtype, c.shape, nil); err == nil {
			t.Errorf("%q of shape %v is %+v, want an error", c.dtype, c.shape, x)
		}
	}
}
