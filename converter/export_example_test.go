package converter_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/converter"
)

func ExampleModel_Export() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	model, err := converter.Open(archive)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	report, err := model.Export(context.Background(), filepath.Join(dir, "tiny"), converter.ExportOptions{To: "openclip"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Tensors, "tensors,", report.Parameters, "parameters in", report.Files)
	// Output: 50 tensors, 163457 parameters in [open_clip_model.safetensors open_clip_config.json]
}

func ExampleExportForms() {
	fmt.Println(converter.ExportForms())
	// Output: [openai huggingface openclip llava llava-hf xcomposer gguf]
}
