"""Projectors, their outputs and all gradients, computed by PyTorch in float64 on float32 weights.

Writes families/projector.npz. For each TYPE of projector, M, O and N as below:

  TYPE/x [N,M], TYPE/y [N,O], TYPE/grad_y [N,O]   the loss is sum(y * grad_y)
  TYPE/Layers.i.W [O,M] or [O,O], TYPE/Layers.i.B [O,1]
  TYPE/grad/x, TYPE/grad/Layers.i.W, ...

The modules are those of LLaVA's build_vision_projector. Source: haotian-liu/LLaVA,
llava/model/multimodal_projector/builder.py.
"""

import os

import numpy as np
import torch

import common
import families

# No size is a multiple of 8, and rows are few and many.
PROJECTORS = {"linear": (1, 21, 13, 5), "mlp1x_gelu": (1, 9, 10, 3), "mlp2x_gelu": (2, 27, 19, 37), "mlp3x_gelu": (3, 11, 14, 1)}


def main():
    rng = np.random.Generator(np.random.PCG64(11))
    out = {}
    for name, (layers, m, o, n) in PROJECTORS.items():
        p = families.mlp(rng, m, o, layers).double()
        x = torch.from_numpy(common.normal(rng, (n, m), 1.5)).double().requires_grad_()
        g = torch.from_numpy(common.normal(rng, (n, o), 1)).double()
        y = p(x)
        (y * g).sum().backward()
        out.update({name + "/x": x, name + "/y": y, name + "/grad_y": g, name + "/grad/x": x.grad})
        for i, l in enumerate(p[::2]):
            for ours, q in (("W", l.weight), ("B", l.bias)):
                path = "Layers.%d.%s" % (i, ours)
                shape = q.shape if q.ndim == 2 else (-1, 1)
                out["%s/%s" % (name, path)] = q.reshape(shape)
                out["%s/grad/%s" % (name, path)] = q.grad.reshape(shape)
    common.savez(os.path.join(families.OUT, "projector.npz"), {k: a.detach().float().numpy() for k, a in out.items()})


if __name__ == "__main__":
    main()
