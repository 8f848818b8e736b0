"""Converts the fixtures of families/ with the command vitago and loads what it wrote with transformers and torch. Runs in .venv
and in .venv/torch-2.15.0.

  families_load.py VITAGO

Prints for every family how far the libraries, reading our files, are from the goldens, which they computed from the
originals; in float64, so that nothing but the weights can differ.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

import families

CLASSES = {"CLIPModel": CLIPVisionModelWithProjection, "CLIPVisionModelWithProjection": CLIPVisionModelWithProjection, "CLIPVisionModel": CLIPVisionModel}


def tower(folder, want):
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    m, info = CLASSES[config["architectures"][0]].from_pretrained(folder, output_loading_info=True, dtype=torch.float64)
    # XComposer has no post-norm; transformers then makes one of its own, which no layer's output goes through.
    allowed = ["vision_model.post_layernorm.weight", "vision_model.post_layernorm.bias"] if config.get("no_post_layernorm") else []
    missing = ["vision_model." + k.removeprefix("vision_model.") for k in info["missing_keys"]]  # without the prefix since 5.6
    assert sorted(missing) == sorted(allowed) and not info["mismatched_keys"], info
    vision = config.get("vision_config", config)
    p, g = vision["patch_size"], vision["image_size"] // vision["patch_size"]
    pixels = want["patches"].reshape(families.B, g, g, 3, p, p).transpose(0, 3, 1, 4, 2, 5).reshape(families.B, 3, g * p, g * p)
    y = m.eval()(pixel_values=torch.from_numpy(pixels).double(), output_hidden_states=True)
    worst = difference(torch.stack(y.hidden_states), want["hidden_states"])
    if "embedding" in want:
        worst = max(worst, difference(y.image_embeds if "image_embeds" in y else y.pooler_output, want["embedding"]))
    return worst


def projector(folder, want):
    state = load_file(os.path.join(folder, "projector.safetensors"))
    with open(os.path.join(folder, "projector_config.json")) as f:
        config = json.load(f)
    extras = {k: state.pop(k) for k in list(state) if k.startswith(("image_newline", "plora_"))}
    layers, m = [], config["in"]
    for i in range(1 if config["projector_type"] == "linear" else int(config["projector_type"][3])):
        layers += ([torch.nn.GELU()] if i else []) + [torch.nn.Linear(m, config["out"])]
        m = config["out"]
    net = layers[0] if config["projector_type"] == "linear" else torch.nn.Sequential(*layers)
    net.load_state_dict(state, strict=True)
    worst = difference(net.double()(torch.from_numpy(want["projector_in"]).double()), want["projected"])
    return max([worst] + [difference(v, want[k]) for k, v in extras.items()])


def difference(got, want):
    got = got.detach().double().numpy().reshape(want.shape)
    return np.abs(got - want).max() / np.abs(want).max()


def main():
    for name in sorted(n[:-4] for n in os.listdir(families.OUT) if n.endswith(".npz") and n != "projector.npz"):
        want = dict(np.load(os.path.join(families.OUT, name + ".npz")))
        with tempfile.TemporaryDirectory() as d:
            out = os.path.join(d, "out")
            subprocess.run([sys.argv[1], "convert", os.path.join(families.OUT, name), out], check=True, capture_output=True)
            line = "%-18s" % name
            for file, check in (("model.safetensors", tower), ("projector.safetensors", projector)):
                if os.path.exists(os.path.join(out, file)):
                    worst = check(out, want)
                    assert worst < 3e-7, (name, file, worst)  # goldens are rounded to float32; transformers' eager softmax is in float32
                    line += "  %s %.1e" % (check.__name__, worst)
            print(line)


if __name__ == "__main__":
    main()
