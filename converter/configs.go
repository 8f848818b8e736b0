package converter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/pyjson"
)

// What the files beside the tensors say that shapes do not: heads, activations, epsilons, and how a
// language model takes its tokens. What both say must be equal.

// ErrActivation is returned for tensors whose names are shared by models of both activations, where
// nothing says which: embeddings would be wrong without a sign. [Assume] says it.
var ErrActivation = errors.New("nothing says whether the activation is quick_gelu, as OpenAI's, or gelu, as most of OpenCLIP's: " +
	"put the model's config.json or open_clip_config.json beside the tensors, or say it")

// The files of a projector in a directory that a conversion wrote.
const (
	projectorFile    = "projector_config.json"
	projectorWeights = "projector.safetensors"
)

// A configIdentity is what the kinds of config.json are told apart by.
type configIdentity struct {
	ModelType     string          `json:"model_type"`
	Architecture  string          `json:"architecture"` // timm's
	Architectures []string        `json:"architectures"`
	VisionConfig  json.RawMessage `json:"vision_config"`
	TextConfig    json.RawMessage `json:"text_config"`

	members map[string]json.RawMessage
}

// has reports whether the object has a member that is not null.
func (t configIdentity) has(name string) bool {
	raw, ok := t.members[name]
	return ok && string(raw) != "null"
}

// A configKind is a kind of config.json; the list of them is configKinds.
type configKind struct {
	is   func(t configIdentity) bool
	read func(m *Model, file []byte) error
}

var (
	clipConfig = configKind{
		func(t configIdentity) bool { return t.ModelType == "clip" || t.ModelType == "clip_vision_model" },
		func(m *Model, file []byte) error { return agree(file, &m.config, m.has) },
	}
	llavaConfig   = configKind{func(t configIdentity) bool { return t.has("mm_vision_tower") || t.has("mm_projector_type") }, readLLaVA}
	hfLLaVAConfig = configKind{func(t configIdentity) bool { return t.ModelType == "llava" || t.ModelType == "llava_next" }, readHFLLaVA}
	// xComposerConfig says nothing of the tower: build_mlp.py has it.
	xComposerConfig = configKind{func(t configIdentity) bool {
		return slices.ContainsFunc(t.Architectures, func(a string) bool { return strings.HasPrefix(a, "InternLMXComposer") })
	}, func(*Model, []byte) error { return nil }}
)

// readConfigs reads all configurations of the checkpoint.
func (m *Model) readConfigs() error {
	for _, f := range []struct {
		name string
		raw  []byte
		read func(m *Model, file []byte) error
	}{
		{configFile, m.beside.config, readConfig},
		{openCLIPConfig, m.beside.openCLIP, readOpenCLIP},
		{projectorFile, m.beside.projector, readProjector},
	} {
		if f.raw == nil {
			continue
		}
		if err := f.read(m, f.raw); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// native says whether the names are those of OpenAI and OpenCLIP.
func (m *Model) native() bool {
	return m.dialect == openAI || m.dialect == openCLIP || m.dialect == openAITower
}

func readConfig(m *Model, file []byte) error {
	if m.native() && m.beside.openCLIP != nil {
		return nil // of the same model in Hugging Face's form, which lies in the same directory
	}
	var t configIdentity
	if err := pyjson.Unmarshal(file, &t); err != nil {
		return err
	}
	if err := pyjson.Unmarshal(file, &t.members); err != nil {
		return err
	}
	for _, k := range configKinds {
		if k.is(t) {
			return k.read(m, file)
		}
	}
	if family := foreignConfig(t); family != "" {
		return errors.New(family)
	}
	return fmt.Errorf("model_type is %.40q, want \"clip\", \"clip_vision_model\", \"llava\", or a model of LLaVA or XComposer", t.ModelType)
}

// noPostNorm says whether a config.json that a conversion wrote says that there is no post-norm.
// For transformers, which has no such towers, the field has no meaning.
func (m *Model) noPostNorm() bool {
	var c struct {
		ModelType  string `json:"model_type"`
		NoPostNorm bool   `json:"no_post_layernorm"`
	}
	return m.beside.config != nil && pyjson.Unmarshal(m.beside.config, &c) == nil && c.ModelType == "clip_vision_model" && c.NoPostNorm
}

// hfTower is a tower in Hugging Face's config.json. Its zero value has to be replaced by the
// defaults of the class: what the file leaves out has those values.
//
// Source: huggingface/transformers, models/clip/configuration_clip.py.
type hfTower struct {
	HiddenSize       int     `json:"hidden_size"`
	IntermediateSize int     `json:"intermediate_size"`
	ProjectionDim    int     `json:"projection_dim"`
	Layers           int     `json:"num_hidden_layers"`
	Heads            int     `json:"num_attention_heads"`
	Channels         int     `json:"num_channels"`
	ImageSize        int     `json:"image_size"`
	PatchSize        int     `json:"patch_size"`
	Vocab            int     `json:"vocab_size"`
	Positions        int     `json:"max_position_embeddings"`
	HiddenAct        string  `json:"hidden_act"`
	LayerNormEps     float64 `json:"layer_norm_eps"`
	BOS              int     `json:"bos_token_id"`
	EOS              int     `json:"eos_token_id"`
}

var (
	hfVisionDefaults = hfTower{
		HiddenSize: 768, IntermediateSize: 3072, ProjectionDim: 512, Layers: 12, Heads: 12, Channels: 3,
		ImageSize: 224, PatchSize: 32, HiddenAct: "quick_gelu", LayerNormEps: 1e-5,
	}
	hfTextDefaults = hfTower{
		HiddenSize: 512, IntermediateSize: 2048, ProjectionDim: 512, Layers: 12, Heads: 8,
		Vocab: 49408, Positions: 77, HiddenAct: "quick_gelu", LayerNormEps: 1e-5, BOS: 49406, EOS: 49407,
	}
)

// legacyEOS stands in the configurations that OpenAI's models were published with; it is wrong,
// and transformers takes the place of the largest word instead, be it one that was added. Source: modeling_clip.py, CLIPTextTransformer.
const legacyEOS = 2

// agree completes c, which shapes gave, by what only config.json says, and returns an error with
// everything that the two say differently.
func agree(file []byte, c *Config, has inventory) error {
	var top struct {
		ModelType string            `json:"model_type"`
		Project   *int              `json:"projection_dim"`
		Vision    []json.RawMessage `json:"-"`
		Text      []json.RawMessage `json:"-"`

		VisionConfig     json.RawMessage `json:"vision_config"`
		VisionConfigDict json.RawMessage `json:"vision_config_dict"` // an old name; it wins
		TextConfig       json.RawMessage `json:"text_config"`
		TextConfigDict   json.RawMessage `json:"text_config_dict"`
	}
	if err := pyjson.Unmarshal(file, &top); err != nil {
		return err
	}
	vision, text := hfVisionDefaults, hfTextDefaults
	switch top.ModelType {
	case "clip":
		top.Vision = []json.RawMessage{top.VisionConfig, top.VisionConfigDict}
		top.Text = []json.RawMessage{top.TextConfig, top.TextConfigDict}
	case "clip_vision_model":
		top.Vision = []json.RawMessage{file}
	}
	for _, overlay := range []struct {
		name  string
		tower *hfTower
		files []json.RawMessage
	}{{"vision_config", &vision, top.Vision}, {"text_config", &text, top.Text}} {
		for _, raw := range overlay.files {
			if raw == nil {
				continue
			}
			if err := pyjson.Unmarshal(raw, overlay.tower); err != nil && top.ModelType == "clip" {
				return fmt.Errorf("%s: %w", overlay.name, err)
			} else if err != nil {
				return err
			}
		}
	}
	if top.ModelType == "clip" {
		vision.ProjectionDim = 512
		if top.Project != nil {
			vision.ProjectionDim = *top.Project
		}
		text.ProjectionDim = vision.ProjectionDim
	}

	var errs []error
	if has.vision {
		errs = append(errs, vision.agreeVision(&c.Vision)...)
	}
	if t := c.Text; t != nil && top.Text != nil {
		errs = append(errs, text.agreeText(t)...)
	}
	return errors.Join(errs...)
}

// equal returns an error if a field of a configuration differs from what the tensors say.
func equal(tower, field string, config, tensors int) error {
	if config != tensors {
		return fmt.Errorf("%s %s is %d, the tensors say %d", tower, field, config, tensors)
	}
	return nil
}

// agreeVision completes v, which shapes gave, and returns what the configuration says differently.
func (h *hfTower) agreeVision(v *clipvit.Config) []error {
	errs := []error{
		equal("vision", "hidden_size", h.HiddenSize, v.Width),
		equal("vision", "intermediate_size", h.IntermediateSize, v.MLPWidth),
		equal("vision", "num_hidden_layers", h.Layers, v.Layers),
		equal("vision", "image_size", h.ImageSize, v.ImageSize),
		equal("vision", "patch_size", h.PatchSize, v.PatchSize),
		equal("vision", "num_channels", h.Channels, 3),
	}
	if v.EmbedDim > 0 {
		errs = append(errs, equal("vision", "projection_dim", h.ProjectionDim, v.EmbedDim))
	}
	v.Activation, v.NormEps, v.Heads = transformer.Activation(h.HiddenAct), h.LayerNormEps, h.Heads
	return append(errs, h.check("vision", v.Width))
}

// agreeText is agreeVision for the text tower.
func (h *hfTower) agreeText(t *TextConfig) []error {
	if h.EOS != legacyEOS {
		t.BOS, t.EOS, t.PoolLargest = h.BOS, h.EOS, false
	}
	t.Activation, t.NormEps, t.Heads = transformer.Activation(h.HiddenAct), h.LayerNormEps, h.Heads
	return []error{
		equal("text", "hidden_size", h.HiddenSize, t.Width),
		equal("text", "intermediate_size", h.IntermediateSize, t.MLPWidth),
		equal("text", "num_hidden_layers", h.Layers, t.Layers),
		equal("text", "vocab_size", h.Vocab, t.Vocab),
		equal("text", "max_position_embeddings", h.Positions, t.Context),
		h.check("text", t.Width),
	}
}

// check returns an error if the activation is not known or the heads do not divide the width.
func (h *hfTower) check(tower string, width int) error {
	var errs []error
	if a := transformer.Activation(h.HiddenAct); !a.Valid() {
		errs = append(errs, fmt.Errorf("%s hidden_act is %.40q, want one of %q", tower, a, transformer.Activations()))
	}
	if h.Heads < 1 || width%h.Heads != 0 {
		errs = append(errs, fmt.Errorf("%s num_attention_heads is %d, which does not divide the width %d", tower, h.Heads, width))
	}
	return errors.Join(errs...)
}

// readHFLLaVA reads the config.json of a LLaVA in transformers' form.
//
// Source: huggingface/transformers, models/llava/configuration_llava.py, LlavaConfig.
func readHFLLaVA(m *Model, file []byte) error {
	var c struct {
		VisionConfig json.RawMessage `json:"vision_config"`
		Layer        json.RawMessage `json:"vision_feature_layer"`
		Strategy     string          `json:"vision_feature_select_strategy"`
		Act          string          `json:"projector_hidden_act"`
		Points       [][2]int        `json:"image_grid_pinpoints"` // heights and widths
	}
	c.Strategy, c.Act = "default", "gelu"
	if err := pyjson.Unmarshal(file, &c); err != nil {
		return err
	}
	vision := hfLLaVADefaults
	var errs []error
	if c.VisionConfig != nil {
		vision = hfVisionDefaults
		var kind configIdentity
		if err := errors.Join(pyjson.Unmarshal(c.VisionConfig, &vision), pyjson.Unmarshal(c.VisionConfig, &kind)); err != nil {
			return err
		}
		if kind.ModelType != "" && kind.ModelType != "clip_vision_model" {
			errs = append(errs, fmt.Errorf("vision model_type is %.40q, want \"clip_vision_model\"", kind.ModelType))
		}
	}
	if m.has.vision {
		errs = append(errs, vision.agreeVision(&m.config.Vision)...)
	}
	if p := m.projector; p != nil {
		layer := -2
		if c.Layer != nil {
			if err := pyjson.Unmarshal(c.Layer, &layer); err != nil {
				errs = append(errs, fmt.Errorf("vision_feature_layer is %.40s, want one layer", compact(c.Layer)))
			}
		}
		if c.Act != "gelu" {
			errs = append(errs, fmt.Errorf("projector_hidden_act is %.40q, want \"gelu\"", c.Act))
		}
		p.SelectLayer, p.ImageSize = &layer, vision.ImageSize
		if !m.has.extra["Projector.Newline"] {
			p.Layout = "processor"
		}
		errs = append(errs, p.setGrids(c.Points, false, vision.ImageSize))
		switch c.Strategy {
		case "default":
			p.SelectFeature = "patch"
		case "full":
			p.SelectFeature = "cls_patch"
		default:
			errs = append(errs, fmt.Errorf("vision_feature_select_strategy is %.40q, want \"default\" or \"full\"", c.Strategy))
		}
	}
	return errors.Join(errs...)
}

// hfLLaVADefaults is the tower of a LlavaConfig that has none.
var hfLLaVADefaults = hfTower{
	HiddenSize: 1024, IntermediateSize: 4096, ProjectionDim: 768, Layers: 24, Heads: 16, Channels: 3,
	ImageSize: 336, PatchSize: 14, HiddenAct: "quick_gelu", LayerNormEps: 1e-5,
}

// openAITowers are the names, without the owner's, under which OpenAI's towers are on the hub.
var openAITowers = []string{"clip-vit-base-patch32", "clip-vit-base-patch16", "clip-vit-large-patch14", "clip-vit-large-patch14-336"}

// readLLaVA reads the config.json of an original LLaVA.
//
// Source: haotian-liu/LLaVA, llava/model/llava_arch.py, initialize_vision_modules.
func readLLaVA(m *Model, file []byte) error {
	var c struct {
		Tower   string `json:"mm_vision_tower"`
		Type    string `json:"mm_projector_type"`
		Layer   *int   `json:"mm_vision_select_layer"`
		Feature string `json:"mm_vision_select_feature"`
		In      int    `json:"mm_hidden_size"`
		Out     int    `json:"hidden_size"`
	}
	if err := pyjson.Unmarshal(file, &c); err != nil {
		return err
	}
	if m.has.vision && slices.Contains(openAITowers, path.Base(strings.TrimRight(c.Tower, "/"))) {
		m.config.Vision.Activation = transformer.QuickGELU
	}
	p := m.projector
	if p == nil {
		return nil
	}
	var errs []error
	if c.Type != "" && c.Type != p.Type {
		errs = append(errs, fmt.Errorf("mm_projector_type is %.40q, the tensors say %q", c.Type, p.Type))
	}
	if c.In > 0 {
		errs = append(errs, equal("projector", "mm_hidden_size", c.In, p.In))
	}
	if c.Out > 0 {
		errs = append(errs, equal("projector", "hidden_size", c.Out, p.Out))
	}
	if p.SelectFeature = c.Feature; !isSelectFeature(c.Feature) {
		errs = append(errs, fmt.Errorf("mm_vision_select_feature is %.40q, want \"patch\" or \"cls_patch\"", c.Feature))
	}
	p.SelectLayer = c.Layer
	return errors.Join(append(errs, readLLaVALayout(m, file))...)
}

// compact returns JSON as an error shows it, without white space between its parts.
func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil { // NaN, say
		return string(raw)
	}
	return b.String()
}
