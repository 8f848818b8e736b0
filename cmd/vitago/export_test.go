package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter"
)

func TestExportUsage(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	for _, c := range []struct {
		args []string
		err  []string
	}{
		{[]string{"export", tinyArchive}, []string{"vitago export: got 1 argument, want SRC and OUT"}},
		{[]string{"export", tinyArchive, out}, []string{"--to is missing, want openai, huggingface, openclip", "Run 'vitago export --help'"}},
		{[]string{"export", "--to", "onnx", tinyArchive, out}, []string{"--to", "want openai, huggingface"}},
		{[]string{"export", "--to", "openai", "--format", "npz", tinyArchive, out}, []string{"--format", "want safetensors, torch, torchscript"}},
		{[]string{"export", "--to", "openai", "--dtype", "int8", tinyArchive, out}, []string{"--dtype", "want source, f16, bf16, f32"}},
		{[]string{"export", "--to", "openai", "--activation", "relu", tinyArchive, out}, []string{"--activation", "want quick_gelu, gelu"}},
		{[]string{"export", "--to", "openai", tinyArchive, out + ".safetensors"}, []string{"vitago export: export to openai", "is to be a file of torchscript, and has the extension of safetensors", "Run 'vitago export --help'"}},
		{[]string{"export", "--to", "openai", "--projector-only", tinyArchive, out}, []string{"export to openai: there is no file of a projector alone", "Run 'vitago export --help'"}},
		{[]string{"export", "--to", "openai", "--format", "safetensors", tinyArchive, out}, []string{`format is "safetensors", want torchscript or torch`}},
		{[]string{"export", "--to", "llava", families + "llava", out + ".gguf"}, []string{"out.gguf is to be a file of torch, and has the extension of gguf"}},
		{[]string{"export", "--to", "gguf", families + "llava", out + ".pt"}, []string{"out.pt is to be a file of gguf, and has the extension of torch"}},
		{[]string{"export", "--to", "llava", "--format", "safetensors", families + "llava", out + ".bin"}, []string{"want the extension .safetensors"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			vitago(c.args...).want(t, exitUsage, nil, c.err)
		})
	}
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("wrong usage left %q", got)
	}
	vitago("export", "-h").want(t, exitDone, []string{"mm_projector.bin", "local-dir:", "llama.cpp", "--to NAME", "openai,", "huggingface, openclip, llava, llava-hf,", "head-csv, head-npz\n"}, nil)
	vitago("__complete", "export", "--to", "open").want(t, exitDone, []string{"openai\n", "openclip\n"}, []string{"Completion ended"})
}

func TestExport(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "openai.pt")
	r := vitago("export", tinyModel, file, "--to", "openai")
	r.want(t, exitDone, []string{
		"container   directory of safetensors", "dialect     Hugging Face", "form        openai", "written     " + file + "\n",
		"tensors     50: 27 F16, 23 F32", "parameters  163,457",
	}, []string{"exported in "})
	if strings.Count(r.err, "\n") != 1 || strings.Contains(r.out, "left out") {
		t.Errorf("standard error is %q, standard output %q; want one line, and nothing left out", r.err, r.out)
	}
	if _, err := converter.Load(file); err != nil {
		t.Error(err)
	}
	vitago("export", tinyModel, file, "--to", "openai").want(t, exitFailed, nil, []string{"vitago: ", "openai.pt exists, and overwriting was not asked for; give --overwrite\n"})
	state := filepath.Join(dir, "state.pt") // does not say which activation it has
	vitago("export", file, state, "--to", "openai", "--format", "torch").want(t, exitDone, []string{"state.pt"}, []string{"exported in "})
	vitago("export", state, filepath.Join(dir, "x"), "--to", "openclip").want(t, exitFailed, nil, []string{"; --activation says it\n"})
	vitago("export", families+"llava-projector", filepath.Join(dir, "x.bin"), "--to", "llava").want(t, exitFailed, nil, []string{"it lacks the vision tower", "; --projector-only writes it\n"})
	model := filepath.Join(dir, "model")
	vitago("export", state, model, "--to", "openclip", "--activation", "quick_gelu", "--format", "torch", "--dtype", "f32").want(t, exitDone,
		[]string{"written     " + model + ": open_clip_pytorch_model.bin, open_clip_config.json", "50: 50 F32"}, []string{"exported in "})
	if _, err := converter.Load(model); err != nil {
		t.Error(err)
	}
	vitago("export", tinyModel, file, "--to", "openai", "--overwrite", "--dtype", "bf16").want(t, exitDone, []string{"50: 50 BF16"}, []string{"exported in "})
	for _, to := range []string{"llava", "llava-hf", "xcomposer", "gguf"} {
		vitago("export", tinyModel, filepath.Join(dir, "x"), "--to", to).want(t, exitFailed, nil, []string{"cannot be exported to " + to, "lacks the projector"})
	}
	vitago("export", "absent.pt", filepath.Join(dir, "x"), "--to", "openai").want(t, exitFailed, nil, []string{"absent.pt"})

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, to := range []string{"openai", "openclip"} {
		vitagoContext(ctx, nil, "export", tinyModel, filepath.Join(dir, "x"), "--to", to).want(t, exitInterrupted, nil, []string{"vitago: interrupted\n"})
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("failed exports left %v (%v), want the two files and the model alone", entries, err)
	}
}

// TestExportProjector: of a model in shards with a language model, of which not all is read.
func TestExportProjector(t *testing.T) {
	src, err := filepath.Abs(families + "llava")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	r := vitago("export", src, "mm.bin", "--to", "llava", "--projector-only")
	r.want(t, exitDone, []string{"written     mm.bin\n", "left out    the vision tower\n"}, []string{"exported in "})
	if strings.Contains(r.out, "sha256") {
		t.Errorf("a hash of what was not read:\n%s", r.out)
	}
	vitago("export", src, "all.gguf", "--to", "gguf").want(t, exitDone, []string{"written     all.gguf\n"}, []string{"exported in "})
	for _, verb := range []string{"inspect", "convert", "compare"} {
		args := map[string][]string{"convert": {"all.gguf", "x"}, "compare": {"all.gguf", "all.gguf"}, "inspect": {"all.gguf"}}[verb]
		vitago(append([]string{verb}, args...)...).want(t, exitFailed, nil, []string{"vitago: all.gguf: GGUF is written, not read"})
	}
}
