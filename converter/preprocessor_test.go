package converter

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyDir copies the files of a fixture into a new directory.
func copyDir(t *testing.T, src string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(tiny(t, src))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPreprocessor: a directory that asks for other preprocessing is an error that says all that is
// other; what is left out is by default as it should be.
func TestPreprocessor(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(p map[string]any)
		want []string // in the error; none if it must load
	}{
		{"as it is", func(map[string]any) {}, nil},
		{"nothing", func(p map[string]any) { clear(p) }, nil},
		{"null", func(p map[string]any) { p["image_mean"] = nil }, nil},
		{"old sizes", func(p map[string]any) { p["size"], p["crop_size"] = 24, 24 }, nil},
		{"rounded mean", func(p map[string]any) { p["image_mean"] = []any{0.48145465, 0.4578275, 0.40821072} }, nil},
		{"bilinear, another mean", func(p map[string]any) { p["resample"], p["image_mean"] = 2, []any{0.5, 0.5, 0.5} }, nil},
		{"another filter, two means", func(p map[string]any) { p["resample"], p["image_mean"] = 9, []any{0.5, 0.5} }, []string{"resample is 9, want 3", "image_mean is [0.5 0.5], want [0.48145"}},
		{"two channels", func(p map[string]any) { p["image_std"] = []any{0.26862954, 0.26130258} }, []string{"image_std is"}},
		{"size", func(p map[string]any) { p["size"] = map[string]any{"shortest_edge": 23} }, []string{"size is map[shortest_edge:23], want 24"}},
		{"size and crop of another tower", func(p map[string]any) { p["size"], p["crop_size"] = map[string]any{"shortest_edge": 224}, 224 }, []string{"crop_size is 224, want 24, the tower's"}},
		{"size of another tower, squashed", func(p map[string]any) {
			p["size"], p["do_center_crop"] = map[string]any{"height": 224, "width": 224}, false
		}, []string{"size is map[height:224 width:224], want 24, the tower's"}},
		{"no square", func(p map[string]any) { p["size"] = map[string]any{"height": 24, "width": 30} }, []string{"size is map[height:24 width:30], want 24, a square"}},
		{"pixels in all", func(p map[string]any) { p["size"] = map[string]any{"min_pixels": 24, "max_pixels": 30} }, []string{"size is map[max_pixels:30 min_pixels:24], want 24"}},
		{"both edges", func(p map[string]any) { p["size"] = map[string]any{"shortest_edge": 24, "longest_edge": 30} }, []string{"size is map[longest_edge:30 shortest_edge:24], want 24"}},
		{"no crop", func(p map[string]any) { p["do_center_crop"] = false }, []string{"do_center_crop is false, want true"}},
		{"another processor", func(p map[string]any) { p["image_processor_type"] = "TimmWrapperImageProcessor" }, []string{"image_processor_type is TimmWrapperImageProcessor, want BitImageProcessor, CLIPImageProcessor"}},
		{"code of its own", func(p map[string]any) { p["auto_map"] = map[string]any{"AutoImageProcessor": "mine.py--Mine"} }, []string{"auto_map is map[AutoImageProcessor:mine.py--Mine], want none"}},
		{"resize null", func(p map[string]any) { p["do_resize"] = nil }, []string{"do_resize is <nil>, want true"}},
		{"no resize", func(p map[string]any) { p["do_resize"] = false }, []string{"do_resize is false, want true"}},
		{"no colours", func(p map[string]any) { p["do_convert_rgb"] = false }, []string{"do_convert_rgb is false, want true"}},
		{"other levels", func(p map[string]any) { p["rescale_factor"], p["do_rescale"] = 1, false }, []string{"rescale_factor is 1, want 0.0039", "do_rescale is false"}},
		{"channels last", func(p map[string]any) { p["data_format"] = "channels_last" }, []string{"data_format is channels_last, want channels_first"}},
		{"no truth", func(p map[string]any) { p["do_center_crop"] = "yes" }, []string{"do_center_crop is yes, want true or false"}},
		{"what is not known", func(p map[string]any) { p["do_flip"] = true }, []string{"do_flip is true, want false: it is not supported"}},
		{"padded to more", func(p map[string]any) { p["do_pad"], p["pad_size"] = true, map[string]any{"height": 30, "width": 30} }, []string{"pad_size is map[height:30 width:30], want 24"}},
		{"deviation 0", func(p map[string]any) { p["image_std"] = []any{0.5, 0, 0.5} }, []string{"std"}},
		{"a library that is none", func(p map[string]any) { p["vitago_library"] = "keras" }, []string{"vitago_library: clipvit: preset is \"keras\""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyDir(t, "huggingface")
			p := readJSON(t, filepath.Join(dir, preprocessorFile))
			c.edit(p)
			raw, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, preprocessorFile), raw, 0o666); err != nil {
				t.Fatal(err)
			}
			_, err = Load(dir)
			if (err == nil) != (c.want == nil) {
				t.Fatalf("error is %v, want one with %q", err, c.want)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) || !strings.Contains(err.Error(), preprocessorFile) {
					t.Errorf("error is %v, want one with %q and the file", err, w)
				}
			}
			if _, e := convertFile(t.Context(), dir, filepath.Join(t.TempDir(), "out"), Options{}); (e == nil) != (err == nil) {
				t.Errorf("Convert says %v, Load %v", e, err)
			}
			if info, e := Inspect(t.Context(), dir); e != nil || (info.Problem == "") != (err == nil) {
				t.Errorf("Inspect says %v, %v, Load %v", info, e, err)
			}
			if _, err := Load(filepath.Join(dir, weightsFile)); err != nil {
				t.Errorf("the file by itself: %v", err)
			}
		})
	}
	dir := copyDir(t, "huggingface")
	for text, want := range map[string]string{"{": "not JSON", "": "not JSON", "[]": "no JSON object", "no JSON": "not JSON"} {
		if err := os.WriteFile(filepath.Join(dir, preprocessorFile), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), preprocessorFile+" is "+want+": ") {
			t.Errorf("%q: error is %v, want that it is %s", text, err, want)
		}
	}
}

// TestArchiveInDirectory: an archive of OpenAI's beside a config.json, which must agree with it.
func TestArchiveInDirectory(t *testing.T) {
	dir := copyDir(t, "huggingface")
	if err := os.Remove(filepath.Join(dir, weightsFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "a directory without") {
		t.Errorf("no tensors: error is %v", err)
	}
	raw, err := os.ReadFile(tiny(t, "openai_torch1.7.1.pt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ViT.pt"), raw, 0o666); err != nil {
		t.Fatal(err)
	}
	if m, err := Load(dir); err != nil || m.Config != tinyConfig {
		t.Errorf("got %+v, %v", m, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other.pt"), raw, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "2 files *.pt (ViT.pt, other.pt") {
		t.Errorf("two archives: error is %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "other.pt")); err != nil {
		t.Fatal(err)
	}
	config := readJSON(t, filepath.Join(dir, configFile))
	config["vision_config"].(map[string]any)["patch_size"] = 7
	if raw, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, configFile), raw, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "patch_size is 7, the tensors say 6") {
		t.Errorf("another patch size: error is %v", err)
	}
}
