"""Adapters as peft saves them, their base models, and what merge_and_unload makes of these: testdata/peft.

    adapters.py          writes testdata/peft/VERSION for the peft that is installed, and for the first one testdata/peft/clip
    adapters.py weighted writes of it what add_weighted_adapter makes, and nothing else

Run with peft 0.18.0 on transformers 4.57.3 (requirements.txt), and with peft 0.21.2 on transformers 5.24.0 and torch 2.15.0,
whose CLIPVisionModel has no vision_model. In testdata/peft:

  clip/                     a CLIPModel with random weights; its config.json says how large
  VERSION/vision/           its tower as a CLIPVisionModel of that version of transformers
  VERSION/classifier/       its tower with a classifier of three classes, CLIPForImageClassification
  VERSION/NAME/             an adapter, by save_pretrained; what it is made with stands in CASES
  VERSION/NAME.safetensors  what PeftModel.from_pretrained(BASE, NAME).merge_and_unload() has changed, under the base's names
  VERSION/second/           an adapter of the same rank as plain, of some of its modules and others
  VERSION/weighted-HOW.safetensors  the same of add_weighted_adapter(["plain", "second"], WEIGHTS, combination_type=HOW);
                            linear is not of 0.18.0, which loses the sign of a negative weight
"""

import json
import os
import shutil
import sys

import numpy as np
import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPForImageClassification, CLIPModel, CLIPVisionModel, LlavaForConditionalGeneration

import common

FOLDER = os.path.join(common.TESTDATA, "peft")
VERSION = os.path.join(FOLDER, peft.__version__)
VISION = dict(hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, image_size=4, patch_size=2)
TEXT = dict(hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, vocab_size=20, max_position_embeddings=7,
            bos_token_id=18, eos_token_id=19, pad_token_id=19)

CLIP = ("clip", CLIPModel)
TOWER = (peft.__version__ + "/vision", CLIPVisionModel)
CLASSIFIER = (peft.__version__ + "/classifier", CLIPForImageClassification)
LLAVA = ("../families/llava-hf", LlavaForConditionalGeneration)

CASES = {
    "plain": (CLIP, dict(target_modules=["q_proj", "v_proj"])),
    "linear": (CLIP, dict(target_modules="all-linear", use_rslora=True, bias="all")),
    "patterns": (CLIP, dict(target_modules=r"vision_model\..*\.(fc1|k_proj|out_proj)", rank_pattern={"layers.0.mlp.fc1": 3, "1.mlp.fc1": 1},
                            alpha_pattern={"k_proj": 7, r".*\.1\.self_attn\.out_proj": 2})),
    "dora": (CLIP, dict(target_modules=["q_proj", "fc2", "patch_embedding"], use_dora=True)),
    "embeddings": (CLIP, dict(target_modules=["patch_embedding", "token_embedding", "position_embedding"], modules_to_save=["visual_projection"])),
    "bias": (CLIP, dict(target_modules=["out_proj"], lora_bias=True, layers_to_transform=[1])),
    "tower": (TOWER, dict(target_modules=["q_proj", "fc1"], bias="lora_only", init_lora_weights="gaussian")),
    "classes": (CLASSIFIER, dict(target_modules=["v_proj"], modules_to_save=["classifier"])),
    "llava": (LLAVA, dict(target_modules=["q_proj", "linear_1"])),
}


SECOND = dict(r=2, lora_alpha=5, target_modules=["q_proj", "fc1"])
WEIGHTS = [0.7, -0.4]


def rng(name):
    return np.random.Generator(np.random.PCG64([ord(c) for c in name]))


def randomise(model, name, scale, which=lambda key: True):
    for key, p in sorted(model.named_parameters()):
        if which(key):
            p.data.copy_(torch.tensor(rng(name + key).standard_normal(p.shape), dtype=p.dtype) * scale)
    return model


def bases():
    config = CLIPConfig(vision_config=dict(VISION, projection_dim=6), text_config=dict(TEXT, projection_dim=6), projection_dim=6)
    clip = CLIPModel(config)
    for key, p in sorted(clip.named_parameters()):
        noise = torch.tensor(rng(key).standard_normal(p.shape), dtype=p.dtype) * 0.3
        p.data.copy_(noise + ("norm.weight" in key or "norm1.weight" in key or "norm2.weight" in key))
    if not os.path.exists(os.path.join(FOLDER, "clip")):
        clip.save_pretrained(os.path.join(FOLDER, "clip"))
    tower = CLIPVisionModel(config.vision_config)
    short = {k.replace("vision_model.", "") if "vision_model.embeddings.class_embedding" not in tower.state_dict() else k: v
             for k, v in clip.state_dict().items() if k.startswith("vision_model.")}
    tower.load_state_dict(short)
    tower.save_pretrained(os.path.join(VERSION, "vision"))
    config.num_labels = 3
    classifier = CLIPForImageClassification(config)
    inner = classifier.vision_model
    inner.load_state_dict({k.replace("vision_model.", "", 1): v for k, v in clip.state_dict().items() if k.startswith("vision_model.")})
    randomise(classifier, "classifier", 0.3, lambda key: key.startswith("classifier"))
    classifier.save_pretrained(os.path.join(VERSION, "classifier"))


def main():
    shutil.rmtree(VERSION, ignore_errors=True)
    bases()
    for name, ((base, kind), settings) in CASES.items():
        path = os.path.normpath(os.path.join(FOLDER, base))
        model = get_peft_model(kind.from_pretrained(path, dtype=torch.float32), LoraConfig(r=2, lora_alpha=3, **settings))
        randomise(model, name, 0.3, lambda key: dict(model.named_parameters())[key].requires_grad and "magnitude" not in key)
        randomise_magnitudes(model, name)
        folder = os.path.join(VERSION, name)
        model.save_pretrained(folder)
        tidy(folder, base)
        fresh = kind.from_pretrained(path, dtype=torch.float32)
        before = {k: v.clone() for k, v in fresh.state_dict().items()}
        after = PeftModel.from_pretrained(fresh, folder).merge_and_unload().state_dict()
        assert set(after) == set(before), set(after) ^ set(before)
        changed = {k: v.contiguous() for k, v in sorted(after.items()) if not torch.equal(v, before[k])}
        assert changed
        save_file(changed, os.path.join(VERSION, name + ".safetensors"))
        print(peft.__version__, name, len(changed), "changed")
    weighted()


def weighted():
    base, kind = CLIP
    path = os.path.normpath(os.path.join(FOLDER, base))
    model = get_peft_model(kind.from_pretrained(path, dtype=torch.float32), LoraConfig(**SECOND))
    randomise(model, "second", 0.3, lambda key: dict(model.named_parameters())[key].requires_grad)
    folder = os.path.join(VERSION, "second")
    model.save_pretrained(folder)
    tidy(folder, base)
    for how in ["cat", "linear"]:
        if how == "linear" and peft.__version__ == "0.18.0":
            continue  # there the sign of a negative weight is on both factors, and so on none
        fresh = kind.from_pretrained(path, dtype=torch.float32)
        before = {k: v.clone() for k, v in fresh.state_dict().items()}
        both = PeftModel.from_pretrained(fresh, os.path.join(VERSION, "plain"), adapter_name="plain")
        both.load_adapter(folder, adapter_name="second")
        both.add_weighted_adapter(["plain", "second"], WEIGHTS, "both", combination_type=how)
        both.set_adapter("both")
        after = both.merge_and_unload(adapter_names=["both"]).state_dict()
        changed = {k: v.contiguous() for k, v in sorted(after.items()) if not torch.equal(v, before[k])}
        assert len(changed) == 12, len(changed)  # q_proj, v_proj and fc1 of two blocks of two towers
        save_file(changed, os.path.join(VERSION, f"weighted-{how}.safetensors"))
        print(peft.__version__, how, len(changed), "changed")


def randomise_magnitudes(model, name):
    for key, p in sorted(model.named_parameters()):
        if "magnitude" in key:
            p.data.mul_(torch.tensor(1 + 0.3 * rng(name + key).standard_normal(p.shape), dtype=p.dtype))


def tidy(folder, base):
    """Leaves out the model card, and the path of the base on the machine that made it."""
    os.remove(os.path.join(folder, "README.md"))
    file = os.path.join(folder, "adapter_config.json")
    with open(file) as f:
        saved = json.load(f)
    saved["base_model_name_or_path"] = "clip"
    for key, v in saved.items():
        if isinstance(v, list):
            saved[key] = sorted(v)  # peft writes sets, in another order every time
    with open(file, "w") as f:
        json.dump(saved, f, indent=2)
        f.write("\n")
    for entry in os.listdir(folder):
        os.chmod(os.path.join(folder, entry), 0o644)


if sys.argv[1:] == ["weighted"]:
    weighted()
else:
    main()
