#!/usr/bin/env bash
# transformers 4.57.3 and 5.24.0: the id that added_tokens.json states for a token is not kept if the ids before it are not
# all there. The token gets the next free id, without an error or a warning. So a token whose embedding is the row 600 of the
# model, as where rows were kept free for later tokens or the matrix was padded, is looked up in another row.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11, CLIP's tokenizer with a vocabulary of 514 tokens, so that 514 is the next id.
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
os.makedirs("clip", exist_ok=True)
json.dump({w: i for i, w in enumerate(vocabulary)}, open("clip/vocab.json", "w"))
open("clip/merges.txt", "w").write("#version: 0.2\n")
json.dump({"model_type": "clip"}, open("clip/config.json", "w"))
for stated in 514, 600:
    json.dump({"<my-cat>": stated}, open("clip/added_tokens.json", "w"))
    print(transformers.__version__, stated, AutoTokenizer.from_pretrained("clip")("a <my-cat>").input_ids)
PY
for version in 4.57.3 5.24.0; do
	python3 -m venv "venv-$version"
	"venv-$version/bin/pip" install -q "transformers==$version"
	"venv-$version/bin/python" main.py 2>>err
done >got

cat >want <<'TXT'
4.57.3 514 [512, 320, 514, 513]
4.57.3 600 [512, 320, 514, 513]
5.24.0 514 [512, 320, 514, 513]
5.24.0 600 [512, 320, 514, 513]
TXT
diff want got || { cat err >&2; echo "added_tokens.json gives other ids than was seen" >&2; exit 1; }
echo "as seen: transformers 4.57.3 and 5.24.0 number <my-cat> 514 where added_tokens.json says 600"
