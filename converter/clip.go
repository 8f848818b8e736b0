package converter

import "slices"

// The two dialects of CLIP: what OpenAI called the tensors (openai/CLIP, clip/model.py, class
// CLIP; OpenCLIP kept the names) and what Hugging Face calls them (huggingface/transformers,
// models/clip/modeling_clip.py, class CLIPModel, whose vision half is CLIPVisionModelWithProjection).
var (
	openAI = newDialect("OpenAI", table{
		{"visual.conv1.weight", "Embed.Patch", flat}, // [C,3,P,P]
		{"visual.class_embedding", "Embed.Class", same},
		{"visual.positional_embedding", "Embed.Position", same},
		{"visual.ln_{pre,post}.{weight,bias}", "{Pre,Post}Norm.{W,B}", same},
		{"visual.transformer.resblocks.#.ln_{1,2}.{weight,bias}", "Blocks.#.Norm{1,2}.{W,B}", same},
		{"visual.transformer.resblocks.#.attn.in_proj_{weight,bias}", "Blocks.#.Attn.QKV.{W,B}", same},
		{"visual.transformer.resblocks.#.attn.out_proj.{weight,bias}", "Blocks.#.Attn.Out.{W,B}", same},
		{"visual.transformer.resblocks.#.mlp.c_{fc,proj}.{weight,bias}", "Blocks.#.MLP.{Up,Down}.{W,B}", same},
		{"visual.proj", "Proj", transposed}, // [C,E]

		{"token_embedding.weight", "Text.Token", same},
		{"positional_embedding", "Text.Position", same},
		{"transformer.resblocks.#.ln_{1,2}.{weight,bias}", "Text.Blocks.#.Norm{1,2}.{W,B}", same},
		{"transformer.resblocks.#.attn.in_proj_{weight,bias}", "Text.Blocks.#.Attn.QKV.{W,B}", same},
		{"transformer.resblocks.#.attn.out_proj.{weight,bias}", "Text.Blocks.#.Attn.Out.{W,B}", same},
		{"transformer.resblocks.#.mlp.c_{fc,proj}.{weight,bias}", "Text.Blocks.#.MLP.{Up,Down}.{W,B}", same},
		{"ln_final.{weight,bias}", "Text.FinalNorm.{W,B}", same},
		{"text_projection", "Text.Proj", transposed}, // [c,E]
		{"logit_scale", "LogitScale", same},
	}, "input_resolution", "context_length", "vocab_size")

	huggingFace = newDialect("Hugging Face", table{
		{"vision_model.embeddings.patch_embedding.weight", "Embed.Patch", flat}, // [C,3,P,P]
		{"vision_model.embeddings.class_embedding", "Embed.Class", same},
		{"vision_model.embeddings.position_embedding.weight", "Embed.Position", same},
		{"vision_model.{pre_layrnorm,post_layernorm}.{weight,bias}", "{Pre,Post}Norm.{W,B}", same}, // sic
		{"vision_model.encoder.layers.#.layer_norm{1,2}.{weight,bias}", "Blocks.#.Norm{1,2}.{W,B}", same},
		{"vision_model.encoder.layers.#.self_attn.{q,k,v}_proj.{weight,bias}", "Blocks.#.Attn.QKV[{0,1,2}/3].{W,B}", same},
		{"vision_model.encoder.layers.#.self_attn.out_proj.{weight,bias}", "Blocks.#.Attn.Out.{W,B}", same},
		{"vision_model.encoder.layers.#.mlp.fc{1,2}.{weight,bias}", "Blocks.#.MLP.{Up,Down}.{W,B}", same},
		{"visual_projection.weight", "Proj", same},

		{"text_model.embeddings.token_embedding.weight", "Text.Token", same},
		{"text_model.embeddings.position_embedding.weight", "Text.Position", same},
		{"text_model.encoder.layers.#.layer_norm{1,2}.{weight,bias}", "Text.Blocks.#.Norm{1,2}.{W,B}", same},
		{"text_model.encoder.layers.#.self_attn.{q,k,v}_proj.{weight,bias}", "Text.Blocks.#.Attn.QKV[{0,1,2}/3].{W,B}", same},
		{"text_model.encoder.layers.#.self_attn.out_proj.{weight,bias}", "Text.Blocks.#.Attn.Out.{W,B}", same},
		{"text_model.encoder.layers.#.mlp.fc{1,2}.{weight,bias}", "Text.Blocks.#.MLP.{Up,Down}.{W,B}", same},
		{"text_model.final_layer_norm.{weight,bias}", "Text.FinalNorm.{W,B}", same},
		{"text_projection.weight", "Text.Proj", same},
		{"logit_scale", "LogitScale", same},
	}, "vision_model.embeddings.position_ids", "text_model.embeddings.position_ids")

	dialects = []*dialect{openAI, huggingFace}
)

// prefixes are what programs put in front of the names of a whole model: nothing, what torch's
// DataParallel adds, and the names of the field that holds the model.
var prefixes = []string{"", "module.", "model.", "module.model."}

// A spec is a canonical parameter: its path and its shape in the letters of package clipvit, where
// a dimension may be a product of several. The text tower's letters are small:
// v words, n tokens, c width, f MLP width, l blocks.
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
)

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
	for _, s := range slices.Concat(visionSpecs, textSpecs) {
		m[s.path] = s
	}
	return m
}()
