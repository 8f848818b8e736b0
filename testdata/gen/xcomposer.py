"""InternLM-XComposer2's way from a picture to the tokens of its language model, by the calls of its own code.

Writes into projector/:

  xcomposer.npz
    pictures [n,2]             widths and heights; the pixels come from a formula (picture below)
    base/param/NAME            a tiny tower under the paths of package clipvit; in float64 it made all that follows
    squash/param/Layers.i.W    a projector on C columns, hd/param/Layers.i.W one on 4C; hd/sub, hd/glb [1,4C] are the newline tokens
    position/SIZE [T,C]        the tower's position embedding for pictures of SIZE pixels
  and, for each LAYOUT of HD at a tile of R pixels, and for each picture I:
    LAYOUT/I/tiles [2]         rows and columns of tiles
    LAYOUT/I/crc               CRC-32 of the float32 patches [h*w*G*G,3*P*P] of the tiles without the global view, little-endian
    LAYOUT/I/global            every STEP-th value of the patches [G*G,3*P*P] of the global view
    LAYOUT/I/tokens [N,O]
  and for squash/SIZE:
    squash/SIZE/I/crc, squash/SIZE/I/tokens as above
    squash/SIZE/6/FEATURE/LAYER [N,O]   the tokens by FEATURE patch or cls_patch of a layer, counted as Hugging Face's hidden_states:
                               0 is what goes into the first block; layer/LAYER likewise, of the small case below
  one small case, whose tiles are 1x2: full/picture_crc of the picture's bytes, full/patches [B*G*G,3*P*P]
  gradients of sum(tokens * grad_tokens), grad/: of a portrait picture of 3x2 tiles, in float64
    grad/tokens, grad/grad_tokens, grad/PART/NAME for PART tower, projector, newline; grad/patches is every 7th of that

  xcomposer_size.npz
    sizes [n,2], LAYOUT/sizes [n,3]   h, w and the number of tokens, at the true sizes of tiles: 336 and 560
    pictures [n,2], LAYOUT/I/tiles, /crc, /global   as above, at the true sizes, patches of 14 pixels

Sources: InternLM/InternLM-XComposer (commit 0f70c3e), InternLM-XComposer-2.0/finetune/ixc_utils.py (HD_transform,
padding_336) and data_mix.py (ImageProcessor, ImageProcessorHD); finetune/ixc_utils.py (R560_HD18_Identity_transform);
InternLM-XComposer-2.5-OmniLive/internlm-xcomposer2d5-ol-7b/base/ixc_utils.py (Image_transform, padding_336) and build_mlp.py
(CLIPVisionTower.forward, build_vision_projector); modeling_internlm_xcomposer2.py (img2emb); build_mlp.py of
internlm-xcomposer2-4khd-7b (the same at 336) and of internlm-xcomposer2-vl-7b (CLIPVisionTower.resize_pos). What they do
once for a fixed size is done here for any, and nothing else differs: the same calls of torch, torchvision and Pillow.
"""

import binascii
import os

import numpy as np
import torch
import torchvision.transforms as T
from PIL import Image
from torchvision.transforms.functional import InterpolationMode

import common
import stages
import towers

OUT = os.path.join(common.TESTDATA, "projector")
# No width is a multiple of 8, G is even but no power of two.
TOWER = dict(P=7, G=6, C=20, H=4, F=52, L=3, E=10)
O = 11  # of the projectors
SQUASHED = (63, 28)  # pixels, G 9 and 4: larger and smaller than the tower's, as 490 and 224 are
STEP = 13  # of the values of a global view that are kept

# From 1:25 to 25:1, and a dot.
PICTURES = [(9, 225), (31, 187), (50, 120), (77, 101), (64, 64), (103, 78), (160, 90), (211, 70), (333, 54), (250, 10), (1, 1)]
TRUE_PICTURES = [(80, 1999), (1023, 577), (347, 1001), (37, 41)]

NORMALISE = T.Compose([T.ToTensor(), T.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))])


def picture(w, h):
    """Stripes, edges and noise, from whole numbers below 2^32 alone, so that Go makes the same."""
    y, x, c = np.mgrid[0:h, 0:w, 0:3].astype(np.uint32)
    wave = x * (2 + c) + y * (5 - c) + (x * x + 3 * y * y) // (8 << c)
    noise = (x * np.uint32(73856093) ^ y * np.uint32(19349663) ^ c * np.uint32(83492791)) % np.uint32(17)
    return Image.fromarray(((wave + noise) & 255).astype(np.uint8))


# From a picture to tiles of r pixels.

def best_scale(ratio, hd_num):
    scale = 1
    while scale * np.ceil(scale / ratio) <= hd_num:
        scale += 1
    return scale - 1


def hd(img, r, hd_num, limit=None, centred=True):
    """HD_transform, with the three things that later versions change."""
    transposed = img.size[0] < img.size[1]
    if transposed:
        img = img.transpose(Image.TRANSPOSE)
    width, height = img.size
    ratio = width / height
    scale = best_scale(ratio, hd_num)
    if limit is not None:
        scale = min(np.ceil(width * limit / r), scale)
    new_w = int(scale * r)
    new_h = int(new_w / ratio)
    img = T.functional.resize(img, [new_h, new_w])  # bilinear is the default

    height = img.size[1]
    target = int(np.ceil(height / r) * r)
    top = int((target - height) / 2) if centred else 0
    img = T.functional.pad(img, [0, top, 0, target - height - top], fill=[255, 255, 255])
    return img.transpose(Image.TRANSPOSE) if transposed else img


# The names are those of projector.Layouts.
HD = {
    "xcomposer2-4khd": lambda img, r, n=25: hd(img, r, n),  # HD_transform; 25 where it is used, 16 the default of training
    "xcomposer2-4khd-train": lambda img, r, n=16: hd(img, r, n),
    "xcomposer2.5-train": lambda img, r, n=18: hd(img, r, n, limit=1.5),  # R560_HD18_Identity_transform
    "xcomposer2.5": lambda img, r, n=24: hd(img, r, n, limit=1, centred=False),  # Image_transform
    "xcomposer2.5-several": lambda img, r, n=6: hd(img, r, n, limit=1, centred=False),  # interleav_wrap_chat: where there are several images
}


def squash(img, size):
    """ImageProcessor of XComposer2-VL."""
    return T.Resize((size, size), interpolation=InterpolationMode.BICUBIC)(img)


def views(img, r):
    """The first half of CLIPVisionTower.forward: img [1,3,H,W] -> the global view and the tiles [1+h*w,3,r,r], and h, w."""
    _, _, height, width = img.shape
    h, w = height // r, width // r
    tiles = img.reshape(1, 3, h, r, w, r).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, r, r).contiguous()
    whole = torch.nn.functional.interpolate(img.float(), size=(r, r), mode="bicubic").to(tiles.dtype)
    return torch.cat([whole, tiles]), h, w


def merge(features, h, w, glb, sub):
    """Its second half: features [1+h*w,G*G,C] of the patches -> [N,4C]. sub is [1,1,1,4C], glb [1,1,4C]."""
    _, n, c = features.shape
    g = int(np.sqrt(n))
    m = g // 2

    def fold(x):  # [B,G*G,C] -> [B,G/2,G/2,4C]
        return x.reshape(-1, m, 2, m, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, m, m, 4 * c)

    def lines(x):  # [1,rows,cols,4C] -> [1,rows*(cols+1),4C]
        return torch.cat([x, sub.repeat(1, x.shape[1], 1, 1)], dim=2).reshape(1, -1, 4 * c)

    tiles = fold(features[1 : 1 + h * w]).reshape(1, h, w, m, m, 4 * c).permute(0, 1, 3, 2, 4, 5).reshape(1, h * m, w * m, 4 * c)
    out = torch.cat([lines(fold(features[:1])), glb, lines(tiles)], dim=1)[0]
    assert len(out) == tokens_of(h, w, g)
    return out


def tokens_of(h, w, g):
    return (h * w + 1) * (g // 2) ** 2 + 1 + (h + 1) * (g // 2)


def resize_position(table, grid):
    """CLIPVisionTower.resize_pos: [1+G*G,C] -> [1+grid*grid,C]."""
    g = int(np.sqrt(len(table) - 1))
    x = table[1:].reshape(1, g, g, -1).permute(0, 3, 1, 2)
    x = torch.nn.functional.interpolate(x, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:1], x.permute(0, 2, 3, 1).flatten(1, 2)[0]])


# Models.

def mlp(rng, m, o):
    """build_vision_projector, mlp2x_gelu, in float64."""
    p = torch.nn.Sequential(torch.nn.Linear(m, o), torch.nn.GELU(), torch.nn.Linear(o, o))
    for q in p.parameters():
        q.data = torch.from_numpy(common.normal(rng, tuple(q.shape), 1.2 * q.shape[-1] ** -0.5 if q.ndim > 1 else 0.2))
    return p.double()


def tower(weights, c):
    m = towers.hf_vision(weights, c, "quick_gelu", torch.float64)
    m.vision_model.config._attn_implementation = "sdpa"  # the eager one has its softmax in float32
    return m.vision_model


def resized(weights, c, size):
    """The weights and the letters of the tower for pictures of another size; the arithmetic is in float32."""
    name, grid = "visual.positional_embedding", size // c["P"]
    return {**weights, name: resize_position(torch.from_numpy(weights[name]), grid).numpy()}, {**c, "G": grid}


def hidden(m, pixels):
    return m(pixel_values=pixels, output_hidden_states=True).hidden_states


def crc(a):
    return np.array(binascii.crc32(np.ascontiguousarray(a, dtype="<f4").tobytes()), np.int64)


def layers_of(p, prefix, attribute=lambda q: q):
    out = {}
    for i, layer in enumerate(p[::2]):
        out["%sLayers.%d.W" % (prefix, i)] = attribute(layer.weight)
        out["%sLayers.%d.B" % (prefix, i)] = attribute(layer.bias).reshape(-1, 1)
    return out


def as_arrays(out):
    arrays = {}
    for k, a in out.items():
        a = a.detach().numpy() if torch.is_tensor(a) else np.asarray(a)
        arrays[k] = a if a.dtype in (np.int64, np.uint8) else np.ascontiguousarray(a, dtype=np.float32)
        if arrays[k].dtype == np.float32:
            assert np.isfinite(arrays[k]).all() and np.abs(arrays[k]).max() > 1e-4, k
    return arrays


def tiny():
    rng = np.random.Generator(np.random.PCG64(4))
    c = TOWER
    r, width = c["G"] * c["P"], 4 * c["C"]
    weights = common.vision_weights(rng, c)
    m = tower(weights, c)
    flat, folded = mlp(rng, c["C"], O), mlp(rng, width, O)
    sub = torch.from_numpy(common.normal(rng, (1, 1, 1, width), 1)).double()
    glb = torch.from_numpy(common.normal(rng, (1, 1, width), 1)).double()
    out = {"pictures": np.array(PICTURES, np.int64), "hd/sub": sub.reshape(1, -1), "hd/glb": glb.reshape(1, -1)}
    out.update({"base/param/" + k: a for k, a in common.our_names(weights).items()})
    out.update(layers_of(flat, "squash/param/"))
    out.update(layers_of(folded, "hd/param/"))

    with torch.no_grad():
        for size in SQUASHED:
            weights2, c2 = resized(weights, c, size)
            m2 = tower(weights2, c2)
            out["position/%d" % size] = weights2["visual.positional_embedding"]
            for i, wh in enumerate(PICTURES):
                pixels = NORMALISE(squash(picture(*wh), size))[None]
                states = hidden(m2, pixels.double())
                at = "squash/%d/%d/" % (size, i)
                out[at + "crc"] = crc(common.patches(pixels.numpy(), c["P"]))
                out[at + "tokens"] = flat(states[-1][0, 1:])
                if i == 6:
                    for layer, x in enumerate(states):
                        out[at + "patch/%d" % layer] = flat(x[0, 1:])
                        out[at + "cls_patch/%d" % layer] = flat(x[0])
        for name, transform in HD.items():
            if name == "xcomposer2.5-several":
                continue  # sizes tell it
            for i, wh in enumerate(PICTURES):
                at = "%s/%d/" % (name, i)
                pixels, h, w = views(NORMALISE(transform(picture(*wh), r))[None], r)
                patches = common.patches(pixels.numpy(), c["P"])
                out[at + "tiles"] = np.array([h, w], np.int64)
                out[at + "crc"] = crc(patches[c["G"] ** 2 :])
                out[at + "global"] = patches[: c["G"] ** 2].reshape(-1)[::STEP]
                out[at + "tokens"] = folded(merge(hidden(m, pixels.double())[-1][:, 1:], h, w, glb, sub))
        # One case of 1x2 tiles at every layer, and in full.
        img = picture(211, 70)
        small = HD["xcomposer2-4khd"](img, r, 2)
        pixels, h, w = views(NORMALISE(small)[None], r)
        assert (h, w) == (1, 2)
        out["full/picture_crc"] = np.array(binascii.crc32(np.asarray(img).tobytes()), np.int64)
        out["full/patches"] = common.patches(pixels.numpy(), c["P"])
        for layer, x in enumerate(hidden(m, pixels.double())):
            out["layer/%d" % layer] = folded(merge(x[:, 1:], h, w, glb, sub))

    # Gradients, from the tokens back to the patches.
    pixels, h, w = views(NORMALISE(HD["xcomposer2-4khd"](picture(50, 120), r, 6))[None], r)
    assert (h, w) == (3, 2)
    pixels = pixels.double().requires_grad_()
    for p in (sub, glb):
        p.requires_grad_()
    tokens = folded(merge(hidden(m, pixels)[-1][:, 1:], h, w, glb, sub))
    grad = torch.from_numpy(common.normal(rng, tuple(tokens.shape), 1)).double()
    (tokens * grad).sum().backward()
    out["grad/tokens"], out["grad/grad_tokens"] = tokens, grad
    out.update(layers_of(folded, "grad/projector/", lambda q: q.grad))
    out["grad/newline/sub"], out["grad/newline/glb"] = sub.grad.reshape(1, -1), glb.grad.reshape(1, -1)
    tower_grads = stages.ours({"vision_model." + k: p.grad for k, p in m.named_parameters() if p.grad is not None})
    out.update({"grad/tower/" + k: a for k, a in tower_grads.items()})
    out["grad/patches"] = common.patches(pixels.grad.numpy(), c["P"]).reshape(-1)[::7]
    common.savez(os.path.join(OUT, "xcomposer.npz"), as_arrays(out))


def true_size():
    rng = np.random.Generator(np.random.PCG64(5))
    sizes = [(1, 1), (1, 25), (25, 1), (1, 26), (2, 51), (336, 336), (337, 336), (336, 337), (560, 560), (561, 560), (8400, 336), (4, 1000)]
    sizes += [(int(np.exp(a) * np.exp(b / 2)) + 1, int(np.exp(a) * np.exp(-b / 2)) + 1)
              for a, b in zip(rng.uniform(1.5, 8, 300), rng.uniform(-np.log(25), np.log(25), 300))]
    out = {"sizes": np.array(sizes, np.int64), "pictures": np.array(TRUE_PICTURES, np.int64)}
    for name, transform in HD.items():
        r = 560 if "2.5" in name else 336
        g = r // 14
        rows = []
        for wh in sizes:
            h, w = tiles_of(transform, wh, r)
            rows.append((h, w, tokens_of(h, w, g)))
        out[name + "/sizes"] = np.array(rows, np.float32)
        for i, wh in enumerate(TRUE_PICTURES):
            if name in ("xcomposer2-4khd-train", "xcomposer2.5-several"):
                break  # the code is that of their neighbours
            pixels, h, w = views(NORMALISE(transform(picture(*wh), r))[None], r)
            patches = common.patches(pixels.numpy(), 14)
            at = "%s/%d/" % (name, i)
            assert (h, w) == tiles_of(transform, wh, r)
            out[at + "tiles"] = np.array([h, w], np.int64)
            out[at + "crc"] = crc(patches[g * g :])
            out[at + "global"] = patches[: g * g].reshape(-1)[:: STEP * 67]
    common.savez(os.path.join(OUT, "xcomposer_size.npz"), as_arrays(out))


class Nothing:
    """A picture without pixels, for which the calls of hd give their sizes: thousands of pictures of that size take hours."""

    def __init__(self, w, h):
        self.size = (w, h)

    def transpose(self, _):
        return Nothing(*self.size[::-1])


def tiles_of(transform, wh, r):
    real = T.functional.resize, T.functional.pad
    T.functional.resize = lambda img, hw: Nothing(hw[1], hw[0])
    T.functional.pad = lambda img, p, fill: Nothing(img.size[0] + p[0] + p[2], img.size[1] + p[1] + p[3])
    try:
        w, h = transform(Nothing(*wh), r).size
    finally:
        T.functional.resize, T.functional.pad = real
    assert w % r == 0 and h % r == 0
    return h // r, w // r


def main():
    os.makedirs(OUT, exist_ok=True)
    tiny()
    true_size()


if __name__ == "__main__":
    main()
