package converter

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/params"
)

// checkpoints are one tiny CLIP in every form; see testdata/gen/checkpoints.py.
var checkpoints = []struct {
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

// tinyConfig is what all of them are.
var tinyConfig = clipvit.Config{
	ImageSize: 24, PatchSize: 6, Width: 64, Heads: 1, Layers: 2, MLPWidth: 256, EmbedDim: 10,
	Activation: transformer.QuickGELU, NormEps: 1e-5,
}

// open opens a tiny checkpoint, and says of those that do not say it themselves which activation
// they have: all are OpenAI's.
func open(t testing.TB, name string) *Model {
	t.Helper()
	c, err := Open(tiny(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if strings.HasPrefix(name, "state_") || name == "openclip.pt" {
		if _, err := c.Vision(t.Context()); !errors.Is(err, ErrActivation) {
			t.Errorf("%s: error is %v, want ErrActivation", name, err)
		}
		if c, err = Open(tiny(t, name), Assume(transformer.QuickGELU)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	return c
}

func tiny(t testing.TB, name string) string { return golden.Path(t, "testdata/tiny/"+name) }

// wanted returns the canonical parameters that PyTorch's file of the weights gives, through a
// table written by hand once more, since the converter's own is what is tested.
func wanted(t testing.TB) map[string][]float32 {
	f := golden.Load(t, "testdata/tiny/clip_expected.npz")
	transpose := func(x []float32, rows, cols int) []float32 {
		y := make([]float32, len(x))
		for i := range rows {
			for j := range cols {
				y[j*rows+i] = x[i*cols+j]
			}
		}
		return y
	}
	w := map[string][]float32{
		"Embed.Patch":    f.Float32("state/visual.conv1.weight"),
		"Embed.Class":    f.Float32("state/visual.class_embedding"),
		"Embed.Position": f.Float32("state/visual.positional_embedding"),
		"PreNorm.W":      f.Float32("state/visual.ln_pre.weight"),
		"PreNorm.B":      f.Float32("state/visual.ln_pre.bias"),
		"PostNorm.W":     f.Float32("state/visual.ln_post.weight"),
		"PostNorm.B":     f.Float32("state/visual.ln_post.bias"),
		"Proj":           transpose(f.Float32("state/visual.proj"), 64, 10),
	}
	for i := range 2 {
		for ours, theirs := range map[string]string{
			"Norm1.W": "ln_1.weight", "Norm1.B": "ln_1.bias", "Norm2.W": "ln_2.weight", "Norm2.B": "ln_2.bias",
			"Attn.QKV.W": "attn.in_proj_weight", "Attn.QKV.B": "attn.in_proj_bias",
			"Attn.Out.W": "attn.out_proj.weight", "Attn.Out.B": "attn.out_proj.bias",
			"MLP.Up.W": "mlp.c_fc.weight", "MLP.Up.B": "mlp.c_fc.bias", "MLP.Down.W": "mlp.c_proj.weight", "MLP.Down.B": "mlp.c_proj.bias",
		} {
			w[fmt.Sprintf("Blocks.%d.%s", i, ours)] = f.Float32(fmt.Sprintf("state/visual.transformer.resblocks.%d.%s", i, theirs))
		}
	}
	return w
}

// parameters returns the parameters of a model by path.
func parameters(m *clipvit.Model) map[string][]float32 {
	all := map[string][]float32{}
	params.Walk(m, func(path string, p *nn.Param) { all[path] = mat.Data[float32](p) })
	return all
}

// sameParameters compares bit by bit.
func sameParameters(t *testing.T, got, want map[string][]float32) {
	t.Helper()
	if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		t.Fatalf("parameters are %v, want %v", g, w)
	}
	for path, w := range want {
		g := got[path]
		if len(g) != len(w) {
			t.Errorf("%s has %d elements, want %d", path, len(g), len(w))
			continue
		}
		for i := range w {
			if math.Float32bits(g[i]) != math.Float32bits(w[i]) {
				t.Errorf("%s[%d] is %v, want %v", path, i, g[i], w[i])
				break
			}
		}
	}
}

// TestThreeNamesOneModel: every form of the checkpoint, loaded as it is and after a conversion,
// gives bit for bit the parameters that PyTorch has.
func TestThreeNamesOneModel(t *testing.T) {
	want := wanted(t)
	for _, c := range checkpoints {
		t.Run(c.path, func(t *testing.T) {
			k := open(t, c.path)
			m, err := k.Vision(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			config := tinyConfig
			config.Transform = rulesOf(tiny(t, c.path), k.Dialect())
			if m.Config != config {
				t.Errorf("configuration is %+v, want %+v", m.Config, config)
			}
			sameParameters(t, parameters(m), want)
			params.Walk(m, func(path string, p *nn.Param) {
				if p.RequiresGrad() {
					t.Errorf("%s is not frozen", path)
				}
			})

			dst := filepath.Join(t.TempDir(), "out")
			r, err := k.Convert(t.Context(), dst, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Container != c.container || r.Dialect != c.dialect || (r.Config.Text != nil) != c.text {
				t.Errorf("report says %s, %s, text %v; want %s, %s, %v", r.Container, r.Dialect, r.Config.Text, c.container, c.dialect, c.text)
			}
			if m, err = Load(dst); err != nil {
				t.Fatal(err)
			}
			sameParameters(t, parameters(m), want)
		})
	}
}

// TestBFloat16 loads weights that were rounded to bfloat16, under the names of a training run.
func TestBFloat16(t *testing.T) {
	m, err := open(t, "openclip.pt").Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := wanted(t)
	for _, w := range want {
		for i := range w {
			w[i] = checkpoint.RoundBF16(w[i])
		}
	}
	sameParameters(t, parameters(m), want)
}

// TestConvertMakesWhatTransformersMakes compares with the file that transformers wrote of the
// same model, tensor by tensor and byte by byte, text tower included.
func TestConvertMakesWhatTransformersMakes(t *testing.T) {
	want := map[string]named{}
	for _, x := range contents(t, tiny(t, "huggingface")) {
		want[x.name] = x
	}
	for _, c := range checkpoints {
		if !c.text || strings.HasPrefix(c.path, "float32") {
			continue
		}
		dst := filepath.Join(t.TempDir(), "out")
		if _, err := open(t, c.path).Convert(t.Context(), dst, Options{}); err != nil {
			t.Fatal(err)
		}
		got := contents(t, dst)
		if len(got) != len(want) {
			t.Errorf("%s: %d tensors, want %d", c.path, len(got), len(want))
		}
		for _, g := range got {
			w := want[g.name]
			if g.dtype != w.dtype || !slices.Equal(g.shape, w.shape) || !bytes.Equal(g.data, w.data) {
				t.Errorf("%s: %s is %s %v, want %s %v with the same bytes", c.path, g.name, g.dtype, g.shape, w.dtype, w.shape)
			}
		}
	}
}

// TestRoundTrip: what was written converts to itself.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	r, err := convertFile(t.Context(), tiny(t, "openai_torch1.7.1.pt"), first, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"context_length", "input_resolution", "vocab_size"}; !slices.Equal(slices.Sorted(slices.Values(r.Excused)), want) {
		t.Errorf("excused are %v, want %v", r.Excused, want)
	}
	r, err = convertFile(t.Context(), first, second, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range r.Files {
		a, errA := os.ReadFile(filepath.Join(first, name))
		b, errB := os.ReadFile(filepath.Join(second, name))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if name == weightsFile { // only the source's checksum differs
			a, b = a[bytes.Index(a, []byte(`"}`)):], b[bytes.Index(b, []byte(`"}`)):]
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s changed", name)
		}
	}
	if len(r.Files) != 4 { // the last says that there is no tokenizer
		t.Errorf("files are %v, want four", r.Files)
	}
}

func TestPrecisions(t *testing.T) {
	want := wanted(t)
	for _, c := range []struct {
		dtype string
		round func(f float32) float32
		types map[string]int
	}{
		{"source", func(f float32) float32 { return f }, map[string]int{"F16": 39, "F32": 23}},
		{"f32", func(f float32) float32 { return f }, map[string]int{"F32": 62}},
		{"f16", func(f float32) float32 { return kernel.FromHalf(kernel.ToHalf(f)) }, map[string]int{"F16": 62}},
		{"bf16", func(f float32) float32 { return checkpoint.RoundBF16(f) }, map[string]int{"BF16": 62}},
	} {
		t.Run(c.dtype, func(t *testing.T) {
			dst := filepath.Join(t.TempDir(), "out")
			var last, total int64
			r, err := convertFile(t.Context(), tiny(t, "openai_torch1.7.1.pt"), dst, Options{DType: c.dtype, Progress: func(d, n int64) {
				if d <= last || d > n {
					t.Errorf("progress goes from %d to %d of %d", last, d, n)
				}
				last, total = d, n
			}})
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(r.DTypes, c.types) {
				t.Errorf("types are %v, want %v", r.DTypes, c.types)
			}
			if last != total || total == 0 {
				t.Errorf("progress ends at %d of %d", last, total)
			}
			k, err := Open(dst)
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			// Wide elements first, from a multiple of 64 on (TestConfigJSON): all are aligned.
			for i, x := range k.file.Tensors()[1:] {
				if before := k.file.Tensors()[i]; before.DType.Size() < x.DType.Size() {
					t.Errorf("%s of %s lies behind %s of %s", x.Name, x.DType, before.Name, before.DType)
				}
			}
			m, err := k.Vision(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rounded := map[string][]float32{}
			for path, w := range want {
				for _, f := range w {
					rounded[path] = append(rounded[path], c.round(f))
				}
			}
			sameParameters(t, parameters(m), rounded)
		})
	}
	if _, err := convertFile(t.Context(), tiny(t, "openai_torch1.7.1.pt"), filepath.Join(t.TempDir(), "x"), Options{DType: "f8"}); err == nil || !strings.Contains(err.Error(), `"f8"`) {
		t.Errorf("error is %v, want that f8 is not known", err)
	}
}

// TestOverflow: what does not fit into half precision is an error that names the tensor.
func TestOverflow(t *testing.T) {
	all := contents(t, tiny(t, "float32_torch2.0.1.pt"))
	for i := range all {
		if all[i].name == "visual.ln_post.bias" {
			encode(all[i].data, []float32{1e5}, F32)
		}
	}
	c, err := openBytes(asSafetensors(t, all), Assume(transformer.QuickGELU))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, err = c.Convert(t.Context(), filepath.Join(dir, "out"), Options{DType: "f16"})
	if err == nil || !strings.Contains(err.Error(), "visual.ln_post.bias") || !strings.Contains(err.Error(), "100000") {
		t.Errorf("error is %v, want that 100000 of visual.ln_post.bias is too large", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a failed conversion left %v", left)
	}
	if _, err := c.Convert(t.Context(), filepath.Join(dir, "out"), Options{DType: "bf16"}); err != nil {
		t.Error(err)
	}
}

func TestVisionOnly(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "out")
	r, err := convertFile(t.Context(), tiny(t, "openai_torch1.7.1.pt"), dst, Options{VisionOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range contents(t, dst) {
		if !strings.HasPrefix(x.name, "vision_model.") && x.name != "visual_projection.weight" {
			t.Errorf("%s was written", x.name)
		}
	}
	if r.Config.Text != nil || r.Parameters != 108928 {
		t.Errorf("text tower %v, %d parameters, want none and 108928", r.Config.Text, r.Parameters)
	}
	if got := readJSON(t, filepath.Join(dst, configFile))["architectures"]; fmt.Sprint(got) != "[CLIPVisionModelWithProjection]" {
		t.Errorf("architectures are %v", got)
	}
	m, err := Load(dst)
	if err != nil {
		t.Fatal(err)
	}
	sameParameters(t, parameters(m), wanted(t))
}

func readJSON(t *testing.T, path string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestConfigJSON compares config.json with that of transformers, for every field that transformers
// writes and that is not about text generation.
func TestConfigJSON(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "out")
	r, err := convertFile(t.Context(), tiny(t, "openai_torch1.7.1.pt"), dst, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, want := readJSON(t, filepath.Join(dst, configFile)), readJSON(t, tiny(t, "huggingface/config.json"))
	compare := func(where string, got, want map[string]any) {
		for k, w := range want {
			switch k {
			case "vision_config", "text_config", "dtype", "transformers_version":
				continue
			}
			if fmt.Sprint(got[k]) != fmt.Sprint(w) {
				t.Errorf("%s%s is %v, want %v", where, k, got[k], w)
			}
		}
	}
	compare("", got, want)
	for _, k := range []string{"vision_config", "text_config"} {
		compare(k+".", got[k].(map[string]any), want[k].(map[string]any))
	}
	compare("", readJSON(t, filepath.Join(dst, preprocessorFile)), readJSON(t, tiny(t, "huggingface/preprocessor_config.json")))

	b, err := os.ReadFile(filepath.Join(dst, weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	if want := `"source_sha256":"` + r.SHA256 + `"`; !bytes.Contains(b[:400], []byte(want)) || !bytes.Contains(b[:400], []byte(`"format":"pt"`)) {
		t.Errorf("metadata is %.300q, want %s in it", b, want)
	}
	if n := binary.LittleEndian.Uint64(b); (8+n)%64 != 0 {
		t.Errorf("tensors begin at byte %d, want a multiple of 64", 8+n)
	}
}

// TestConfigDisagrees: a config.json that says something else than the tensors is an error that
// lists all differences.
func TestConfigDisagrees(t *testing.T) {
	base := readJSON(t, tiny(t, "huggingface/config.json"))
	for _, c := range []struct {
		name string
		edit func(top, vision, text map[string]any)
		want []string // in the error; none if it must load
		ok   func(c Config) bool
	}{
		{"as it is", func(_, _, _ map[string]any) {}, nil, func(c Config) bool {
			c.Vision.Transform = clipvit.Transform{}
			return c.Vision == tinyConfig && c.Text.EOS == 49 && c.Text.BOS == 48
		}},
		{"several", func(top, v, x map[string]any) {
			top["projection_dim"], v["hidden_size"], v["image_size"], x["vocab_size"] = 12, 128, 30, 51
		}, []string{"projection_dim is 12, the tensors say 10", "vision hidden_size is 128, the tensors say 64", "image_size is 30, the tensors say 24", "text vocab_size is 51, the tensors say 50"}, nil},
		{"heads", func(_, v, _ map[string]any) { v["num_attention_heads"] = 4 }, nil, func(c Config) bool { return c.Vision.Heads == 4 }},
		{"heads that do not divide", func(_, v, _ map[string]any) { v["num_attention_heads"] = 5 }, []string{"num_attention_heads is 5", "64"}, nil},
		{"no heads", func(_, v, _ map[string]any) { v["num_attention_heads"] = 0 }, []string{"num_attention_heads is 0"}, nil},
		{"heads left out", func(_, v, _ map[string]any) { delete(v, "num_attention_heads") }, []string{"num_attention_heads is 12"}, nil},
		{"activation left out", func(_, v, _ map[string]any) { delete(v, "hidden_act") }, nil, func(c Config) bool { return c.Vision.Activation == transformer.QuickGELU }},
		{"gelu", func(_, v, _ map[string]any) { v["hidden_act"] = "gelu" }, nil, func(c Config) bool {
			return c.Vision.Activation == transformer.GELU && c.Text.Activation == transformer.QuickGELU
		}},
		{"another activation", func(_, v, _ map[string]any) { v["hidden_act"] = "relu" }, []string{`hidden_act is "relu"`}, nil},
		{"epsilon", func(_, v, _ map[string]any) { v["layer_norm_eps"] = 1e-6 }, nil, func(c Config) bool { return c.Vision.NormEps == 1e-6 }},
		{"epsilon 0", func(_, v, _ map[string]any) { v["layer_norm_eps"] = 0 }, []string{"norm epsilon is 0"}, nil},
		{"old names win", func(top, v, _ map[string]any) {
			top["vision_config_dict"] = map[string]any{"num_attention_heads": 2}
		}, nil, func(c Config) bool { return c.Vision.Heads == 2 }},
		{"legacy end of text", func(_, _, x map[string]any) { x["eos_token_id"], x["bos_token_id"] = 2, 0 }, nil, func(c Config) bool { return c.Text.EOS == 49 && c.Text.BOS == 48 }},
		{"grey images", func(_, v, _ map[string]any) { v["num_channels"] = 1 }, []string{"num_channels is 1, the tensors say 3"}, nil},
		{"another model", func(top, _, _ map[string]any) { top["model_type"] = "siglip" }, []string{`model_type is "siglip"`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, _ := json.Marshal(base)
			var top map[string]any
			json.Unmarshal(raw, &top)
			c.edit(top, top["vision_config"].(map[string]any), top["text_config"].(map[string]any))
			dir := t.TempDir()
			b, err := os.ReadFile(tiny(t, "huggingface/model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			os.WriteFile(filepath.Join(dir, weightsFile), b, 0o666)
			raw, _ = json.Marshal(top)
			os.WriteFile(filepath.Join(dir, configFile), raw, 0o666)
			m, err := Open(dir)
			if err == nil {
				defer m.Close()
				err = m.ready()
			}
			if c.want == nil {
				if err != nil || !c.ok(m.config) {
					t.Errorf("got %+v, %v", m, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("resolved: %+v", m.config)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error is %q, want %q in it", err, w)
				}
			}
		})
	}
}

// TestHeadsUnknown: a width that OpenAI's rule says nothing about needs a config.json.
func TestHeadsUnknown(t *testing.T) {
	m := &Model{file: checkpoint.New("x"), name: "x", assumed: transformer.GELU, dialect: openAI, has: inventory{vision: true}, sizes: sizes{"C": 96, "T": 17, "P": 6, "L": 2, "F": 9}}
	settled := func() error { return errors.Join(m.configure(), m.decide()) }
	if err := settled(); err == nil || !strings.Contains(err.Error(), "width 96, and no configuration says how many heads it has") {
		t.Errorf("error is %v", err)
	}
	m.sizes["C"] = 1280 // OpenCLIP's ViT-H/14 has 16 heads of 80
	if err := settled(); err == nil || !strings.Contains(err.Error(), "width 1280, and no configuration says how many heads it has") {
		t.Errorf("error is %v", err)
	}
	m.sizes["C"], m.sizes["T"] = 64, 18
	if err := m.configure(); err == nil || !strings.Contains(err.Error(), "18 positions") {
		t.Errorf("error is %v", err)
	}
}

// TestSharded opens a model in several files with an index.
func TestSharded(t *testing.T) {
	all := contents(t, tiny(t, "huggingface-vision"))
	write := func(t *testing.T, edit func(index map[string]string)) string {
		dir := t.TempDir()
		index := map[string]string{}
		for i, part := range [][]named{all[:9], all[9:20], all[20:]} {
			name := fmt.Sprintf("model-%05d-of-00003.safetensors", i+1)
			os.WriteFile(filepath.Join(dir, name), asSafetensors(t, part), 0o666)
			for _, x := range part {
				index[x.name] = name
			}
		}
		edit(index)
		raw, _ := json.Marshal(map[string]any{"weight_map": index})
		os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), raw, 0o666)
		raw, _ = os.ReadFile(tiny(t, "huggingface-vision/config.json"))
		os.WriteFile(filepath.Join(dir, configFile), raw, 0o666)
		return dir
	}
	m, err := Load(write(t, func(map[string]string) {}))
	if err != nil {
		t.Fatal(err)
	}
	sameParameters(t, parameters(m), wanted(t))

	const some = "visual_projection.weight"
	for name, c := range map[string]struct {
		edit func(map[string]string)
		want string
	}{
		"file elsewhere":    {func(m map[string]string) { m[some] = "../model.safetensors" }, "want a file of the same directory"},
		"absolute path":     {func(m map[string]string) { m[some] = "/etc/passwd" }, "want a file of the same directory"},
		"wrong file":        {func(m map[string]string) { m[some] = "model-00001-of-00003.safetensors" }, "visual_projection.weight is in"},
		"file missing":      {func(m map[string]string) { m["x"] = "other.safetensors" }, "other.safetensors"},
		"tensor missing":    {func(m map[string]string) { m["x"] = "model-00001-of-00003.safetensors" }, "the index names 41 tensors, the files have 40"},
		"tensor not listed": {func(m map[string]string) { delete(m, some) }, some},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(write(t, c.edit)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
		})
	}
}

// TestAtomic: a directory appears whole or not at all, and nothing is replaced unasked.
func TestAtomic(t *testing.T) {
	src := tiny(t, "openai_torch1.7.1.pt")
	entries := func(dir string) []string {
		var names []string
		list, _ := os.ReadDir(dir)
		for _, e := range list {
			names = append(names, e.Name())
		}
		return names
	}
	t.Run("interrupted", func(t *testing.T) {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := convertFile(ctx, src, filepath.Join(dir, "out"), Options{Progress: func(done, total int64) {
			if done > total/2 {
				if len(entries(dir)) != 1 {
					t.Errorf("while it is written, %v is there", entries(dir))
				}
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want %v", err, context.Canceled)
		}
		if left := entries(dir); left != nil {
			t.Errorf("%v is left", left)
		}
	})
	t.Run("empty directory", func(t *testing.T) {
		dst := t.TempDir()
		if _, err := convertFile(t.Context(), src, dst, Options{}); err != nil {
			t.Fatal(err)
		}
		if got := entries(dst); !slices.Equal(got, []string{configFile, weightsFile, preprocessorFile, "tokenizer_config.json"}) {
			t.Errorf("%v is there", got)
		}
	})
	t.Run("model is there", func(t *testing.T) {
		dir := t.TempDir()
		dst := filepath.Join(dir, "deep", "out")
		if _, err := convertFile(t.Context(), src, dst, Options{}); err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(dst, "merges.txt"), nil, 0o666) // of the tokenizer, and not written again
		if _, err := convertFile(t.Context(), src, dst, Options{}); err == nil || !strings.Contains(err.Error(), "is not empty") || !errors.Is(err, ErrExists) {
			t.Errorf("error is %v, want that it is not empty, and ErrExists", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := convertFile(ctx, src, dst, Options{Overwrite: true}); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		if got := entries(dst); !slices.Contains(got, "merges.txt") {
			t.Errorf("a conversion that failed replaced the old model by %v", got)
		}
		if _, err := convertFile(t.Context(), src, dst, Options{Overwrite: true}); err != nil {
			t.Fatal(err)
		}
		if got := entries(dst); !slices.Equal(got, []string{configFile, weightsFile, preprocessorFile, "tokenizer_config.json"}) {
			t.Errorf("%v is there", got)
		}
		if got := entries(filepath.Dir(dst)); len(got) != 1 {
			t.Errorf("%v is left beside it", got)
		}
	})
	t.Run("onto itself", func(t *testing.T) {
		dst := filepath.Join(t.TempDir(), "out")
		if _, err := convertFile(t.Context(), src, dst, Options{}); err != nil {
			t.Fatal(err)
		}
		if _, err := convertFile(t.Context(), dst, dst, Options{DType: "f32", Overwrite: true}); err != nil {
			t.Fatal(err)
		}
		m, err := Load(dst)
		if err != nil {
			t.Fatal(err)
		}
		sameParameters(t, parameters(m), wanted(t))
	})
	t.Run("no model", func(t *testing.T) {
		dst := t.TempDir()
		os.WriteFile(filepath.Join(dst, "merges.txt"), nil, 0o666)
		if _, err := convertFile(t.Context(), src, dst, Options{Overwrite: true}); err == nil || !strings.Contains(err.Error(), "not a model directory") {
			t.Errorf("error is %v, want that it is no model directory", err)
		}
		os.WriteFile(filepath.Join(dst, configFile), nil, 0o666)
		os.WriteFile(filepath.Join(dst, "thesis.txt"), []byte("years"), 0o666)
		if _, err := convertFile(t.Context(), src, dst, Options{Overwrite: true}); err == nil || !strings.Contains(err.Error(), "holds thesis.txt") {
			t.Errorf("error is %v, want that it holds thesis.txt", err)
		}
		if got := entries(dst); !slices.Equal(got, []string{configFile, "merges.txt", "thesis.txt"}) {
			t.Errorf("%v is there", got)
		}
	})
	t.Run("nothing is left above it", func(t *testing.T) {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, to := range []string{"openai", "openclip"} {
			if _, err := exportFile(ctx, src, filepath.Join(dir, "deep", "deeper", "out"), ExportOptions{To: to}); !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v, want %v", err, context.Canceled)
			}
			if left := entries(dir); left != nil {
				t.Errorf("%v is left", left)
			}
		}
	})
	t.Run("no temporary names in errors", func(t *testing.T) {
		dir := t.TempDir()
		dst := filepath.Join(dir, "out")
		err := writeDir(dst, false, func(tmp string) error { return os.Mkdir(filepath.Join(tmp, "a", "b"), 0o777) })
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dst, "a", "b")) || strings.Contains(err.Error(), ".partial") {
			t.Errorf("a directory: error is %v", err)
		}
		err = writeOne(dst, false, func(f *os.File) error { return os.Mkdir(filepath.Join(f.Name(), "a"), 0o777) })
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dst, "a")) || strings.Contains(err.Error(), ".partial") {
			t.Errorf("a file: error is %v", err)
		}
		// A name that leaves no room for a temporary one: most file systems take 255 bytes.
		long := filepath.Join(dir, strings.Repeat("x", 250))
		for _, to := range []string{"openai", "openclip"} {
			_, err := exportFile(t.Context(), src, long, ExportOptions{To: to})
			if err == nil || !strings.Contains(err.Error(), "converter: "+long+": cannot write in the folder "+dir+": ") || strings.Contains(err.Error(), ".partial") {
				t.Errorf("%s: error is %v", to, err)
			}
		}
		if left := entries(dir); left != nil {
			t.Errorf("%v is left", left)
		}
	})
	t.Run("a file", func(t *testing.T) {
		dst := filepath.Join(t.TempDir(), "x")
		os.WriteFile(dst, []byte("x"), 0o666)
		if _, err := convertFile(t.Context(), src, dst, Options{Overwrite: true}); err == nil || !strings.Contains(err.Error(), dst+" is a file, want a directory that") {
			t.Errorf("error is %v, want that %s is a file", err, dst)
		}
	})
}

func TestInspect(t *testing.T) {
	info, err := Inspect(t.Context(), tiny(t, "openai_torch1.7.1.pt"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Container != "TorchScript archive" || info.Dialect != "OpenAI" || info.Config.Vision != tinyConfig || info.Problem != "" ||
		info.Parameters != 163457 || len(info.Tensors) != 53 || !maps.Equal(info.DTypes, map[string]int{"F16": 27, "F32": 23, "I64": 3}) {
		t.Errorf("info is %+v", info)
	}
	sums, err := os.ReadFile(golden.Path(t, "testdata/SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(sums, []byte(info.SHA256)) {
		t.Errorf("SHA-256 %s is not among those of testdata", info.SHA256)
	}
	raw, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte(`{"name":"logit_scale","dtype":"F32","shape":[]}`)) {
		t.Errorf("JSON has no scalar: %.300s", raw)
	}

	path := filepath.Join(t.TempDir(), "x.pt")
	os.WriteFile(path, noCLIP(t), 0o666)
	if info, err = Inspect(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(info.Problem, "has a name of CLIP's") || info.Config != nil || info.Parameters != 6 {
		t.Errorf("info is %+v", info)
	}
}

// TestVocabulary: a vocabulary goes with a text tower of as many words.
func TestVocabulary(t *testing.T) {
	path := golden.Path(t, "cliptext/bpe_simple_vocab_16e6.txt.gz")
	dir := t.TempDir()
	_, err := convertFile(t.Context(), tiny(t, "openai_torch1.7.1.pt"), filepath.Join(dir, "out"), Options{Vocab: path})
	if err == nil || !strings.Contains(err.Error(), "49408 tokens, the last of a text 49407; the text tower has 50, the last 49") {
		t.Errorf("error is %v, want that the vocabulary is another's", err)
	}
	_, err = convertFile(t.Context(), tiny(t, "openai_torch1.7.1.pt"), filepath.Join(dir, "out"), Options{Vocab: path, VisionOnly: true})
	if err == nil || !strings.Contains(err.Error(), "no text tower") {
		t.Errorf("error is %v, want that there is no text tower", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

func TestNoVocabulary(t *testing.T) {
	for name, data := range map[string]string{"no gzip": "hello", "empty": ""} {
		path := filepath.Join(t.TempDir(), "v.gz")
		os.WriteFile(path, []byte(data), 0o666)
		_, err := convertFile(t.Context(), tiny(t, "openai_torch1.7.1.pt"), filepath.Join(t.TempDir(), "out"), Options{Vocab: path})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
