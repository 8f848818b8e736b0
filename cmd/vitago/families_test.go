package main

import (
	"path/filepath"
	"testing"

	"github.com/vitago/vitago/converter"
)

const families = "../../testdata/families/"

// TestFamilies: what convert, inspect and encode say and do of a vision-language model.
func TestFamilies(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "model")
	vitago("inspect", families+"xcomposer2-hd").want(t, exitDone, []string{
		"no post-norm", "family      xcomposer2-hd", "projector   mlp2x_gelu, 256 to 12, layer -1, patch, GlobalSeparator, RowSeparator",
		"language    8 tensors, which a conversion leaves where they are",
	}, nil)
	vitago("convert", families+"xcomposer2-hd", dst).want(t, exitDone, []string{
		"written     " + dst + ": model.safetensors, projector.safetensors, config.json, preprocessor_config.json, projector_config.json",
		"left out    8 tensors of the language model",
	}, []string{"converted in "})
	vitago("encode", "--model", dst, "--features", "patches", "testdata/demo/cat.png").want(t, exitDone, []string{`"patches":[[`}, nil)
	vitago("encode", "--model", dst, "testdata/demo/cat.png").want(t, exitUsage, nil, []string{"no post-norm and so no embedding"})

	vitago("convert", families+"llava-linear", filepath.Join(t.TempDir(), "x")).want(t, exitDone, []string{"vision      none", "projector   linear, 16 to 12"}, []string{"converted in "})
	for _, name := range []string{"llava-linear", "llava-projector", "xtuner-pth"} {
		path := families + name
		vitago("encode", "--model", path, "testdata/demo/cat.png").want(t, exitFailed, nil, []string{"vitago: " + path + ": has a projector and no vision tower\n"})
		// It is no tower, and can be loaded.
		vitago("inspect", path).want(t, exitDone, []string{"vision      none", "projector   "}, nil)
		m, err := converter.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := m.Projector(t.Context()); err != nil {
			t.Error(err)
		}
		m.Close()
	}
	vitago("convert", "--vision-only", "../../testdata/tiny/huggingface-vision", filepath.Join(t.TempDir(), "x")).want(t, exitDone, []string{"text        none"}, []string{"converted in "})
}

// TestActivation: a state dict alone says too little, and the flag says the rest.
func TestActivation(t *testing.T) {
	const state = "../../testdata/tiny/state_torch2.9.1.pt"
	dst := filepath.Join(t.TempDir(), "model")
	vitago("convert", state, dst).want(t, exitFailed, nil, []string{"nothing says whether the activation is quick_gelu", "--activation"})
	vitago("encode", "--model", state, "testdata/demo/cat.png").want(t, exitFailed, nil, []string{"; --activation says it\n"})
	vitago("inspect", state).want(t, exitFailed, []string{"problem     nothing says"}, []string{"; --activation says it\n"})
	vitago("convert", "--activation", "relu", state, dst).want(t, exitUsage, nil, []string{"want quick_gelu, gelu"})
	vitago("convert", "--activation", "gelu", state, dst).want(t, exitDone, []string{"embedding 10, gelu"}, []string{"converted in "})
	vitago("encode", "--model", state, "--activation", "quick_gelu", "testdata/demo/cat.png").want(t, exitDone, []string{`"embedding":[`}, nil)
	vitago("inspect", "--activation", "quick_gelu", state).want(t, exitDone, []string{"embedding 10, quick_gelu"}, nil)
	vitago("inspect", "--activation", "gelu", tinyArchive).want(t, exitFailed, []string{"problem     the activation is"}, []string{`the activation is "quick_gelu", and "gelu" was asked for`})
}
