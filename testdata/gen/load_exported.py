"""Exports checkpoints with vitago, loads the results with the software they are for, and compares. Runs in .venv and in
.venv/torch-2.15.0, with requirements_exported.txt installed as well.

  load_exported.py VITAGO [ARCHIVE.pt]

VITAGO is the built command. The sources are the tiny CLIP of testdata (or OpenAI's ARCHIVE.pt), and small models of
random weights that this script makes: a LLaVA by transformers, the same under the names of the original LLaVA, and a
tower and projector under those of InternLM-XComposer 2.5 (whose own code is not on PyPI: transformers' CLIPVisionModel
and torch's Sequential are what it consists of). It prints a table: the largest difference of what the source and the
export compute, in parts of the largest value; 0 is bit for bit.
"""

import argparse
import json
import os
import subprocess
import tempfile

import clip
import gguf
import numpy as np
import open_clip
import torch
from clip.model import build_model
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

import common

ROWS = []


def report(form, format, dtype, what, got, want, most=0.0):
    error = ((got.double() - want.double()).abs().max() / want.double().abs().max()).item()
    ROWS.append("| %s | %s | %s | %s | %.1e |" % (form, format, dtype, what, error))
    assert got.shape == want.shape and error <= most, ROWS[-1]


def same(got, want):
    """Two state dicts are equal, bit for bit. Since 5.6 transformers' own names lack "vision_model."."""
    got, want = ({k.replace("vision_model.", ""): t for k, t in d.items()} for d in (got, want))
    assert set(got) == set(want), set(got) ^ set(want)
    for k, t in want.items():
        assert got[k].dtype == t.dtype and torch.equal(got[k], t), k


def embedding(y):
    """What get_image_features and get_text_features return: a tensor, and since transformers 5 an object that has it."""
    return y.pooler_output if hasattr(y, "pooler_output") else y


def load(path):
    return load_file(path) if path.endswith(".safetensors") else torch.load(path, weights_only=True)


class Exporter:
    def __init__(self, vitago, folder):
        self.vitago, self.folder, self.n = vitago, folder, 0

    def __call__(self, source, to, *flags, ext=""):
        self.n += 1
        out = os.path.join(self.folder, "out%d%s" % (self.n, ext))
        subprocess.run([self.vitago, "export", source, out, "--to", to, *flags], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return out


def images(size, seed=3, n=2):
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).uniform(-1.8, 2.1, (n, 3, size, size)).astype(np.float32))


def two_towers(export, archive):
    """OpenAI's own code is the reference; embeddings in float32, as clip.load makes a model on a CPU."""
    state = torch.jit.load(archive, map_location="cpu").state_dict()
    scalars = {k: state.pop(k) for k in ("input_resolution", "context_length", "vocab_size") if k in state}
    m = build_model(dict(state)).float().eval()
    x = images(m.visual.input_resolution)
    ids = torch.zeros((2, m.context_length), dtype=torch.long)
    ids[:, 0], ids[:, 1:3], ids[0, 3], ids[1, 5] = m.vocab_size - 2, 7, m.vocab_size - 1, m.vocab_size - 1
    with torch.no_grad():
        image, text = m.encode_image(x), m.encode_text(ids)

    # A converted directory is a source like the archive.
    converted = os.path.join(export.folder, "converted")
    subprocess.run([export.vitago, "convert", archive, converted], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for source in (archive, converted):
        out = export(source, "openai", ext=".pt")
        same(torch.jit.load(out).state_dict(), state)
        got, preprocess = clip.load(out, device="cpu")
        assert preprocess.transforms[0].size == m.visual.input_resolution
        with torch.no_grad():
            report("openai", "torchscript", "source", "image", got.encode_image(x), image)
            report("openai", "torchscript", "source", "text", got.encode_text(ids), text)
        back = load(export(source, "openai", "--format", "torch", ext=".pt"))
        same(back, state)
        # clip.load reads no state dict, from whomever: it does not rewind the file after it has tried to read an
        # archive (openai/CLIP, issue 396). This is what it would do.
        got = build_model(back).float().eval()
        with torch.no_grad():
            report("openai", "torch", "source", "image", got.encode_image(x), image)
            report("openai", "torch", "source", "text", got.encode_text(ids), text)

    # Another implementation sums in another order: see load_converted.py.
    for format in ("safetensors", "torch"):
        for dtype, most in (("source", 2e-5), ("f16", 5e-3), ("bf16", 5e-2)):
            out = export(converted, "huggingface", "--format", format, "--dtype", dtype)
            got, info = CLIPModel.from_pretrained(out, output_loading_info=True, dtype=torch.float32)
            assert not any(info.values()), info
            assert os.path.exists(os.path.join(out, "model.safetensors" if format == "safetensors" else "pytorch_model.bin"))
            with torch.no_grad():
                report("huggingface", format, dtype, "image", embedding(got.eval().get_image_features(pixel_values=x)), image, most)
                report("huggingface", format, dtype, "text", embedding(got.get_text_features(input_ids=ids)), text, most)

            out = export(converted, "openclip", "--format", format, "--dtype", dtype)
            got, _, preprocess = open_clip.create_model_and_transforms("local-dir:" + out)
            with torch.no_grad():
                report("openclip", format, dtype, "image", got.eval().encode_image(x), image, most)
                report("openclip", format, dtype, "text", got.encode_text(ids), text, most)
            c = open_clip.get_model_preprocess_cfg(got)
            assert c["mean"] == list(open_clip.OPENAI_DATASET_MEAN) and c["std"] == list(open_clip.OPENAI_DATASET_STD), c
            assert c["interpolation"] == "bicubic" and c["resize_mode"] == "shortest", c


def tiny_llava(folder, dtype):
    """A LLaVA of transformers with random weights, saved as it saves them."""
    torch.manual_seed(11)
    vision = CLIPVisionConfig(hidden_size=128, intermediate_size=512, num_hidden_layers=3, num_attention_heads=2, image_size=42, patch_size=14, projection_dim=32)
    text = LlamaConfig(hidden_size=96, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, vocab_size=64)
    m = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=63, image_seq_length=9))
    for k, p in m.named_parameters():
        if "vision_tower" in k or "projector" in k:
            torch.nn.init.normal_(p, std=0.2)
    m = m.to(dtype).eval()
    m.save_pretrained(folder)
    return m


def parts(state, tower, projector):
    """The tower and the projector of a state dict, without what is in front of their names."""
    t = {k[len(tower):]: v for k, v in state.items() if k.startswith(tower)}
    p = {k[len(projector):]: v for k, v in state.items() if k.startswith(projector)}
    assert t and p, list(state)
    return t, p


def features(config, tower, projector, x, layer, strict=True):
    """What a language model gets: patches of a layer of the tower, projected by Sequential(Linear, GELU, Linear)."""
    v = CLIPVisionModel(config).eval()
    module = "vision_model." if hasattr(v, "vision_model") else ""  # which transformers' own names lack since 5.6
    missing, unexpected = v.load_state_dict({module + k.removeprefix("vision_model."): t.float() for k, t in tower.items()}, strict=False)
    assert not unexpected and all("post_layernorm" in k and not strict for k in missing), (missing, unexpected)
    w = projector["0.weight"]
    mlp = torch.nn.Sequential(torch.nn.Linear(w.shape[1], w.shape[0]), torch.nn.GELU(), torch.nn.Linear(w.shape[0], w.shape[0]))
    mlp.load_state_dict({k: t.float() for k, t in projector.items()})
    with torch.no_grad():
        patches = v(pixel_values=x, output_hidden_states=True).hidden_states[layer][:, 1:]
        if w.shape[1] == 4 * patches.shape[2]:  # XComposer merges 2 x 2 patches; any order will do for a comparison
            patches = patches[:, : patches.shape[1] // 4 * 4].reshape(patches.shape[0], -1, w.shape[1])
        return mlp(patches)


def llava(export, dtype):
    name = {torch.float16: "f16", torch.bfloat16: "bf16", torch.float32: "f32"}[dtype]
    hf = os.path.join(export.folder, "llava-hf-" + name)
    m = tiny_llava(hf, dtype)
    config = m.config.vision_config
    x = images(config.image_size)
    saved = {}
    for f in os.listdir(hf):
        if f.endswith(".safetensors"):
            saved.update(load_file(os.path.join(hf, f)))
    tower, linear = parts(saved, "vision_tower.", "multi_modal_projector.")
    projector = {k.replace("linear_1", "0").replace("linear_2", "2"): t for k, t in linear.items()}
    want = features(config, tower, projector, x, -2)

    original = os.path.join(export.folder, "llava-" + name)
    os.mkdir(original)
    state = {"model.vision_tower.vision_tower." + k: t for k, t in tower.items()}
    state.update({"model.mm_projector." + k: t for k, t in projector.items()})
    language = {"model.embed_tokens.weight": torch.zeros(64, 96), "model.layers.0.mlp.up_proj.weight": torch.zeros(128, 96), "lm_head.weight": torch.zeros(64, 96)}
    torch.save({**state, **language}, os.path.join(original, "pytorch_model.bin"))
    with open(os.path.join(original, "config.json"), "w") as f:
        json.dump({"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"], "mm_vision_tower": "openai/clip-vit-large-patch14-336",
                   "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
                   "mm_hidden_size": 128, "hidden_size": 96}, f)

    for source in (hf, original):
        for ext in (".bin", ".safetensors"):
            format = "torch" if ext == ".bin" else "safetensors"
            back = load(export(source, "llava", ext=ext))
            same(back, state)
            t, p = parts(back, "model.vision_tower.vision_tower.", "model.mm_projector.")
            report("llava", format, name, "features", features(config, t, p, x, -2), want)
            p = load(export(source, "llava", "--projector-only", ext=ext))
            # LLaVA's get_w: haotian-liu/LLaVA, llava/model/llava_arch.py, initialize_vision_modules.
            p = {k.split("mm_projector.")[1]: v for k, v in p.items() if "mm_projector" in k}
            report("llava, projector only", format, name, "features", features(config, tower, p, x, -2), want)

            back = load(export(source, "llava-hf", ext=ext))
            same(back, {k: t for k, t in saved.items() if k.startswith(("vision_tower.", "multi_modal_projector."))})
            rest = {k: t for k, t in saved.items() if k.startswith("language_model.") or k == "lm_head.weight"}
            got, info = LlavaForConditionalGeneration.from_pretrained(None, config=m.config, state_dict={**rest, **back}, output_loading_info=True)
            assert not any(info.values()), info
            with torch.no_grad():
                a = got.float().eval().get_image_features(x, vision_feature_layer=-2, vision_feature_select_strategy="default")
                b = m.float().get_image_features(x, vision_feature_layer=-2, vision_feature_select_strategy="default")
            report("llava-hf", format, name, "features", torch.stack(list(embedding(a))), torch.stack(list(embedding(b))))
        m = m.to(dtype)
        for flags, most in (((), 2e-3), (("--dtype", "f32"), 0.0), (("--dtype", "bf16"), 2e-2)):
            g = gguf.GGUFReader(export(source, "gguf", *flags, ext=".gguf"))
            t, p = from_gguf(g, config, -2)
            report("gguf", "gguf", flags[1] if flags else "f16 (default)", "features from " + name, features(config, t, p, x, -2, strict=False), want, most)


def from_gguf(g, config, layer):
    """Checks keys, names and types of a file, and returns tower and projector under transformers' names."""
    value = lambda k: g.fields[k].contents()
    want = {"general.architecture": "clip", "general.type": "mmproj", "clip.has_vision_encoder": True, "clip.has_text_encoder": False,
            "clip.projector_type": "mlp", "clip.use_gelu": False, gguf.Keys.ClipVision.IMAGE_SIZE: config.image_size,
            gguf.Keys.ClipVision.PATCH_SIZE: config.patch_size, gguf.Keys.ClipVision.EMBEDDING_LENGTH: config.hidden_size,
            gguf.Keys.ClipVision.FEED_FORWARD_LENGTH: config.intermediate_size, gguf.Keys.ClipVision.BLOCK_COUNT: config.num_hidden_layers,
            gguf.Keys.ClipVision.Attention.HEAD_COUNT: config.num_attention_heads, "clip.vision.feature_layer": [config.num_hidden_layers + 1 + layer]}
    for k, w in want.items():
        assert value(k) == w, (k, value(k), w)
    assert np.allclose(value(gguf.Keys.ClipVision.IMAGE_MEAN), (0.48145466, 0.4578275, 0.40821073))
    assert np.allclose(value(gguf.Keys.ClipVision.IMAGE_STD), (0.26862954, 0.26130258, 0.27577711))
    names = gguf.TENSOR_NAMES
    T = gguf.MODEL_TENSOR
    theirs = {"embeddings.class_embedding": names[T.V_ENC_EMBD_CLS], "embeddings.patch_embedding.weight": names[T.V_ENC_EMBD_PATCH] + ".weight",
              "embeddings.position_embedding.weight": names[T.V_ENC_EMBD_POS] + ".weight"}
    both = lambda a, b: theirs.update({a + e: b + e for e in (".weight", ".bias")})
    both("pre_layrnorm", names[T.V_PRE_NORM])
    for i in range(config.num_hidden_layers):
        for a, b in (("layer_norm1", T.V_ENC_INPUT_NORM), ("layer_norm2", T.V_ENC_POST_ATTN_NORM), ("self_attn.q_proj", T.V_ENC_ATTN_Q),
                     ("self_attn.k_proj", T.V_ENC_ATTN_K), ("self_attn.v_proj", T.V_ENC_ATTN_V), ("self_attn.out_proj", T.V_ENC_ATTN_O),
                     ("mlp.fc1", T.V_ENC_FFN_UP), ("mlp.fc2", T.V_ENC_FFN_DOWN)):
            both("encoder.layers.%d.%s" % (i, a), names[b].format(bid=i))
    projector = {"%d.%s" % (i, e): "mm.%d.%s" % (i, e) for i in (0, 2) for e in ("weight", "bias")}
    tensors = {t.name: t for t in g.tensors}
    assert set(tensors) == set(theirs.values()) | set(projector.values()), set(tensors) ^ (set(theirs.values()) | set(projector.values()))

    def tensor(name):
        t = tensors[name]
        shape = [int(n) for n in reversed(t.shape)]
        kind = t.tensor_type.name
        assert kind in ("F32", "F16", "BF16") and (len(shape) > 1 or kind == "F32") and t.data_offset % 32 == 0, t
        data = gguf.dequantize(t.data, t.tensor_type).astype(np.float32)
        return torch.from_numpy(np.array(data).reshape(shape))

    return {"vision_model." + k: tensor(n) for k, n in theirs.items()}, {k: tensor(n) for k, n in projector.items()}


def xcomposer(export, dtype):
    name = {torch.float16: "f16", torch.bfloat16: "bf16", torch.float32: "f32"}[dtype]
    folder = os.path.join(export.folder, "xcomposer-" + name)
    os.mkdir(folder)
    config = CLIPVisionConfig(hidden_size=128, intermediate_size=512, num_hidden_layers=3, num_attention_heads=2, image_size=56, patch_size=14)
    torch.manual_seed(12)
    normal = lambda *shape: (torch.randn(*shape) * 0.2).to(dtype)
    state = {"vit.vision_tower." + k: normal(*t.shape) for k, t in CLIPVisionModel(config).state_dict().items() if "post_layernorm" not in k and "position_ids" not in k}
    state.update({"vision_proj.0.weight": normal(96, 512), "vision_proj.0.bias": normal(96), "vision_proj.2.weight": normal(96, 96), "vision_proj.2.bias": normal(96),
                  "plora_glb_GN": normal(1, 1, 512), "plora_sub_GN": normal(1, 1, 1, 512)})
    language = {"model.tok_embeddings.weight": torch.zeros(64, 96), "model.layers.0.attention.wqkv.Plora_A.weight": torch.zeros(8, 96), "output.weight": torch.zeros(64, 96)}
    torch.save({**state, **language}, os.path.join(folder, "pytorch_model.bin"))
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump({"model_type": "internlmxcomposer2", "architectures": ["InternLMXComposer2ForCausalLM"], "hidden_size": 96}, f)
    x = images(config.image_size)
    want = features(config, *parts(state, "vit.vision_tower.", "vision_proj."), x, -1, strict=False)
    for ext in (".bin", ".safetensors"):
        format = "torch" if ext == ".bin" else "safetensors"
        back = load(export(folder, "xcomposer", ext=ext))
        same(back, state)
        report("xcomposer", format, name, "features", features(config, *parts(back, "vit.vision_tower.", "vision_proj."), x, -1, strict=False), want)
        p = load(export(folder, "xcomposer", "--projector-only", ext=ext))
        same(p, {k: t for k, t in state.items() if not k.startswith("vit.")})
        report("xcomposer, projector only", format, name, "features", features(config, *parts({**state, **p}, "vit.vision_tower.", "vision_proj."), x, -1, strict=False), want)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("vitago")
    a.add_argument("archive", nargs="?", default=os.path.join(common.TINY, "openai_torch1.7.1.pt"))
    a = a.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        export = Exporter(os.path.abspath(a.vitago), folder)
        two_towers(export, a.archive)
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            llava(export, dtype)
            xcomposer(export, dtype)
    print("| form | format | precision | compared | max error |\n|---|---|---|---|---|")
    print("\n".join(sorted(set(ROWS))))
    print("torch %s, transformers %s, open_clip %s" % (torch.__version__, __import__("transformers").__version__, open_clip.__version__))


if __name__ == "__main__":
    main()
