package converter

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/pyjson"
)

// anything stands for every value of a field that does not change what a model computes from pixels
// that are prepared.
var anything = []any(nil)

// openCLIPVision are the fields of vision_cfg that may say something only if it is this, beside
// those that openCLIPTower has. A field that is not listed may be false, 0, empty or null.
//
// Source: mlfoundations/open_clip, src/open_clip/model.py, CLIPVisionCfg.
var openCLIPVision = []field{
	{"patch_dropout", anything}, {"attn_pooler_queries", anything}, {"attn_pooler_heads", anything},
	{"pos_embed_type", []any{"learnable"}}, {"pool_type", []any{"tok"}}, {"output_tokens", anything},
	{"block_type", []any{"default"}},
	{"timm_model_pretrained", anything}, {"timm_pool", anything}, {"timm_proj", anything},
	{"timm_proj_bias", anything}, {"timm_drop", anything}, {"timm_drop_path", anything},
}

// openCLIPText are those of text_cfg. Source: the same, CLIPTextCfg.
var openCLIPText = []field{
	{"hf_tokenizer_name", anything}, {"tokenizer_mode", anything}, {"tokenizer_kwargs", anything},
	{"pad_id", anything}, {"eos_id", anything}, {"output_tokens", anything},
	{"pool_type", []any{"argmax"}}, {"proj_type", []any{"linear"}}, {"block_type", []any{"default"}},
	{"hf_model_pretrained", anything}, {"hf_proj_type", anything}, {"hf_pooler_type", anything},
}

// openCLIPTop are those of model_cfg.
var openCLIPTop = []field{
	{"init_logit_scale", anything}, {"custom_text", anything}, {"cast_dtype", anything}, {"precision", anything},
}

// readPreprocess returns the transform that preprocess_cfg asks for, and what in it is otherwise than a tower c of
// that can have it.
func readPreprocess(object map[string]any, c clipvit.Config) (clipvit.Transform, []error) {
	fit, _ := object["resize_mode"].(string)
	filter, _ := object["interpolation"].(string)
	t := withChannels(clipvit.Transform{Fit: clipvit.Fit(fit), Filter: clipvit.Filter(filter)}, object["mean"], object["std"])
	var errs []error
	switch t.Resolved().Fit {
	case clipvit.FitShortest, clipvit.FitSquash:
	case clipvit.FitLongest:
		if v := object["fill_color"]; v != nil {
			n, ok := v.(float64)
			if !ok || n < 0 || n > 255 || n != math.Trunc(n) {
				errs = append(errs, fmt.Errorf("preprocess_cfg.fill_color is %.40v, want 0 to 255", v))
			}
			t.Fill = [3]uint8{uint8(n), uint8(n), uint8(n)}
		}
	default: // of ours, which OpenCLIP does not have
		t.Fit = ""
	}
	return t, append(errs, disagreements("preprocess_cfg.", object, openCLIPPreprocess(possible(t), c.ImageSize))...)
}

// openCLIPPreprocess are the fields of preprocess_cfg that say what a transform does for a tower of n pixels.
//
// Source: the same, src/open_clip/transform.py, PreprocessCfg.
func openCLIPPreprocess(t clipvit.Transform, n int) []field {
	pixels, t := float64(n), t.Resolved()
	return []field{
		{"size", []any{pixels, []any{pixels, pixels}}}, {"mode", []any{"RGB"}}, {"mean", []any{channels(t.Mean)}}, {"std", []any{channels(t.Std)}},
		{"interpolation", []any{string(t.Filter)}}, {"resize_mode", []any{string(t.Fit)}}, {"fill_color", anything},
	}
}

// preprocessJSON returns what preprocess_cfg says of a transform, and an error if it has no place for it. How fractions of
// pixels are rounded, and what becomes of transparency, is OpenCLIP's own.
func preprocessJSON(t clipvit.Transform) (map[string]any, error) {
	t = t.Resolved()
	cfg := map[string]any{"mean": t.Mean, "std": t.Std, "interpolation": t.Filter, "resize_mode": t.Fit}
	var errs []error
	if t.Fit == clipvit.FitPad {
		errs = append(errs, fmt.Errorf("images become square by %s, and the form has %s, %s and %s only", t.Fit, clipvit.FitShortest, clipvit.FitSquash, clipvit.FitLongest))
	}
	if t.Filter != clipvit.FilterBicubic && t.Filter != clipvit.FilterBilinear {
		errs = append(errs, fmt.Errorf("images are scaled by %s, and the form has %s and %s only", t.Filter, clipvit.FilterBicubic, clipvit.FilterBilinear))
	}
	if t.Resize != 0 {
		errs = append(errs, fmt.Errorf("images are scaled to %d pixels before they are cut, and the form has the tower's size only", t.Resize))
	}
	if f := t.Fill; t.Fit == clipvit.FitLongest {
		if f[0] != f[1] || f[1] != f[2] {
			errs = append(errs, fmt.Errorf("images are filled with the colour %v, and the form has greys only", f))
		}
		cfg["fill_color"] = f[0]
	}
	return cfg, errors.Join(errs...)
}

// An openCLIPTower is what vision_cfg and text_cfg have in common and shapes can be compared with.
// Source: the same, CLIPVisionCfg and CLIPTextCfg.
type openCLIPTower struct {
	Layers    json.RawMessage `json:"layers"` // a list for a ResNet
	Width     int             `json:"width"`
	MLPRatio  float64         `json:"mlp_ratio"`
	HeadWidth int             `json:"head_width"` // vision
	PatchSize int             `json:"patch_size"`
	ImageSize json.RawMessage `json:"image_size"` // or a list of height and width
	Heads     int             `json:"heads"`      // text
	Context   int             `json:"context_length"`
	Vocab     int             `json:"vocab_size"`
	Words     string          `json:"hf_tokenizer_name"`
}

// openCLIPTowerFields are the names of the fields of openCLIPTower.
var openCLIPTowerFields = []string{"layers", "width", "mlp_ratio", "head_width", "patch_size", "image_size", "heads", "context_length", "vocab_size"}

// readOpenCLIP reads an open_clip_config.json. Whatever it says that a tower of OpenAI's form does
// not do is an error: OpenCLIP has many variants that share the tensors' names.
func readOpenCLIP(m *Model, file []byte) error {
	if !m.native() {
		return nil
	}
	var top struct {
		Model struct {
			Embed  int             `json:"embed_dim"`
			Quick  bool            `json:"quick_gelu"`
			Vision json.RawMessage `json:"vision_cfg"`
			Text   json.RawMessage `json:"text_cfg"`
		} `json:"model_cfg"`
		Preprocess map[string]any `json:"preprocess_cfg"`
	}
	var fields struct {
		Model map[string]any `json:"model_cfg"`
	}
	vision := openCLIPTower{Layers: []byte("12"), Width: 768, MLPRatio: 4, HeadWidth: 64, PatchSize: 16, ImageSize: []byte("224")}
	text := openCLIPTower{Layers: []byte("12"), Width: 512, MLPRatio: 4, Heads: 8, Context: 77, Vocab: 49408}
	if err := errors.Join(pyjson.Unmarshal(file, &top), pyjson.Unmarshal(file, &fields)); err != nil {
		return err
	}
	for _, t := range []struct {
		raw json.RawMessage
		to  *openCLIPTower
	}{{top.Model.Vision, &vision}, {top.Model.Text, &text}} {
		if t.raw == nil {
			return errors.New("model_cfg has no vision_cfg or no text_cfg")
		}
		if err := pyjson.Unmarshal(t.raw, t.to); err != nil {
			return err
		}
	}
	if words := text.Words; strings.Contains(words, "xlm-v") {
		return errors.New(foreignFamily{name: "MetaCLIP 2 (worldwide)", why: metaCLIP2Why}.text(fmt.Sprintf("text_cfg.hf_tokenizer_name is %.60q", words)))
	}
	activation := transformer.GELU // torch's, exact
	if top.Model.Quick {
		activation = transformer.QuickGELU
	}
	var errs []error
	number := func(raw json.RawMessage) int {
		var n int
		var both []int
		switch {
		case pyjson.Unmarshal(raw, &n) == nil:
		case pyjson.Unmarshal(raw, &both) == nil && len(both) == 2 && both[0] == both[1]:
			n = both[0]
		default:
			errs = append(errs, fmt.Errorf("%.40s, want a number", compact(raw)))
		}
		return n
	}
	if v := &m.config.Vision; m.has.vision {
		errs = append(errs,
			equal("vision", "image_size", number(vision.ImageSize), v.ImageSize),
			equal("vision", "layers", number(vision.Layers), v.Layers),
			equal("vision", "width", vision.Width, v.Width),
			equal("vision", "patch_size", vision.PatchSize, v.PatchSize),
			equal("vision", "width times mlp_ratio", int(float64(vision.Width)*vision.MLPRatio), v.MLPWidth))
		if v.EmbedDim > 0 {
			errs = append(errs, equal("vision", "embed_dim", top.Model.Embed, v.EmbedDim))
		}
		if vision.HeadWidth < 1 || v.Width%vision.HeadWidth != 0 {
			errs = append(errs, fmt.Errorf("vision head_width is %d, which does not divide the width %d", vision.HeadWidth, v.Width))
		} else {
			v.Heads = v.Width / vision.HeadWidth
		}
		v.Activation = activation
		errs = append(errs, disagreements("vision_cfg.", fields.Model["vision_cfg"], openCLIPVision, openCLIPTowerFields...)...)
		if top.Preprocess != nil {
			t, wrong := readPreprocess(top.Preprocess, *v)
			v.Transform, errs = t, append(errs, wrong...)
		}
	}
	if t := m.config.Text; t != nil {
		errs = append(errs,
			equal("text", "context_length", text.Context, t.Context),
			equal("text", "vocab_size", text.Vocab, t.Vocab),
			equal("text", "layers", number(text.Layers), t.Layers),
			equal("text", "width", text.Width, t.Width),
			equal("text", "width times mlp_ratio", int(float64(text.Width)*text.MLPRatio), t.MLPWidth))
		t.Heads, t.Activation = text.Heads, activation
		errs = append(errs, disagreements("text_cfg.", fields.Model["text_cfg"], openCLIPText, openCLIPTowerFields...)...)
	}
	errs = append(errs, disagreements("model_cfg.", fields.Model, openCLIPTop, "embed_dim", "quick_gelu", "vision_cfg", "text_cfg")...)
	return errors.Join(errs...)
}

// disagreements returns an error for every member of a JSON object that is neither one of the
// fields with a value that is wanted, nor one of the others, nor nothing.
func disagreements(where string, object any, fields []field, others ...string) []error {
	members, _ := object.(map[string]any)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(members)) {
		v := members[name]
		switch v := v.(type) {
		case nil:
			continue
		case map[string]any:
			if len(v) == 0 {
				continue
			}
		}
		if v == false || v == 0.0 || v == "" || slices.Contains(others, name) {
			continue
		}
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("%s%.40s is %.40s, which is not supported", where, name, fmt.Sprint(v)))
		case fields[i].want != nil && !slices.ContainsFunc(fields[i].want, func(w any) bool { return equalJSON(v, w) }):
			errs = append(errs, fmt.Errorf("%s%s is %.40s, want %v", where, name, fmt.Sprint(v), fields[i].want[0]))
		}
	}
	return errs
}
