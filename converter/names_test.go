package converter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
)

// TestForeign: tensors of other families are refused by the family's name. The names of tensors are those that transformers 5.24, open_clip 3.3.0
// and timm 1.0.31 give their models, a few of each.
func TestForeign(t *testing.T) {
	for _, c := range []struct{ names, want string }{
		{"vision_model.head.probe vision_model.embeddings.patch_embedding.bias logit_bias", "SigLIP"},
		{"embeddings.patch_embedding.bias head.probe head.attention.in_proj_weight encoder.layers.0.layer_norm1.weight", "SigLIP"},
		{"visual.trunk.attn_pool.kv.bias visual.trunk.blocks.0.norm1.bias text.token_embedding.weight", "SigLIP"},
		{"visual.trunk.norm_pre.weight visual.trunk.attn_pool.kv.bias", "the Perception Encoder"},
		{"text_model.roberta.embeddings.LayerNorm.bias vision_model.post_layernorm.bias", "AltCLIP"},
		{"text_model.embeddings.word_embeddings.weight vision_model.post_layernorm.bias", "Chinese-CLIP"},
		{"encoder.layer.0.layer_scale1.lambda1 embeddings.mask_token embeddings.cls_token", "DINOv2"},
		{"mask_token cls_token blocks.0.ls1.gamma patch_embed.proj.bias", "DINOv2"},
		{"embeddings.register_tokens embeddings.mask_token layer.0.attention.k_proj.weight", "DINOv3"},
		{"embeddings.patch_embeddings.projection.weight encoder.layer.0.attention.attention.query.weight", "a ViT of ImageNet"},
		{"vision_model.encoder.layers.0.self_attn.qkv.weight text_model.embeddings.word_embeddings.weight", "BLIP"},
		{"qformer.encoder.layer.0.attention.attention.key.bias vision_model.encoder.layers.0.self_attn.qkv.weight", "BLIP-2"},
		{"embeddings.token_embedding.weight encoder.layers.0.layer_norm1.weight final_layer_norm.bias", "CLIP's text tower alone"},
		{"text_model.embeddings.token_embedding.weight text_projection.weight", "CLIP's text tower alone"},
		{"encoder.layer.0.attention.projection_layer.bias embeddings.patch_embeddings.projection.weight", "InternViT"},
		{"encoder.layers.0.rms_norm1.weight embeddings.patch_embed.weight", "AIMv2"},
		{"visual.layer1.0.conv1.weight visual.attnpool.k_proj.bias transformer.resblocks.0.ln_1.weight", "a ResNet of CLIP"},
		{"visual.attn_pool.attn.in_proj_bias text_decoder.text_projection visual.ln_pre.weight", "CoCa"},
		{"visual.trunk.blocks.0.attn.q_proj.weight visual.head.proj.weight", "EVA-CLIP or EVA-02"},
		{"visual.trunk.patch_embed.backbone.0.bn.bias text.ln_final.bias", "MobileCLIP"},
		{"visual.trunk.stages.0.blocks.0.conv_dw.bias text.ln_final.bias", "OpenCLIP's ConvNeXt"},
		{"visual.transformer.resblocks.0.ln_1.weight visual.class_embedding ln_final.bias", "CLIPA"},
		{"text.transformer.embeddings.word_embeddings.weight visual.ln_pre.weight", "OpenCLIP with a text tower of Hugging Face"},
		{"_image_encoder.module.visual.ln_pre.bias l0_module.heads", "TinyCLIP"},
		{"visual.transformer.resblocks.0.mlp.c_fc.theta visual.ln_pre.weight", "CLIP in the geometric parametrisation"},
		{"visual.transformer.resblocks.0.ls_1.gamma visual.ln_pre.weight", "OpenCLIP's tower with LayerScale"},
		{"reg_token cls_token pos_embed blocks.0.norm1.weight", "a ViT of timm with register tokens"},
		{"attn_pool.latent pos_embed blocks.0.norm1.weight", "a ViT of timm that pools by attention"},
		{"fc_norm.weight cls_token pos_embed blocks.0.norm1.weight", "a ViT of timm that pools by the mean"},
		{"patch_embed.proj.bias cls_token pos_embed blocks.0.norm1.weight", "a ViT of timm that is not CLIP's"},
		{"blocks.0.attn.q_bias patch_embed.proj.bias rope.freqs_cos", "EVA, EVA-02 or BEiT"},
		{"bn1.running_mean layer1.0.conv1.weight", "a network of convolutions"},
		{"model.multi_modal_projector.projector_layernorm.bias model.vision_tower.embeddings.class_embedding", "Video-LLaVA, VipLLaVA"},
	} {
		var tensors []named
		for _, name := range strings.Fields(c.names) {
			tensors = append(tensors, named{name, checkpoint.F32, []int{1}, make([]byte, 4)})
		}
		_, err := openBytes(asSafetensors(t, tensors))
		if want := "this is " + c.want; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q in it", c.names, err, want)
		}
	}
	for _, c := range []struct{ config, want string }{
		{`{"model_type":"siglip2"}`, `model_type is "siglip2": this is SigLIP 2`},
		{`{"model_type":"siglip_vision_model"}`, "this is SigLIP,"},
		{`{"model_type":"metaclip_2"}`, "this is MetaCLIP 2 (worldwide)"},
		{`{"model_type":"clipseg"}`, "this is CLIPSeg"},
		{`{"model_type":"jina_clip"}`, "this is jina-clip"},
		{`{"model_type":"clip_text_model"}`, "this is CLIP's text tower alone"},
		{`{"model_type":"vit_mae"}`, "this is a ViT of ImageNet"},
		{`{"model_type":"dinov3_vit"}`, "this is DINOv3"},
		{`{"architecture":"eva02_large_patch14_224","num_classes":3}`, "this is EVA-CLIP or EVA-02"},
		{`{"architecture":"resnet50","num_classes":3}`, "this is a ResNet"},
		{`{"architecture":"vit_base_patch16_siglip_224","num_classes":0}`, "this is SigLIP"},
		{`{"model_type":"intern_vit_6b"}`, "this is InternViT"},
		{`{"model_type":"what"}`, `model_type is "what", want "clip"`},
	} {
		s := sourceOf(t, asSafetensors(t, contents(t, family(t, "hf-vision"))))
		s.beside.config = []byte(c.config)
		if _, err := s.model(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q in it", c.config, err, c.want)
		}
	}
}

// TestWhichFile: of several files of tensors in a folder the one is taken that the libraries take, and where they would guess it is an error that
// names them.
func TestWhichFile(t *testing.T) {
	right := asSafetensors(t, contents(t, family(t, "hf-vision")))
	config, err := os.ReadFile(filepath.Join(family(t, "hf-vision"), configFile))
	if err != nil {
		t.Fatal(err)
	}
	wrong := noCLIP(t)
	for _, c := range []struct{ right, wrong, want string }{
		{"model.safetensors", "model.fp16.safetensors pytorch_model.bin open_clip_model.safetensors other.safetensors optimizer.bin", ""},
		{"pytorch_model.bin", "model.fp16.safetensors open_clip_model.safetensors x.pt", ""},
		{"model.fp16.safetensors", "pytorch_model.fp16.bin head.safetensors training_args.bin", ""},
		{"model.bf16.safetensors", "model.fp16.safetensors", "2 files model.*.safetensors (model.bf16.safetensors, model.fp16.safetensors), want 1: give the path of the one that is meant"},
		{"pytorch_model.fp16.bin", "", ""},
		{"open_clip_model.safetensors", "open_clip_pytorch_model.bin epoch_1.pt", ""},
		{"open_clip_pytorch_model.pth", "epoch_1.pt", ""},
		{"tower.safetensors", "optimizer.pt scheduler.pt rng_state.pth training_args.bin adapter_model.bin", ""},
		{"anything.bin", "", ""},
		{"last.ckpt", "", ""},
		{"epoch_1.pth", "epoch_2.pth", "2 files *.pth (epoch_1.pth, epoch_2.pth)"},
		{"a.safetensors", "b.safetensors", "2 files *.safetensors (a.safetensors, b.safetensors)"},
		{"", "optimizer.pt head.safetensors", "a directory without model.safetensors, pytorch_model.bin, an index of such files, or a .pt file: it has a head alone, head.safetensors, and no tower"},
		{"", "model-00001-of-00002.safetensors", "a directory without model.safetensors"},
	} {
		dir := t.TempDir()
		write := func(name string, data []byte) {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		write(configFile, config)
		for _, name := range strings.Fields(c.wrong) {
			write(name, wrong)
		}
		if c.right != "" {
			write(c.right, right)
		}
		m, err := Open(dir)
		if err == nil {
			m.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s beside %s: error is %v, want %q", c.right, c.wrong, err, c.want)
		}
	}
}

// TestTimmConfigs: what timm's config.json says is obeyed or refused.
func TestTimmConfigs(t *testing.T) {
	args := func(v map[string]any) map[string]any { return v["model_args"].(map[string]any) }
	cfg := func(v map[string]any) map[string]any { return v["pretrained_cfg"].(map[string]any) }
	for _, c := range []struct {
		edit func(v map[string]any)
		want string // in the error; "" if it loads
	}{
		{func(v map[string]any) { args(v)["dynamic_img_size"] = true }, ""},
		{func(v map[string]any) { args(v)["no_embed_class"] = false }, ""},
		{func(v map[string]any) { args(v)["num_heads"] = 3 }, "num_heads is 3, which does not divide the width 16"},
		{func(v map[string]any) { args(v)["num_heads"] = -2 }, "num_heads is -2"},
		{func(v map[string]any) { args(v)["act_layer"] = "silu" }, "model_args.act_layer is silu, which is not supported"},
		{func(v map[string]any) { args(v)["norm_layer"] = "rmsnorm" }, "model_args.norm_layer is rmsnorm"},
		{func(v map[string]any) { args(v)["init_values"] = 1e-5 }, "model_args.init_values is 1e-05"},
		{func(v map[string]any) { v["global_pool"] = "avg" }, `global_pool is "avg", want "token"`},
		{func(v map[string]any) { args(v)["global_pool"] = "map" }, "model_args.global_pool is map, want token"},
		{func(v map[string]any) { v["architecture"] = "vit_base_patch16_224" }, `architecture is "vit_base_patch16_224"`},
		{func(v map[string]any) { v["architecture"] = "vit_large_patch14_clip_336" }, "pretrained_cfg.notes say that the weights are of quick_gelu: " + ErrActivation.Error()[:40]},
		{func(v map[string]any) { cfg(v)["crop_pct"] = "all" }, "pretrained_cfg.crop_pct is all, want a number above 0 and up to 1"},
		{func(v map[string]any) { cfg(v)["crop_pct"] = 1.5 }, "pretrained_cfg.crop_pct is 1.5, want"},
		{func(v map[string]any) { cfg(v)["crop_pct"] = 1e-9 }, "resize is "},
		{func(v map[string]any) { cfg(v)["crop_mode"], cfg(v)["crop_pct"] = "border", 0.9 }, "pretrained_cfg.crop_pct is 0.9, want 1 where crop_mode is border"},
		{func(v map[string]any) { cfg(v)["crop_mode"] = 5 }, "pretrained_cfg.crop_mode is 5, want a text"},
		{func(v map[string]any) { cfg(v)["interpolation"] = []any{"bicubic"} }, "pretrained_cfg.interpolation is [bicubic], want a text"},
		{func(v map[string]any) { cfg(v)["crop_mode"] = "five" }, "pretrained_cfg.crop_mode is five, want center, squash or border"},
		{func(v map[string]any) { cfg(v)["interpolation"] = "random" }, "filter is \"random\""},
		{func(v map[string]any) { cfg(v)["input_size"] = []int{3, 24, 24} }, "pretrained_cfg.input_size is [3 24 24]"},
		{func(v map[string]any) { cfg(v)["mean"] = []float64{0.5, 0.5} }, "mean is [0.5 0.5]"},
	} {
		dir := edited(t, "timm", configFile, c.edit)
		_, err := Load(dir)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
	// Preprocessing is timm's: what is scaled is larger by 1/crop_pct, cut to an integer; border fills with the mean.
	for _, c := range []struct {
		edit func(v map[string]any)
		want clipvit.Transform
	}{
		{func(map[string]any) {}, clipvit.Transform{Alpha: clipvit.AlphaDropFirst}},
		{func(v map[string]any) { cfg(v)["crop_pct"] = 0.9 }, clipvit.Transform{Alpha: clipvit.AlphaDropFirst, Resize: 13}}, // 12/0.9 = 13.3
		{func(v map[string]any) { // what timm 1.0.31's resolve_data_config says then: ImageNet's, and 0.875; 12/0.875 = 13.7
			for _, key := range []string{"mean", "std", "crop_pct", "crop_mode", "interpolation"} {
				delete(cfg(v), key)
			}
		}, clipvit.Transform{Alpha: clipvit.AlphaDropFirst, Resize: 13, Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}}},
		{func(v map[string]any) { cfg(v)["crop_mode"] = "squash" }, clipvit.Transform{Alpha: clipvit.AlphaDropFirst, Fit: clipvit.FitSquash}},
		{func(v map[string]any) { cfg(v)["crop_mode"] = "border" }, clipvit.Transform{Alpha: clipvit.AlphaDropFirst, Fit: clipvit.FitLongest, Fill: [3]uint8{123, 117, 104}}},
		{func(v map[string]any) { cfg(v)["interpolation"] = "bilinear" }, clipvit.Transform{Alpha: clipvit.AlphaDropFirst, Filter: clipvit.FilterBilinear}},
		{func(v map[string]any) {
			cfg(v)["mean"], cfg(v)["std"] = []float64{0.5, 0.5, 0.5}, []float64{0.5, 0.5, 0.5}
		},
			clipvit.Transform{Alpha: clipvit.AlphaDropFirst, Mean: [3]float64{0.5, 0.5, 0.5}, Std: [3]float64{0.5, 0.5, 0.5}}},
	} {
		m, err := Load(edited(t, "timm", configFile, c.edit))
		if err != nil {
			t.Fatal(err)
		}
		if m.Config.Transform != c.want.Canonical() {
			t.Errorf("transform is %+v, want %+v", m.Config.Transform, c.want.Canonical())
		}
		// So is that of what was converted, or it is refused.
		dst := filepath.Join(t.TempDir(), "out")
		if _, err := convertFile(t.Context(), edited(t, "timm", configFile, c.edit), dst, Options{}); err != nil {
			if c.want.Fit != clipvit.FitLongest {
				t.Error(err)
			}
			continue
		}
		if m, err := Load(dst); err != nil || m.Config.Transform != c.want.Canonical() {
			t.Errorf("after a conversion: transform is %+v, want %+v, %v", m.Config.Transform, c.want.Canonical(), err)
		}
	}
	// Of one directory timm computes gelu under one name, and quick_gelu, as it was trained, under another: who says which, gets it.
	dir := edited(t, "timm", configFile, func(v map[string]any) { v["architecture"] = "vit_large_patch14_clip_336" })
	if _, err := Load(dir); !errors.Is(err, ErrActivation) {
		t.Errorf("error is %v, want ErrActivation", err)
	}
	m, err := Open(dir, Assume(transformer.GELU))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if v, err := m.Vision(t.Context()); err != nil || v.Config.Activation != transformer.GELU {
		t.Errorf("%v", err)
	}
}

// TestClassifierNames: a classifier's classes are those of the configuration.
func TestClassifierNames(t *testing.T) {
	for _, c := range []struct {
		fixture string
		edit    func(v map[string]any)
		want    string // classes or error
	}{
		{"hf5-classifier", func(map[string]any) {}, "[cat dog a, b]"},
		{"hf5-classifier", func(v map[string]any) { delete(v, "id2label") }, "[LABEL_0 LABEL_1 LABEL_2]"},
		{"hf5-classifier", func(v map[string]any) { v["id2label"] = map[string]string{"0": "a", "1": "b"} }, "id2label has 2 names, the classifier has 3 classes"},
		{"hf5-classifier", func(v map[string]any) { v["id2label"] = map[string]string{"0": "a", "1": "b", "x": "c"} }, "id2label has no 2"},
		{"hf5-classifier", func(v map[string]any) { v["problem_type"] = "multi_label_classification" }, "[cat dog a, b]"},
		{"hf5-classifier", func(v map[string]any) { v["problem_type"] = "regression" }, `problem_type is "regression", want "single_label_classification", one class a picture, or "multi_label_classification"`},
		{"timm-classifier", func(map[string]any) {}, "[cat dog bird]"},
		{"timm-classifier", func(v map[string]any) { v["label_names"] = []string{"a"} }, "label_names has 1 names, the classifier has 3 classes"},
		{"timm-classifier", func(v map[string]any) { delete(v, "label_names") }, "[LABEL_0 LABEL_1 LABEL_2]"},
	} {
		m, err := Open(edited(t, c.fixture, configFile, c.edit))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Classifier(t.Context())
		m.Close()
		switch {
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("error is %v, want %q", err, c.want)
		case err == nil && fmt.Sprint(got.Classes) != c.want:
			t.Errorf("classes are %q, want %s", got.Classes, c.want)
		}
	}
}

// TestSentenceTransformers: modules.json leads to CLIP's folder; what else stands on it is refused.
func TestSentenceTransformers(t *testing.T) {
	module := func(path, kind string) string {
		return fmt.Sprintf(`{"idx":0,"name":"0","path":%q,"type":"sentence_transformers.models.%s"}`, path, kind)
	}
	for _, c := range []struct{ modules, want string }{
		{"[" + module("0_CLIPModel", "CLIPModel") + "]", ""},
		{"[" + module("0_CLIPModel", "CLIPModel") + "," + module("1_Normalize", "Normalize") + "]", ""},
		{"[" + module("0_CLIPModel", "CLIPModel") + "," + module("1_Dense", "Dense") + "]", `a module of type "sentence_transformers.models.Dense" stands on the model`},
		{"[" + module("0_WordEmbeddings", "WordEmbeddings") + "]", "the first of 1 modules is no CLIPModel"},
		{"[]", "the first of 0 modules is no CLIPModel"},
		{"[" + module("../x", "CLIPModel") + "]", `path is "../x", want a folder in this one`},
		{"[" + module("/etc", "CLIPModel") + "]", `path is "/etc", want a folder in this one`},
		{"[" + module("gone", "CLIPModel") + "]", "gone"},
		{"{}", "modules.json"},
	} {
		dir := filepath.Join(t.TempDir(), "x")
		if err := os.CopyFS(dir, os.DirFS(family(t, "st-folder"))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, modulesFile), []byte(c.modules), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Load(dir)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q", c.modules, err, c.want)
		}
	}
}

// TestTruncatedEmbedding: sentence-transformers 6.2.0 gives 16 numbers where truncate_dim is 16, and all where it is null.
func TestTruncatedEmbedding(t *testing.T) {
	for text, want := range map[string]string{
		`{"similarity_fn_name": "cosine", "truncate_dim": null}`: "",
		`{"truncate_dim": 16}`: sentenceFile + ": truncate_dim is 16, want null",
		`[`:                    sentenceFile,
	} {
		dir := filepath.Join(t.TempDir(), "x")
		if err := os.CopyFS(dir, os.DirFS(family(t, "st-folder"))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, sentenceFile), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Load(dir)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", text, err, want)
		}
	}
}

// TestLongPositions: a second tensor of positions that is none of Long-CLIP's is an error.
func TestLongPositions(t *testing.T) {
	for _, c := range []struct {
		shape []int
		want  string
	}{
		{[]int{9, 16}, "positional_embedding_res: shape [9 16] of F32, want that of positional_embedding and more than 20 rows"},
		{[]int{24, 16}, "positional_embedding_res: shape [24 16]"},
	} {
		tensors := contents(t, family(t, "openclip-gelu"))
		tensors = append(tensors, named{longText, checkpoint.F32, c.shape, make([]byte, 4*c.shape[0]*c.shape[1])})
		if _, err := openBytes(asSafetensors(t, tensors)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
}

// FuzzModules: any modules.json leads into its folder or to an error.
func FuzzModules(f *testing.F) {
	f.Add([]byte(`[{"idx":0,"name":"0","path":"0_CLIPModel","type":"sentence_transformers.models.CLIPModel"}]`))
	f.Add([]byte(`[{"path":"a/../../b","type":"CLIPModel"},{"type":"Normalize"}]`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, modulesFile), text, 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := Folder(dir)
		if rel, wrong := filepath.Rel(dir, got); err == nil && (wrong != nil || !filepath.IsLocal(rel)) {
			t.Errorf("%q leads to %q", text, got)
		}
	})
}

// TestFlatNames: the names of transformers since 5.6 are those before without the module's, in every dialect that has it.
func TestFlatNames(t *testing.T) {
	for _, name := range []string{"hf-vision", "llava-hf", "llava-hf-nested", "llava", "xcomposer2-vl", "xtuner"} {
		was, err := Open(family(t, name))
		if err != nil {
			t.Fatal(err)
		}
		var tensors []named
		for _, x := range contents(t, family(t, name)) {
			x.name = strings.Replace(x.name, towerModule, "", 1)
			tensors = append(tensors, x)
		}
		s := sourceOf(t, asSafetensors(t, tensors))
		s.beside = was.beside
		m, err := s.model()
		if err != nil {
			t.Fatal(name, err)
		}
		if m.config != was.config || m.dialect.name != was.dialect.name || !slices.Equal(paths(m), paths(was)) {
			t.Errorf("%s: %s %+v, want %s %+v", name, m.dialect.name, m.config, was.dialect.name, was.config)
		}
		was.Close()
	}
}

func paths(m *Model) []string {
	var all []string
	for _, p := range m.Parameters() {
		all = append(all, p.Path)
	}
	return all
}
