package converter

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/golden"
)

// loadAll opens data as a model and does everything with it that a user may. Nothing may panic, and what is loaded
// must be sound.
func loadAll(t *testing.T, data []byte) {
	f, err := checkpoint.OpenReader(bytes.NewReader(data), int64(len(data)), "test")
	if err != nil {
		return
	}
	_, sumErr := f.SHA256(t.Context())
	s := newSource(f, []OpenOption{Assume(transformer.QuickGELU)})
	if info, err := s.inspect(t.Context()); (err == nil) != (sumErr == nil) || err == nil && len(info.Tensors) != len(f.Tensors()) {
		t.Errorf("%+v (%v) is said of %d tensors (%v)", info, err, len(f.Tensors()), sumErr)
	}
	m, err := s.model()
	if err != nil {
		return
	}
	m.Projector(t.Context())
	m.Outline("")
	if text, err := m.Text(t.Context()); err == nil && text.Config.Validate() != nil {
		t.Errorf("a text tower of configuration %+v was loaded", text.Config)
	}
	if tower, err := m.Vision(t.Context()); err == nil && tower.Config.Validate() != nil {
		t.Errorf("a model of configuration %+v was loaded", tower.Config)
	}
	for _, p := range m.Parameters() {
		p.Verify(t.Context())
		p.Float64s(make([]float64, 1), 0, nil)
	}
}

// replaced returns a zip archive with another content of the entries that edit has one for. Sizes and checksums fit.
func replaced(t testing.TB, archive []byte, edit func(name string, data []byte) (string, []byte)) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		name, data := edit(f.Name, data)
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: f.Method})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entryOf returns the content of the first entry of a zip archive whose name ends so.
func entryOf(t testing.TB, archive []byte, suffix string) (data []byte) {
	t.Helper()
	replaced(t, archive, func(name string, b []byte) (string, []byte) {
		if data == nil && strings.HasSuffix(name, suffix) {
			data = b
		}
		return name, b
	})
	if data == nil {
		t.Fatalf("no entry is called …%s", suffix)
	}
	return data
}

// files returns the content of files of the tests.
func files(t testing.TB, names ...string) (all [][]byte) {
	t.Helper()
	for _, name := range names {
		b, err := os.ReadFile(golden.Path(t, "testdata/"+name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// linear returns the tensors of a projector, which are a model in few bytes.
func linear(t testing.TB) []named { return contents(t, family(t, "llava-linear")) }

// models returns a model in every container that there is a writer for, by name.
func models(t testing.TB, tensors []named) map[string][]byte {
	t.Helper()
	return map[string][]byte{
		"safetensors": asSafetensors(t, tensors),
		"torch":       fileOf(t, tensors, checkpoint.WriteTorch),
		"npz":         fileOf(t, tensors, checkpoint.WriteNPZ),
		"torchscript": fileOf(t, tensors, func(w io.Writer, entries []checkpoint.Entry, emit checkpoint.Emit) error {
			return checkpoint.WriteTorchScript(w, openAIScript, entries, emit)
		}),
	}
}

// TestContainers: a model is the same in every container.
func TestContainers(t *testing.T) {
	for what, tensors := range map[string][]named{"projector": linear(t), "CLIP": contents(t, tiny(t, "float32_torch2.0.1.pt"))} {
		for name, b := range models(t, tensors) {
			m, err := openBytes(b, Assume(transformer.QuickGELU))
			if err != nil {
				t.Errorf("%s as %s: %v", what, name, err)
				continue
			}
			if what == "projector" {
				_, err = m.Projector(t.Context())
			} else if tower, e := m.Vision(t.Context()); e != nil {
				err = e
			} else {
				sameParameters(t, parameters(tower), wanted(t))
			}
			if err != nil {
				t.Errorf("%s as %s: %v", what, name, err)
			}
		}
	}
}

// FuzzLoad loads damaged files of every container. The checksums of archives stop most of what is damaged in them
// before it is loaded; that is for the next targets.
func FuzzLoad(f *testing.F) {
	for _, tensors := range [][]named{linear(f), contents(f, family(f, "openclip-text"))} {
		for _, b := range models(f, tensors) {
			f.Add(b)
		}
	}
	for _, b := range files(f, "tiny/state_legacy.pt", "tiny/openai_torch1.7.1.pt", "families/llava-projector/mm_projector.bin") {
		f.Add(b)
	}
	f.Fuzz(loadAll)
}

// FuzzLoadPickle loads archives of torch.save and torch.jit.save with any pickle. Storages and checksums are sound.
func FuzzLoadPickle(f *testing.F) {
	all := append(files(f, "tiny/openai_torch1.7.1.pt", "tiny/state_torch2.9.1.pt", "families/llava-projector/mm_projector.bin"),
		fileOf(f, linear(f), checkpoint.WriteTorch))
	for i, b := range all {
		f.Add(uint8(i), entryOf(f, b, "/data.pkl"))
	}
	f.Fuzz(func(t *testing.T, which uint8, pickle []byte) {
		loadAll(t, replaced(t, all[int(which)%len(all)], func(name string, data []byte) (string, []byte) {
			if strings.HasSuffix(name, "/data.pkl") {
				data = pickle
			}
			return name, data
		}))
	})
}

// FuzzLoadSafetensors loads what headers of safetensors say, whatever that is.
func FuzzLoadSafetensors(f *testing.F) {
	f.Add(`{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 24)
	for _, b := range append(files(f, "tiny/huggingface-vision/model.safetensors", "families/llava-hf/model.safetensors"), asSafetensors(f, linear(f))) {
		n := int(binary.LittleEndian.Uint64(b))
		f.Add(string(b[8:8+n]), len(b)-8-n)
	}
	f.Fuzz(func(t *testing.T, header string, data int) {
		if data >= 0 && data < 1<<20 {
			loadAll(t, safetensorsOf(header, data))
		}
	})
}

// FuzzLoadNPZ loads archives of arrays, of which one has any name and content.
func FuzzLoadNPZ(f *testing.F) {
	all := [][]byte{fileOf(f, linear(f), checkpoint.WriteNPZ), fileOf(f, contents(f, family(f, "openclip-text")), checkpoint.WriteNPZ)}
	for i, b := range all {
		n := uint8(0)
		replaced(f, b, func(name string, data []byte) (string, []byte) {
			f.Add(uint8(i), n, name, data)
			n++
			return name, data
		})
	}
	f.Fuzz(func(t *testing.T, which, array uint8, name string, content []byte) {
		if len(name) > 1<<10 || strings.HasSuffix(name, "/") { // a folder, which has no content
			return
		}
		n := uint8(0)
		loadAll(t, replaced(t, all[int(which)%len(all)], func(was string, data []byte) (string, []byte) {
			if n++; n-1 == array {
				return name, content
			}
			return was, data
		}))
	})
}

// FuzzIndex opens a directory whose index says anything, of files that are what the right one says.
func FuzzIndex(f *testing.F) {
	const index = "pytorch_model.bin.index.json"
	dir := f.TempDir()
	if err := os.CopyFS(dir, os.DirFS(golden.Path(f, "testdata/families/xcomposer2-vl"))); err != nil {
		f.Fatal(err)
	}
	right, err := os.ReadFile(filepath.Join(dir, index))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(right))
	f.Add(`{"weight_map":{"a":".","b":"..","c":"/etc/passwd","d":"x/../y","e":"","f":"` + index + `"}}`)
	f.Add(`{"weight_map":{"model.layers.0":"gone.bin","vit.vision_tower.vision_model.embeddings.class_embedding":"config.json"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(filepath.Join(dir, index), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := Open(dir)
		if err != nil {
			return
		}
		defer c.Close()
		m, err := c.Vision(t.Context())
		if err == nil && m.Config.Validate() != nil {
			t.Errorf("a model of configuration %+v was loaded", m.Config)
		}
	})
}

// FuzzConfigs loads sound tensors of every family beside configurations that say anything.
func FuzzConfigs(f *testing.F) {
	var all [][]byte
	for _, name := range []string{"openclip-text", "llava-hf", "llava", "xcomposer2-hd", "xtuner", "hf-clip-bin", "timm", "timm-classifier", "hf5-classifier"} {
		all = append(all, asSafetensors(f, contents(f, golden.Path(f, "testdata/families/"+name))))
		dir := golden.Path(f, "testdata/families/"+name)
		for _, file := range []string{configFile, openCLIPConfig, "projector/config.json", "visual_encoder/config.json"} {
			if raw, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				f.Add(uint8(len(all)-1), raw, raw, raw)
			}
		}
	}
	own := []byte(`{"projector_type":"mlp2x_gelu","in":256,"out":12,"family":"xcomposer2-hd","select_layer":-1,"select_feature":"patch","image_size":16}`)
	f.Add(uint8(3), []byte(`{"model_type":"clip_vision_model","no_post_layernorm":true}`), []byte(nil), own)
	f.Fuzz(func(t *testing.T, which uint8, config, openCLIP, projector []byte) {
		s := sourceOf(t, all[int(which)%len(all)])
		b := &s.beside
		for to, raw := range map[*[]byte][]byte{&b.config: config, &b.openCLIP: openCLIP, &b.projector: projector} {
			if len(raw) > 0 {
				*to = raw
			}
		}
		s.inspect(t.Context())
		c, err := s.model()
		if err != nil {
			return
		}
		m, err := c.Vision(t.Context())
		if err == nil && m.Config.Validate() != nil {
			t.Errorf("a model of configuration %+v was loaded", m.Config)
		}
		if k, err := c.Classifier(t.Context()); err == nil && k != nil && (len(k.Bias) != len(k.Classes) || len(k.Weight) != len(k.Bias)*c.config.Vision.Width) {
			t.Errorf("a classifier of %d classes has %d weights", len(k.Classes), len(k.Weight))
		}
		if p, err := c.Projector(t.Context()); err == nil {
			// What a language model is fed with must be one of the layers that there are.
			if n := p.Config.SelectLayer; n != nil && m != nil && (*n > m.Config.Layers || *n < -1-m.Config.Layers) {
				t.Errorf("layer %d of a tower of %d is selected", *n, m.Config.Layers)
			}
		}
	})
}
