"""XComposer's partial LoRA: values and gradients, by PyTorch in float64 on float32 weights.

Writes projector/plora.npz. For each CASE:

  CASE/x [N,in], CASE/mask [N] uint8, CASE/y [N,out], CASE/grad_y, CASE/scale []    the loss is sum(y * grad_y)
  CASE/Linear.W [out,in], CASE/Linear.B [out,1], CASE/A [R,in], CASE/B [out,R]      Linear.B where there is a bias
  CASE/grad/x, CASE/grad/Linear.W, ...

Source: InternLM/InternLM-XComposer (commit 0f70c3e), InternLM-XComposer-2.5-OmniLive/internlm-xcomposer2d5-ol-7b/base/build_mlp.py,
class PLoRA, in evaluation: its dropout does nothing. Where no token is of an image it adds 0 times the correction to the
first row, which changes nothing but gives A and B gradients of zero.
"""

import os

import numpy as np
import torch

import common
import xcomposer

# in, out, R, alpha, bias, tokens, how many of which are of an image
CASES = {"mixed": (21, 13, 5, 5, False, 19, 7), "bias": (10, 27, 3, 6, True, 9, 4), "images": (12, 12, 4, 2, True, 6, 6), "words": (12, 12, 4, 2, True, 6, 0)}


def plora(x, mask, linear, a, b, scale):
    res = linear(x)
    if mask.any():
        res[mask] += b(a(x[mask])) * scale
    else:
        res[:1] += b(a(x[:1])) * 0
    return res


def main():
    rng = np.random.Generator(np.random.PCG64(7))
    out = {}
    for name, (i, o, r, alpha, bias, n, images) in CASES.items():
        modules = {"Linear": torch.nn.Linear(i, o, bias), "A": torch.nn.Linear(i, r, False), "B": torch.nn.Linear(r, o, False)}
        for m in modules.values():
            for p in m.parameters():
                p.data = torch.from_numpy(common.normal(rng, tuple(p.shape), p.shape[-1] ** -0.5))
            m.double()
        mask = np.zeros(n, bool)
        mask[rng.permutation(n)[:images]] = True
        x = torch.from_numpy(common.normal(rng, (n, i), 1.5)).double().requires_grad_()
        g = torch.from_numpy(common.normal(rng, (n, o), 1)).double()
        y = plora(x, torch.from_numpy(mask), modules["Linear"], modules["A"], modules["B"], alpha / r)
        (y * g).sum().backward()
        at = name + "/"
        out.update({at + "x": x, at + "mask": mask.astype(np.uint8), at + "y": y, at + "grad_y": g, at + "scale": np.float32(alpha / r), at + "grad/x": x.grad})
        for module, m in modules.items():
            for ours, p in (("W", m.weight), ("B", m.bias)):
                if p is None:
                    continue
                path = "Linear." + ours if module == "Linear" else module
                shape = p.shape if p.ndim == 2 else (-1, 1)
                out[at + path], out[at + "grad/" + path] = p.reshape(shape), p.grad.reshape(shape)
    arrays = {}
    for k, a in out.items():
        a = a.detach().numpy() if torch.is_tensor(a) else a
        arrays[k] = a if getattr(a, "dtype", None) == np.uint8 else np.asarray(a, np.float32)
    common.savez(os.path.join(xcomposer.OUT, "plora.npz"), arrays)


if __name__ == "__main__":
    main()
