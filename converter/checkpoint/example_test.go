package checkpoint_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/converter/checkpoint"
)

func ExampleOpen() {
	f, err := checkpoint.Open("../../testdata/tiny/openai_torch1.7.1.pt")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	scale, _ := f.Tensor("logit_scale")
	value := make([]float32, scale.Len())
	if err := scale.Float32s(value); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s of %d tensors, logit_scale is %.3f\n", f.Container(), len(f.Names()), value[0])
	// Output: TorchScript archive of 53 tensors, logit_scale is 2.659
}

func ExampleWriteTensors() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "x.safetensors")
	if err := checkpoint.WriteTensors(path, nil, []checkpoint.Values{{Name: "w", Shape: []int{2, 3}, Data: []float32{0, 1, 2, 3, 4, 5}}}); err != nil {
		fmt.Println(err)
		return
	}
	all, err := checkpoint.ReadTensors(path)
	fmt.Println(all, err)
	// Output: [{w [2 3] [0 1 2 3 4 5]}] <nil>
}

// The tensors of one container, as another has them: one after the other, so that memory does not grow with
// their number.
func ExampleWriteNPZ() {
	f, err := checkpoint.Open("../../testdata/tiny/huggingface/model.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	var entries []checkpoint.Entry
	tensors := f.Tensors()
	for _, t := range tensors {
		entries = append(entries, checkpoint.Entry{Name: t.Name, DType: t.DType, Shape: t.Shape})
	}
	err = checkpoint.WriteNPZ(io.Discard, entries, func(i int, w io.Writer) error {
		_, err := io.Copy(w, tensors[i].Reader())
		return err
	})
	fmt.Println(len(entries), "arrays", err)
	// Output: 62 arrays <nil>
}

// A model that is spread over several files.
func ExampleOpenIndex() {
	f, err := checkpoint.OpenIndex("../../testdata/families/hf-vision/model.safetensors.index.json", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	fmt.Println(f.Container(), len(f.Tensors()), len(f.Absent()))
	// Output: 2 files of safetensors 55 0
}

// A file that lies on no disk.
func ExampleOpenReader() {
	var file bytes.Buffer
	entry := checkpoint.Entry{Name: "w", DType: checkpoint.F32, Shape: []int{2}}
	err := checkpoint.WriteSafetensors(&file, nil, []checkpoint.Entry{entry}, func(_ int, w io.Writer) error {
		return binary.Write(w, binary.LittleEndian, []float32{1, 2})
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := checkpoint.OpenReader(bytes.NewReader(file.Bytes()), int64(file.Len()), "in memory")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	w, _ := f.Tensor("w")
	values := make([]float32, w.Len())
	fmt.Println(w.Float32s(values), values)
	// Output: <nil> [1 2]
}

// A tensor as float32, a chunk at a time.
func ExampleNewCopier() {
	f, err := checkpoint.Open("../../testdata/tiny/huggingface/model.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	t, _ := f.Tensor("visual_projection.weight")
	var single bytes.Buffer
	c := checkpoint.NewCopier()
	if err := c.Copy(context.Background(), &single, t, 0, t.Len(), checkpoint.F32); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.DType, t.Shape, t.Bytes(), "bytes, then", single.Len())
	// Output: F16 [10 64] 1280 bytes, then 2560
}

// Arrays whose number nobody knows before.
func ExampleNewNPZWriter() {
	var file bytes.Buffer
	z := checkpoint.NewNPZWriter(&file)
	for _, name := range []string{"a", "b"} {
		w, err := z.Create(checkpoint.Entry{Name: name, DType: checkpoint.F32, Shape: []int{1, 2}})
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := binary.Write(w, binary.LittleEndian, []float32{1, 2}); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := z.Close(); err != nil {
		fmt.Println(err)
		return
	}
	f, err := checkpoint.OpenReader(bytes.NewReader(file.Bytes()), int64(file.Len()), "in memory")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	fmt.Println(f.Names())
	// Output: [a b]
}

// A file of checkpoints with a tensor more, which is in memory alone.
func ExampleNewTensor() {
	bias, err := checkpoint.NewTensor("bias", checkpoint.F32, []int{2}, bytes.NewReader(make([]byte, 8)))
	if err != nil {
		fmt.Println(err)
		return
	}
	values := make([]float32, bias.Len())
	fmt.Println(bias.Float32s(values), values)
	// Output: <nil> [0 0]
}

// A file without tensors, for tensors that lie in memory.
func ExampleNew() {
	f := checkpoint.New("memory")
	defer f.Close()
	t, err := checkpoint.NewTensor("w", checkpoint.F32, []int{2}, bytes.NewReader([]byte{0, 0, 128, 63, 0, 0, 0, 64}))
	if err != nil {
		fmt.Println(err)
		return
	}
	w := make([]float32, t.Len())
	fmt.Println(f.Name(), f.Container(), len(f.Tensors()), t.Float32s(w), w)
	// Output: memory memory 0 <nil> [1 2]
}
