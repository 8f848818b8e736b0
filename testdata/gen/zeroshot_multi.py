"""What transformers, numpy and scipy say of labels with several prompts, and of labels that do not exclude each other. Runs in
.venv/torch-2.15.0 with scipy 1.18.1, after families_new.py.

Writes tiny/zeroshot_multi.json:
  cases    of hf5-clip: labels with their prompts, templates, negatives and the bias; of each picture the cosines, logits and
           probabilities [K]. The embedding of a label is the mean of its prompts' in all templates, each of length 1; that of the
           negatives likewise. Where there is one text on each side, the probability without bias is asserted to be the softmax of
           the two texts that CLIPModel's own logits give. All is computed in float64 with the weights as they are stored.
  biases   logits [N][K], what is wanted, and the bias that scipy.optimize.minimize_scalar finds for the log loss
"""

import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.special import expit
from transformers import CLIPModel, CLIPProcessor

from common import TESTDATA, TINY

MODEL = os.path.join(TESTDATA, "families", "hf5-clip")
DEMO = os.path.join(TESTDATA, "..", "cmd", "vitago", "testdata", "demo")
PICTURES = ["cat.png", "blue-square.png", "gradient.png"]
CASES = [
    dict(labels={"cat": ["cat"], "hat": ["hat"]}, templates=["a photo of a {}"], negatives=["a photo"], bias=0.0),
    dict(labels={"pet": ["a cat", "cat"], "cap": ["hat"]}, templates=["{}"], negatives=["a photo", "photo of"], bias=-0.75),
    dict(labels={"cat": ["cat"], "hat": ["hat", "a hat"]}, templates=["a photo of a {}", "{}"], negatives=["photo of {}", "a"], bias=1.5),
]

m, p = CLIPModel.from_pretrained(MODEL).double().eval(), CLIPProcessor.from_pretrained(MODEL)
scale = m.logit_scale.exp().item()


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def mean(texts):
    ids = [p(text=[t], return_tensors="pt").input_ids for t in texts]
    return unit(np.mean([unit(m.get_text_features(input_ids=i).pooler_output.numpy()[0]) for i in ids], axis=0))


cases = []
with torch.no_grad():
    for c in CASES:
        t = np.stack([mean([a.replace("{}", w) for w in words for a in c["templates"]]) for words in c["labels"].values()])
        n = np.stack([mean([a.replace("{}", name) for a in c["negatives"]]) for name in c["labels"]])
        pictures = {}
        for name in PICTURES:
            pixels = p(images=Image.open(os.path.join(DEMO, name)), return_tensors="pt").pixel_values.double()
            x = unit(m.get_image_features(pixel_values=pixels).pooler_output.numpy()[0])
            cosines, logits = t @ x, scale * (t @ x - n @ x)
            probabilities = expit(logits + c["bias"])
            if c is CASES[0]:
                for k, label in enumerate(c["labels"]):
                    ids = p(text=[f"a photo of a {label}", c["negatives"][0]], return_tensors="pt", padding=True).input_ids
                    own = m(input_ids=ids, pixel_values=pixels).logits_per_image.softmax(-1)[0, 0].item()
                    assert abs(own - probabilities[k]) < 1e-9, (own, probabilities[k])
            pictures[name] = dict(cosines=cosines.tolist(), logits=logits.tolist(), probabilities=probabilities.tolist())
        labels = [dict(name=k, prompts=v) for k, v in c["labels"].items()]
        cases.append(dict(c, labels=labels, pictures=pictures))

biases = []
for seed, (n, k, spread) in enumerate([(20, 3, 1.0), (200, 7, 30.0), (5, 1, 0.01)]):
    rng = np.random.default_rng(seed)
    z = np.round(rng.normal(-spread, spread, (n, k)), 6)
    y = rng.random((n, k)) < expit(z + 0.3 * spread)
    y[0, 0], y[1, 0] = True, False
    loss = lambda b: np.logaddexp(0, -np.where(y, 1, -1) * (z + b)).mean()
    found = minimize_scalar(loss, bracket=(-1.0, 1.0), method="brent", options=dict(xtol=1e-12))
    biases.append(dict(logits=z.tolist(), wanted=y.tolist(), bias=found.x))

with open(os.path.join(TINY, "zeroshot_multi.json"), "w") as f:
    json.dump(dict(cases=cases, biases=biases), f)
    f.write("\n")
