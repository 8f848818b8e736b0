package converter

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vitago/vitago/internal/pyjson"
)

// A foreign family is one that people take for CLIP's, or look for beside it, and whose towers compute something else.
type foreignFamily struct {
	name   string
	why    string   // what is otherwise
	types  []string // how model_type or an entry of architectures begins, or what timm's architecture contains, in lower case
	marks  []string // what a name of its tensors contains
	unless []string // marks that none of its tensors has
}

const (
	metaCLIP2Why = "its text tower has the vocabulary of XLM-V"
	dinov2Why    = "its tower has no norm before the blocks, and scales of layers"
	noPreNormWhy = "it has no norm before the blocks"
	// metaCLIP2Words is how many words XLM-V has. Source: mlfoundations/open_clip, model_configs/ViT-H-14-worldwide.json.
	metaCLIP2Words = 901629
)

// foreignFamilies are told apart by the first that fits: those with more of a mark stand first.
//
// Sources: huggingface/transformers, models/*/configuration_*.py and modeling_*.py; mlfoundations/open_clip,
// src/open_clip/model_configs; huggingface/pytorch-image-models, timm/models.
var foreignFamilies = []foreignFamily{
	// Text towers, and parts, of CLIP itself.
	{name: "CLIP's text tower alone (CLIPTextModel)", why: "there is no vision tower in it", types: []string{"clip_text_model", "cliptextmodel"},
		marks: []string{"token_embedding.weight"}, unless: []string{"patch_embed", "conv1.weight", "class_embedding", "cls_token", "visual.", "vision"}},
	{name: "CLIP in the geometric parametrisation (GmP)", why: "weights are radius and angle: convert them back first, as its repository's script does", marks: []string{".c_fc.theta", ".c_proj.theta", ".c_fc.r"}},
	{name: "TinyCLIP with masks", why: "its parameters are masked: export its towers first", marks: []string{"_image_encoder.", "l0_module", "image_encoder_without_ddp"}},
	{name: "CLIPSeg", why: "it adds a decoder to CLIP", types: []string{"clipseg"}, marks: []string{"decoder.film_"}},
	{name: "CLAP", why: "it hears sound", types: []string{"clap"}, marks: []string{"audio_model.audio_encoder", "audio_branch."}},
	{name: "a LoRA adapter of peft", why: "it is corrections to a model that lies elsewhere", marks: []string{".lora_A.", ".lora_B."}, unless: []string{"patch_embedding", "conv1.weight", "patch_embed."}},
	{name: "a model in 4 or 8 bits (bitsandbytes)", why: "weights are quantized: take the model as it was published", marks: []string{".weight.absmax", ".weight.quant_map", ".SCB"}},

	// Language models that see.
	{name: "Video-LLaVA, VipLLaVA or another relative of LLaVA", why: "it projects several layers, or videos", types: []string{"vipllava", "video_llava", "videollava", "llava_next_video", "llavanextvideo", "llava_onevision", "llavaonevision"},
		marks: []string{"multi_modal_projector.projector_layernorm", "video_tower."}},
	{name: "Idefics, PaliGemma or another language model with SigLIP", why: "its tower is SigLIP", types: []string{"idefics", "paligemma", "smolvlm", "gemma3"}},
	{name: "BLIP-2", why: "its tower is EVA-CLIP and a Q-Former stands on it", types: []string{"blip-2", "blip_2", "blip2", "instructblip"}, marks: []string{"qformer.", "Qformer."}},
	{name: "BLIP", why: "its tower and its text model are its own", types: []string{"blip"}, marks: []string{"visual_encoder.blocks.", "text_encoder.bert.", "layers.0.self_attn.qkv.weight"}},
	{name: "Qwen's vision tower", why: "it has rotary positions and merges patches", types: []string{"qwen2_vl", "qwen2_5_vl", "qwen3_vl"}, marks: []string{"visual.patch_embed.proj.weight", "visual.merger."}},
	{name: "InternViT", why: "its tower has scales of layers, and norms of queries and keys", types: []string{"intern_vit", "internvision", "internvl"},
		marks: []string{"encoder.layers.0.ls1", "attention.projection_layer.bias", "mlp1.0.weight"}},

	// Two towers, of other forms.
	{name: "LiT (VisionTextDualEncoder)", why: "it joins any two towers", types: []string{"vision-text-dual-encoder", "visiontextdualencoder"}, marks: []string{"vision_model.vision_model."}},
	{name: "SigLIP 2", why: "its tower has no class token and pools by attention", types: []string{"siglip2"}},
	{name: "the Perception Encoder", why: "its tower has rotary positions and pools by attention", types: []string{"vit_pe"}, marks: []string{"visual.trunk.norm_pre.weight", "visual.attn_pool.probe"}},
	{name: "SigLIP", why: "its tower has no class token and pools by attention", types: []string{"siglip"}, marks: []string{"head.probe", "visual.trunk.attn_pool."}},
	{name: "MetaCLIP 2 (worldwide)", why: metaCLIP2Why, types: []string{"metaclip_2", "metaclip2"}},
	{name: "AltCLIP", why: "its text tower is XLM-RoBERTa", types: []string{"altclip"}, marks: []string{"text_model.roberta."}},
	{name: "jina-clip", why: "its towers are EVA-02 and JinaBERT", types: []string{"jina_clip", "jinaclip", "jina-clip"}, marks: []string{"text_model.transformer.emb"}},
	{name: "Chinese-CLIP", why: "its text tower is BERT", types: []string{"chinese_clip", "chineseclip"}, marks: []string{"text_model.embeddings.word_embeddings.weight", "bert.embeddings."}},
	{name: "X-CLIP", why: "it sees videos", types: []string{"xclip"}, marks: []string{"mit.encoder.layers", "prompts_generator."}},
	{name: "GroupViT", why: "its tower groups patches", types: []string{"groupvit"}, marks: []string{"vision_model.encoder.stages."}},
	{name: "ALIGN", why: "its tower is EfficientNet", types: []string{"align"}, marks: []string{"vision_model.encoder.blocks.0.depthwise_conv"}},
	{name: "FLAVA", why: "its towers are ViT of another form", types: []string{"flava"}, marks: []string{"image_model.encoder.layer."}},
	{name: "OWL-ViT", why: "it detects objects", types: []string{"owlvit", "owlv2"}, marks: []string{"owlvit.", "owlv2.", "box_head.", "vision_model.pre_layernorm."}},
	{name: "MLCD", why: "its tower has rotary positions", types: []string{"mlcd"}, marks: []string{"class_pos_emb", "vision_rotary_embedding"}},
	{name: "AIMv2", why: "its tower has gated MLPs and RMS norms", types: []string{"aimv2"}, marks: []string{"preprocessor.patchifier.", "trunk.post_trunk_norm", "layers.0.rms_norm1"}},

	// OpenCLIP.
	{name: "EVA-CLIP or EVA-02", why: "its tower has rotary positions or other norms", types: []string{"eva02", "eva_", "evaclip"},
		marks: []string{"visual.trunk.blocks.0.attn.q_bias", "visual.trunk.blocks.0.attn.q_proj.weight", "visual.blocks.0.attn.q_bias", "visual.rope.", "visual.trunk.rope.", "visual.blocks.0.mlp.w1."}},
	{name: "MobileCLIP or a ViTamin", why: "its tower begins with convolutions", types: []string{"mobileclip", "fastvit", "vitamin", "mci"}, marks: []string{"patch_embed.backbone.", "token_mixer.", "image_encoder.model.patch_emb"}},
	{name: "OpenCLIP's ConvNeXt", why: "its tower is of convolutions", types: []string{"convnext"}, marks: []string{"stages.0.blocks.0.conv_dw"}},
	{name: "CoCa", why: "its tower pools by attention and a decoder of texts stands on it", types: []string{"coca"}, marks: []string{"visual.attn_pool.", "text_decoder."}},
	{name: "a ResNet of CLIP (RN50, RN101, …)", why: "its tower is of convolutions", types: []string{"rn50", "rn101", "resnet"}, marks: []string{"visual.layer1.0.conv1.weight", "visual.attnpool.", "attnpool.q_proj"}},
	{name: "OpenCLIP's tower of timm (Swin, relative positions, …)", why: "its tower is another one", marks: []string{"visual.trunk."}},
	{name: "OpenCLIP with a text tower of Hugging Face (XLM-RoBERTa, mT5, NLLB, …)", why: "its vocabulary is not CLIP's", marks: []string{"text.transformer.embeddings.", "text.transformer.encoder.", "text.transformer.shared."}},
	{name: "OpenCLIP's tower with LayerScale (ViT-M-16-alt)", why: "its blocks have scales of layers", marks: []string{".ls_1.gamma"}},
	{name: "CLIPA", why: "its tower has no ln_pre and pools by the mean of the patches", types: []string{"clipa"}, marks: []string{"visual.transformer.resblocks.0.ln_1.weight"}, unless: []string{"visual.ln_pre."}},

	// Towers of images alone.
	{name: "DINOv3", why: "its tower has rotary positions and register tokens", types: []string{"dinov3"}, marks: []string{"storage_tokens", "rope_embed.periods", "embeddings.register_tokens"}, unless: []string{"attention.attention.query"}},
	{name: "DINOv2", why: dinov2Why, types: []string{"dinov2"}, marks: []string{"layer_scale1.lambda1"}},
	{name: "DINOv2", why: dinov2Why, marks: []string{"mask_token"}, unless: []string{"attention.attention.query", "relative_position", "patch_embeddings.projection"}},
	{name: "SAM", why: "its tower has relative positions", types: []string{"samvit", "sam"}, marks: []string{"rel_pos_h"}},
	{name: "a ViT of timm with register tokens", why: "tokens of registers stand between class and patches", types: []string{"reg4", "reg8"}, marks: []string{"reg_token"}},
	{name: "a ViT of timm that pools by attention", why: "there is no class token's output", marks: []string{"attn_pool.latent", "attn_pool.q."}},
	{name: "EVA, EVA-02 or BEiT of timm", why: "its tower has other positions and norms", types: []string{"eva"}, marks: []string{"blocks.0.attn.q_bias", "blocks.0.attn.q_proj.weight"}},
	{name: "a ViT of timm that pools by the mean (fc_norm)", why: "the head reads patches", types: []string{"_gap"}, marks: []string{"fc_norm.weight"}},
	{name: "a ViT of timm with scales of layers or norms of queries and keys", why: "CLIP's blocks have none", marks: []string{".ls1.gamma", ".attn.q_norm."}},
	{name: "a ViT of ImageNet (ViT, DeiT, BEiT, …)", why: noPreNormWhy, types: []string{"vit", "deit", "beit", "data2vec-vision"}, marks: []string{"embeddings.patch_embeddings.projection.weight"}},
	{name: "a ViT of timm that is not CLIP's", why: noPreNormWhy, types: []string{"swin_"}, marks: []string{"patch_embed.proj.bias"}},
	{name: "a text model (BERT, RoBERTa, …)", why: "there is no vision tower in it", types: []string{"distilbert", "bert", "roberta", "xlm-roberta", "mpnet"}, marks: []string{"embeddings.word_embeddings.weight"}},
	{name: "a network of convolutions (ResNet, EfficientNet, …)", why: "it is no transformer", types: []string{"efficientnet"}, marks: []string{"bn1.running_mean", "bn.running_mean"}},
	{name: "SigLIP or another tower without a class token", why: "CLIP's has one", marks: []string{"embeddings.patch_embedding.bias"}, unless: []string{"class_embedding"}},
}

// text returns what an error says of a family.
func (f foreignFamily) text(how string) string {
	return fmt.Sprintf("%s: this is %s, which is not supported: %s", how, f.name, f.why)
}

// foreignConfig says which family a config.json is of, "" if none is known.
func foreignConfig(t configIdentity) string {
	find := func(key, value string, fits func(s, word string) bool) string {
		for _, f := range foreignFamilies {
			if slices.ContainsFunc(f.types, func(word string) bool { return fits(strings.ToLower(value), word) }) {
				return f.text(fmt.Sprintf("%s is %.60q", key, value))
			}
		}
		return ""
	}
	text := find("model_type", t.ModelType, strings.HasPrefix)
	if isTimm(t) && !strings.Contains(t.Architecture, timmCLIP) {
		text = find("architecture", t.Architecture, strings.Contains)
	}
	for _, a := range t.Architectures {
		text = cmp.Or(text, find("architectures", a, strings.HasPrefix))
	}
	return text
}

// foreign says which family the tensors of a source are of, by the configuration beside them or their names; "" if none
// is known.
func (s *source) foreign() string {
	var t configIdentity
	if s.beside.config != nil && pyjson.Unmarshal(s.beside.config, &t) == nil {
		if text := foreignConfig(t); text != "" {
			return text
		}
	}
	names := s.file.Names()
	find := func(mark string) (string, bool) {
		i := slices.IndexFunc(names, func(n string) bool { return strings.Contains(n, mark) })
		if i < 0 {
			return "", false
		}
		return names[i], true
	}
	for _, f := range foreignFamilies {
		for _, m := range f.marks {
			name, ok := find(m)
			if ok && !slices.ContainsFunc(f.unless, func(u string) bool { _, there := find(u); return there }) {
				return f.text(fmt.Sprintf("%.100s is there", name))
			}
		}
	}
	return ""
}
