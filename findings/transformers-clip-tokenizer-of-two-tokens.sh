#!/usr/bin/env bash
# transformers 5.24.0: CLIPTokenizer.from_pretrained and AutoTokenizer.from_pretrained of a CLIP directory that has
# config.json and weights but no tokenizer give a tokenizer of 2 tokens, without an error or a warning. All that it says of a
# text is how many letters it has: "cat" and "car" have the same ids, and so the same embedding and the same score in zero-shot
# classification. The ids are even within the vocabulary of the model, which raises no error either.
#
# Such a directory is what CLIPModel.save_pretrained writes where nobody saved the processor. Version 4.57.3 refused it;
# since 5.0 a tokenizer is built from the defaults of its class if no file is found.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11, without torch.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export HF_HUB_OFFLINE=1

python3 -m venv venv
cat >main.py <<'PY'
import os, warnings

import transformers
from transformers import AutoTokenizer, CLIPConfig, CLIPTokenizer

warnings.simplefilter("error")
CLIPConfig(architectures=["CLIPModel"]).save_pretrained("clip")
print(transformers.__version__, os.listdir("clip"))
for kind in CLIPTokenizer, AutoTokenizer:
    tokenizer = kind.from_pretrained("clip")
    print(kind.__name__, len(tokenizer), *(tokenizer(text)["input_ids"] for text in ("a cat", "a car", "cat", "car", "panda")))
PY
venv/bin/pip install -q transformers==5.24.0
venv/bin/python main.py >got 2>err
grep -v 'PyTorch was not found' err >>got || true # warnings, of which there is none

cat >want <<'TXT'
5.24.0 ['config.json']
CLIPTokenizer 2 [0, 2, 2, 2, 2, 2] [0, 2, 2, 2, 2, 2] [0, 2, 2, 2, 2] [0, 2, 2, 2, 2] [0, 2, 2, 2, 2, 2, 2]
AutoTokenizer 2 [0, 2, 2, 2, 2, 2] [0, 2, 2, 2, 2, 2] [0, 2, 2, 2, 2] [0, 2, 2, 2, 2] [0, 2, 2, 2, 2, 2, 2]
TXT
diff want got || { echo "transformers 5.24.0 makes another tokenizer of a directory without one than was seen" >&2; exit 1; }
echo "as seen: transformers 5.24.0 makes a tokenizer of 2 tokens of a directory without a tokenizer"
