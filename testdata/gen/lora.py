"""A tiny tower corrected by LoRA: what peft computes, and whether peft loads what finetune.SaveLoRA wrote.

    lora.py              writes tiny/lora/ (by peft's save_pretrained) and tiny/lora.npz, both of the tower of
                         tiny/stages_gelu.npz
    lora.py check DIR    loads the adapter in DIR with peft, and compares with DIR/embedding.safetensors, which holds
                         "embedding", what Go computes with it for the patches of tiny/stages_gelu.npz

In the .npz, computed in float64:

  embedding [B,E]         of the pixels of tiny/stages_gelu.npz
  grad/NAME               the gradients of sum(embedding * grad_embedding), grad_embedding of that file; NAME is that
                          of the tensor in tiny/lora/adapter_model.safetensors
  grad/patches            and of the patches
  merged/NAME             weights after merge_and_unload, under the paths of package clipvit
"""

import json
import os
import shutil
import sys

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import CLIPVisionModel

import common
import stages
import towers

TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def tower():
    """The tower of stages_gelu.npz in float64, and its pixels."""
    c = stages.TOWERS["gelu"]
    rng = np.random.Generator(np.random.PCG64(c["seed"]))
    weights = common.vision_weights(rng, c)
    f = np.load(os.path.join(common.TINY, "stages_gelu.npz"))
    assert np.array_equal(f["param/Proj"], common.our_names(weights)["Proj"])
    return c, towers.hf_vision(weights, c, c["activation"], torch.float64), f


def make():
    c, base, f = tower()
    config = LoraConfig(r=3, lora_alpha=5, target_modules=TARGETS, lora_dropout=0.0, bias="none")
    m = get_peft_model(base, config)
    rng = np.random.Generator(np.random.PCG64(11))
    learnt = {k: p for k, p in m.named_parameters() if p.requires_grad}
    assert len(learnt) == 2 * len(TARGETS) * c["L"]
    for k, p in learnt.items():  # B is zero at first: nothing could be seen
        p.data.copy_(torch.tensor(rng.standard_normal(p.shape, dtype=np.float32) * np.float32(0.3)))
    x = torch.tensor(f["pixels"], dtype=torch.float64, requires_grad=True)
    y = m(pixel_values=x).image_embeds
    (y * torch.tensor(f["grad_embedding"], dtype=torch.float64)).sum().backward()
    out = {"embedding": y.detach().numpy(), "grad/patches": common.patches(x.grad.numpy(), c["P"])}
    for k, p in learnt.items():
        out["grad/" + k.replace(".default", "")] = p.grad.numpy()

    folder = os.path.join(common.TINY, "lora")
    shutil.rmtree(folder, ignore_errors=True)
    m.float().save_pretrained(folder)  # config, weights and a model card
    os.remove(os.path.join(folder, "README.md"))
    file = os.path.join(folder, "adapter_config.json")
    with open(file) as f_in:
        saved = json.load(f_in)
    saved["target_modules"].sort()  # peft writes a set, in another order every time
    with open(file, "w") as f_out:
        json.dump(saved, f_out, indent=2)
        f_out.write("\n")
    os.chmod(os.path.join(folder, "adapter_model.safetensors"), 0o644)
    assert {"grad/" + k for k in load_file(os.path.join(folder, "adapter_model.safetensors"))} == set(out) - {"embedding", "grad/patches"}

    merged = m.double().merge_and_unload()
    assert torch.allclose(merged(pixel_values=x).image_embeds, y, atol=1e-12)
    for k, a in stages.ours(dict(merged.named_parameters())).items():
        if k.startswith("Blocks.0.") and k.endswith(".W"):
            out["merged/" + k] = a
    common.savez(os.path.join(common.TINY, "lora.npz"), {k: np.ascontiguousarray(a, dtype=np.float32) for k, a in out.items()})


def check(folder):
    _, base, f = tower()
    m = PeftModel.from_pretrained(base, folder).double()
    want = m(pixel_values=torch.tensor(f["pixels"], dtype=torch.float64)).image_embeds
    without = tower()[1](pixel_values=torch.tensor(f["pixels"], dtype=torch.float64)).image_embeds
    got = load_file(os.path.join(folder, "embedding.safetensors"))["embedding"].double()
    error = ((got - want).abs().max() / want.abs().max()).item()
    print("difference %.1e; the adapter changes %.1e" % (error, ((without - want).abs().max() / want.abs().max()).item()))
    assert error < 1e-5
    # The tower without projection, to which peft's names are the same.
    alone = CLIPVisionModel(base.config)
    before = {k: v.clone() for k, v in alone.state_dict().items()}
    PeftModel.from_pretrained(alone, folder).merge_and_unload()
    changed = sum(not torch.equal(v, before[k]) for k, v in alone.state_dict().items())
    print("merged into CLIPVisionModel: %d weights changed" % changed)
    assert changed == 6 * base.config.num_hidden_layers


if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        check(sys.argv[2])
    else:
        make()
