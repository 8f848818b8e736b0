package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/internal/folder"
)

// adapterConfig is what we write of adapter_config.json; package peft reads it. Source:
// huggingface/peft, tuners/lora/config.py, LoraConfig.
type adapterConfig struct {
	PeftType       string          `json:"peft_type"`
	TaskType       *string         `json:"task_type"`
	Base           string          `json:"base_model_name_or_path"`
	R              int             `json:"r"`
	Alpha          float64         `json:"lora_alpha"`
	Targets        json.RawMessage `json:"target_modules"` // a list of names, or a pattern
	Dropout        float64         `json:"lora_dropout"`   // of training; nothing in use
	Bias           string          `json:"bias"`
	FanInFanOut    bool            `json:"fan_in_fan_out"`
	InferenceMode  bool            `json:"inference_mode"`
	RSLoRA         bool            `json:"use_rslora"` // scale is α/√R
	DoRA           bool            `json:"use_dora"`
	ModulesToSave  []string        `json:"modules_to_save"`
	RankPattern    map[string]any  `json:"rank_pattern"`
	AlphaPattern   map[string]any  `json:"alpha_pattern"`
	InitLoRA       bool            `json:"init_lora_weights"`
	LayersToChange json.RawMessage `json:"layers_to_transform"`
}

// Save writes the corrections of m alone into the directory dir, which may exist, as peft does:
// PeftModel.from_pretrained(model, dir) loads them, and so does the model's own load_adapter. The model is the class of
// transformers that the tower's directory is for: a CLIPVisionModel without a projection, by the names of 4.57 and by those of
// 5.10 and later, and otherwise a CLIPVisionModelWithProjection or CLIPModel. base is what the configuration says they
// correct, a path or a name; c is what they were made with. A tower without a projection may be part of larger models as well,
// such as [HuggingFaceLLaVATower]: within are what the names of its modules have in front there.
func Save(m *clipvit.Model, c LoRA, base, dir string, within ...string) error {
	if err := c.Validate(); err != nil {
		return err
	}
	var tensors []checkpoint.Values
	var missing, others []string
	c.each(m, func(module string, t loraTarget, b *transformer.Block) {
		w, list := t.layer(b)
		l := t.of1(*list, w)
		if l == nil {
			missing = append(missing, module)
			return
		}
		if rank := l.A.Shape()[0]; rank != c.Rank || l.Scale != c.Alpha/float64(c.Rank) {
			others = append(others, fmt.Sprintf("%s has rank %d and scale %v", module, rank, l.Scale))
		}
		for _, p := range []struct {
			name  string
			param *nn.Param
		}{{"lora_A", l.A}, {"lora_B", l.B}} {
			for _, name := range names(m, module, within) {
				tensors = append(tensors, checkpoint.Values{
					Name: peft.Prefix + name + "." + p.name + ".weight", Shape: p.param.Shape(), Data: mat.Data[float32](p.param),
				})
			}
		}
	})
	if missing != nil {
		return fmt.Errorf("adapter: LoRA: %d weights are not corrected, %s first", len(missing), missing[0])
	}
	if others != nil {
		return fmt.Errorf("adapter: LoRA: %d weights are not corrected with rank %d and scale %v, %s first", len(others), c.Rank, c.Alpha/float64(c.Rank), others[0])
	}
	targets, err := json.Marshal(targetModules(c, within))
	if err != nil {
		return err
	}
	config, err := json.MarshalIndent(adapterConfig{
		PeftType: "LORA", Base: base, R: c.Rank, Alpha: c.Alpha, Targets: targets, Bias: "none", InferenceMode: true,
		InitLoRA: true, RankPattern: map[string]any{}, AlphaPattern: map[string]any{}, LayersToChange: json.RawMessage("null"),
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("adapter: LoRA: %w", err)
	}
	return errors.Join(
		checkpoint.WriteTensors(filepath.Join(dir, peft.WeightsFile), nil, tensors),
		folder.Prefix("adapter", folder.WriteBytes(filepath.Join(dir, peft.ConfigFile), append(config, '\n'))),
	)
}

// names returns what a module of the tower m is called in transformers. CLIPModel and CLIPVisionModelWithProjection call it so
// in all versions. A tower without projection is a CLIPVisionModel, which has lost "vision_model." on the way from 4.57 to 5.10:
// peft loads what has the model's own names, passes over all else, and computes the tower as it was where it finds none. So
// there its corrections have both names.
func names(m *clipvit.Model, module string, within []string) []string {
	if m.Config.EmbedDim > 0 {
		return []string{module}
	}
	var all []string
	for _, prefix := range append([]string{""}, within...) {
		all = append(all, prefix+module, prefix+strings.TrimPrefix(module, "vision_model."))
	}
	return all
}

// What is in front of the names of the tower in larger models, for [Save].
//
// Sources: huggingface/transformers, models/llava/modeling_llava.py, since 4.52, LlavaForConditionalGeneration;
// haotian-liu/LLaVA, llava/model/multimodal_encoder/clip_encoder.py; InternLM/InternLM-XComposer, build_mlp.py.
const (
	HuggingFaceLLaVATower = "model.vision_tower."
	LLaVATower            = "model.vision_tower.vision_tower."
	XComposerTower        = "vit.vision_tower."
)

// targetModules says in target_modules which modules are corrected: their names or, where the tower is part of a larger model,
// whose language model has some of the same, a pattern of what is in the blocks of an encoder.
func targetModules(c LoRA, within []string) any {
	if len(within) == 0 {
		return c.Targets
	}
	return `(.*\.)?encoder\.layers\.\d+\.(self_attn|mlp)\.(` + strings.Join(c.Targets, "|") + ")"
}

// of1 returns the correction of the target's rows, or nil.
func (t loraTarget) of1(list []*transformer.LoRA, w *linear.Model) *transformer.LoRA {
	at := t.band * w.W.Shape()[0] / t.of
	for _, l := range list {
		if l.At == at {
			return l
		}
	}
	return nil
}

// moduleName takes from a name what is in front of "encoder": transformers 5 has a CLIPVisionModel without
// vision_model, though its CLIPVisionModelWithProjection still has one.
func moduleName(name string) string {
	for _, prefix := range []string{peft.Prefix, LLaVATower, HuggingFaceLLaVATower, XComposerTower, "vision_model."} {
		name = strings.TrimPrefix(name, prefix)
	}
	return name
}
