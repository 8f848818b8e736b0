package converter

import (
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

// timmConfig is the config.json that timm's save_for_hf writes.
var timmConfig = configKind{isTimm, readTimm}

// timmCLIP is in the names of timm's towers of CLIP.
const timmCLIP = "_clip_"

// isTimm says whether a config.json is timm's.
func isTimm(t configIdentity) bool { return t.ModelType == "" && t.Architecture != "" }

// timmHeads are the heads of timm's towers of CLIP by the word behind "vit_" in their names.
//
// Source: huggingface/pytorch-image-models, timm/models/vision_transformer.py, vit_*_clip_*.
var timmHeads = map[string]int{"xsmall": 4, "medium": 8, "betwixt": 10, "base": 12, "large": 16, "huge": 16, "giant": 16, "gigantic": 16}

// timmArgs are the arguments of a model that may say something, and what; others may be false, 0, empty or null. What
// shapes say is not asked here.
//
// Source: the same, VisionTransformer.__init__.
var timmArgs = []field{
	{"num_classes", anything}, {"img_size", anything}, {"patch_size", anything}, {"in_chans", []any{3.0}}, {"embed_dim", anything}, {"depth", anything},
	{"num_heads", anything}, {"mlp_ratio", anything}, {"global_pool", []any{"token"}}, {"qkv_bias", []any{true}}, {"proj_bias", []any{true}},
	{"pre_norm", []any{true}}, {"class_token", []any{true}}, {"final_norm", []any{true}}, {"pos_embed", []any{"learn"}}, {"dynamic_img_size", anything},
	{"strict_img_size", anything}, {"drop_rate", anything}, {"pos_drop_rate", anything}, {"patch_drop_rate", anything}, {"proj_drop_rate", anything},
	{"attn_drop_rate", anything}, {"drop_path_rate", anything}, {"weight_init", anything},
}

// timmFits are crop_mode of timm as a transform has it.
//
// Source: the same, timm/data/transforms_factory.py, transforms_imagenet_eval.
var timmFits = map[string]clipvit.Fit{"": clipvit.FitShortest, "center": clipvit.FitShortest, "squash": clipvit.FitSquash, "border": clipvit.FitLongest}

// readTimm reads the config.json of a tower of timm's.
func readTimm(m *Model, file []byte) error {
	var c struct {
		Architecture string         `json:"architecture"`
		Pool         string         `json:"global_pool"`
		Args         map[string]any `json:"model_args"`
		Pretrained   map[string]any `json:"pretrained_cfg"`
	}
	var top map[string]any
	if err := errors.Join(pyjson.Unmarshal(file, &c), pyjson.Unmarshal(file, &top)); err != nil {
		return err
	}
	if family := foreignConfig(configIdentity{Architecture: c.Architecture}); family != "" {
		return errors.New(family)
	}
	if m.dialect != timm {
		return fmt.Errorf("architecture is of timm, the tensors have the names of %s", m.dialect.name)
	}
	if c.Pretrained == nil {
		c.Pretrained = top // before timm 0.9
	}
	var errs []error
	if !strings.HasPrefix(c.Architecture, "vit_") || !strings.Contains(c.Architecture, timmCLIP) {
		errs = append(errs, fmt.Errorf("architecture is %.60q, want a tower of CLIP's form, vit_*_clip_*", c.Architecture))
	}
	if c.Pool != "" && c.Pool != "token" {
		errs = append(errs, fmt.Errorf("global_pool is %.40q, want \"token\"", c.Pool))
	}
	errs = append(errs, disagreements("model_args.", c.Args, timmArgs)...)
	v := &m.config.Vision
	v.Heads = timmHeads[strings.Split(strings.TrimPrefix(c.Architecture, "vit_"), "_")[0]]
	if strings.Contains(c.Architecture, "_plus_") {
		v.Heads = 14 // vit_base_patch16_plus_clip_240
	}
	if n, ok := c.Args["num_heads"].(float64); ok {
		v.Heads = int(n)
	}
	if v.Heads > 0 && v.Width%v.Heads != 0 || v.Heads < 0 {
		errs = append(errs, fmt.Errorf("num_heads is %d, which does not divide the width %d", v.Heads, v.Width))
		v.Heads = 0
	}
	switch notes, _ := c.Pretrained["notes"].([]any); {
	case strings.Contains(c.Architecture, "quickgelu"):
		v.Activation = transformer.QuickGELU
	case slices.ContainsFunc(notes, func(n any) bool { text, _ := n.(string); return strings.Contains(text, "QuickGELU") }):
		// One directory for both: timm's own vit_*_clip_* computes gelu of it, what OpenAI trained is quick_gelu.
		m.unsure = fmt.Errorf("%s: architecture is %.60q, which computes gelu, and pretrained_cfg.notes say that the weights are of quick_gelu: %w", configFile, c.Architecture, ErrActivation)
	default:
		v.Activation = transformer.GELU
	}
	return errors.Join(append(errs, m.readTimmTransform(c.Pretrained)...)...)
}

// timmDefaults are what a pretrained_cfg means that leaves them out.
//
// Source: huggingface/pytorch-image-models, timm/data/config.py, resolve_data_config; timm/data/constants.py.
var timmDefaults = map[string]any{
	"mean": []any{0.485, 0.456, 0.406}, "std": []any{0.229, 0.224, 0.225},
	"crop_pct": 0.875, "crop_mode": "center", "interpolation": "bicubic",
}

// readTimmTransform reads the preprocessing in pretrained_cfg. timm makes an image RGB before all else.
//
// Source: the same, timm/data/config.py, resolve_data_config, and dataset.py, ImageDataset.
func (m *Model) readTimmTransform(cfg map[string]any) []error {
	v := &m.config.Vision
	if len(cfg) == 0 {
		return nil
	}
	given := cfg
	cfg = maps.Clone(timmDefaults)
	for key, value := range given {
		if value != nil {
			cfg[key] = value
		}
	}
	var errs []error
	wrong := func(key string, want any) {
		errs = append(errs, fmt.Errorf("pretrained_cfg.%s is %.40s, want %v", key, fmt.Sprint(cfg[key]), want))
	}
	text := func(key string) string {
		s, ok := cfg[key].(string)
		if !ok && cfg[key] != nil {
			wrong(key, "a text")
		}
		return s
	}
	mode, filter := text("crop_mode"), text("interpolation")
	t := withChannels(clipvit.Transform{Fit: timmFits[mode], Filter: clipvit.Filter(filter), Alpha: clipvit.AlphaDropFirst}, cfg["mean"], cfg["std"])
	r := t.Resolved()
	for _, f := range []struct {
		key  string
		want [3]float64
	}{{"mean", r.Mean}, {"std", r.Std}} {
		if !equalJSON(cfg[f.key], channels(f.want)) {
			wrong(f.key, "3 numbers")
		}
	}
	if timmFits[mode] == "" {
		wrong("crop_mode", "center, squash or border")
	}
	// What is scaled is so much larger than what is cut out of it.
	part, ok := cfg["crop_pct"].(float64)
	switch {
	case !ok || !(part > 0 && part <= 1):
		wrong("crop_pct", "a number above 0 and up to 1")
	case part < 1 && timmFits[mode] == clipvit.FitLongest:
		wrong("crop_pct", "1 where crop_mode is border")
	case part < 1:
		t.Resize = int(float64(v.ImageSize) / part)
	}
	if timmFits[mode] == clipvit.FitLongest {
		for i, mean := range r.Mean {
			t.Fill[i] = uint8(min(max(math.RoundToEven(255*mean), 0), 255))
		}
	}
	if pixels := float64(v.ImageSize); cfg["input_size"] != nil && !equalJSON(cfg["input_size"], []any{3.0, pixels, pixels}) {
		wrong("input_size", []any{3, v.ImageSize, v.ImageSize})
	}
	if err := t.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("pretrained_cfg: %w", err))
	}
	v.Transform = t.Canonical()
	return errs
}
