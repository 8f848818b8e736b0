package converter

import (
	"archive/zip"
	"encoding/json"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
)

// What is written of a transform is read as the same, in both forms; what a form has no place for is an error that says what.
func TestTransformForms(t *testing.T) {
	odd := [3]float64{0.5, 0.25, 0.125}
	forms := map[string]struct {
		write func(c clipvit.Config) (map[string]any, error)
		read  func(object map[string]any, c clipvit.Config) (clipvit.Transform, bool)
		rules bool // the form says by whose rules, too
	}{
		preprocessorFile: {
			func(c clipvit.Config) (map[string]any, error) { return preprocessorJSON(c, byOpenAI) },
			func(object map[string]any, c clipvit.Config) (clipvit.Transform, bool) {
				t, _, err := readPreprocessor(object, c, byTransformers)
				return t, err == nil
			}, true,
		},
		openCLIPConfig: {
			func(c clipvit.Config) (map[string]any, error) { return preprocessJSON(c.Transform) },
			func(object map[string]any, c clipvit.Config) (clipvit.Transform, bool) {
				t, errs := readPreprocess(object, c)
				return t, len(errs) == 0
			}, false,
		},
	}
	for _, c := range []struct {
		t       clipvit.Transform
		refused map[string]string // by form: what its error says
	}{
		{t: clipvit.Transform{}},
		{t: clipvit.Transform{Filter: "bilinear"}},
		{t: clipvit.Transform{Mean: odd, Std: odd}},
		{t: clipvit.Transform{Std: [3]float64{1, 1, 1}}},
		{t: clipvit.Transform{Fit: "squash", Mean: odd, Std: [3]float64{1, 1, 1}}},
		{t: clipvit.Transform{Rounding: "transformers", Alpha: "white"}},
		{t: clipvit.Transform{Rounding: "transformers", Alpha: "drop-first", Fit: "squash"}},
		{t: clipvit.Transform{Rounding: "immich", Alpha: "drop-first", Mean: odd, Std: odd}},
		{clipvit.Transform{Filter: "lanczos"}, map[string]string{openCLIPConfig: "scaled by lanczos"}},
		{clipvit.Transform{Filter: "nearest", Fit: "squash"}, map[string]string{openCLIPConfig: "scaled by nearest"}},
		{clipvit.Transform{Resize: 256}, map[string]string{openCLIPConfig: "scaled to 256 pixels"}},
		{clipvit.Transform{Resize: 256, Fit: "squash", Rounding: "transformers", Alpha: "white"}, map[string]string{openCLIPConfig: "scaled to 256 pixels"}},
		{clipvit.Transform{Fit: "pad", Fill: [3]uint8{122, 116, 104}}, map[string]string{openCLIPConfig: "square by pad"}},
		{clipvit.Transform{Fit: "pad"}, map[string]string{openCLIPConfig: "square by pad", preprocessorFile: "with colour [0 0 0]"}},
		{clipvit.Transform{Fit: "longest", Fill: [3]uint8{7, 7, 7}}, map[string]string{preprocessorFile: "square by longest"}},
		{clipvit.Transform{Fit: "longest", Fill: [3]uint8{7, 8, 7}}, map[string]string{preprocessorFile: "square by longest", openCLIPConfig: "colour [7 8 7]"}},
		{clipvit.Transform{Rounding: "torchvision", Alpha: "white"}, map[string]string{preprocessorFile: "rounding torchvision with alpha white is no library's"}},
	} {
		for name, form := range forms {
			config := clipvit.ViTB32
			config.Transform = c.t
			written, err := form.write(config)
			if want := c.refused[name]; want != "" {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %+v: error is %v, want one with %q", name, c.t, err, want)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %+v: %v", name, c.t, err)
				continue
			}
			text, err := json.Marshal(written)
			if err != nil {
				t.Fatal(err)
			}
			var object map[string]any
			if err := json.Unmarshal(text, &object); err != nil {
				t.Fatal(err)
			}
			want := c.t
			if !form.rules {
				want.Rounding, want.Alpha = "", ""
			}
			got, accepted := form.read(object, config)
			if got != want.Canonical() || !accepted {
				t.Errorf("%s: %+v is written as %s and read as %+v, accepted: %v", name, c.t, text, got, accepted)
			}
			// Written out, zero fields are the same.
			config.Transform = c.t.Resolved()
			if written, err = form.write(config); err != nil {
				t.Fatal(err)
			}
			if again, err := json.Marshal(written); err != nil || string(again) != string(text) {
				t.Errorf("%s: written out it is %s, %v, want %s", name, again, err, text)
			}
		}
	}
	for name, form := range forms { // types that say nothing
		for _, bad := range []any{[]any{}, map[string]any{}, "3", true, 1e300} {
			object := map[string]any{"resample": bad, "image_mean": bad, "mean": bad, "interpolation": bad}
			if got, ok := form.read(object, clipvit.ViTB32); ok && got != (clipvit.Transform{}) && got != byLibrary(byTransformers) {
				t.Errorf("%s: %v is read as %+v", name, object, got)
			}
		}
	}
}

// A model has its own library's rules: OpenAI's an archive, transformers' a directory in its form.
func TestTransformOfModels(t *testing.T) {
	for path, want := range map[string]clipvit.Transform{
		tiny(t, "openai_torch1.7.1.pt"): {},
		tiny(t, "huggingface"):          {Rounding: "transformers", Alpha: "white"},
	} {
		m, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if m.Config.Transform != want {
			t.Errorf("%s: transform is %+v, want %+v", path, m.Config.Transform, want)
		}
	}
}

// Configurations of transformers' classes give the pixels that AutoImageProcessor of 5.24.0 gives on Pillow.
func TestProcessorPixels(t *testing.T) {
	text, err := os.ReadFile("../testdata/pillow/transforms.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct{ Processors [][]json.RawMessage }
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	if len(table.Processors) < 60 {
		t.Fatalf("%d rows", len(table.Processors))
	}
	pictures, err := zip.OpenReader("../testdata/pillow/transforms.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer pictures.Close()
	for _, row := range table.Processors {
		var (
			object map[string]any
			file   string
			want   uint32
		)
		config := clipvit.ViTB32
		config.PatchSize = 8
		for i, to := range []any{&object, &file, &config.ImageSize, &want} {
			if err := json.Unmarshal(row[i], to); err != nil {
				t.Fatal(err)
			}
		}
		f, err := pictures.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		img, err := clipvit.DecodeImage(f)
		if err != nil {
			t.Fatal(err)
		}
		tr, library, err := readPreprocessor(object, config, byTransformers)
		if err != nil || library != byTransformers {
			t.Errorf("%s: by %s, %v", row[0], library, err)
			continue
		}
		square, err := tr.Square(img, config.ImageSize)
		if err != nil {
			t.Fatal(err)
		}
		var pix []byte
		for y := range config.ImageSize {
			for x := range config.ImageSize {
				r, g, b, _ := square.At(x, y).RGBA()
				pix = append(pix, byte(r>>8), byte(g>>8), byte(b>>8))
			}
		}
		if got := crc32.ChecksumIEEE(pix); got != want {
			t.Errorf("%s, %s: %+v gives %d, want %d", row[0], file, tr, got, want)
		}
	}
}
