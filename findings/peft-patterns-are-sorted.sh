#!/usr/bin/env bash
# peft 0.21.2: a LoRA with patterns of which two fit the same module (alpha_pattern, rank_pattern) computes something else
# after save_pretrained and PeftModel.from_pretrained, without an error or a warning.
#
#   LoraConfig(r=2, lora_alpha=2, target_modules=["fc"], alpha_pattern={"layers.0.fc": 64, "fc": 2})
#
# The first pattern that fits counts, so block 0 is trained with alpha 64 and the others with 2. save_pretrained writes
# adapter_config.json with sort_keys=True: "fc" comes first now and fits every block, and block 0 is scaled by 1/32 of what
# it was. With rank_pattern in the place of alpha_pattern the shapes differ, and loading is an error.
# An entry for one block beside one for all is what such patterns are for; it survives only if it also sorts first.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11, torch 2.15.0. The script installs torch, some GB.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export HF_HUB_OFFLINE=1

python3 -m venv venv
venv/bin/pip install -q torch==2.15.0 peft==0.21.2 transformers==5.24.0 safetensors==0.8.0

cat >main.py <<'PY'
import json, pathlib, warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

warnings.simplefilter("error")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return x + self.fc(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([Block(), Block()])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def scales(model):
    return [layer.fc.scaling["default"] for layer in model.base_model.model.layers]


x = torch.ones(1, 8)
for patterns in {"layers.0.fc": 64, "fc": 2}, {"0.fc": 64, "fc": 2}:
    model = get_peft_model(Net(), LoraConfig(r=2, lora_alpha=2, target_modules=["fc"], alpha_pattern=patterns, init_lora_weights=False)).eval()
    model.save_pretrained("adapter")
    again = PeftModel.from_pretrained(Net(), "adapter").eval()
    same = torch.equal(model(x), again(x))
    saved = json.loads(pathlib.Path("adapter/adapter_config.json").read_text())
    print(list(patterns), scales(model), list(saved["alpha_pattern"]), scales(again), "same output" if same else "other output")
PY
venv/bin/python main.py >got

cat >want <<'TXT'
['layers.0.fc', 'fc'] [32.0, 1.0] ['fc', 'layers.0.fc'] [1.0, 1.0] other output
['0.fc', 'fc'] [32.0, 1.0] ['0.fc', 'fc'] [32.0, 1.0] same output
TXT
diff want got || { echo "peft 0.21.2 keeps alpha_pattern in another way than was seen" >&2; exit 1; }
echo "as seen: peft 0.21.2 sorts alpha_pattern when it saves, and a block of its own alpha is scaled like all others when it loads"
