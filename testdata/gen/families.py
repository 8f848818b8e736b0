"""Tiny checkpoints of every family that carries CLIP's tower, and what the libraries compute with them.

Writes into families/, each with random weights of its own:

  openclip-gelu/       open_clip.model.CLIP, float32: open_clip_config.json, open_clip_model.safetensors; heads of 8, gelu
  openclip-text/       open_clip.model.CustomTextCLIP, float16: open_clip_config.json, open_clip_pytorch_model.bin; quick_gelu
  hf-clip-bin/         transformers' CLIPModel, float16, pytorch_model.bin in shards with an index
  hf-vision/           transformers' CLIPVisionModel, bfloat16, safetensors in shards with an index; gelu
  llava-hf/            transformers' LlavaForConditionalGeneration, float16, safetensors, names as save_pretrained has them
  llava-hf-nested/     the same with the names of its state_dict, pytorch_model.bin
  llava/               LLaVA 1.5: float16, pytorch_model.bin in shards with an index
  llava-projector/     mm_projector.bin of LLaVA's first stage of training, bfloat16
  llava-linear/        the same with a linear projector, float32
  xcomposer2-vl/       InternLM-XComposer2-VL: float16, pytorch_model.bin in shards with an index, no post_layernorm
  xcomposer2-hd/       InternLM-XComposer2-4KHD and -2.5: the same in bfloat16 with plora_glb_GN and plora_sub_GN
  xtuner/              xtuner's folder: visual_encoder/, projector/, float16
  xtuner-pth/          a checkpoint of its training with the tower frozen: projector and LoRA, float32
  NAME.npz             for each: patches [B*G*G,3*P*P]; hidden_states [L+1,B*T,C] as Hugging Face counts; embedding [B,E] where
                       there is one; projector_in [N,M], projected [N,O]; image_newline, plora_glb_GN, plora_sub_GN

All computed in float64 with the weights as they are stored. The towers are transformers' and open_clip's own. What LLaVA,
XComposer and xtuner save is torch.save or save_pretrained of state dicts under the names that their code gives them;
their code itself needs GPUs and language models. The language models are a few tensors of noise.
"""

import json
import os
import shutil

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPVisionModel, CLIPVisionModelWithProjection, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.utils import logging

import common
import towers

OUT = os.path.join(common.TESTDATA, "families")
B = 2
# C is a multiple of 64 where no configuration tells how many heads there are.
SMALL = dict(P=4, G=3, C=16, H=2, F=24, L=3, E=10, N=9, V=50, W=16, LT=1)
WIDE = dict(P=4, G=4, C=64, H=1, F=20, L=2, E=10)


def rng_of(name):
    return np.random.Generator(np.random.PCG64(sum(name.encode())))


def folder(name):
    path = os.path.join(OUT, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w") as f:
        json.dump(value, f, indent=1)
        f.write("\n")


def readable(folder):
    for d, _, names in os.walk(folder):
        for n in names:
            os.chmod(os.path.join(d, n), 0o644)


def tower(rng, c, activation, dtype):
    """A CLIPVisionModelWithProjection whose weights have gone through dtype, and they in dtype."""
    m = towers.hf_vision(common.vision_weights(rng, c), c, activation)
    m = m.to(dtype)
    return m, m.state_dict()


def mlp(rng, m, o, n=2):
    layers = []
    for i in range(n):
        layers += ([torch.nn.GELU()] if i else []) + [torch.nn.Linear(m if i == 0 else o, o)]
    p = torch.nn.Sequential(*layers)
    fill(rng, p)
    return p


def fill(rng, module):
    for p in module.parameters():
        p.data = torch.from_numpy(common.normal(rng, tuple(p.shape), 1.2 * p.shape[-1] ** -0.5 if p.ndim > 1 else 0.2))


def noise(rng, shapes, dtype):
    return {k: torch.from_numpy(common.normal(rng, s, 1)).to(dtype) for k, s in shapes.items()}


def run(m, c, rng, projector=None, layer=-2, merge=False):
    """What a tower and a projector compute, in float64."""
    s = c["G"] * c["P"]
    pixels = rng.uniform(-1.8, 2.1, (B, 3, s, s)).astype(np.float32)
    out = {"patches": common.patches(pixels, c["P"])}
    if m is not None:
        m = m.double().eval()
        y = m(pixel_values=torch.from_numpy(pixels).double(), output_hidden_states=True)
        out["hidden_states"] = torch.stack(y.hidden_states)
        x = y.hidden_states[layer][:, 1:]  # [B,G²,C]
    else:
        x = torch.from_numpy(common.normal(rng, (B, c["G"] ** 2, c["C"]), 1)).double()
    if projector is not None:
        if merge:  # XComposer's 2×2 patches: channels by (dy, dx, C)
            g = c["G"]
            x = x.reshape(B, g // 2, 2, g // 2, 2, c["C"]).permute(0, 1, 3, 2, 4, 5).reshape(B, g * g // 4, 4 * c["C"])
        # torch's own arithmetic in float64, on weights as they are stored
        x = x.reshape(-1, x.shape[-1]).float()
        out["projector_in"], out["projected"] = x, projector.double()(x.double())
    return out


def save_golden(name, out):
    arrays = {}
    for k, a in out.items():
        a = a.detach().float().numpy() if torch.is_tensor(a) else a
        if k == "hidden_states":
            a = a.reshape(a.shape[0], -1, a.shape[-1])
        arrays[k] = np.ascontiguousarray(a, dtype=np.float32)
        assert np.isfinite(arrays[k]).all() and np.abs(arrays[k]).max() > 1e-3, (name, k)
    common.savez(os.path.join(OUT, name + ".npz"), arrays)


def shards(path, state, n):
    """pytorch_model.bin in n files, the tensors dealt out in order, with an index as transformers writes it."""
    keys, files = list(state), ["pytorch_model-%05d-of-%05d.bin" % (i + 1, n) for i in range(n)]
    index = {}
    for i, f in enumerate(files):
        part = {k: state[k].clone() for k in keys[len(keys) * i // n:len(keys) * (i + 1) // n]}
        torch.save(part, os.path.join(path, f))
        index.update({k: f for k in part})
    size = sum(t.numel() * t.element_size() for t in state.values())
    write_json(path, "pytorch_model.bin.index.json", {"metadata": {"total_size": size}, "weight_map": index})


def under(prefix, state):
    return {prefix + k: v for k, v in state.items()}


def vision_model(state):
    return {k: v for k, v in state.items() if k.startswith("vision_model.")}


# OpenCLIP.

def openclip(name, cls, quick, dtype):
    rng, path, c = rng_of(name), folder(name), SMALL
    config = {
        "embed_dim": c["E"],
        "vision_cfg": {"image_size": c["G"] * c["P"], "layers": c["L"], "width": c["C"], "head_width": c["C"] // c["H"],
                       "patch_size": c["P"], "mlp_ratio": c["F"] / c["C"]},
        "text_cfg": {"context_length": c["N"], "vocab_size": c["V"], "width": c["W"], "heads": 2, "layers": c["LT"]},
    }
    if quick:
        config["quick_gelu"] = True
    if cls is open_clip.model.CustomTextCLIP:
        config["custom_text"] = True
    m = cls(**{k: v for k, v in config.items() if k != "custom_text"})
    w = common.vision_weights(rng, c)
    text = common.text_weights(rng, c)
    for k, v in text.items():
        w[k if k == "logit_scale" or cls is open_clip.model.CLIP else "text." + k] = v
    m.load_state_dict({k: torch.as_tensor(v) for k, v in w.items()}, strict=True)
    m = m.to(dtype)
    state = {k: v.contiguous().clone() for k, v in m.state_dict().items()}
    # Source: open_clip/push_to_hf_hub.py, save_config_for_hf.
    write_json(path, "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": {
        "mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD), "interpolation": "bicubic", "resize_mode": "shortest"}})
    if dtype is torch.float32:
        save_file(state, os.path.join(path, "open_clip_model.safetensors"), metadata={"format": "pt"})
    else:
        torch.save(state, os.path.join(path, "open_clip_pytorch_model.bin"))

    m = m.double().eval()
    hidden = []
    m.visual.ln_pre.register_forward_hook(lambda _, __, y: hidden.append(y))
    for b in m.visual.transformer.resblocks:
        b.register_forward_hook(lambda _, __, y: hidden.append(y))
    s = c["G"] * c["P"]
    pixels = rng.uniform(-1.8, 2.1, (B, 3, s, s)).astype(np.float32)
    e = m.encode_image(torch.from_numpy(pixels).double())
    save_golden(name, {"patches": common.patches(pixels, c["P"]), "hidden_states": torch.stack(hidden), "embedding": e})
    readable(path)


# Hugging Face.

def hf_clip_bin():
    name = "hf-clip-bin"
    rng, path, c = rng_of(name), folder(name), SMALL
    state = {k: v.half() for k, v in towers.hf_names({**common.vision_weights(rng, c), **common.text_weights(rng, c)}).items()}
    text = dict(hidden_size=c["W"], intermediate_size=4 * c["W"], num_hidden_layers=c["LT"], num_attention_heads=2,
                max_position_embeddings=c["N"], vocab_size=c["V"], bos_token_id=c["V"] - 2, eos_token_id=c["V"] - 1)
    m = CLIPModel(CLIPConfig(text_config=text, vision_config=towers.vision_config(c).to_dict(), projection_dim=c["E"])).half()
    m.load_state_dict(state, strict=True)
    m.save_pretrained(path, safe_serialization=False, max_shard_size="12KB")
    v = CLIPVisionModelWithProjection(towers.vision_config(c))
    v.load_state_dict({k: t for k, t in state.items() if k.startswith("vis")}, strict=True)
    out = run(v, c, rng)
    out["embedding"] = m.double().get_image_features(unpatch(out["patches"], c))
    save_golden(name, out)
    readable(path)


def unpatch(patches, c):
    g, p = c["G"], c["P"]
    return torch.from_numpy(patches.reshape(B, g, g, 3, p, p).transpose(0, 3, 1, 4, 2, 5).reshape(B, 3, g * p, g * p)).double()


def hf_vision():
    name = "hf-vision"
    rng, path, c = rng_of(name), folder(name), SMALL
    _, state = tower(rng, c, "gelu", torch.bfloat16)
    m = CLIPVisionModel(towers.vision_config(c, "gelu")).bfloat16()
    m.load_state_dict(vision_model(state), strict=True)
    m.save_pretrained(path, max_shard_size="10KB")
    out = run(m, c, rng)
    out["embedding"] = m(pixel_values=unpatch(out["patches"], c)).pooler_output
    save_golden(name, out)
    readable(path)


# LLaVA.

def llava_hf():
    c, dtype = SMALL, torch.float16
    rng = rng_of("llava-hf")
    config = LlavaConfig(
        vision_config=towers.vision_config(c, "gelu").to_dict(), image_token_index=c["V"] - 1, image_seq_length=c["G"] ** 2,
        text_config=LlamaConfig(hidden_size=12, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=c["V"]).to_dict())
    m = LlavaForConditionalGeneration(config)
    fill(rng, m)
    m.model.vision_tower.load_state_dict(vision_model(tower(rng, c, "gelu", dtype)[1]), strict=True)
    m = m.to(dtype)
    path = folder("llava-hf")
    m.save_pretrained(path)
    readable(path)
    nested = folder("llava-hf-nested")
    shutil.copy(os.path.join(path, "config.json"), nested)
    torch.save({k: v.clone() for k, v in m.state_dict().items()}, os.path.join(nested, "pytorch_model.bin"))
    m = m.double()
    p = m.model.multi_modal_projector
    out = run(m.model.vision_tower, c, rng, torch.nn.Sequential(p.linear_1, torch.nn.GELU(), p.linear_2))
    theirs = m.get_image_features(unpatch(out["patches"], c), vision_feature_layer=-2, vision_feature_select_strategy="default")
    torch.testing.assert_close(torch.cat(list(theirs)), out["projected"], rtol=0, atol=1e-6)  # projector_in is float32
    save_golden("llava-hf", out)
    save_golden("llava-hf-nested", out)


# Source: haotian-liu/LLaVA, llava/model/language_model/llava_llama.py and train.py.
LLAMA = {"model.embed_tokens.weight": (7, 12), "model.layers.0.self_attn.q_proj.weight": (12, 12), "model.layers.0.mlp.up_proj.weight": (16, 12),
         "model.layers.0.input_layernorm.weight": (12,), "model.norm.weight": (12,), "lm_head.weight": (7, 12)}


def llava():
    name = "llava"
    rng, path, c, dtype = rng_of(name), folder(name), WIDE, torch.float16
    m, state = tower(rng, c, "quick_gelu", dtype)
    p = mlp(rng, c["C"], 12).to(dtype)
    state = {**noise(rng, LLAMA, dtype), **under("model.mm_projector.", p.state_dict()),
             **under("model.vision_tower.vision_tower.", vision_model(state))}
    shards(path, state, 2)
    write_json(path, "config.json", {
        "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava", "hidden_size": 12, "mm_hidden_size": c["C"],
        "mm_projector_type": "mlp2x_gelu", "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2,
        "mm_vision_tower": "openai/clip-vit-large-patch14-336", "image_aspect_ratio": "pad", "use_mm_proj": True})
    save_golden(name, run(m, c, rng, p))


def llava_projector():
    name = "llava-projector"
    rng, path = rng_of(name), folder(name)
    p = mlp(rng, 16, 12).bfloat16()
    torch.save(under("model.mm_projector.", p.state_dict()), os.path.join(path, "mm_projector.bin"))
    save_golden(name, run(None, SMALL, rng, p))

    name = "llava-linear"
    rng, path = rng_of(name), folder(name)
    p = torch.nn.Linear(16, 12)
    fill(rng, p)
    torch.save(under("model.mm_projector.", p.state_dict()), os.path.join(path, "mm_projector.bin"))
    save_golden(name, run(None, SMALL, rng, p))


# XComposer. Source: modeling_internlm_xcomposer2.py, modeling_internlm2.py and build_mlp.py of the models on Hugging Face.

INTERNLM = {"model.tok_embeddings.weight": (7, 12), "model.layers.0.attention.wqkv.weight": (12, 12), "model.layers.0.attention.wqkv.Plora_A.weight": (4, 12),
            "model.layers.0.attention.wqkv.Plora_B.weight": (12, 4), "model.layers.0.feed_forward.w1.weight": (16, 12),
            "model.layers.0.attention_norm.weight": (12,), "model.norm.weight": (12,), "output.weight": (7, 12)}


def xcomposer(name, dtype, hd):
    rng, path, c = rng_of(name), folder(name), WIDE
    m, state = tower(rng, c, "quick_gelu", dtype)
    p = mlp(rng, 4 * c["C"] if hd else c["C"], 12).to(dtype)
    vit = {k: v for k, v in vision_model(state).items() if "post_layernorm" not in k}
    extra = noise(rng, {"plora_glb_GN": (1, 1, 4 * c["C"]), "plora_sub_GN": (1, 1, 1, 4 * c["C"])}, dtype) if hd else {}
    state = {**extra, **noise(rng, INTERNLM, dtype), **under("vit.vision_tower.", vit), **under("vision_proj.", p.state_dict())}
    shards(path, state, 2)
    write_json(path, "config.json", {
        "architectures": ["InternLMXComposer2ForCausalLM"], "model_type": "internlm2", "hidden_size": 12, "num_hidden_layers": 1,
        "auto_map": {"AutoModel": "modeling_internlm_xcomposer2.InternLMXComposer2ForCausalLM"}})
    save_golden(name, {**run(m, c, rng, p, layer=-1, merge=hd), **extra})


# xtuner. Source: InternLM/xtuner, xtuner/model/llava.py, to_xtuner_llava, and modules/projector.

def xtuner():
    name = "xtuner"
    rng, path, c, dtype = rng_of(name), folder(name), SMALL, torch.float16
    _, state = tower(rng, c, "quick_gelu", dtype)
    m = CLIPVisionModel(towers.vision_config(c)).to(dtype)
    m.load_state_dict(vision_model(state), strict=True)
    m.save_pretrained(os.path.join(path, "visual_encoder"))
    p = mlp(rng, c["C"], 12).to(dtype)
    os.makedirs(os.path.join(path, "projector"))
    save_file(under("model.", p.state_dict()), os.path.join(path, "projector", "model.safetensors"), metadata={"format": "pt"})
    write_json(os.path.join(path, "projector"), "config.json", {
        "architectures": ["ProjectorModel"], "bias": True, "depth": 2, "hidden_act": "gelu", "llm_hidden_size": 12, "model_type": "projector",
        "torch_dtype": "float16", "visual_hidden_size": c["C"]})
    save_golden(name, run(m, c, rng, p))
    readable(path)

    # Source: the same, state_dict, and open-mmlab/mmengine, Runner.save_checkpoint.
    name = "xtuner-pth"
    rng, path = rng_of(name), folder(name)
    p = mlp(rng, c["C"], 12)
    lora = noise(rng, {"llm.base_model.model.model.layers.0.self_attn.q_proj.lora_%s.weight" % k: s for k, s in (("A", (4, 12)), ("B", (12, 4)))}, torch.float32)
    torch.save({"meta": {"epoch": 1, "iter": 500, "cfg": "..."}, "state_dict": {**lora, **under("projector.model.", p.state_dict())}},
               os.path.join(path, "iter_500.pth"))
    save_golden(name, run(None, c, rng, p))


def main():
    logging.set_verbosity_error()
    openclip("openclip-gelu", open_clip.model.CLIP, False, torch.float32)
    openclip("openclip-text", open_clip.model.CustomTextCLIP, True, torch.float16)
    hf_clip_bin()
    hf_vision()
    llava_hf()
    llava()
    llava_projector()
    xcomposer("xcomposer2-vl", torch.float16, False)
    xcomposer("xcomposer2-hd", torch.bfloat16, True)
    xtuner()


if __name__ == "__main__":
    main()
