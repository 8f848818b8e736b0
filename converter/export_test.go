package converter

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/golden"
)

// elements returns the parameters of a checkpoint, by canonical path, as type and bytes.
func elements(t *testing.T, path string) map[string]string {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	all := map[string]string{}
	for path, p := range m.params {
		var b []byte
		for _, q := range p {
			all, err := io.ReadAll(q.t.Reader())
			raw := all[q.lo*q.t.DType.Size():][:q.n*q.t.DType.Size()]
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, raw...)
		}
		all[path] = string(p.dtype()) + " " + string(b)
	}
	return all
}

// sameElements fails the test unless got has the parameters of want that keep lets pass, bit by bit,
// and no other.
func sameElements(t *testing.T, got, want map[string]string, keep func(path string) bool) {
	t.Helper()
	n := 0
	for path, w := range want {
		if !keep(path) {
			continue
		}
		n++
		if g, ok := got[path]; !ok {
			t.Errorf("%s is missing", path)
		} else if g != w {
			t.Errorf("%s is %.20q, want %.20q", path, g, w)
		}
	}
	if len(got) != n || n == 0 {
		t.Errorf("%d parameters, want %d", len(got), n)
	}
}

// sameTensors fails the test unless two lists have the same tensors, in whatever order.
func sameTensors(t *testing.T, got, want []named) {
	t.Helper()
	byName := map[string]named{}
	for _, x := range want {
		byName[x.name] = x
	}
	for _, g := range got {
		w := byName[g.name]
		if g.dtype != w.dtype || !slices.Equal(g.shape, w.shape) || !bytes.Equal(g.data, w.data) {
			t.Errorf("%s is %s %v, want %s %v with the same bytes", g.name, g.dtype, g.shape, w.dtype, w.shape)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d tensors, want %d", len(got), len(want))
	}
}

// vector returns a tensor of type F16 with values of its own.
func vector(name string, shape ...int) named {
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := named{name, F16, shape, make([]byte, 2*n)}
	f := make([]float32, n)
	for i := range f {
		f[i] = float32(len(name)) + float32(i%97)/8
	}
	if err := encode(x.data, f, F16); err != nil {
		panic(err)
	}
	return x
}

// towerUnder returns the tensors of the tiny tower as transformers calls them, with a prefix.
func towerUnder(t *testing.T, prefix string) []named {
	var all []named
	for _, x := range contents(t, tiny(t, "huggingface")) {
		if strings.HasPrefix(x.name, "vision_model.") {
			x.name = prefix + x.name
			all = append(all, x)
		}
	}
	return all
}

// writeModel writes a directory of tensors and a configuration.
func writeModel(t *testing.T, config map[string]any, tensors []named) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{weightsFile: asSafetensors(t, tensors), configFile: folder.MustJSON(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The language model of the next three, which no export may touch.
var languageModel = vector("model.layers.0.mlp.up_proj.weight", 4, 4)

// Columns of the tiny tower and of the language model.
const tinyWidth, wordWidth = 64, 32

// llavaOf returns a LLaVA in its original form, and its tower and projector.
func llavaOf(t *testing.T, projector ...named) (dir string, tensors []named) {
	if projector == nil {
		projector = []named{
			vector("model.mm_projector.0.weight", wordWidth, tinyWidth), vector("model.mm_projector.0.bias", wordWidth),
			vector("model.mm_projector.2.weight", wordWidth, wordWidth), vector("model.mm_projector.2.bias", wordWidth),
		}
	}
	tensors = append(towerUnder(t, "model.vision_tower.vision_tower."), projector...)
	return writeModel(t, map[string]any{
		"model_type": "llava", "mm_vision_tower": "openai/clip-vit-large-patch14-336", "mm_vision_select_layer": -2,
	}, append(slices.Clone(tensors), languageModel)), tensors
}

// xComposerOf returns an InternLM-XComposer2-4KHD, without the last norm, and its tower and projector.
func xComposerOf(t *testing.T) (dir string, tensors []named) {
	for _, x := range towerUnder(t, "vit.vision_tower.") {
		if !strings.Contains(x.name, "post_layernorm") {
			tensors = append(tensors, x)
		}
	}
	tensors = append(tensors,
		vector("vision_proj.0.weight", wordWidth, 4*tinyWidth), vector("vision_proj.0.bias", wordWidth),
		vector("vision_proj.2.weight", wordWidth, wordWidth), vector("vision_proj.2.bias", wordWidth),
		vector("plora_glb_GN", 1, 1, 4*tinyWidth), vector("plora_sub_GN", 1, 1, 1, 4*tinyWidth))
	return writeModel(t, map[string]any{
		"model_type": "internlmxcomposer2", "architectures": []string{"InternLMXComposer2ForCausalLM"},
	}, append(slices.Clone(tensors), languageModel)), tensors
}

func export(t *testing.T, src, dst string, o ExportOptions, options ...OpenOption) *Report {
	t.Helper()
	r, err := exportFile(t.Context(), src, dst, o, options...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestExport: whatever the form and the format, what comes back is the source, bit by bit, from any
// source that has it.
func TestExport(t *testing.T) {
	archive := tiny(t, "openai_torch1.7.1.pt")
	converted := filepath.Join(t.TempDir(), "converted")
	if _, err := convertFile(t.Context(), archive, converted, Options{}); err != nil {
		t.Fatal(err)
	}
	llavaDir, _ := llavaOf(t)
	linearDir, _ := llavaOf(t, vector("model.mm_projector.weight", wordWidth, tinyWidth), vector("model.mm_projector.bias", wordWidth))
	newlineDir, _ := llavaOf(t, vector("model.mm_projector.0.weight", wordWidth, tinyWidth), vector("model.mm_projector.0.bias", wordWidth),
		vector("model.mm_projector.2.weight", wordWidth, wordWidth), vector("model.mm_projector.2.bias", wordWidth), vector("model.image_newline", wordWidth))
	llavaConverted := filepath.Join(t.TempDir(), "llava")
	if _, err := convertFile(t.Context(), llavaDir, llavaConverted, Options{}); err != nil {
		t.Fatal(err)
	}
	xComposerDir, _ := xComposerOf(t)
	xComposerConverted := filepath.Join(t.TempDir(), "xcomposer")
	if _, err := convertFile(t.Context(), xComposerDir, xComposerConverted, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		name, path string
		to         []string
		left       string // by the last of them
	}{
		{"archive", archive, []string{"openai", "huggingface", "openclip"}, ""},
		{"converted", converted, []string{"openai", "huggingface", "openclip"}, ""},
		{"vision", tiny(t, "huggingface-vision"), []string{"huggingface"}, ""},
		{"LLaVA", llavaDir, []string{"llava", "llava-hf", "huggingface"}, ""},
		{"LLaVA converted", llavaConverted, []string{"llava", "llava-hf", "huggingface"}, ""},
		{"LLaVA linear", linearDir, []string{"llava", "huggingface"}, ""},
		{"LLaVA 1.6", newlineDir, []string{"llava", "llava-hf"}, ""},
		{"XComposer", xComposerDir, []string{"xcomposer", "huggingface"}, ""},
		{"XComposer converted", xComposerConverted, []string{"huggingface", "xcomposer"}, ""},
	} {
		want := elements(t, s.path)
		for _, to := range s.to {
			f := forms[slices.IndexFunc(forms, func(f *form) bool { return f.name == to })]
			for _, format := range f.formats {
				t.Run(s.name+" "+to+" "+format, func(t *testing.T) {
					dst := filepath.Join(t.TempDir(), "out")
					if f.writeDir == nil && format == safetensorsFormat {
						dst += ".safetensors"
					}
					var last, total int64
					r := export(t, s.path, dst, ExportOptions{To: to, Format: format, Progress: func(d, n int64) { last, total = d, n }})
					sameElements(t, elements(t, dst), want, func(string) bool { return true })
					if last != total || total == 0 || r.Left != nil || r.Bytes < total {
						t.Errorf("progress ends at %d of %d, %q were left out, %d bytes; want all, nothing, at least as many", last, total, r.Left, r.Bytes)
					}
					for _, name := range r.Files {
						if _, err := os.Stat(filepath.Join(r.Dir, name)); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
	}
}

// TestExportFamilies exports the checkpoints that the software of every family wrote (see
// testdata/gen/families.py) to all forms that have room for what they hold, and to no other.
func TestExportFamilies(t *testing.T) {
	projector := []string{"llava", "llava-hf", "xcomposer"}
	for _, x := range []struct {
		dir  string
		to   []string
		only []string // the projector alone
	}{
		{"hf-clip-bin", []string{"huggingface", "openclip"}, nil}, // heads of 8 columns, which OpenAI's code does not have
		{"hf-vision", []string{"huggingface"}, nil},
		{"openclip-gelu", []string{"huggingface", "openclip"}, nil},
		{"openclip-text", []string{"huggingface", "openclip"}, nil},
		{"llava", []string{"huggingface", "llava", "llava-hf", "gguf"}, []string{"llava", "llava-hf"}}, // XComposer takes the last layer
		{"llava-hf", []string{"huggingface", "llava", "llava-hf", "gguf"}, []string{"llava", "llava-hf"}},
		{"llava-hf-nested", []string{"huggingface", "llava", "llava-hf", "gguf"}, []string{"llava", "llava-hf"}},
		{"llava-linear", nil, []string{"llava"}},
		{"llava-projector", nil, projector},
		{"xcomposer2-hd", []string{"huggingface", "xcomposer"}, []string{"xcomposer"}},
		{"xcomposer2-vl", []string{"huggingface", "llava", "llava-hf", "xcomposer", "gguf"}, projector},
		{"xtuner", []string{"huggingface", "llava", "llava-hf", "gguf"}, []string{"llava", "llava-hf"}},
		{"xtuner-pth", nil, projector},
	} {
		src := golden.Path(t, "testdata/families/"+x.dir)
		want := elements(t, src)
		for _, to := range ExportForms() {
			for only, fits := range map[bool][]string{false: x.to, true: x.only} {
				t.Run(fmt.Sprint(x.dir, " ", to, " ", only), func(t *testing.T) {
					dst := filepath.Join(t.TempDir(), "out")
					r, err := exportFile(t.Context(), src, dst, ExportOptions{To: to, ProjectorOnly: only})
					if fits := slices.Contains(fits, to); (err == nil) != fits {
						t.Fatalf("error is %v, want none: %v", err, fits)
					}
					if err != nil || to == "gguf" { // for which see TestGGUF
						return
					}
					sameElements(t, elements(t, dst), want, func(path string) bool { return !slices.Contains(r.Left, string(pieceOf(path))) })
				})
			}
		}
	}
}

// TestExportNames compares with files of the original software, not with our own reading of them: here
// a projection that is transposed twice, or never, would not pass.
func TestExportNames(t *testing.T) {
	dir := t.TempDir()
	converted := filepath.Join(dir, "converted")
	if _, err := convertFile(t.Context(), tiny(t, "state_torch1.7.1.pt"), converted, Options{}, Assume(transformer.QuickGELU)); err != nil {
		t.Fatal(err)
	}
	openai, state, safe := filepath.Join(dir, "openai.pt"), filepath.Join(dir, "state.pt"), filepath.Join(dir, "openclip")
	export(t, converted, openai, ExportOptions{To: "openai"})
	sameTensors(t, contents(t, openai), contents(t, tiny(t, "state_torch1.7.1.pt")))
	export(t, converted, state, ExportOptions{To: "openai", Format: "torch"})
	sameTensors(t, contents(t, state), contents(t, tiny(t, "state_torch1.7.1.pt")))
	if m, err := Load(openai); err != nil || m.Config != tinyConfig { // the archive says which activation it has
		t.Errorf("configuration is %+v (%v), want %+v", m, err, tinyConfig)
	}
	export(t, converted, safe, ExportOptions{To: "openclip"})
	sameTensors(t, contents(t, filepath.Join(safe, openCLIPSafetensors)), contents(t, tiny(t, "state_torch1.7.1.pt")))
	bin := filepath.Join(dir, "huggingface")
	export(t, state, bin, ExportOptions{To: "huggingface", Format: "torch"}, Assume(transformer.QuickGELU))
	sameTensors(t, contents(t, filepath.Join(bin, torchFile)), contents(t, tiny(t, "huggingface")))

	src, tensors := llavaOf(t)
	whole, projector := filepath.Join(dir, "llava.bin"), filepath.Join(dir, "mm_projector.bin")
	if r := export(t, src, whole, ExportOptions{To: "llava"}); r.LanguageModel != 1 {
		t.Errorf("%d tensors of the language model, want 1", r.LanguageModel)
	}
	sameTensors(t, contents(t, whole), tensors)
	r := export(t, src, projector, ExportOptions{To: "llava", ProjectorOnly: true})
	sameTensors(t, contents(t, projector), tensors[len(tensors)-4:])
	if want := []string{"the vision tower", "the vision tower's last norm"}; !slices.Equal(r.Left, want) {
		t.Errorf("%q were left out, want %q", r.Left, want)
	}

	hf := filepath.Join(dir, "hf.bin")
	export(t, src, hf, ExportOptions{To: "llava-hf"})
	var want []named
	for _, x := range tensors {
		x.name = strings.NewReplacer("model.vision_tower.vision_tower.", "vision_tower.", "model.mm_projector.0", "multi_modal_projector.linear_1",
			"model.mm_projector.2", "multi_modal_projector.linear_2").Replace(x.name)
		want = append(want, x)
	}
	sameTensors(t, contents(t, hf), want)

	src, tensors = xComposerOf(t)
	file := filepath.Join(dir, "xcomposer.safetensors")
	export(t, src, file, ExportOptions{To: "xcomposer"})
	sameTensors(t, contents(t, file), tensors)
}

// TestExportOpenCLIPConfig compares open_clip_config.json with one of OpenCLIP's own form.
func TestExportOpenCLIPConfig(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "out")
	export(t, tiny(t, "openai_torch1.7.1.pt"), dst, ExportOptions{To: "openclip"})
	var want map[string]any
	if err := json.Unmarshal([]byte(`{
		"model_cfg": {"embed_dim": 10, "quick_gelu": true,
			"vision_cfg": {"image_size": 24, "layers": 2, "width": 64, "patch_size": 6, "head_width": 64, "mlp_ratio": 4},
			"text_cfg": {"context_length": 9, "vocab_size": 50, "width": 64, "heads": 1, "layers": 1, "mlp_ratio": 4}},
		"preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711],
			"interpolation": "bicubic", "resize_mode": "shortest"}}`), &want); err != nil {
		t.Fatal(err)
	}
	if got := readJSON(t, filepath.Join(dst, openCLIPConfig)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, r := range [][2]int{{256, 64}, {4304, 1152}, {1000, 3}, {49, 7}, {11008, 4096}, {1, 3}} { // as Python: int(width * mlp_ratio)
		if got := int(float64(r[1]) * ratio(r[0], r[1])); got != r[0] {
			t.Errorf("%d/%d comes back as %d", r[0], r[1], got)
		}
	}
}

// TestExportCheck: options that contradict themselves or the name of the output are known to be wrong
// without a source.
func TestExportCheck(t *testing.T) {
	for _, c := range []struct {
		dst  string
		o    ExportOptions
		want string // "" is no error
	}{
		{"x.pt", ExportOptions{To: "openai"}, ""},
		{"x", ExportOptions{To: "openai", Format: "torch"}, ""},
		{"x.bin", ExportOptions{To: "gguf"}, ""},
		{"x.gguf", ExportOptions{To: "gguf", DType: "bf16"}, ""},
		{"x.safetensors", ExportOptions{To: "llava"}, ""},
		{"x.gguf", ExportOptions{To: "openclip"}, ""}, // a directory
		{"x.gguf", ExportOptions{To: "llava"}, "x.gguf is to be a file of torch, and has the extension of gguf"},
		{"x.pth", ExportOptions{To: "gguf"}, "x.pth is to be a file of gguf, and has the extension of torch"},
		{"x.safetensors", ExportOptions{To: "gguf"}, "x.safetensors is to be a file of gguf, and has the extension of safetensors"},
		{"x.safetensors", ExportOptions{To: "openai"}, "x.safetensors is to be a file of torchscript, and has the extension of safetensors"},
		{"x.safetensors", ExportOptions{To: "llava", Format: "torch"}, "x.safetensors is to be a file of torch, and has the extension of safetensors"},
		{"x.pt", ExportOptions{To: "llava", Format: "safetensors"}, "x.pt is to be a file of safetensors, want the extension .safetensors"},
		{"x", ExportOptions{To: "openclip", ProjectorOnly: true}, "there is no file of a projector alone"},
		{"x", ExportOptions{To: "gguf", ProjectorOnly: true}, "there is no file of a projector alone"},
		{"x", ExportOptions{To: "llava", DType: "f64"}, `dtype is "f64"`},
		{"x", ExportOptions{To: "onnx"}, `export to "onnx"`},
	} {
		err := c.o.Check(c.dst)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %+v: error is %v, want %q", c.dst, c.o, err, c.want)
		}
	}
}

func TestExportPrecisions(t *testing.T) {
	src, _ := llavaOf(t)
	for dtype, want := range map[string]DType{"f16": F16, "bf16": BF16, "f32": F32} {
		dst := filepath.Join(t.TempDir(), "out.bin")
		r := export(t, src, dst, ExportOptions{To: "llava", DType: dtype})
		if n := len(contents(t, dst)); r.DTypes[string(want)] != n {
			t.Errorf("%s: types are %v, want %d of %s", dtype, r.DTypes, n, want)
		}
	}
}

// TestExportRefusals: what cannot be done is said, with what is missing or does not fit.
func TestExportRefusals(t *testing.T) {
	archive := tiny(t, "openai_torch1.7.1.pt")
	edited := func(edit func(top, vision, text map[string]any)) string {
		top := readJSON(t, tiny(t, "huggingface/config.json"))
		edit(top, top["vision_config"].(map[string]any), top["text_config"].(map[string]any))
		return writeModel(t, top, contents(t, tiny(t, "huggingface")))
	}
	gelu := edited(func(_, v, x map[string]any) { v["hidden_act"], x["hidden_act"] = "gelu", "gelu" })
	both := edited(func(_, v, _ map[string]any) { v["hidden_act"] = "gelu" })
	heads := edited(func(_, v, _ map[string]any) { v["num_attention_heads"], v["layer_norm_eps"] = 2, 1e-6 })
	words := edited(func(_, _, x map[string]any) { x["eos_token_id"] = 7 })
	llavaDir, tensors := llavaOf(t)
	linearDir, _ := llavaOf(t, vector("model.mm_projector.weight", wordWidth, tinyWidth), vector("model.mm_projector.bias", wordWidth))
	newlineDir, _ := llavaOf(t, append(slices.Clone(tensors[len(tensors)-4:]), vector("model.image_newline", wordWidth))...)
	xComposerDir, _ := xComposerOf(t)
	projector := filepath.Join(t.TempDir(), "mm_projector.bin")
	export(t, llavaDir, projector, ExportOptions{To: "llava", ProjectorOnly: true})

	for _, x := range []struct {
		src  string
		o    ExportOptions
		want []string
	}{
		{archive, ExportOptions{}, []string{`export to ""`, "openai", "gguf"}},
		{archive, ExportOptions{To: "onnx"}, []string{`export to "onnx"`, "openai, huggingface"}},
		{archive, ExportOptions{To: "openai", Format: "safetensors"}, []string{"want torchscript or torch"}},
		{archive, ExportOptions{To: "openclip", Format: "gguf"}, []string{"want safetensors or torch"}},
		{archive, ExportOptions{To: "openai", DType: "f8"}, []string{`"f8"`}},
		{archive, ExportOptions{To: "llava"}, []string{"to llava", "lacks the projector"}},
		{archive, ExportOptions{To: "gguf"}, []string{"lacks the projector"}},
		{archive, ExportOptions{To: "openai", ProjectorOnly: true}, []string{"no file of a projector alone"}},
		{llavaDir, ExportOptions{To: "gguf", ProjectorOnly: true}, []string{"no file of a projector alone"}},
		{llavaDir, ExportOptions{To: "llava", Format: "safetensors"}, []string{"out.bin", "extension .safetensors"}},
		{projector, ExportOptions{To: "openai", ProjectorOnly: true}, []string{"no file of a projector alone"}},
		{projector, ExportOptions{To: "llava"}, []string{"lacks the vision tower", "the projector alone can be written"}},
		{projector, ExportOptions{To: "huggingface"}, []string{"lacks the vision tower"}},
		{tiny(t, "huggingface-vision"), ExportOptions{To: "openai"}, []string{"lacks the text tower"}},
		{xComposerDir, ExportOptions{To: "openclip"}, []string{"lacks the vision tower's last norm, the projection into the joint space, the text tower"}},
		{gelu, ExportOptions{To: "openai"}, []string{"the vision tower's activation is gelu", "the text tower's activation is gelu", "quick_gelu built in"}},
		{heads, ExportOptions{To: "openai"}, []string{"head is 32 wide", "64 wide", "epsilon is 1e-06"}},
		{heads, ExportOptions{To: "openclip"}, []string{"epsilon is 1e-06"}},
		{words, ExportOptions{To: "openai"}, []string{"token 7 ends a text", "49"}},
		{words, ExportOptions{To: "openclip"}, []string{"token 7 ends a text", "49"}},
		{both, ExportOptions{To: "openclip"}, []string{"activations are gelu and quick_gelu"}},
		{linearDir, ExportOptions{To: "llava-hf"}, []string{"the projector is linear", "mlp2x_gelu"}},
		{linearDir, ExportOptions{To: "gguf"}, []string{"the projector is linear", "mlp2x_gelu"}},
		{linearDir, ExportOptions{To: "xcomposer"}, []string{"the projector is linear", "mlp2x_gelu"}},
		{newlineDir, ExportOptions{To: "gguf"}, []string{"no name for Projector.Newline"}},
		{llavaDir, ExportOptions{To: "xcomposer"}, []string{"fed by layer 1 of 2", "the last"}},
		{xComposerDir, ExportOptions{To: "llava"}, []string{"no name for Projector.GlobalSeparator, Projector.RowSeparator"}},
		{xComposerDir, ExportOptions{To: "gguf"}, []string{"256 columns", "patches of 64"}},
		{filepath.Join(t.TempDir(), "absent"), ExportOptions{To: "openai"}, []string{"absent"}},
	} {
		dir := t.TempDir()
		_, err := exportFile(t.Context(), x.src, filepath.Join(dir, "out.bin"), x.o)
		for _, w := range x.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: error is %v, want %q in it", x.o, err, w)
			}
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%+v: left %v", x.o, left)
		}
	}
	if _, err := exportFile(t.Context(), archive, filepath.Join(t.TempDir(), "out"), ExportOptions{To: "openai"}, Assume(transformer.GELU)); err == nil || !strings.Contains(err.Error(), `the activation is "quick_gelu", and "gelu" was asked for`) {
		t.Errorf("of another activation: error is %v", err)
	}
	// A file of the projector alone is offered where there is one.
	for _, f := range forms {
		_, err := exportFile(t.Context(), projector, filepath.Join(t.TempDir(), "out"), ExportOptions{To: f.name})
		offer := ExportOptions{To: f.name, ProjectorOnly: true}.Check("out") == nil
		if errors.Is(err, ErrProjectorAlone) != offer {
			t.Errorf("%s: error is %v, and the projector alone can be written: %v", f.name, err, offer)
		}
	}
	// What fits must not be refused.
	for to, src := range map[string]string{"openclip": gelu, "huggingface": both} {
		export(t, src, filepath.Join(t.TempDir(), "out"), ExportOptions{To: to})
	}
}

// TestExportLeavesNothing: an export that fails midway, for whatever reason, leaves nothing new and
// nothing changed.
func TestExportLeavesNothing(t *testing.T) {
	src, tensors := llavaOf(t)
	for i := range tensors {
		if tensors[i].name == "model.mm_projector.2.bias" { // among the last that are written
			tensors[i] = named{tensors[i].name, F32, []int{wordWidth}, make([]byte, 4*wordWidth)}
			if err := encode(tensors[i].data, slices.Repeat([]float32{1e5}, wordWidth), F32); err != nil {
				t.Fatal(err)
			}
		}
	}
	large := writeModel(t, readJSON(t, filepath.Join(src, configFile)), tensors)
	damaged := filepath.Join(t.TempDir(), "damaged.pt")
	b, err := os.ReadFile(tiny(t, "openai_torch1.7.1.pt"))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(damaged, b, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name, src string
		o         ExportOptions
		cancel    bool
		want      string
	}{
		{"too large for f16", large, ExportOptions{To: "llava", DType: "f16"}, false, "model.mm_projector.2.bias"},
		{"too large for f16, GGUF", large, ExportOptions{To: "gguf", DType: "f16"}, false, ""}, // a vector: stays float32
		{"damaged", damaged, ExportOptions{To: "openai"}, false, "is damaged"},
		{"damaged, a directory", damaged, ExportOptions{To: "openclip", Format: "torch"}, false, "is damaged"},
		{"cancelled", src, ExportOptions{To: "llava"}, true, context.Canceled.Error()},
		{"cancelled, GGUF", src, ExportOptions{To: "gguf"}, true, context.Canceled.Error()},
		{"cancelled, a directory", tiny(t, "huggingface"), ExportOptions{To: "openclip"}, true, context.Canceled.Error()},
	} {
		t.Run(x.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if x.cancel {
				x.o.Progress = func(done, _ int64) {
					if done > 100 {
						cancel()
					}
				}
			}
			dir := t.TempDir()
			_, err := exportFile(ctx, x.src, filepath.Join(dir, "out"), x.o)
			if x.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("error is %v, want %q in it", err, x.want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

// TestExportReplaces: only what is a checkpoint is replaced, and only if that was asked for.
func TestExportReplaces(t *testing.T) {
	archive := tiny(t, "openai_torch1.7.1.pt")
	dir := t.TempDir()
	write := func(name, data string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := write("notes.txt", strings.Repeat("not a checkpoint ", 9))
	empty := write("empty", "")
	array := write("features.npy", string(checkpoint.NPYHeader(F32, []int{0})))
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sub", "openai.pt")
	export(t, archive, file, ExportOptions{To: "openai"})
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	refused := []struct {
		dst       string
		overwrite bool
		want      string
	}{
		{file, false, "overwriting was not asked for"},
		{text, true, "is no checkpoint"},
		{empty, true, "is no checkpoint"},
		{array, true, "is no checkpoint"},
		{folder, true, "not a regular file"},
	}
	if link := filepath.Join(dir, "link"); os.Symlink(text, link) == nil { // Windows may forbid it
		refused = append(refused, struct {
			dst       string
			overwrite bool
			want      string
		}{link, true, "not a regular file"})
	}
	for _, x := range refused {
		_, err := exportFile(t.Context(), archive, x.dst, ExportOptions{To: "openai", Overwrite: x.overwrite})
		if err == nil || !strings.Contains(err.Error(), x.want) || errors.Is(err, ErrExists) == x.overwrite {
			t.Errorf("%s: error is %v, want %q in it, and ErrExists unless overwriting was asked for", x.dst, err, x.want)
		}
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a refused export changed the file (%v)", err)
	}
	export(t, archive, file, ExportOptions{To: "openai", DType: "f32", Overwrite: true})
	if after, err := os.ReadFile(file); err != nil || len(after) <= len(before) {
		t.Errorf("%d bytes (%v), want more than %d", len(after), err, len(before))
	}

	// A directory of one form in the place of one of another; but not of anything else.
	out := filepath.Join(dir, "model")
	export(t, archive, out, ExportOptions{To: "openclip"})
	if _, err := exportFile(t.Context(), archive, out, ExportOptions{To: "huggingface", Format: "torch"}); err == nil || !strings.Contains(err.Error(), "overwriting was not asked for") {
		t.Errorf("error is %v, want that overwriting was not asked for", err)
	}
	export(t, archive, out, ExportOptions{To: "huggingface", Format: "torch", Overwrite: true})
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{configFile, preprocessorFile, torchFile, "tokenizer_config.json"}; !slices.Equal(names, want) {
		t.Errorf("files are %q, want %q", names, want)
	}
	if _, err := exportFile(t.Context(), archive, dir, ExportOptions{To: "huggingface", Overwrite: true}); err == nil || !strings.Contains(err.Error(), "which no conversion writes") {
		t.Errorf("error is %v, want that a directory of other things is not overwritten", err)
	}
}

// TestExportOfOthers: forms that say of two things which it is are not written of a third.
func TestExportOfOthers(t *testing.T) {
	for path, f := range map[string]*form{family(t, "openclip-gelu"): openCLIPForm, family(t, "llava-hf"): ggufForm} {
		m, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := f.fits(m); err != nil {
			t.Error(err)
		}
		m.config.Vision.Activation, m.config.Vision.Transform.Fit = "relu", "squash"
		err = f.fits(m)
		if err == nil || !strings.Contains(err.Error(), "the activation is relu, and the form has quick_gelu and gelu only") ||
			f == ggufForm && !strings.Contains(err.Error(), "images become square by squash, and the form has shortest only") {
			t.Errorf("%s: error is %v", f.name, err)
		}
	}
}

func TestExportForms(t *testing.T) {
	want := []string{"openai", "huggingface", "openclip", "llava", "llava-hf", "xcomposer", "gguf"}
	if got := ExportForms(); !slices.Equal(got, want) {
		t.Errorf("forms are %q, want %q", got, want)
	}
	// Every parameter belongs to a piece that is named.
	for path := range maps.Keys(specOf) {
		if !slices.Contains(pieces, pieceOf(path)) {
			t.Errorf("%s is of %q", path, pieceOf(path))
		}
	}
}

// FuzzExport exports what headers of safetensors say, whatever that is. What could be exported must
// come back.
func FuzzExport(f *testing.F) {
	const room = 1 << 18 // bytes of the tensors of a seed
	seed := func(tensors []named) {
		b := asSafetensors(f, tensors)
		n := 8 + binary.LittleEndian.Uint64(b)
		for to := range forms {
			f.Add(b[8:n], uint32(uint64(len(b))-n), uint8(to))
		}
	}
	for _, file := range []string{"state_torch2.9.1.pt", "huggingface"} {
		seed(contents(f, tiny(f, file)))
	}
	seed([]named{vector("model.mm_projector.0.weight", 4, 8), vector("model.mm_projector.0.bias", 4), vector("model.mm_projector.2.weight", 4, 4), vector("model.mm_projector.2.bias", 4)})
	seed([]named{vector("vision_proj.0.weight", 4, 8), vector("vision_proj.0.bias", 4), vector("vision_proj.2.weight", 4, 4), vector("vision_proj.2.bias", 4), vector("plora_glb_GN", 1, 1, 8)})
	f.Fuzz(func(t *testing.T, header []byte, size uint32, to uint8) {
		if size > 2*room {
			return
		}
		c, err := openBytes(safetensorsOf(string(header), int(size)), Assume(transformer.QuickGELU))
		if err != nil {
			return
		}
		form := forms[int(to)%len(forms)]
		for _, projectorOnly := range []bool{false, true} {
			dst := filepath.Join(t.TempDir(), "out")
			r, err := c.Export(t.Context(), dst, ExportOptions{To: form.name, ProjectorOnly: projectorOnly})
			if err != nil {
				if left, _ := os.ReadDir(filepath.Dir(dst)); len(left) != 0 {
					t.Errorf("%v, but %v is left", err, left)
				}
				continue
			}
			if form.name == "gguf" {
				b, err := os.ReadFile(dst)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, tensors := readGGUF(t, b); len(tensors) != r.Tensors {
					t.Errorf("%d tensors, want %d", len(tensors), r.Tensors)
				}
				continue
			}
			back, err := Open(dst, Assume(transformer.QuickGELU))
			if err != nil {
				t.Fatalf("%s: what was written does not open: %v", form.name, err)
			}
			if n := len(back.file.Tensors()); n != r.Tensors {
				t.Errorf("%d tensors, want %d", n, r.Tensors)
			}
			if err := back.ready(); err != nil {
				t.Errorf("%s: what was written is not what was exported: %v", form.name, err)
			}
			back.Close()
		}
	})
}
