"""Towers of the real configurations of OpenCLIP's registry, with fewer blocks and heads, and what open_clip computes with them.
Runs in .venv/torch-2.15.0.

  forms.py [NAME]...

The width of a head, the MLP's ratio, patches and activation are those of the registry (open_clip/model_configs); two blocks, two heads, 3×3 (or 2×2 big)
patches and 300 words remain. Weights come from a formula that the Go test has too, so they are not kept: element i of a tensor is

  x = (i·0x9E3779B1 + s) mod 2³², x ^= x>>16, x *= 0x85EBCA6B, x ^= x>>13, x *= 0xC2B2AE35, x ^= x>>16 (mod 2³²)
  value = float32((x>>8)/2²⁴ − 1/2) · 2^scale, + 1 in float32 where "one" says so

with s the FNV-1a of its name in 32 bits. Writes into forms/

  NAME.json   config: what stands in open_clip_config.json; tensors: names with shape, scale and one
  NAME.npz    patches [B*G*G,3*P*P]; hidden_states [L+1,B*T,C]; embedding [B,E]; tokens [B,N]; text_embedding [B,E];
              weights [B,E] of a loss, the sum of embedding times weights; grad/TENSOR of the vision tower, as many elements as a
              vector has, from the first on, and norm/TENSOR, the root of the sum of their squares

longclip has the two tensors of positions of Long-CLIP, whose text open_clip computes with the positions that its code makes of them
(beichenzbc/Long-CLIP, model/model_longclip.py, encode_text).
"""

import json
import os
import sys

import numpy as np
import open_clip
import torch

import common

OUT = os.path.join(common.TESTDATA, "forms")
B, HEADS, LAYERS, VOCAB, EMBED = 2, 2, 2, 300, 24

# The registry's names, and who has them on the hub.
NAMES = ["ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-quickgelu", "ViT-H-14", "ViT-H-14-378-quickgelu", "ViT-g-14", "ViT-bigG-14", "longclip"]


def fnv1a(name):
    h = 0x811C9DC5
    for b in name.encode():
        h = (h ^ b) * 0x01000193 & 0xFFFFFFFF
    return h


def formula(name, shape, scale, one):
    n = int(np.prod(shape)) if shape else 1
    x = (np.arange(n, dtype=np.uint64) * 0x9E3779B1 + fnv1a(name)) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    v = ((x >> np.uint64(8)).astype(np.float64) / 2**24 - 0.5).astype(np.float32) * np.float32(2.0**scale)
    return (v + np.float32(1 if one else 0)).reshape(shape)


def scale_of(name, shape):
    if name == "logit_scale":
        return 0, True
    if ".ln_" in name or name.startswith("ln_"):
        return 0, name.endswith("weight")
    if "embedding" in name or len(shape) < 2:
        return 0, False
    inputs = shape[0] if name.endswith("proj") else int(np.prod(shape[1:]))  # proj and text_projection are [C,E]
    return int(np.round(np.log2(4.2 / np.sqrt(inputs)))), False


def registry(name):
    config = open_clip.get_model_config("ViT-B-16" if name == "longclip" else name)
    v, t = config["vision_cfg"], config["text_cfg"]
    head = v.get("head_width", 64)
    v.update(layers=LAYERS, width=HEADS * head, image_size=(2 if v["patch_size"] > 16 else 3) * v["patch_size"])
    t.update(layers=LAYERS, heads=HEADS, width=HEADS * t["width"] // t["heads"], vocab_size=VOCAB)
    config["embed_dim"] = EMBED
    if name == "longclip":
        t.update(context_length=248)
        config["quick_gelu"] = True
    return config


def make(name):
    config = registry(name)
    m = open_clip.model.CLIP(**config).double().eval()
    tensors, state = {}, {}
    for k, p in m.state_dict().items():
        if k == "attn_mask":
            continue
        shape = list(p.shape)
        scale, one = scale_of(k, shape)
        tensors[k] = {"shape": shape, "scale": scale, "one": one}
        state[k] = torch.from_numpy(formula(k, shape, scale, one)).double()
    if name == "longclip":
        k = "positional_embedding_res"
        tensors[k] = {"shape": tensors["positional_embedding"]["shape"], "scale": 0, "one": False}
        rest = torch.from_numpy(formula(k, tensors[k]["shape"], 0, False)).double()
        mask = torch.zeros([248, 1], dtype=torch.double)
        mask[:20] = 1
        state["positional_embedding"] = state["positional_embedding"] * mask + rest * (1 - mask)
    m.load_state_dict(state, strict=True)

    c = config["vision_cfg"]
    rng = np.random.Generator(np.random.PCG64(sum(name.encode())))
    s = c["image_size"]
    pixels = rng.uniform(-1.8, 2.1, (B, 3, s, s)).astype(np.float32)
    n = config["text_cfg"]["context_length"]
    tokens = np.zeros((B, n), np.int64)
    for row, words in zip(tokens, (5, n - 2)):  # a short text, and one as long as can be
        row[: words + 2] = [VOCAB - 2, *rng.integers(0, VOCAB - 2, words), VOCAB - 1]
    weights = rng.uniform(-1, 1, (B, EMBED)).astype(np.float32)

    hidden = []
    for part in [m.visual.ln_pre, *m.visual.transformer.resblocks]:
        part.register_forward_hook(lambda _, __, y: hidden.append(y))
    e = m.encode_image(torch.from_numpy(pixels).double())
    (e * torch.from_numpy(weights).double()).sum().backward()
    out = {"patches": common.patches(pixels, c["patch_size"]), "hidden_states": torch.stack([h.reshape(-1, h.shape[-1]) for h in hidden]), "embedding": e,
           "tokens": tokens, "text_embedding": m.encode_text(torch.from_numpy(tokens)), "weights": weights}
    for k, p in m.visual.named_parameters():
        g = p.grad.detach().numpy()
        out["grad/visual." + k] = g.reshape(-1)[: c["width"]]
        out["norm/visual." + k] = np.sqrt((g * g).sum())
    arrays = {}
    for k, a in out.items():
        a = a.detach().numpy() if torch.is_tensor(a) else np.asarray(a)
        arrays[k] = a if k == "tokens" else np.ascontiguousarray(a, dtype=np.float32)
        assert k == "tokens" or np.isfinite(arrays[k]).all(), k
    common.savez(os.path.join(OUT, name + ".npz"), arrays)
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD), "interpolation": "bicubic", "resize_mode": "shortest"}
    with open(os.path.join(OUT, name + ".json"), "w") as f:
        json.dump({"config": {"model_cfg": config, "preprocess_cfg": preprocess}, "tensors": tensors}, f, indent=1)
        f.write("\n")
    print("%-24s width %d, head %d, MLP %d; |embedding| %.3f, hidden at most %.1f" % (
        name, c["width"], c.get("head_width", 64), m.visual.transformer.resblocks[0].mlp.c_fc.weight.shape[0], float(e.norm(dim=1).mean()), float(out["hidden_states"].abs().max())), flush=True)


def main():
    os.makedirs(OUT, exist_ok=True)
    for name in NAMES:
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name)


if __name__ == "__main__":
    main()
