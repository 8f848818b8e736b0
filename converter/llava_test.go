package converter

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/projector"
)

// editConfig puts members into the config.json of a directory.
func editConfig(t *testing.T, dir string, members map[string]any) {
	t.Helper()
	path := filepath.Join(dir, configFile)
	v := readJSON(t, path)
	maps.Copy(v, members)
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestLLaVALayout: the config.json of an original LLaVA decides how a picture is cut and how the tokens of the tiles are
// put together, before and after a conversion; what is not supported is an error that names key and value. The tower
// has 4×4 patches of 4 pixels.
func TestLLaVALayout(t *testing.T) {
	type members = map[string]any
	for _, c := range []struct {
		config members
		layout string
		merge  projector.Merge
		grids  [][2]int // nil: those of the layout
		tokens int      // of a picture of 96 by 32 pixels
		want   string   // in the error
	}{
		{config: members{"image_aspect_ratio": "pad"}, layout: "pad", tokens: 16},
		{config: members{"image_aspect_ratio": "square"}, layout: "clip-transformers", tokens: 16},
		{config: members{"image_aspect_ratio": nil}, layout: "clip-transformers", tokens: 16},
		{config: members{}, layout: "clip-transformers", tokens: 16},
		// what others than anyres do not look at may be anything
		{config: members{"image_aspect_ratio": "pad", "image_grid_pinpoints": []any{[]any{1, 2}}, "mm_patch_merge_type": "spatial_unpad"}, layout: "pad", tokens: 16},
		{config: members{"image_aspect_ratio": "anyres"}, layout: "llava-1.6", merge: projector.MergeFlat, tokens: 64}, // 1×3 tiles
		{config: members{"image_aspect_ratio": "anyres", "image_grid_pinpoints": []any{[]any{32, 16}}}, layout: "llava-1.6",
			merge: projector.MergeFlat, grids: [][2]int{{1, 2}}, tokens: 48},
		{config: members{"image_aspect_ratio": "anyres", "image_grid_pinpoints": "[(32, 16), [16, 32]]", "mm_patch_merge_type": "flat"}, layout: "llava-1.6",
			merge: projector.MergeFlat, grids: [][2]int{{1, 2}, {2, 1}}, tokens: 48},
		{config: members{"image_aspect_ratio": "anyres", "image_grid_pinpoints": "((32,16),)", "mm_patch_merge_type": "spatial"}, layout: "llava-1.6",
			merge: projector.MergeSpatial, grids: [][2]int{{1, 2}}, tokens: 48},
		{config: members{"image_aspect_ratio": "anyres", "image_grid_pinpoints": "[[32, 16]]", "mm_patch_merge_type": "spatial_unpad"}, layout: "llava-1.6",
			grids: [][2]int{{1, 2}}, want: "needs a newline"},
		{config: members{"image_aspect_ratio": "anyres", "image_grid_pinpoints": "(1x1),...,(2x3)"}, layout: "llava-1.6",
			merge: projector.MergeFlat, grids: [][2]int{{1, 1}, {2, 1}, {3, 1}, {1, 2}, {2, 2}, {3, 2}}, tokens: 48},
		{config: members{"image_aspect_ratio": "anyres_max_9"}, want: `image_aspect_ratio is "anyres_max_9", which is not supported`},
		{config: members{"image_aspect_ratio": "highres"}, want: `image_aspect_ratio is "highres"`},
		{config: members{"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_maxpool2x2"}, want: `mm_patch_merge_type is "spatial_maxpool2x2"`},
		{config: members{"image_aspect_ratio": "anyres", "image_grid_pinpoints": "32x16"}, want: `image_grid_pinpoints is "32x16"`},
		{config: members{"image_aspect_ratio": "anyres", "image_grid_pinpoints": "(2x2),...,(1x1)"}, want: "the smaller grid first"},
		{config: members{"image_aspect_ratio": "anyres", "image_grid_pinpoints": []any{[]any{32}}}, want: "image_grid_pinpoints is [[32]]"},
		{config: members{"image_aspect_ratio": "anyres", "image_grid_pinpoints": []any{[]any{32, 17}}}, want: "image_grid_pinpoints has [32 17]"},
		{config: members{"mm_resampler_type": "spatial_pool"}, want: `mm_resampler_type is "spatial_pool"`},
		{config: members{"s2": true}, want: "s2 is true"},
	} {
		dir := edited(t, "llava", configFile, func(v map[string]any) {
			delete(v, "image_aspect_ratio")
			maps.Copy(v, c.config)
		})
		converted := filepath.Join(t.TempDir(), "out")
		paths := []string{dir, converted}
		if _, err := convertFile(t.Context(), dir, converted, Options{}); err != nil {
			if c.want == "" || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), configFile) {
				t.Errorf("%v: %v, want %q in it", c.config, err, c.want)
			}
			continue
		}
		for _, path := range paths {
			e, err := loadEncoder(t.Context(), path, "")
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v: %v, want %q in it", c.config, err, c.want)
				}
				continue
			}
			if err != nil {
				t.Errorf("%v: %v", c.config, err)
				continue
			}
			l := e.Layout
			if n, err := e.Count(96, 32); l.Name != c.layout || l.Merge != c.merge || n != c.tokens || err != nil || c.grids != nil && !slices.Equal(l.Grids, c.grids) {
				t.Errorf("%v: layout %+v, %d tokens (%v), want %q, %q, %v and %d tokens", c.config, l, n, err, c.layout, c.merge, c.grids, c.tokens)
			}
		}
	}
}

// TestImageProcessorOfLLaVA: a LLaVA in transformers' form has the layout that its image processor asks for, before and after
// a conversion; what contradicts its config.json, or is not done, is an error that names the file.
func TestImageProcessorOfLLaVA(t *testing.T) {
	type members = map[string]any
	square := members{"height": 12, "width": 12}
	for _, c := range []struct {
		fixture, file string
		processor     members
		layout        string
		fit           clipvit.Fit
		grids         [][2]int
		want          string // in the error
	}{
		{fixture: "hf5-llava", layout: "processor", fit: clipvit.FitShortest},
		{fixture: "hf5-llava", file: preprocessorFile, processor: members{"image_processor_type": "CLIPImageProcessor", "do_center_crop": true, "crop_size": 12, "size": 12},
			layout: "processor", fit: clipvit.FitShortest},
		{fixture: "hf5-llava", file: preprocessorFile, processor: members{"image_processor_type": "LlavaImageProcessor", "do_pad": true, "crop_size": square, "size": members{"shortest_edge": 12}},
			layout: "processor", fit: clipvit.FitPad},
		{fixture: "hf5-llava", file: processorFile, processor: members{"image_processor": members{"image_processor_type": "CLIPImageProcessor", "do_center_crop": false, "size": square}},
			layout: "processor", fit: clipvit.FitSquash},
		{fixture: "hf5-llava", file: preprocessorFile, processor: members{"image_processor_type": "CLIPImageProcessor", "size": 24, "crop_size": 24}, want: preprocessorFile},
		{fixture: "hf5-llava-next", layout: "llava-1.6", fit: clipvit.FitShortest},
		{fixture: "hf5-llava-next", file: processorFile, processor: members{"image_processor": members{"image_processor_type": "LlavaNextImageProcessor",
			"size": members{"shortest_edge": 12}, "crop_size": square, "image_grid_pinpoints": []any{[]any{12, 24}, []any{24, 12}}}},
			layout: "llava-1.6", fit: clipvit.FitShortest, grids: [][2]int{{1, 2}, {2, 1}}},
		{fixture: "hf5-llava-next", file: preprocessorFile, processor: members{"image_processor_type": "LlavaNextImageProcessor", "size": 12, "crop_size": 12,
			"image_grid_pinpoints": []any{[]any{24, 24}}}, want: "contradict each other: image_grid_pinpoints are grids [[2 2]] and [[1 2] [2 1]]"},
		{fixture: "hf5-llava-next", file: preprocessorFile, processor: members{"image_processor_type": "LlavaNextImageProcessor", "size": 12, "crop_size": 12,
			"resample": 2}, want: "scales by bilinear (resample)"},
		// transformers 5.24 scales every tile up and cuts its middle out
		{fixture: "hf5-llava-next", file: processorFile, processor: members{"image_processor": members{"image_processor_type": "LlavaNextImageProcessor",
			"size": members{"shortest_edge": 16}, "crop_size": square}}, want: "scales to 16 before it cuts out 12 (size, crop_size)"},
	} {
		dir := edited(t, c.fixture, configFile, func(v map[string]any) {
			delete(v, "image_grid_pinpoints")
			if strings.Contains(c.want, "contradict") || c.layout == "llava-1.6" && c.file == "" {
				v["image_grid_pinpoints"] = []any{[]any{12, 24}, []any{24, 12}}
			}
		})
		for _, file := range []string{processorFile, preprocessorFile} {
			if err := os.RemoveAll(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		}
		if c.file != "" {
			raw, err := json.Marshal(c.processor)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, c.file), raw, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		converted := filepath.Join(t.TempDir(), "out")
		if _, err := convertFile(t.Context(), dir, converted, Options{}); err != nil || c.want != "" {
			if c.want == "" || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %v: %v, want %q in it", c.fixture, c.processor, err, c.want)
			}
			continue
		}
		for _, path := range []string{dir, converted} {
			e, err := loadEncoder(t.Context(), path, "")
			if err != nil {
				t.Errorf("%s, %v: %v", c.fixture, c.processor, err)
				continue
			}
			transform := e.Tower.Config.Transform.Resolved()
			if e.Layout.Name != c.layout || transform.Fit != c.fit || c.fit == clipvit.FitShortest && transform.Rounding != clipvit.RoundTransformers || transform.Alpha != clipvit.AlphaWhite ||
				c.grids != nil && !slices.Equal(e.Layout.Grids, c.grids) {
				t.Errorf("%s, %v: layout %+v, %+v, want %q, %q, grids %v", c.fixture, c.processor, e.Layout, transform, c.layout, c.fit, c.grids)
			}
		}
	}
}
