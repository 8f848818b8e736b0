"""XComposer2-4KHD, XComposer2-VL and LLaVA-1.5 at full width with random weights, and what PyTorch computes. Nothing is committed.

  xcomposer_full.py DIR       under .venv/bin/python; 4 GB of memory, 0.8 GB of disk, and some minutes

writes into DIR, which is where fullsize.py writes to (VITAGO_FULLSIZE):

  xcomposer2-4khd/            a checkpoint of the tower, the projector and the newline tokens, float16, as families.py has it
  xcomposer_expected.npz      flat/Layers.i.W [4096,1024], [4096,4096]   a projector for the two others, which have the same tower
                              pictures [n,2]                             as in xcomposer.py
    hd/I/tokens [N,4096]      4KHD with at most two tiles: two aspect ratios
    vl/I/tokens [1225,4096]   VL: squashed to 490 pixels, position embedding resized
    llava/I/tokens [576,4096] LLaVA-1.5, by transformers' LlavaForConditionalGeneration

in float32, with the weights as they are stored.
"""

import argparse
import json
import os
import time

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import CLIPImageProcessor, CLIPVisionModel, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

import common
import llava
import towers
import xcomposer

TOWER = dict(P=14, G=24, C=1024, H=16, F=4096, L=24, E=768)
O = 4096
PICTURES = [(211, 70), (50, 120), (1023, 577)]
HD, VL, LLAVA = (0, 1), (1,), (0, 1, 2)  # which pictures


def half(module):
    """Rounds the weights to float16 and leaves them in float32."""
    for p in module.parameters():
        p.data = p.data.half().float()
    return module


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("dir")
    path = args.parse_args().dir
    torch.set_grad_enabled(False)
    c, size = TOWER, TOWER["G"] * TOWER["P"]
    rng = np.random.Generator(np.random.PCG64(4096))
    weights = common.vision_weights(rng, c)
    m = CLIPVisionModel(towers.vision_config(c))
    m.load_state_dict({k: v for k, v in towers.hf_names(weights).items() if k.startswith("vision_model.")}, strict=True)
    del weights
    m = half(m).eval()
    folded, flat = half(xcomposer.mlp(rng, 4 * c["C"], O).float()), half(xcomposer.mlp(rng, c["C"], O).float())
    sub = torch.from_numpy(common.normal(rng, (1, 1, 1, 4 * c["C"]), 1)).half().float()
    glb = torch.from_numpy(common.normal(rng, (1, 1, 4 * c["C"]), 1)).half().float()

    # What the language model has is not read, but says how wide it is.
    state = {"vit.vision_tower." + k: v for k, v in m.state_dict().items() if "post_layernorm" not in k}
    state.update({"vision_proj." + k: v for k, v in folded.state_dict().items()})
    state.update({"plora_glb_GN": glb, "plora_sub_GN": sub, "model.norm.weight": torch.ones(O)})
    folder = os.path.join(path, "xcomposer2-4khd")
    os.makedirs(folder, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in state.items()}, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    del state
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump({"architectures": ["InternLMXComposer2ForCausalLM"], "model_type": "internlm2", "hidden_size": O, "num_hidden_layers": 32,
                   "auto_map": {"AutoModel": "modeling_internlm_xcomposer2.InternLMXComposer2ForCausalLM"}}, f)

    out = {"pictures": np.array(PICTURES, np.int64), **xcomposer.layers_of(flat, "flat/")}
    start = time.time()

    def keep(name, x):
        out[name] = x
        print("%s %s, %.0f s" % (name, list(x.shape), time.time() - start))

    v = m.vision_model
    for i in HD:
        pixels, h, w = xcomposer.views(xcomposer.NORMALISE(xcomposer.hd(xcomposer.picture(*PICTURES[i]), size, 2))[None], size)
        keep("hd/%d/tokens" % i, folded(xcomposer.merge(xcomposer.hidden(v, pixels)[-1][:, 1:], h, w, glb, sub)))

    config = LlavaConfig(
        vision_config=towers.vision_config(c).to_dict(), image_token_index=49, vision_feature_layer=-2, vision_feature_select_strategy="default",
        text_config=LlamaConfig(hidden_size=O, intermediate_size=16, num_hidden_layers=0, num_attention_heads=32, vocab_size=50).to_dict())
    with torch.device("meta"):
        l = LlavaForConditionalGeneration(config)
    l.model.vision_tower = m
    l.model.multi_modal_projector.linear_1, l.model.multi_modal_projector.linear_2 = flat[0], flat[2]
    processor = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    for i in LLAVA:
        pixels = processor(llava.expand2square(xcomposer.picture(*PICTURES[i]), (122, 116, 104)), return_tensors="pt").pixel_values
        keep("llava/%d/tokens" % i, l.get_image_features(pixels)[0])

    e = v.embeddings  # last, since it changes the tower
    e.position_embedding = torch.nn.Embedding.from_pretrained(xcomposer.resize_position(e.position_embedding.weight, 35))
    e.position_ids = torch.arange(35 * 35 + 1).expand((1, -1))
    e.image_size = 490
    for i in VL:
        pixels = xcomposer.NORMALISE(xcomposer.squash(xcomposer.picture(*PICTURES[i]), 490))[None]
        keep("vl/%d/tokens" % i, flat(xcomposer.hidden(v, pixels)[-1][0, 1:]))
    common.savez(os.path.join(path, "xcomposer_expected.npz"), xcomposer.as_arrays(out))


if __name__ == "__main__":
    main()
