package converter

import (
	"errors"
	"fmt"
	"math"

	"github.com/vitago/vitago/clipvit"
)

// readPreprocessor returns the transform that a preprocessor_config.json asks for, and an error with everything in it
// that is otherwise than a tower c of that can have it. What it leaves out or has as null is as OpenAI's.
func readPreprocessor(object map[string]any, c clipvit.Config) (clipvit.Transform, error) {
	var t clipvit.Transform
	if number, ok := object["resample"].(float64); ok {
		t.Filter = pillowFilters[number]
	}
	t = withChannels(t, object["image_mean"], object["image_std"])
	var errs []error
	for _, f := range preprocessing(possible(t), c.ImageSize) {
		got := object[f.name]
		ok := got == nil
		for _, w := range f.want {
			ok = ok || equalJSON(got, w)
		}
		if !ok {
			errs = append(errs, fmt.Errorf("%s is %v, want %v", f.name, got, f.want[0]))
		}
	}
	return t, errors.Join(errs...)
}

// possible returns t or, if it cannot be computed, what can, so that errors say what would be right.
func possible(t clipvit.Transform) clipvit.Transform {
	if t.Validate() != nil {
		return clipvit.Transform{}
	}
	return t
}

// A field is a member of a JSON object, with all the values it may have. Numbers are float64.
type field struct {
	name string
	want []any
}

// preprocessing are the fields that say what a transform does for a tower of n pixels. Sizes were plain numbers before 2023.
//
// Source: huggingface/transformers, models/clip/image_processing_clip.py, CLIPImageProcessor.
func preprocessing(t clipvit.Transform, n int) []field {
	pixels, t := float64(n), t.Resolved()
	return []field{
		{"image_processor_type", []any{"CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPFeatureExtractor"}},
		{"feature_extractor_type", []any{"CLIPFeatureExtractor"}},
		{"do_resize", []any{true}},
		{"size", []any{pixels, map[string]any{"shortest_edge": pixels}}}, // FitShortest
		{"resample", []any{pillowFilter(t.Filter)}},
		{"do_center_crop", []any{true}},
		{"crop_size", []any{pixels, map[string]any{"height": pixels, "width": pixels}}},
		{"do_convert_rgb", []any{true}},
		{"do_rescale", []any{true}},
		{"rescale_factor", []any{1.0 / 255}},
		{"do_normalize", []any{true}},
		{"image_mean", []any{channels(t.Mean)}},
		{"image_std", []any{channels(t.Std)}},
		{"do_pad", []any{false}},
	}
}

// preprocessorJSON returns what preprocessor_config.json says for a tower of configuration c.
//
// Source: openai/CLIP, clip/clip.py, _transform; the same.
func preprocessorJSON(c clipvit.Config) map[string]any {
	size, t := c.ImageSize, c.Transform.Resolved()
	return map[string]any{
		"image_processor_type": "CLIPImageProcessor", "feature_extractor_type": "CLIPFeatureExtractor",
		"do_resize": true, "size": map[string]int{"shortest_edge": size}, "resample": pillowFilter(t.Filter),
		"do_center_crop": true, "crop_size": map[string]int{"height": size, "width": size},
		"do_convert_rgb": true, "do_rescale": true, "rescale_factor": 1.0 / 255,
		"do_normalize": true, "image_mean": t.Mean, "image_std": t.Std,
	}
}

// pillowFilters are Pillow's numbers of the filters, as JSON has them.
//
// Source: python-pillow/Pillow, src/PIL/Image.py, class Resampling.
var pillowFilters = map[float64]clipvit.Filter{0.0: "nearest", 1.0: "lanczos", 2.0: "bilinear", 3.0: clipvit.FilterBicubic, 4.0: "box", 5.0: "hamming"}

// pillowFilter returns Pillow's number of a filter that can be computed.
func pillowFilter(f clipvit.Filter) any {
	for n, name := range pillowFilters {
		if name == f {
			return n
		}
	}
	return nil
}

// withChannels returns t with the mean and deviation of a JSON file, each if it is three numbers and other than
// OpenAI's, but for rounding.
func withChannels(t clipvit.Transform, mean, std any) clipvit.Transform {
	t = t.Resolved()
	for _, c := range []struct {
		from any
		to   *[3]float64
	}{{mean, &t.Mean}, {std, &t.Std}} {
		values, _ := c.from.([]any)
		if len(values) != len(c.to) || equalJSON(c.from, channels(*c.to)) {
			continue
		}
		for i, v := range values {
			if v, ok := v.(float64); ok {
				c.to[i] = v
			}
		}
	}
	return t.Canonical()
}

// channels returns a value for each channel as JSON has them.
func channels(c [3]float64) any { return []any{c[0], c[1], c[2]} }

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
