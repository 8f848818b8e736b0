#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.24.0: an adapter of a CLIPVisionModel that was trained under transformers 4.57.3 loads,
# and computes the base model, bit for bit. PeftModel.from_pretrained says so in one UserWarning ("Found missing adapter
# keys"); if the adapter was made with init_lora_weights=False it computes random corrections instead.
#
# Cause: since transformers 5.10 CLIPVisionModel has no inner module "vision_model" any more. Weights of the older form are
# renamed when transformers loads them; peft's files name modules by their place in the model, and are not renamed by
# PeftModel. So the base model of an old adapter loads without a word, and none of the adapter's tensors finds its module.
# transformers' own load_adapter of the same folder gives what was trained.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11, torch 2.15.0: 0 of 4 tensors used, output equal to that
# of the base. The script installs torch, some GB.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1

python3 -m venv venv
venv/bin/pip install -q torch==2.15.0 peft==0.21.2 transformers==4.57.3

cat >train.py <<'PY'
import torch
from peft import LoraConfig, get_peft_model
from transformers import CLIPVisionConfig, CLIPVisionModel

torch.manual_seed(0)
base = CLIPVisionModel(CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14))
base.eval().save_pretrained("base")
model = get_peft_model(base, LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj", "v_proj"])).eval()
for name, p in model.named_parameters():
    if "lora_" in name:  # as if it had been trained
        p.data.normal_()
model.save_pretrained("adapter")
x = torch.randn(1, 3, 28, 28)
with torch.no_grad():
    torch.save({"x": x, "tuned": model(pixel_values=x).pooler_output}, "trained.pt")
PY

cat >use.py <<'PY'
import sys, warnings

import torch
from peft import PeftModel
from transformers import CLIPVisionModel

seen = torch.load("trained.pt")
x, tuned = seen["x"], seen["tuned"]
with torch.no_grad(), warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    base = CLIPVisionModel.from_pretrained("base").eval()
    plain = base(pixel_values=x).pooler_output
    model = PeftModel.from_pretrained(base, "adapter").eval()
    got = model(pixel_values=x).pooler_output
    own = CLIPVisionModel.from_pretrained("base").eval()
    own.load_adapter("adapter")
    loaded = own(pixel_values=x).pooler_output
close = lambda a, b: torch.allclose(a, b, rtol=1e-4, atol=1e-4)
print("peft: the base model", torch.equal(got, plain))
print("peft: what was trained", close(got, tuned))
print("load_adapter: what was trained", close(loaded, tuned))
print("warnings of missing keys", sum("missing adapter keys" in str(w.message) for w in told))
PY

venv/bin/python train.py >/dev/null 2>&1
venv/bin/python use.py >got 2>/dev/null
echo >>got
venv/bin/pip install -q transformers==5.24.0
venv/bin/python use.py >>got 2>/dev/null

# Under transformers 4.57.3, and under 5.24.0.
cat >want <<'TXT'
peft: the base model False
peft: what was trained True
load_adapter: what was trained True
warnings of missing keys 0

peft: the base model True
peft: what was trained False
load_adapter: what was trained True
warnings of missing keys 1
TXT
diff want got || { echo "peft 0.21.2 with transformers 5.24.0 does other things with an adapter of 4.57.3 than was seen" >&2; exit 1; }
echo "as seen: under transformers 5.24.0 PeftModel computes the base model where an adapter of 4.57.3 was given"
