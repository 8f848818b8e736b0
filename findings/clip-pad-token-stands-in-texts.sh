#!/usr/bin/env bash
# transformers 4.57.3 and 5.24.0: the pad_token of a CLIP tokenizer is found in every text. Directories of OpenCLIP's and of
# Stable Diffusion 2's text towers have pad_token "!", since those models were trained with padding of id 0, which is "!" in
# CLIP's vocabulary. A special token is looked for before all else, so "hello!" no longer ends with the token of a word's
# last exclamation mark, "!</w>" (id 256), but with that of the padding, "!" (id 0): other ids, another embedding, no warning.
# Without pad_token, or with pad_token "<|endoftext|>", the same directory gives 256.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11, with a vocabulary of CLIP's form: letters, letters that end a word, specials.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export HF_HUB_OFFLINE=1

cat >main.py <<'PY'
import json, os

import transformers
from transformers import AutoTokenizer

bytes_ = [chr(b) for b in (*range(33, 127), *range(161, 173), *range(174, 256))] + [chr(256 + i) for i in range(68)]
vocabulary = bytes_ + [b + "</w>" for b in bytes_] + ["<|startoftext|>", "<|endoftext|>"]
for pad in "<|endoftext|>", "!":
    os.makedirs("clip", exist_ok=True)
    json.dump({w: i for i, w in enumerate(vocabulary)}, open("clip/vocab.json", "w"))
    open("clip/merges.txt", "w").write("#version: 0.2\n")
    json.dump({"model_type": "clip"}, open("clip/config.json", "w"))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": pad}
    json.dump({"tokenizer_class": "CLIPTokenizer", **special}, open("clip/tokenizer_config.json", "w"))
    json.dump(special, open("clip/special_tokens_map.json", "w"))
    print(transformers.__version__, pad, AutoTokenizer.from_pretrained("clip")("a!").input_ids)
PY
for version in 4.57.3 5.24.0; do
	python3 -m venv "venv-$version"
	"venv-$version/bin/pip" install -q "transformers==$version"
	"venv-$version/bin/python" main.py 2>>err
done >got

cat >want <<'TXT'
4.57.3 <|endoftext|> [512, 320, 256, 513]
4.57.3 ! [512, 320, 0, 513]
5.24.0 <|endoftext|> [512, 320, 256, 513]
5.24.0 ! [512, 320, 0, 513]
TXT
diff want got || { cat err >&2; echo "a pad_token gives other ids than was seen" >&2; exit 1; }
echo "as seen: with pad_token \"!\" transformers 4.57.3 and 5.24.0 give the \"!\" in \"a!\" the id of padding"
