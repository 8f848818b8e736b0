package checkpoint_test

import (
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
