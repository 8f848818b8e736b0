package converter

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
)

// TestProcessorFiles: what lies beside the tensors decides, wherever it says something; two files that say different
// things are an error that names both.
func TestProcessorFiles(t *testing.T) {
	half := []any{0.5, 0.5, 0.5}
	square := map[string]any{"height": 24, "width": 24}
	rules := clipvit.Transform{Rounding: clipvit.RoundTransformers, Alpha: clipvit.AlphaWhite}
	siglip := clipvit.Transform{Fit: clipvit.FitSquash, Filter: clipvit.FilterBicubic, Mean: [3]float64{0.5, 0.5, 0.5}, Std: [3]float64{0.5, 0.5, 0.5}, Alpha: clipvit.AlphaWhite}
	squashing := map[string]any{"image_processor_type": "CLIPImageProcessor", "size": square, "do_center_crop": false, "image_mean": half, "image_std": half}
	nested := func(p any) map[string]any {
		return map[string]any{"processor_class": "CLIPProcessor", "image_processor": p}
	}
	openCLIP := func(cfg any) map[string]any {
		return map[string]any{"model_cfg": map[string]any{}, "preprocess_cfg": cfg}
	}
	for _, c := range []struct {
		name  string
		files map[string]any // nil: removed
		want  clipvit.Transform
		wrong []string // in the error; none if it must load
	}{
		{"none", map[string]any{preprocessorFile: nil}, clipvit.Transform{}, nil}, // transformers prepares no image, either
		{"nested", map[string]any{preprocessorFile: nil, processorFile: nested(squashing)}, siglip, nil},
		{"plain", map[string]any{preprocessorFile: squashing}, siglip, nil},
		{"nested, of something else", map[string]any{processorFile: map[string]any{"processor_class": "CLIPProcessor", "image_seq_length": 9}}, rules, nil},
		{"nested, no object", map[string]any{processorFile: nested("CLIP")}, rules, []string{processorFile + ": image_processor is CLIP, want an object"}},
		{"nested, for another tower", map[string]any{preprocessorFile: nil, processorFile: nested(map[string]any{"size": map[string]any{"shortest_edge": 224}, "crop_size": 224})}, rules,
			[]string{processorFile, "crop_size is 224, want 24"}},
		{"contradicting", map[string]any{processorFile: nested(squashing)}, rules,
			[]string{processorFile, " and ", preprocessorFile, "contradict each other: fit squash and shortest", "mean [0.5 0.5 0.5] and [0.48"}},
		{"agreeing", map[string]any{processorFile: nested(squashing), preprocessorFile: squashing}, siglip, nil},
		{"OpenCLIP squashes", map[string]any{preprocessorFile: nil, openCLIPConfig: openCLIP(map[string]any{"resize_mode": "squash"})}, clipvit.Transform{
			Fit: clipvit.FitSquash, Filter: clipvit.FilterBicubic, Mean: clipMean, Std: clipStd}, nil},
		{"OpenCLIP fills", map[string]any{preprocessorFile: nil, openCLIPConfig: openCLIP(map[string]any{"resize_mode": "longest", "fill_color": 9, "interpolation": "bilinear"})}, clipvit.Transform{
			Fit: clipvit.FitLongest, Filter: clipvit.FilterBilinear, Mean: clipMean, Std: clipStd, Fill: [3]uint8{9, 9, 9}}, nil},
		{"OpenCLIP says nothing", map[string]any{openCLIPConfig: map[string]any{"model_cfg": map[string]any{}}}, rules, nil},
		{"OpenCLIP agrees", map[string]any{openCLIPConfig: openCLIP(map[string]any{"resize_mode": "shortest", "interpolation": "bicubic", "size": 24})}, rules, nil},
		{"OpenCLIP contradicts", map[string]any{openCLIPConfig: openCLIP(map[string]any{"resize_mode": "squash"})}, rules,
			[]string{preprocessorFile, openCLIPConfig, "contradict each other: fit shortest and squash"}},
		{"OpenCLIP's tower is another", map[string]any{preprocessorFile: nil, openCLIPConfig: openCLIP(map[string]any{"size": 224})}, rules,
			[]string{openCLIPConfig, "preprocess_cfg.size is 224, want 24"}},
		{"OpenAI's rules", map[string]any{preprocessorFile: map[string]any{libraryKey: "openai"}}, clipvit.Transform{}, nil},
		{"older rules", map[string]any{preprocessorFile: map[string]any{libraryKey: "transformers-5.20"}}, clipvit.Transform{Rounding: clipvit.RoundTransformers, Alpha: clipvit.AlphaDropFirst}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyDir(t, "huggingface")
			for name, v := range c.files {
				path := filepath.Join(dir, name)
				if v == nil {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
					continue
				}
				raw, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, raw, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			m, err := Load(dir)
			for _, w := range c.wrong {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("error is %v, want one with %q", err, w)
				}
			}
			if c.wrong != nil {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Config.Transform != c.want {
				t.Errorf("transform is %+v, want %+v", m.Config.Transform, c.want)
			}
			dst := filepath.Join(t.TempDir(), "out")
			_, err = convertFile(t.Context(), dir, dst, Options{})
			if c.want.Fit == clipvit.FitLongest {
				if err == nil || !strings.Contains(err.Error(), "transformers has no image processor that does it") {
					t.Errorf("error is %v, want that the form cannot say it", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m, err = Load(dst); err != nil || m.Config.Transform != c.want {
				t.Errorf("after the conversion: %+v, %v, want %+v", m.Config.Transform, err, c.want)
			}
		})
	}
}

// TestPrepareFit: another fit than a model's files say is by the rules of its library.
func TestPrepareFit(t *testing.T) {
	for _, c := range []struct {
		library string
		want    clipvit.Transform
	}{
		{"transformers", clipvit.Transform{Rounding: clipvit.RoundTransformers, Alpha: clipvit.AlphaWhite}},
		{"transformers-5.20", clipvit.Transform{Rounding: clipvit.RoundTransformers, Alpha: clipvit.AlphaDropFirst}},
		{"open_clip", clipvit.Transform{}},
	} {
		dir := copyDir(t, "huggingface")
		raw := fmt.Sprintf(`{"size": {"height": 24, "width": 24}, "do_center_crop": false, %q: %q}`, libraryKey, c.library)
		if err := os.WriteFile(filepath.Join(dir, preprocessorFile), []byte(raw), 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := Open(dir, Prepare(clipvit.Choice{Fit: "crop"}))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if got := m.config.Vision.Transform; got != c.want {
			t.Errorf("%s: transform is %+v, want %+v", c.library, got, c.want)
		}
		if _, err := m.Convert(t.Context(), filepath.Join(t.TempDir(), "out"), Options{}); err != nil {
			t.Error(err)
		}
	}
}

// TestLibraryRecorded: what is converted keeps the preprocessing of the library that it comes from.
func TestLibraryRecorded(t *testing.T) {
	for path, want := range map[string]string{
		tiny(t, "openai_torch1.7.1.pt"): "openai", tiny(t, "huggingface"): "transformers", family(t, "openclip-gelu"): "open_clip", family(t, "llava"): "transformers-5.20",
	} {
		dst := filepath.Join(t.TempDir(), "out")
		r, err := convertFile(t.Context(), path, dst, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := readJSON(t, filepath.Join(dst, preprocessorFile))[libraryKey]; got != want {
			t.Errorf("%s: %s is %v, want %s", path, libraryKey, got, want)
		}
		m, err := Load(dst)
		if err != nil || m.Config.Transform != r.Config.Vision.Transform {
			t.Errorf("%s: %+v, %v, want %+v", path, m.Config.Transform, err, r.Config.Vision.Transform)
		}
	}
}

// FuzzPreprocessor looks for panics, and for transforms that are read and cannot be computed.
func FuzzPreprocessor(f *testing.F) {
	for _, name := range []string{"huggingface"} {
		raw, err := os.ReadFile(filepath.Join(tiny(f, name), preprocessorFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"image_processor_type":"ConvNextImageProcessor","size":{"shortest_edge":24},"crop_pct":1e-9}`))
	f.Add([]byte(`{"image_processor_type":"LlavaImageProcessor","do_pad":true,"size":30,"image_mean":-7,"vitago_library":"immich"}`))
	f.Add([]byte(`{"size":[24,24],"pad_size":[1],"do_pad":true,"image_std":[1e-300,1,1]}`))
	c := tinyConfig
	f.Fuzz(func(t *testing.T, raw []byte) {
		var object map[string]any
		if json.Unmarshal(raw, &object) != nil {
			return
		}
		tr, library, err := readPreprocessor(object, c, byTransformers)
		if err == nil {
			c := c
			c.Transform = tr
			if err := c.Validate(); err != nil {
				t.Errorf("%s is read as %+v: %v", raw, tr, err)
			}
			if _, err := preprocessorJSON(c, library); err != nil {
				t.Errorf("%s is read as %+v, which cannot be written: %v", raw, tr, err)
			}
		}
		readPreprocess(object, c)
	})
}
