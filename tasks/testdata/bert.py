"""Writes bert/: a tiny BERT with random weights in the form that cybertron converts, and what transformers encodes with it.

It runs on the environment that testdata/gen/setup.sh makes.
"""

import json
import os

import torch
from transformers import BertConfig, BertModel

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bert")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "photo", "of", "cat", "dog"]
TEXT = "A photo of a cat"

# gelu_new, by tanh, is what spago computes under the name gelu, and 1e-5 is the only epsilon of its layer norm.
torch.manual_seed(20)
config = BertConfig(
    vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=16, hidden_act="gelu_new", initializer_range=0.5, layer_norm_eps=1e-5,
)
model = BertModel(config).eval()
os.makedirs(OUT, exist_ok=True)
config.architectures = ["BertModel"]
READ = """architectures hidden_act hidden_size intermediate_size layer_norm_eps max_position_embeddings model_type
num_attention_heads num_hidden_layers pad_token_id type_vocab_size vocab_size"""  # what cybertron reads
with open(os.path.join(OUT, "config.json"), "w") as f:
    json.dump({k: config.to_dict()[k] for k in READ.split()} | {"hidden_act": "gelu"}, f, indent=2)
state = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
# The form from before torch 1.6, which gopickle reads too, is the smaller one.
torch.save(state, os.path.join(OUT, "pytorch_model.bin"), _use_new_zipfile_serialization=False)
with open(os.path.join(OUT, "vocab.txt"), "w") as f:
    f.write("".join(w + "\n" for w in WORDS))
with open(os.path.join(OUT, "tokenizer_config.json"), "w") as f:
    json.dump({"do_lower_case": True}, f)

ids = [WORDS.index(w) for w in ["[CLS]", *TEXT.lower().split(), "[SEP]"]]
with torch.no_grad():
    mean = model(torch.tensor([ids])).last_hidden_state[0].mean(0)
with open(os.path.join(OUT, "expected.json"), "w") as f:
    json.dump({"text": TEXT, "mean_pooling": mean.tolist()}, f)
