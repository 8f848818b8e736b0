package converter

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/golden"
)

// FuzzLoad loads what headers of safetensors say, whatever that is: nothing may panic. Damaged containers of
// every kind are for the fuzz tests of package checkpoint.
func FuzzLoad(f *testing.F) {
	f.Add(`{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 24)
	for _, file := range []string{"tiny/huggingface-vision", "families/llava-hf"} {
		b, err := os.ReadFile(golden.Path(f, "testdata/"+file+"/model.safetensors"))
		if err != nil {
			f.Fatal(err)
		}
		n := int(b[0]) | int(b[1])<<8
		f.Add(string(b[8:8+n]), len(b)-8-n)
	}
	f.Fuzz(func(t *testing.T, header string, data int) {
		if data < 0 || data >= 1<<20 {
			return
		}
		b := safetensorsOf(header, data)
		f, err := checkpoint.OpenReader(bytes.NewReader(b), int64(len(b)), "test")
		if err != nil {
			return
		}
		s := newSource(f, nil)
		s.inspect(t.Context())
		c, err := s.model()
		if err != nil {
			return
		}
		c.Projector(t.Context())
		if m, err := c.Vision(t.Context()); err == nil && m.Config.Validate() != nil {
			t.Errorf("a model of configuration %+v was loaded", m.Config)
		}
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
	for _, name := range []string{"openclip-text", "llava-hf", "llava", "xcomposer2-hd", "xtuner", "hf-clip-bin"} {
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
		if p, err := c.Projector(t.Context()); err == nil {
			// What a language model is fed with must be one of the layers that there are.
			if n := p.Config.SelectLayer; n != nil && m != nil && (*n > m.Config.Layers || *n < -1-m.Config.Layers) {
				t.Errorf("layer %d of a tower of %d is selected", *n, m.Config.Layers)
			}
		}
	})
}
