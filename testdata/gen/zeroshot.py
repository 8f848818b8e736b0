"""What open_clip's zero-shot classifier says of the demo's pictures. Runs in .venv/torch-2.15.0, after families_new.py.

Writes tiny/zeroshot.json: for each case the model and the folder of its tokenizer in testdata, labels, templates, the embeddings of
the labels [K,E], and by picture the cosines and the probabilities [K]. The classifier is open_clip.build_zero_shot_classifier; of
hf5-clip the two towers and the processor are transformers'. All is computed in float64 with the weights as they are stored.
"""

import json
import os
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.simplefilter("ignore")

import open_clip
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from common import TESTDATA, TINY

FAMILIES = os.path.join(TESTDATA, "families")
DEMO = os.path.join(TESTDATA, "..", "cmd", "vitago", "testdata", "demo")
PICTURES = ["cat.png", "blue-square.png", "gradient.png"]
LABELS = ["cat", "hat", "a cat", "photo"]
CASES = [("hf5-clip", ["a photo of a {}"]), ("hf5-clip", ["{}", "a photo of a {}", "a {} of {}"]), ("openclip-pth/epoch_3.pth", ["a photo of a {}", "{} photo"])]


class Transformers:
    """A CLIPModel as open_clip's functions take one."""

    def __init__(self, path):
        self.m, self.p = CLIPModel.from_pretrained(path).double().eval(), CLIPProcessor.from_pretrained(path)
        self.scale = self.m.logit_scale.exp()

    def tokenize(self, texts):
        return self.p(text=texts, return_tensors="pt", padding="max_length").input_ids

    def encode_text(self, ids, normalize):
        y = self.m.get_text_features(input_ids=ids).pooler_output
        return torch.nn.functional.normalize(y, dim=-1) if normalize else y

    def encode_image(self, image):
        return self.m.get_image_features(pixel_values=self.p(images=image, return_tensors="pt").pixel_values.double()).pooler_output


class OpenCLIP:
    """A model of open_clip, with the ids of hf5-clip's vocabulary: its own tokenizer has one of 49,408."""

    def __init__(self, path):
        with open(os.path.join(os.path.dirname(path), "open_clip_config.json")) as f:
            config = json.load(f)
        self.m = open_clip.model.CLIP(**config["model_cfg"])
        state = torch.load(path)["state_dict"]
        self.m.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
        self.m.double().eval()
        p = config["preprocess_cfg"]
        self.transform = open_clip.image_transform(self.m.visual.image_size, False, mean=p["mean"], std=p["std"], interpolation=p["interpolation"], resize_mode=p["resize_mode"])
        self.words = CLIPProcessor.from_pretrained(os.path.join(FAMILIES, "hf5-clip"))
        self.scale = self.m.logit_scale.exp()

    def tokenize(self, texts):
        ids = self.words(text=texts).input_ids
        out = torch.zeros(len(ids), self.m.context_length, dtype=torch.long)
        for row, i in zip(out, ids):
            row[: len(i)] = torch.tensor(i)
        return out

    def encode_text(self, ids, normalize):
        return self.m.encode_text(ids, normalize=normalize)

    def encode_image(self, image):
        return self.m.encode_image(self.transform(image).double()[None])


cases = []
with torch.no_grad():
    for name, templates in CASES:
        path = os.path.join(FAMILIES, name)
        m = (OpenCLIP if name.startswith("openclip") else Transformers)(path)
        calls = [lambda label, t=t: t.replace("{}", label) for t in templates]  # str.format takes one label for one {}
        weights = open_clip.build_zero_shot_classifier(m, m.tokenize, LABELS, calls)  # [E,K]
        pictures = {}
        for picture in PICTURES:
            x = torch.nn.functional.normalize(m.encode_image(Image.open(os.path.join(DEMO, picture))), dim=-1)
            cosines = x @ weights
            pictures[picture] = {"cosines": cosines[0].tolist(), "probabilities": (m.scale * cosines).softmax(-1)[0].tolist()}
        cases.append({"model": "families/" + name, "vocab": "families/hf5-clip", "labels": LABELS, "templates": templates, "embeddings": weights.T.tolist(), "pictures": pictures})
with open(os.path.join(TINY, "zeroshot.json"), "w") as f:
    json.dump(cases, f, indent=1)
    f.write("\n")
