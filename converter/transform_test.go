package converter

import (
	"encoding/json"
	"testing"

	"github.com/vitago/vitago/clipvit"
)

// What is written of a transform is read as the same, in both forms; one that cannot be computed is read, and refused.
func TestTransformForms(t *testing.T) {
	half := [3]float64{0.5, 0.25, 0.125}
	forms := map[string]struct {
		write func(c clipvit.Config) map[string]any
		read  func(object map[string]any, c clipvit.Config) (clipvit.Transform, bool)
		fit   bool // the form says how a picture becomes a square, by one word
	}{
		preprocessorFile: {preprocessorJSON, func(object map[string]any, c clipvit.Config) (clipvit.Transform, bool) {
			t, err := readPreprocessor(object, c)
			return t, err == nil
		}, false},
		openCLIPConfig: {
			func(c clipvit.Config) map[string]any { return preprocessJSON(c.Transform) },
			func(object map[string]any, c clipvit.Config) (clipvit.Transform, bool) {
				t, errs := readPreprocess(object, c)
				return t, len(errs) == 0
			}, true,
		},
	}
	for name, form := range forms {
		for _, want := range []clipvit.Transform{
			{}, {Filter: "bilinear"}, {Mean: half, Std: half}, {Fit: "squash", Filter: "nearest", Mean: half, Std: [3]float64{1, 1, 1}},
		} {
			if want.Fit != "" && !form.fit {
				continue
			}
			c := clipvit.ViTB32
			c.Transform = want
			text, err := json.Marshal(form.write(c))
			if err != nil {
				t.Fatal(err)
			}
			var object map[string]any
			if err := json.Unmarshal(text, &object); err != nil {
				t.Fatal(err)
			}
			got, accepted := form.read(object, c)
			if got != want.Canonical() || accepted != (want.Validate() == nil) {
				t.Errorf("%s: %+v is written as %s and read as %+v, accepted: %v", name, want, text, got, accepted)
			}
			// Written out, zero fields are the same.
			c.Transform = want.Resolved()
			if again, err := json.Marshal(form.write(c)); err != nil || string(again) != string(text) {
				t.Errorf("%s: written out it is %s, %v, want %s", name, again, err, text)
			}
		}
		// Types that say nothing.
		for _, bad := range []any{[]any{}, map[string]any{}, "3", true, 1e300} {
			object := map[string]any{"resample": bad, "image_mean": bad, "mean": bad, "interpolation": bad}
			if got, _ := form.read(object, clipvit.ViTB32); got.Validate() == nil && got != (clipvit.Transform{}) {
				t.Errorf("%s: %v is read as %+v", name, object, got)
			}
		}
	}
}

// A model that is read has OpenAI's transform as zero, whatever says so, and how exactly.
func TestTransformOfModels(t *testing.T) {
	for _, path := range []string{tiny(t, "openai_torch1.7.1.pt"), tiny(t, "huggingface")} {
		m, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if m.Config.Transform != (clipvit.Transform{}) {
			t.Errorf("%s: transform is %+v, want zero", path, m.Config.Transform)
		}
	}
}
