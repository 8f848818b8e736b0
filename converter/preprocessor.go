package converter

import (
	"errors"
	"fmt"
	"math"

	"github.com/vitago/vitago/clipvit"
)

// checkPreprocessor returns an error with everything that a preprocessor_config.json asks for and
// [clipvit.Preprocess] does otherwise, for a tower of n pixels. What it leaves out or has as null
// is by default as it is done here.
func checkPreprocessor(object map[string]any, n int) error {
	var errs []error
	for _, f := range preprocessing(n) {
		got := object[f.name]
		ok := got == nil
		for _, w := range f.want {
			ok = ok || equalJSON(got, w)
		}
		if !ok {
			errs = append(errs, fmt.Errorf("%s is %v, want %v", f.name, got, f.want[0]))
		}
	}
	return errors.Join(errs...)
}

// A field is a member of a JSON object, with all the values it may have. Numbers are float64.
type field struct {
	name string
	want []any
}

// preprocessing are the fields that say what [clipvit.Preprocess] does for a tower of n pixels. Sizes were plain numbers before 2023.
//
// Source: huggingface/transformers, models/clip/image_processing_clip.py, CLIPImageProcessor.
func preprocessing(n int) []field {
	pixels := float64(n)
	return []field{
		{"image_processor_type", []any{"CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPFeatureExtractor"}},
		{"feature_extractor_type", []any{"CLIPFeatureExtractor"}},
		{"do_resize", []any{true}},
		{"size", []any{pixels, map[string]any{"shortest_edge": pixels}}},
		{"resample", []any{3.0}}, // Pillow's BICUBIC
		{"do_center_crop", []any{true}},
		{"crop_size", []any{pixels, map[string]any{"height": pixels, "width": pixels}}},
		{"do_convert_rgb", []any{true}},
		{"do_rescale", []any{true}},
		{"rescale_factor", []any{1.0 / 255}},
		{"do_normalize", []any{true}},
		{"image_mean", []any{channels(clipvit.Mean)}},
		{"image_std", []any{channels(clipvit.Std)}},
		{"do_pad", []any{false}},
	}
}

// channels returns a value for each channel as JSON has them.
func channels(c [3]float32) any { return []any{float64(c[0]), float64(c[1]), float64(c[2])} }

// equalJSON says whether two values of a JSON file are equal, numbers but for the rounding of float32.
func equalJSON(got, want any) bool {
	switch want := want.(type) {
	case float64:
		got, ok := got.(float64)
		return ok && math.Abs(got-want) <= 1e-6*math.Abs(want)
	case []any:
		got, ok := got.([]any)
		ok = ok && len(got) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = equalJSON(got[i], want[i])
		}
		return ok
	case map[string]any:
		got, ok := got.(map[string]any)
		for name, v := range got {
			ok = ok && (v == nil || equalJSON(v, want[name])) // a name that is not wanted is not nil
		}
		for name := range want {
			ok = ok && got[name] != nil
		}
		return ok
	}
	return got == want // bool, string, or nil where nothing is wanted
}
