"""The model in the program, in any transformers from 4.57 on: its restricted vocabulary is read, makes the tokens of a text that CLIP's whole
one does, and a word that it lacks has no row.

    python restricted.py [MODELDIR]        in .venv and in .venv/torch-2.15.0
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from open_clip.tokenizer import SimpleTokenizer
from transformers import AutoTokenizer, CLIPModel, CLIPTokenizer, CLIPTokenizerFast

from common import TESTDATA

TEXTS = [
    "a red circle", "A Photo of three big striped HEARTS.", "the picture shows a small purple triangle to the left of a dotted moon that is brown on a gray background.",
    "something orange in the bottom right corner", "two yellow squares next to four crosses", "these are rings with stripes",
]


def main(model=os.path.join(os.path.dirname(TESTDATA), "demo", "model")):
    whole = SimpleTokenizer()
    net = CLIPModel.from_pretrained(model).eval()
    rows = net.config.text_config.vocab_size
    for kind in (CLIPTokenizer, CLIPTokenizerFast, AutoTokenizer):
        t = kind.from_pretrained(model)
        for text in TEXTS:
            ids = t(text).input_ids
            want = ["<|startoftext|>", *(whole.decoder[i] for i in whole.encode(text)), "<|endoftext|>"]
            assert t.convert_ids_to_tokens(ids) == want and max(ids) < rows, (kind, text, ids, want)
        with torch.no_grad():
            net.get_text_features(**t(TEXTS[:1], return_tensors="pt"))
            try:
                net.get_text_features(**t(["a zebra"], return_tensors="pt"))
                sys.exit(f"{kind.__name__}: a word that the vocabulary lacks has an embedding")
            except IndexError:
                pass
    print(f"transformers {transformers.__version__}: {len(TEXTS)} texts have the tokens of the whole vocabulary")


if __name__ == "__main__":
    main(*sys.argv[1:])
