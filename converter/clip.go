package converter

import (
	"slices"
	"strings"
)

// The towers of CLIP: what OpenAI called the tensors (openai/CLIP, clip/model.py, class CLIP; OpenCLIP
// kept the names) and what Hugging Face calls them (huggingface/transformers,
// models/clip/modeling_clip.py, class CLIPModel, whose vision half is CLIPVisionModelWithProjection).
var (
	openAIVision = table{
		{"visual.conv1.weight", "Embed.Patch", flat}, // [C,3,P,P]
		{"visual.class_embedding", "Embed.Class", asIs},
		{"visual.positional_embedding", "Embed.Position", asIs},
		{"visual.ln_{pre,post}.{weight,bias}", "{Pre,Post}Norm.{W,B}", asIs},
		{"visual.transformer.resblocks.#.ln_{1,2}.{weight,bias}", "Blocks.#.Norm{1,2}.{W,B}", asIs},
		{"visual.transformer.resblocks.#.attn.in_proj_{weight,bias}", "Blocks.#.Attn.QKV.{W,B}", asIs},
		{"visual.transformer.resblocks.#.attn.out_proj.{weight,bias}", "Blocks.#.Attn.Out.{W,B}", asIs},
		{"visual.transformer.resblocks.#.mlp.c_{fc,proj}.{weight,bias}", "Blocks.#.MLP.{Up,Down}.{W,B}", asIs},
		{"visual.proj", "Proj", transposed}, // [C,E]
	}
	openAIText = table{
		{"token_embedding.weight", "Text.Token", asIs},
		{"positional_embedding", "Text.Position", asIs},
		{"transformer.resblocks.#.ln_{1,2}.{weight,bias}", "Text.Blocks.#.Norm{1,2}.{W,B}", asIs},
		{"transformer.resblocks.#.attn.in_proj_{weight,bias}", "Text.Blocks.#.Attn.QKV.{W,B}", asIs},
		{"transformer.resblocks.#.attn.out_proj.{weight,bias}", "Text.Blocks.#.Attn.Out.{W,B}", asIs},
		{"transformer.resblocks.#.mlp.c_{fc,proj}.{weight,bias}", "Text.Blocks.#.MLP.{Up,Down}.{W,B}", asIs},
		{"ln_final.{weight,bias}", "Text.FinalNorm.{W,B}", asIs},
		{"text_projection", "Text.Proj", transposed}, // [c,E]
	}
	scale = table{{"logit_scale", "LogitScale", asIs}}

	hfVision = table{
		{"vision_model.embeddings.patch_embedding.weight", "Embed.Patch", flat}, // [C,3,P,P]
		{"vision_model.embeddings.class_embedding", "Embed.Class", asIs},
		{"vision_model.embeddings.position_embedding.weight", "Embed.Position", asIs},
		{"vision_model.{pre_layrnorm,post_layernorm}.{weight,bias}", "{Pre,Post}Norm.{W,B}", asIs}, // sic
		{"vision_model.encoder.layers.#.layer_norm{1,2}.{weight,bias}", "Blocks.#.Norm{1,2}.{W,B}", asIs},
		{"vision_model.encoder.layers.#.self_attn.{q,k,v}_proj.{weight,bias}", "Blocks.#.Attn.QKV[{0,1,2}/3].{W,B}", asIs},
		{"vision_model.encoder.layers.#.self_attn.out_proj.{weight,bias}", "Blocks.#.Attn.Out.{W,B}", asIs},
		{"vision_model.encoder.layers.#.mlp.fc{1,2}.{weight,bias}", "Blocks.#.MLP.{Up,Down}.{W,B}", asIs},
	}
	hfProj = table{{"visual_projection.weight", "Proj", asIs}}
	hfText = table{
		{"text_model.embeddings.token_embedding.weight", "Text.Token", asIs},
		{"text_model.embeddings.position_embedding.weight", "Text.Position", asIs},
		{"text_model.encoder.layers.#.layer_norm{1,2}.{weight,bias}", "Text.Blocks.#.Norm{1,2}.{W,B}", asIs},
		{"text_model.encoder.layers.#.self_attn.{q,k,v}_proj.{weight,bias}", "Text.Blocks.#.Attn.QKV[{0,1,2}/3].{W,B}", asIs},
		{"text_model.encoder.layers.#.self_attn.out_proj.{weight,bias}", "Text.Blocks.#.Attn.Out.{W,B}", asIs},
		{"text_model.encoder.layers.#.mlp.fc{1,2}.{weight,bias}", "Text.Blocks.#.MLP.{Up,Down}.{W,B}", asIs},
		{"text_model.final_layer_norm.{weight,bias}", "Text.FinalNorm.{W,B}", asIs},
		{"text_projection.weight", "Text.Proj", asIs},
	}
	hfIDs = []string{"vision_model.embeddings.position_ids", "text_model.embeddings.position_ids"}
)

// The dialects. Those of vision-language models have Hugging Face's tower under names of their own,
// a projector, and a language model that is left where it is.
var (
	openAI = newDialect("OpenAI", join(openAIVision, openAIText, scale), "input_resolution", "context_length", "vocab_size").withLibrary(byOpenAI)
	// openAITower is model.visual of either library, saved alone.
	openAITower = newDialect("OpenAI", openAIVision.without("visual.")).withLibrary(byOpenAI)
	openCLIP    = newDialect("OpenCLIP", join(openAIVision, under("text.", openAIText), scale)).withLibrary(byOpenCLIP) // CustomTextCLIP

	// huggingFace is also what a conversion writes, into two files: the rows of the projector, without
	// their prefix, are projector.safetensors; the others are model.safetensors.
	huggingFace = newDialect("Hugging Face", join(hfVision, hfProj, hfText, scale, under(projectorPrefix, table{
		{"{0,2,4,6}.{weight,bias}", "Projector.Layers.{0,1,2,3}.{W,B}", asIs},
		{"{weight,bias}", "Projector.Layers.0.{W,B}", alone},
		{"image_newline", "Projector.Newline", asIs},
		{"plora_glb_GN", "Projector.GlobalSeparator", asIs},
		{"plora_sub_GN", "Projector.RowSeparator", asIs},
	})), hfIDs...).withHead(hfHead)

	// Source: haotian-liu/LLaVA, llava/model/llava_arch.py, multimodal_projector/builder.py and
	// multimodal_encoder/clip_encoder.py.
	llava = newDialect("LLaVA", join(under("model.vision_tower.vision_tower.", hfVision), table{
		{"model.mm_projector.{0,2,4,6}.{weight,bias}", "Projector.Layers.{0,1,2,3}.{W,B}", asIs},
		{"model.mm_projector.{weight,bias}", "Projector.Layers.0.{W,B}", alone},
		{"model.image_newline", "Projector.Newline", asIs},
	}), "model.vision_tower.vision_tower.vision_model.embeddings.position_ids").
		withLanguage("model.layers.", "model.embed_tokens.", "model.norm.", "lm_head.").withFamily(llavaFamily).withLibrary(byTransformers4)

	// Source: huggingface/transformers, models/llava/modeling_llava.py; with "model." in front since 4.52.
	hfLLaVA = newDialect(HuggingFaceLLaVA, join(under("vision_tower.", hfVision), table{
		{"multi_modal_projector.linear_{1,2}.{weight,bias}", "Projector.Layers.{0,1}.{W,B}", asIs},
		{"image_newline", "Projector.Newline", asIs},
	}), "vision_tower.vision_model.embeddings.position_ids").
		withLanguage("language_model.", "lm_head.").withFamily(llavaFamily)

	// Source: InternLM/InternLM-XComposer and its models on Hugging Face, build_mlp.py and
	// modeling_internlm_xcomposer2.py; of the language model, *.Plora_A and *.Plora_B are parts.
	xComposer = newDialect("XComposer", join(under("vit.vision_tower.", hfVision), table{
		{"vision_proj.{0,2,4,6}.{weight,bias}", "Projector.Layers.{0,1,2,3}.{W,B}", asIs},
		{"plora_glb_GN", "Projector.GlobalSeparator", asIs}, // [1,1,M]
		{"plora_sub_GN", "Projector.RowSeparator", asIs},    // [1,1,1,M]
	}), "vit.vision_tower.vision_model.embeddings.position_ids").
		withLanguage("model.layers.", "model.tok_embeddings.", "model.norm.", "output.").withFamily(xComposerFamily).withLibrary(byTransformers4)

	// Source: InternLM/xtuner, xtuner/model/llava.py and modules/projector/modeling_projector.py.
	xtuner = newDialect("xtuner", join(under("visual_encoder.", hfVision), table{
		{"projector.model.{0,2,4,6}.{weight,bias}", "Projector.Layers.{0,1,2,3}.{W,B}", asIs},
	}), "visual_encoder.vision_model.embeddings.position_ids").
		withLanguage("llm.").withFamily(xtunerFamily).withLibrary(byTransformers4)

	// Source: huggingface/pytorch-image-models, timm/models/vision_transformer.py, VisionTransformer with pre_norm.
	// Its head is the projection into the joint space, whose bias is zero, or a classifier; see timmHead.
	timm = newDialect("timm", table{
		{"patch_embed.proj.weight", "Embed.Patch", flat}, // [C,3,P,P]
		{"cls_token", "Embed.Class", row2},               // [1,1,C]
		{"pos_embed", "Embed.Position", row},             // [1,T,C]
		{"norm_pre.{weight,bias}", "PreNorm.{W,B}", asIs},
		{"blocks.#.norm{1,2}.{weight,bias}", "Blocks.#.Norm{1,2}.{W,B}", asIs},
		{"blocks.#.attn.{qkv,proj}.{weight,bias}", "Blocks.#.Attn.{QKV,Out}.{W,B}", asIs},
		{"blocks.#.mlp.fc{1,2}.{weight,bias}", "Blocks.#.MLP.{Up,Down}.{W,B}", asIs},
		{"norm.{weight,bias}", "PostNorm.{W,B}", asIs},
		{"head.weight", "Proj", asIs},
	}).withHead(timmHead).withLibrary(byTimm)
)

// towerModule is what the names of Hugging Face's tower begin with. Since 5.6 a CLIPVisionModel of transformers that was built
// from a configuration, and the tower in a LLaVA, are saved without it; what was loaded from the longer names keeps them.
//
// Source: huggingface/transformers, models/clip/modeling_clip.py, CLIPVisionModel.
const towerModule = "vision_model."

// withoutModule returns dialects as d without towerModule.
func withoutModule(all ...*dialect) []*dialect {
	var short []*dialect
	for _, d := range all {
		excused := slices.Clone(d.excused)
		for i := range excused {
			excused[i] = strings.Replace(excused[i], towerModule, "", 1)
		}
		c := newDialect(d.name, d.table.without(towerModule), excused...)
		c.language, c.family, c.head, c.library = d.language, d.family, d.head, d.library
		short = append(short, c)
	}
	return short
}

// What there is. Who adds a dialect adds it to the first list, the config.json of its software to the second, and
// what Export writes to the third and to the list of [ExportForms].
var (
	dialects = append([]*dialect{openAI, openCLIP, huggingFace, llava, hfLLaVA, xComposer, xtuner, timm, openAITower},
		withoutModule(huggingFace, llava, hfLLaVA, xComposer, xtuner)...)

	// configKinds are the kinds of config.json: the first that fits has it.
	configKinds = []configKind{clipConfig, llavaConfig, hfLLaVAConfig, xComposerConfig, timmConfig}

	forms = []*form{openAIForm, huggingFaceForm, openCLIPForm, llavaForm, hfLLaVAForm, xComposerForm, ggufForm}
)

// ExportForms returns the values that [ExportOptions.To] may have:
//
//   - openai: an archive of TorchScript that clip.load of openai/CLIP reads, with parameters and no
//     code; or a state dict of torch.save for its build_model, since clip.load does not read those: it
//     does not rewind the file after it has tried to read an archive (openai/CLIP, issue 396);
//   - huggingface: the directory that [Model.Convert] writes, for transformers;
//   - openclip: a directory that open_clip loads as local-dir:DST;
//   - llava, llava-hf, xcomposer: tower and projector under the names that they have in LLaVA, in
//     transformers' LLaVA and in InternLM-XComposer 2 and 2.5: a state dict to be loaded over the
//     original's, whose language model stays where it is;
//   - gguf: a file for the option --mmproj of llama.cpp, of the kind that LLaVA 1.5 has: a tower and
//     a projector of two layers. The form of two towers that clip.cpp reads is not written. What
//     llama.cpp computes of a file is its own: its GELU is the one by tanh, and since 2025 it puts the
//     class token behind the patches.
func ExportForms() []string {
	var names []string
	for _, f := range forms {
		names = append(names, f.name)
	}
	return names
}

const (
	// HuggingFaceLLaVA is the [Model.Dialect] of LLaVA in the names of transformers.
	HuggingFaceLLaVA = "Hugging Face LLaVA"
	// HeadFile is the file of a head that training has put beside a tower. Conversion leaves it where it is.
	HeadFile = "head.safetensors"
)

// projectorPrefix is what the names in projector.safetensors have in front of them once they stand
// beside those of the tower.
const projectorPrefix = "projector."

// A spec is a canonical parameter: its path and its shape in the letters of package clipvit, where
// a dimension may be a product of several. The text tower's letters are small:
// v words, n tokens, c width, f MLP width, l blocks. The projector maps M columns to O.
type spec struct{ path, shape string }

// The parameters of the two towers, in the order of params.Walk.
var (
	visionSpecs = expandSpecs([]spec{
		{"Embed.Patch", "C 3*P*P"},
		{"Embed.Class", "C"},
		{"Embed.Position", "T C"},
		{"PreNorm.{W,B}", "C"},
		{"Blocks.#.Norm1.{W,B}", "C"},
		{"Blocks.#.Attn.QKV.W", "3*C C"}, // rows of q, then k, then v
		{"Blocks.#.Attn.QKV.B", "3*C"},
		{"Blocks.#.Attn.Out.W", "C C"},
		{"Blocks.#.Attn.Out.B", "C"},
		{"Blocks.#.Norm2.{W,B}", "C"},
		{"Blocks.#.MLP.Up.W", "F C"},
		{"Blocks.#.MLP.Up.B", "F"},
		{"Blocks.#.MLP.Down.W", "C F"},
		{"Blocks.#.MLP.Down.B", "C"},
		{"PostNorm.{W,B}", "C"},
		{"Proj", "E C"},
	})
	textSpecs = expandSpecs([]spec{
		{"Text.Token", "v c"},
		{"Text.Position", "n c"},
		{"Text.Blocks.#.Norm1.{W,B}", "c"},
		{"Text.Blocks.#.Attn.QKV.W", "3*c c"},
		{"Text.Blocks.#.Attn.QKV.B", "3*c"},
		{"Text.Blocks.#.Attn.Out.W", "c c"},
		{"Text.Blocks.#.Attn.Out.B", "c"},
		{"Text.Blocks.#.Norm2.{W,B}", "c"},
		{"Text.Blocks.#.MLP.Up.W", "f c"},
		{"Text.Blocks.#.MLP.Up.B", "f"},
		{"Text.Blocks.#.MLP.Down.W", "c f"},
		{"Text.Blocks.#.MLP.Down.B", "c"},
		{"Text.FinalNorm.{W,B}", "c"},
		{"Text.Proj", "E c"},
		{"LogitScale", ""},
	})
	projectorSpecs = expandSpecs([]spec{
		{"Projector.Layers.0.W", "O M"},
		{"Projector.Layers.0.B", "O"},
		{"Projector.Layers.{1,2,3}.W", "O O"},
		{"Projector.Layers.{1,2,3}.B", "O"},
		{"Projector.Newline", "O"},             // after every row of projected patches
		{"Projector.GlobalSeparator", "1 1 M"}, // between tiles and global view, before the projection
		{"Projector.RowSeparator", "1 1 1 M"},  // after every row of merged patches, before the projection
	})
)

// optional are the canonical parameters that a whole model may lack, with the part of it that they belong to: where
// one of a part is, all of it must be.
var optional = map[string]string{
	"PostNorm.W": "PostNorm", "PostNorm.B": "PostNorm", "Proj": "Proj",
	"Projector.Newline": "Newline", "Projector.GlobalSeparator": "GlobalSeparator", "Projector.RowSeparator": "RowSeparator",
}

// expandSpecs writes the alternatives of a path out.
func expandSpecs(list []spec) []spec {
	var all []spec
	for _, s := range list {
		for _, p := range pairs(s.path, s.path) {
			all = append(all, spec{p[0], s.shape})
		}
	}
	return all
}

// specOf has the spec of every canonical path, with # for the number of a block.
var specOf = func() map[string]spec {
	m := map[string]spec{}
	for _, s := range slices.Concat(visionSpecs, textSpecs, projectorSpecs) {
		m[s.path] = s
	}
	return m
}()
