"""What transformers says of the model in the program: the answers that "vitago verify" compares it with. Runs in
.venv/torch-2.15.0 in a few seconds, whenever demo/model or demo/pictures have changed.

    .venv/torch-2.15.0/bin/python verify.py [MODELDIR [PICTUREDIR [TEXT...]]]

Writes ../../cmd/vitago/answers/demo.json: embeddings of all pictures and texts, and the probabilities of all texts for each picture, by
CLIPModel in float64 with the weights as they are stored, CLIPTokenizer, and CLIPImageProcessor on Pillow. The texts have to be in the
model's vocabulary.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from common import TESTDATA

ROOT = os.path.dirname(TESTDATA)
TEXTS = ["a red circle", "a blue square", "a circle"]


def numbers(x):
    return [float(f"{v:.9g}") for v in x.tolist()]


def main(model=os.path.join(ROOT, "demo", "model"), pictures=os.path.join(ROOT, "demo", "pictures"), *texts):
    texts = list(texts) or TEXTS
    torch.set_grad_enabled(False)
    m = CLIPModel.from_pretrained(model).double().eval()
    words, pixels = CLIPTokenizer.from_pretrained(model), CLIPImageProcessorPil.from_pretrained(model)
    checks, t = [], []
    for text in texts:
        ids = words(text, return_tensors="pt").input_ids
        assert ids.shape[1] <= m.config.text_config.max_position_embeddings, (text, ids)
        t.append(m.get_text_features(input_ids=ids).pooler_output[0])
        checks.append(dict(text=text, embedding=numbers(t[-1])))
    t = torch.nn.functional.normalize(torch.stack(t), dim=-1)
    for name in sorted(os.listdir(pictures)):
        x = pixels(Image.open(os.path.join(pictures, name)).convert("RGB"), return_tensors="pt").pixel_values.double()
        y = m.get_image_features(pixel_values=x).pooler_output[0]
        p = (m.logit_scale.exp() * (t @ torch.nn.functional.normalize(y, dim=-1))).softmax(-1)
        checks.append(dict(picture=name, embedding=numbers(y)))
        checks.append(dict(picture=name, texts=texts, probabilities=numbers(p)))
    source = f"transformers {transformers.__version__} on torch {torch.__version__.split('+')[0]}, in float64 (testdata/gen/verify.py)"
    with open(os.path.join(ROOT, "cmd", "vitago", "answers", "demo.json"), "w") as f:
        lines = ",\n".join(json.dumps(dict(c, tolerance=1e-4)) for c in checks)
        f.write('{"answers": [{"models": ["builtin:demo"], "source": %s, "checks": [\n%s\n]}]}\n' % (json.dumps(source), lines))
    print(len(checks), "answers of", source)


if __name__ == "__main__":
    main(*sys.argv[1:])
