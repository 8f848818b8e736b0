"""What the command's demo shows: a small CLIP with random weights in OpenAI's archive form, and pictures.

Writes ../../cmd/vitago/testdata/demo/tiny-clip.pt and six pictures beside it, and demo/expected.npz:
  embedding/PICTURE [1,E]      OpenAI's code in float32, transformers agreeing
  pixels/PICTURE [S,S,3] uint8 after OpenAI's resize, crop and RGB
  cosine [6,6]                 between the pictures in the order of the names below
"""

import json
import os
import tempfile

import numpy as np
import torch
from clip import clip
from clip.model import build_model
from PIL import Image, ImageDraw

import checkpoints
import common
import towers

C = dict(P=8, G=8, C=64, H=1, F=256, L=4, E=64, N=16, V=64, W=64, LT=1)
DEMO = os.path.join(os.path.dirname(common.TESTDATA), "cmd", "vitago", "testdata", "demo")
NAMES = ["blue-square.png", "cat.jpg", "cat.png", "gradient.png", "orange-circle.png", "red-circle.png"]


def draw(size, background, paint):
    """A picture, painted four times as big in a 128x96 frame, so that edges are smooth."""
    big = Image.new("RGB", (size[0] * 4, size[1] * 4), background)
    d = ImageDraw.Draw(big)
    f = size[0] * 4 / 128
    at = lambda *p: [v * f for v in p]
    paint(d, at)
    return big.resize(size, Image.Resampling.LANCZOS)


def cat(d, at):
    fur, dark, pink = (150, 112, 78), (70, 48, 34), (232, 150, 150)
    d.rectangle(at(0, 78, 128, 96), fill=(120, 160, 90))  # grass
    d.ellipse(at(48, 44, 112, 88), fill=fur)  # body
    d.line(at(106, 66, 118, 52, 116, 34), fill=fur, width=int(at(6)[0]), joint="curve")  # tail
    for x in (54, 68, 88, 100):
        d.rectangle(at(x, 76, x + 7, 90), fill=fur)
    for x in (60, 72, 84, 96):
        d.line(at(x, 46, x - 3, 58), fill=dark, width=int(at(2.5)[0]))
    d.polygon(at(18, 34, 20, 8, 38, 22), fill=fur)  # ears
    d.polygon(at(44, 22, 60, 8, 62, 34), fill=fur)
    d.polygon(at(22, 28, 23, 14, 33, 22), fill=pink)
    d.polygon(at(48, 22, 57, 14, 58, 28), fill=pink)
    d.ellipse(at(16, 16, 64, 62), fill=fur)  # head
    for x in (28, 44):
        d.ellipse(at(x, 30, x + 9, 41), fill=(210, 220, 120))
        d.ellipse(at(x + 3, 31, x + 6, 40), fill=(20, 20, 20))
    d.polygon(at(37, 45, 43, 45, 40, 49), fill=pink)
    for y in (0, 4):
        d.line(at(34, 48 + y, 12, 45 + 2 * y), fill=dark, width=int(at(1)[0]))
        d.line(at(46, 48 + y, 68, 45 + 2 * y), fill=dark, width=int(at(1)[0]))


def pictures():
    size = (128, 96)
    y, x = np.mgrid[0:96, 0:128]
    gradient = np.stack([255 * x / 127, 255 * y / 95, 255 * (1 - x / 127)], -1)
    sky = (190, 215, 240)
    made = {
        "blue-square.png": draw(size, "white", lambda d, at: d.rectangle(at(36, 20, 92, 76), fill=(30, 60, 200))),
        "cat.jpg": draw((160, 120), sky, cat),
        "cat.png": draw(size, sky, cat),
        "gradient.png": Image.fromarray(gradient.round().astype(np.uint8)),
        "orange-circle.png": draw(size, "white", lambda d, at: d.ellipse(at(30, 18, 86, 74), fill=(245, 130, 20))),
        "red-circle.png": draw(size, "white", lambda d, at: d.ellipse(at(34, 18, 94, 78), fill=(215, 30, 30))),
    }
    for name in NAMES:
        options = dict(quality=90) if name.endswith("jpg") else dict(optimize=True)
        made[name].save(os.path.join(DEMO, name), **options)


def weights(pixels):
    """Random weights, but a place hardly counts and the post-norm's bias takes away what the pictures have in common:
    else all embeddings of a random tower are nearly the same."""
    rng = np.random.Generator(np.random.PCG64(11))
    w = common.vision_weights(rng, C)
    w.update(common.text_weights(rng, C))
    w["visual.conv1.weight"] *= 2
    w["visual.class_embedding"] *= np.float32(0.3)
    w["visual.positional_embedding"] *= np.float32(0.3)
    w = common.round_half(w)
    w["visual.ln_post.bias"] = np.zeros(C["C"], np.float32)
    tower = build_model({k: torch.from_numpy(np.array(a)) for k, a in w.items()}).float().visual
    tower.proj = None
    mean = tower(pixels).mean(0).numpy()
    w["visual.ln_post.bias"] = (np.round(-mean * 256) / 256).astype(np.float32)  # coarse: the same on every machine
    return w


def main():
    torch.set_grad_enabled(False)
    os.makedirs(DEMO, exist_ok=True)
    os.makedirs(os.path.join(common.TESTDATA, "demo"), exist_ok=True)
    pictures()
    transform = clip._transform(C["G"] * C["P"])
    resize, crop, rgb = transform.transforms[:3]
    files = [Image.open(os.path.join(DEMO, n)) for n in NAMES]
    x = torch.stack([transform(f) for f in files])
    w = weights(x)
    with tempfile.TemporaryDirectory() as d:
        f = os.path.join(d, "weights.npz")
        common.savez(f, w)
        checkpoints.call("1.7.1", "archive.py", "--cuda", "--strip", json.dumps(C), f, os.path.join(DEMO, "tiny-clip.pt"))
    state = torch.jit.load(os.path.join(DEMO, "tiny-clip.pt"), map_location="cpu").state_dict()
    a = build_model(dict(state)).float().encode_image(x).numpy()
    b = towers.hf_vision(w, C)(pixel_values=x).image_embeds.numpy()
    assert np.abs(a - b).max() < 1e-5 * np.abs(a).max()
    n = a / np.linalg.norm(a, axis=1, keepdims=True)
    cosine = n @ n.T
    others = cosine - np.eye(len(NAMES), dtype=np.float32)
    others[1, 2] = others[2, 1] = 0
    print(np.round(cosine, 2))
    assert cosine[1, 2] > 0.9 and others.max() < 0.8, "the two cats are alike, nothing else"
    out = {}
    for i, name in enumerate(NAMES):
        out["embedding/" + name] = a[i : i + 1]
        out["pixels/" + name] = np.asarray(rgb(crop(resize(files[i]))))
    out["cosine"] = cosine
    common.savez(os.path.join(common.TESTDATA, "demo", "expected.npz"), out)
    print(sum(np.size(v) for v in w.values()), "parameters")
    print(np.linalg.norm(a, axis=1))


if __name__ == "__main__":
    main()
