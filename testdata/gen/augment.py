"""Makes testdata/tiny/augment.npz: what torchvision 0.24.1 and Pillow 13.0.0 make of pictures when they are told
which random numbers to draw. Run it from testdata/gen in the environment that setup.sh makes.

  crop/size [N,2]         width and height of pictures
  crop/area, crop/aspect  [N,2] the ranges given to RandomResizedCrop
  crop/draws [N,22]       numbers from 0 to 1 that stand in for its random ones, in the order in which it asks
  crop/box [N,4]          left, top, width, height that get_params returns
  sweep/factors [K]       factors of brightness, contrast and saturation; beyond 1 too
  sweep/hues [K]          factors of hue
  sweep/source [H,W,3]    a picture
  sweep/{brightness,contrast,saturation,hue} [K,H,W,3]   what the adjust functions make of it
  every/{hue,saturation} [K,2]    a factor in millionths, and the CRC-32 of what it makes of all 2^24 colours
  chain/N/...             a whole transform: source [H,W,B], mode (in chain_modes), box (empty: Resize and CenterCrop), flip,
                          order [4], factors [4] (NaN: that step is off), pixels [S,S,3] before and tensor [3,S,S] after
                          ToTensor and Normalize
"""

import os
import zlib

import numpy as np
import PIL
import torch
import torchvision
import torchvision.transforms as T
import torchvision.transforms.functional as F
from PIL import Image

from common import TINY, savez

assert (PIL.__version__, torchvision.__version__.split("+")[0]) == ("13.0.0", "0.24.1")
rng = np.random.default_rng(5)
out = {}
SIZE = 28  # the side of the tower's input in the chains
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def picture(w, h, bands):
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    a = np.stack([128 + 100 * np.sin(x / (3 + b) + b) * np.cos(y / (5 - b)) + 40 * ((x + 2 * y + 7 * b) % 17 < 6) for b in range(bands)], -1)
    return np.clip(a + rng.normal(0, 12, a.shape), 0, 255).astype(np.uint8)


# ---------------------------------------------------------------- RandomResizedCrop.get_params

sizes = [(336, 336), (640, 480), (480, 640), (1, 1), (2, 1), (3, 2), (17, 23), (2000, 31), (31, 2000), (100, 7), (7, 100), (1024, 768)]
ranges = [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.9, 1.0), (3 / 4, 4 / 3)), ((0.9, 1.0), (0.95, 1.05)), ((0.2, 0.2), (1.0, 1.0)), ((1.0, 1.0), (2.0, 3.0))]
uniform, randint = torch.Tensor.uniform_, torch.randint
rows = []
for w, h in sizes:
    for area, aspect in ranges:
        draws = rng.random(22)
        it = iter(draws)
        torch.Tensor.uniform_ = lambda t, lo, hi: t.fill_(lo + (hi - lo) * next(it))
        torch.randint = lambda lo, hi, size: torch.tensor([lo + int((hi - lo) * next(it))])
        i, j, hh, ww = T.RandomResizedCrop.get_params(Image.new("L", (w, h)), list(area), list(aspect))
        rows.append(((w, h), area, aspect, draws, (j, i, ww, hh)))
torch.Tensor.uniform_, torch.randint = uniform, randint
for k, (name, dtype) in enumerate([("size", "i8"), ("area", "f8"), ("aspect", "f8"), ("draws", "f8"), ("box", "i8")]):
    out["crop/" + name] = np.array([r[k] for r in rows], dtype)

# ---------------------------------------------------------------- the adjust functions

factors = np.array([0, 0.1, 0.5, 0.77, 1, 1.3, 2.5, 40])
hues = np.array([-0.5, -0.3, -0.1, -0.001, 0, 0.05, 0.2, 0.5])
source = picture(23, 19, 3)
source[:2] = source[:2, :, :1]  # greys
source[2] = 0
source[3] = 255
out["sweep/factors"], out["sweep/hues"], out["sweep/source"] = factors, hues, source
for name in ("brightness", "contrast", "saturation", "hue"):
    f = getattr(F, "adjust_" + name)
    out["sweep/" + name] = np.stack([np.array(f(Image.fromarray(source), float(v))) for v in (hues if name == "hue" else factors)])

colours = np.arange(1 << 24, dtype=np.uint32)
colours = Image.fromarray(np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1).astype(np.uint8).reshape(4096, 4096, 3))
crc = lambda m: zlib.crc32(m.tobytes())
out["every/hue"] = np.array([(int(v * 1e6), crc(F.adjust_hue(colours, v))) for v in (0.0, 0.3, -0.125)], "i8")
out["every/saturation"] = np.array([(int(v * 1e6), crc(F.adjust_saturation(colours, v))) for v in (0.375, 1.75)], "i8")

# ---------------------------------------------------------------- whole transforms

nan = float("nan")
chains = [  # mode, size, box, flip, order, factors of brightness, contrast, saturation, hue
    ("RGB", (61, 43), (5, 7, 30, 33), 0, (0, 1, 2, 3), (nan,) * 4),
    ("RGB", (61, 43), (), 1, (0, 1, 2, 3), (nan,) * 4),
    ("RGB", (61, 43), (0, 0, 61, 43), 1, (3, 1, 0, 2), (1.2, 0.8, 1.4, -0.1)),
    ("RGB", (20, 25), (3, 2, 11, 9), 0, (2, 3, 1, 0), (0.6, 1.3, 0.5, 0.25)),
    ("RGB", (30, 75), (), 0, (1, 0, 3, 2), (nan, 1.7, nan, 0.05)),
    ("RGB", (28, 28), (), 1, (0, 1, 2, 3), (0.9, nan, 0.3, nan)),
    ("L", (40, 40), (1, 2, 35, 29), 1, (3, 2, 1, 0), (1.1, 0.9, 1.5, 0.4)),
    ("RGBA", (33, 50), (4, 4, 25, 40), 1, (0, 2, 1, 3), (0.7, nan, 1.2, nan)),
    ("CMYK", (50, 33), (), 0, (0, 2, 1, 3), (nan, nan, 1.2, nan)),
]
modes = {"RGB": 3, "L": 1, "RGBA": 4, "CMYK": 4}
out["chain_modes"] = np.array([list(modes).index(c[0]) for c in chains], "i8")
for n, (mode, (w, h), box, flip, order, fs) in enumerate(chains):
    a = picture(w, h, modes[mode])
    m = Image.frombytes(mode, (w, h), a.tobytes())
    crop = T.RandomResizedCrop(SIZE, interpolation=T.InterpolationMode.BICUBIC)
    if box:
        crop.get_params = lambda *_: (box[1], box[0], box[3], box[2])
    else:
        crop = T.Compose([T.Resize(SIZE, interpolation=T.InterpolationMode.BICUBIC), T.CenterCrop(SIZE)])
    jitter = T.ColorJitter()
    jitter.get_params = lambda *_: (torch.tensor(order), *(None if v != v else v for v in fs))
    m = T.Compose([crop, lambda m: m.convert("RGB"), T.RandomHorizontalFlip(float(flip)), jitter])(m)
    out[f"chain/{n}/source"] = a
    out[f"chain/{n}/box"] = np.array(box, "i8")
    out[f"chain/{n}/flip"] = np.array([flip], "i8")
    out[f"chain/{n}/order"] = np.array(order, "i8")
    out[f"chain/{n}/factors"] = np.array(fs, "f8")
    out[f"chain/{n}/pixels"] = np.array(m)
    out[f"chain/{n}/tensor"] = T.Compose([T.ToTensor(), T.Normalize(MEAN, STD)])(m).numpy()

savez(os.path.join(TINY, "augment.npz"), out)
