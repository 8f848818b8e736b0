package converter

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
)

// renamed returns tensors with other names.
func renamed(tensors []named, name func(string) string) []named {
	tensors = slices.Clone(tensors)
	for i := range tensors {
		tensors[i].name = name(tensors[i].name)
	}
	return tensors
}

// TestWrappers: what programs put in front of names and between them is no part of a model's. The names are those that torch
// 2.15.0 gives (torch.compile, DataParallel, AveragedModel, FullyShardedDataParallel, checkpoint_wrapper), and in one another.
func TestWrappers(t *testing.T) {
	original := contents(t, tiny(t, "huggingface"))
	want, err := openBytes(asSafetensors(t, original))
	if err != nil {
		t.Fatal(err)
	}
	front := func(prefix string) func(string) string { return func(s string) string { return prefix + s } }
	for _, prefix := range []string{
		"module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "model._orig_mod.", "model.module._orig_mod.", "net.", "student.", "teacher.",
		"base_model.model.", "_fsdp_wrapped_module.", "module.module.", "_forward_module.model.", "network.clip_model.", "module.ema_model.", "backbone.", "module.model.module._orig_mod.net.module.",
		"0.model.", "image_encoder.", "module.my_tower._orig_mod.", // of all names
	} {
		m, err := openBytes(asSafetensors(t, renamed(original, front(prefix))))
		if err != nil {
			t.Errorf("%s: %v", prefix, err)
			continue
		}
		if m.Dialect() != want.Dialect() || len(m.Parameters()) != len(want.Parameters()) {
			t.Errorf("%s: %d parameters in the names of %s, want %d of %s", prefix, len(m.Parameters()), m.Dialect(), len(want.Parameters()), want.Dialect())
		}
	}
	within := func(s string) string {
		s = strings.Replace(s, "vision_model.", "vision_model._fsdp_wrapped_module.", 1)
		return "_orig_mod." + strings.Replace(s, "layers.0.", "layers.0._checkpoint_wrapped_module.", 1)
	}
	counter := func(shape ...int) []named { // what AveragedModel has beside
		n := named{"n_averaged", I64, shape, make([]byte, 8)}
		return append(renamed(original, front("module.")), n)
	}
	for name, tensors := range map[string][]named{
		"within":            renamed(original, within),
		"n_averaged":        counter(),
		"n_averaged of one": counter(1),
		"ema_pytorch":       append(renamed(original, front("ema_model.")), named{"initted", "BOOL", []int{}, []byte{1}}, named{"step", I64, []int{}, make([]byte, 8)}),
		"of nothing":        append(slices.Clone(original), named{"logit_bias", F32, []int{0}, nil}, named{"x", F32, []int{0, 768}, nil}),
	} {
		m, err := openBytes(asSafetensors(t, tensors))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if len(m.Parameters()) != len(want.Parameters()) {
			t.Errorf("%s: %d parameters, want %d", name, len(m.Parameters()), len(want.Parameters()))
		}
	}
	for name, c := range map[string]struct {
		tensors []named
		want    []string
	}{
		"two models":        {slices.Concat(renamed(original, front("student.")), renamed(original, front("teacher."))), []string{`"student." and "teacher."`, "two models"}},
		"a name of two":     {append(renamed(original, front("my_tower.")), named{"w", F32, []int{1}, make([]byte, 4)}), []string{"none of "}},
		"one model twice":   {slices.Concat(original, renamed(original, front("_orig_mod."))), []string{"two models are in one file", "_orig_mod."}},
		"n_averaged of two": {append(renamed(original, front("module.")), named{"n_averaged", I64, []int{2}, make([]byte, 16)}), []string{"1 unexpected (n_averaged)"}},
	} {
		_, err := openBytes(asSafetensors(t, c.tensors))
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error is %v, want %q in it", name, err, w)
			}
		}
	}
}

// TestOneTensorOfTwoNames: safetensors' save_model keeps a tensor that stands in two places under one name and puts the other
// into the metadata; torch.save keeps both. One model in two places is one, and a parameter's other name is left out.
func TestOneTensorOfTwoNames(t *testing.T) {
	original := contents(t, tiny(t, "huggingface"))
	saved := func(metadata map[string]string, tensors ...named) []byte {
		return fileOf(t, tensors, func(w io.Writer, entries []checkpoint.Entry, emit checkpoint.Emit) error {
			return checkpoint.WriteSafetensors(w, metadata, entries, emit)
		})
	}
	twice, other := map[string]string{}, renamed(original, func(s string) string { return "model." + s })
	for _, x := range original {
		twice["clip."+x.name] = "model." + x.name
	}
	head := named{"head.weight", F32, []int{1}, make([]byte, 4)}
	for _, c := range []struct {
		name    string
		file    []byte
		leftOut []string
		err     string
	}{
		{"the whole model", saved(twice, other...), []string{"model.logit_scale"}, ""},
		{"a projection", saved(map[string]string{"head.weight": "model.visual_projection.weight"}, other...), []string{"head.weight"}, ""},
		{"another tensor", saved(nil, append(other, head)...), nil, "1 unexpected (head.weight)"},
	} {
		m, err := openBytes(c.file)
		switch {
		case err != nil || c.err != "":
			if c.err == "" || err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error is %v, want %q", c.name, err, c.err)
			}
			continue
		case len(m.Parameters()) == 0:
			t.Errorf("%s: no parameters", c.name)
		}
		for _, name := range c.leftOut {
			if !slices.Contains(m.excused, name) {
				t.Errorf("%s: %s is not among the %d that are left out", c.name, name, len(m.excused))
			}
		}
	}
}

// TestTowerAlone: model.visual.state_dict() of OpenAI's package and of OpenCLIP has the tower's names without "visual.".
func TestTowerAlone(t *testing.T) {
	var want, tower []named
	for _, x := range contents(t, tiny(t, "openai_torch2.9.1.pt")) {
		if strings.HasPrefix(x.name, "visual.") {
			want = append(want, x)
		}
	}
	tower = renamed(want, func(s string) string { return strings.TrimPrefix(s, "visual.") })
	for _, front := range []string{"", "module.", "image_encoder."} {
		m, err := openBytes(asSafetensors(t, renamed(tower, func(s string) string { return front + s })))
		if err != nil {
			t.Errorf("%q: %v", front, err)
			continue
		}
		if m.Dialect() != "OpenAI" || m.has.text || !m.native() || len(m.params) != len(want) {
			t.Errorf("%q: %d parameters in the names of %s, text %v, want %d", front, len(m.params), m.Dialect(), m.has.text, len(want))
		}
	}
}

// TestLanguageModelBeside: transformers 5 has a LLaVA's tower in model.vision_tower and its output layer in lm_head; a Lightning
// module that holds it puts one more "model." in front of both.
func TestLanguageModelBeside(t *testing.T) {
	tensors := renamed(contents(t, family(t, "hf5-llava")), func(s string) string {
		if strings.HasPrefix(s, "lm_head.") {
			return s
		}
		return "model." + strings.Replace(s, "language_model.model.", "language_model.", 1)
	})
	if !slices.ContainsFunc(tensors, func(n named) bool { return strings.HasPrefix(n.name, "lm_head.") }) {
		tensors = append(tensors, named{"lm_head.weight", F32, []int{1}, make([]byte, 4)})
	}
	for _, prefix := range []string{"", "model.", "_orig_mod.", "model.module."} {
		m, err := openBytes(asSafetensors(t, renamed(tensors, func(s string) string { return prefix + s })))
		if err != nil {
			t.Errorf("%q: %v", prefix, err)
		} else if m.LanguageModel() == 0 {
			t.Errorf("%q: nothing of a language model", prefix)
		}
	}
}

// TestScalarOfOneElement: logit_scale is [] in torch's modules and [1] in what some programs make of it.
func TestScalarOfOneElement(t *testing.T) {
	tensors := contents(t, tiny(t, "huggingface"))
	i := slices.IndexFunc(tensors, func(n named) bool { return n.name == "logit_scale" })
	tensors[i].shape = []int{1}
	for name, b := range map[string][]byte{
		"safetensors": asSafetensors(t, tensors),
		"npz":         fileOf(t, tensors, checkpoint.WriteNPZ),
	} {
		dir := t.TempDir()
		src, dst := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		if err := os.WriteFile(src, b, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := Open(src, Assume(transformer.QuickGELU))
		if err != nil {
			t.Fatal(name, err)
		}
		defer m.Close()
		if _, err := m.Convert(t.Context(), dst, Options{}); err != nil {
			t.Fatal(name, err)
		}
		f, err := checkpoint.Open(filepath.Join(dst, weightsFile))
		if err != nil {
			t.Fatal(name, err)
		}
		defer f.Close()
		if s, ok := f.Tensor("logit_scale"); !ok || len(s.Shape) != 0 {
			t.Errorf("%s: logit_scale is %+v, want a scalar", name, s)
		}
	}
}

// TestTensorsThatAreNotRead: a tensor of a kind that is not read is an error where a model wants it, and only there.
func TestTensorsThatAreNotRead(t *testing.T) {
	tensors := contents(t, tiny(t, "huggingface-vision"))
	beside := asSafetensors(t, append(slices.Clone(tensors), named{"scales", "U8", []int{4}, make([]byte, 4)}))
	if _, err := openBytes([]byte(strings.Replace(string(beside), `"U8"`, `"Q8"`, 1))); err != nil {
		t.Error(err)
	}
	i := slices.IndexFunc(tensors, func(n named) bool { return n.name == "visual_projection.weight" })
	tensors[i].dtype, tensors[i].data = "U8", tensors[i].data[:len(tensors[i].data)/4]
	b := []byte(strings.Replace(string(asSafetensors(t, tensors)), `"dtype":"U8"`, `"dtype":"Q8"`, 1))
	if _, err := openBytes(b); err == nil || !strings.Contains(err.Error(), `visual_projection.weight: elements are "Q8"`) {
		t.Errorf("error is %v, want that visual_projection.weight is of Q8", err)
	}
}

// TestFoldersOfTrainings: the folder of a training has more than weights, and says which of several is the newest.
func TestFoldersOfTrainings(t *testing.T) {
	weights := fileOf(t, linear(t), checkpoint.WriteTorch)
	other := noCLIP(t)
	const states, optimizer = "mp_rank_00_model_states.pt", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
	for _, c := range []struct {
		name  string
		files map[string][]byte
		err   string // none if it opens
	}{
		{"step of DeepSpeed", map[string][]byte{states: weights, optimizer: other}, ""},
		{"folder of a step", map[string][]byte{"iter_600.pth/" + states: weights, "iter_600.pth/" + optimizer: other, "run.py": nil}, ""},
		{"two steps", map[string][]byte{"global_step1/" + states: other, "global_step2/" + states: weights}, "2 folders with checkpoints of DeepSpeed (global_step1, global_step2, …)"},
		{"two steps and latest", map[string][]byte{"global_step1/" + states: other, "global_step2/" + states: weights, "latest": []byte("global_step2")}, ""},
		{"two steps and last_checkpoint", map[string][]byte{"iter_1.pth/" + states: other, "iter_2.pth/" + states: weights, "last_checkpoint": []byte("/data/run/iter_2.pth")}, ""},
		{"two files", map[string][]byte{"iter_1.pth": other, "iter_2.pth": weights}, "2 files *.pth"},
		{"two files and last_checkpoint", map[string][]byte{"iter_1.pth": other, "iter_2.pth": weights, "last_checkpoint": []byte("work_dirs/a/iter_2.pth\n")}, ""},
		{"a pointer to nothing", map[string][]byte{"iter_1.pth": other, "iter_2.pth": weights, "last_checkpoint": []byte("../../etc/passwd")}, "2 files *.pth"},
		{"two ranks", map[string][]byte{states: weights, "mp_rank_01_model_states.pt": weights}, "divided among 2 ranks of tensor parallelism"},
		{"ZeRO stage 3", map[string][]byte{"global_step1/zero_pp_rank_0_mp_rank_00_model_states.pt": other, "global_step1/zero_pp_rank_1_mp_rank_00_model_states.pt": other}, "zero_to_fp32.py"},
		{"distributed checkpoint", map[string][]byte{"pytorch_model_fsdp_0/__0_0.distcp": other, "pytorch_model_fsdp_0/.metadata": other}, "dcp_to_torch"},
		{"state of a trainer", map[string][]byte{"mm_projector.bin": weights, "optimizer.pt": other, "scheduler.pt": other, "rng_state.pth": other, "training_args.bin": other}, ""},
		{"state of a trainer alone", map[string][]byte{"optimizer.pt": other, "scheduler.pt": other, "rng_state.pth": other, "training_args.bin": other}, "a directory without"},
		{"output of transformers' Trainer", map[string][]byte{"checkpoint-500/model.safetensors": weights, "checkpoint-1000/model.safetensors": weights}, "a training's steps, checkpoint-1000, checkpoint-500: give the path"},
		{"optimizer's states alone", map[string][]byte{optimizer: other}, "a directory without"},
	} {
		dir := t.TempDir()
		for name, b := range c.files {
			path := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m, err := Open(dir)
		if err == nil {
			m.Close()
		}
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error is %v, want %q", c.name, err, c.err)
		}
	}
}
