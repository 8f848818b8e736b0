#!/usr/bin/env bash
# transformers 4.57.3: of one directory AutoProcessor and AutoImageProcessor prepare pictures differently. Where
# preprocessor_config.json says "image_processor_type": "LlavaImageProcessor" and "do_pad": true, and the model is a CLIP,
# AutoImageProcessor obeys. AutoProcessor builds a CLIPProcessor whose class names a CLIPImageProcessor, which has no padding,
# and drops "do_pad". There is no error; the one warning is of slow and fast processors. In 5.24.0 both obey.
#
#   a picture of 8 x 4 pixels, 4.57.3    AutoImageProcessor: padded above and below    AutoProcessor: the middle square
#
# So pictures of a tower that was tuned on padded ones lose their sides through AutoProcessor, and an upgrade changes vectors.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11, torch 2.9.1 and torchvision 0.24.1 for 4.57.3, torch 2.15.0 and torchvision
# 0.29.2 for 5.24.0. The script installs both, some GB.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export HF_HUB_OFFLINE=1

cat >main.py <<'PY'
import json
import os

import numpy as np
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor

os.makedirs("tower", exist_ok=True)
square = {"height": 4, "width": 4}
for name, content in {
    "config.json": {"model_type": "clip"},
    "preprocessor_config.json": {"image_processor_type": "LlavaImageProcessor", "do_pad": True, "size": {"shortest_edge": 4}, "crop_size": square},
    "vocab.json": {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "a": 3},
    "tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer"},
}.items():
    with open(f"tower/{name}", "w") as f:
        json.dump(content, f)
with open("tower/merges.txt", "w") as f:
    f.write("#version: 0.2\n")

white = Image.fromarray(np.full((4, 8, 3), 255, np.uint8))
for auto in AutoImageProcessor, AutoProcessor:
    processor = auto.from_pretrained("tower")
    pictures = getattr(processor, "image_processor", processor)
    values = np.asarray(pictures(white, return_tensors="np")["pixel_values"])
    padded = values.min() < values.max() - 0.5  # all of the picture is white
    print(transformers.__version__, auto.__name__, "padded" if padded else "the middle square")
PY

for pins in "transformers==4.57.3 torch==2.9.1 torchvision==0.24.1" "transformers==5.24.0 torch==2.15.0 torchvision==0.29.2"; do
	python3 -m venv --clear venv
	venv/bin/pip install -q $pins pillow==12.0.0
	venv/bin/python main.py >>got 2>err || { cat err >&2; exit 1; }
done

cat >want <<'TXT'
4.57.3 AutoImageProcessor padded
4.57.3 AutoProcessor the middle square
5.24.0 AutoImageProcessor padded
5.24.0 AutoProcessor padded
TXT
diff want got || { echo "transformers prepares this picture in another way than was seen" >&2; exit 1; }
echo "as seen: AutoProcessor of transformers 4.57.3 takes no LlavaImageProcessor for a CLIP, AutoImageProcessor and 5.24.0 do"
