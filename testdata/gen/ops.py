"""Goldens of single operators and of the position-embedding resize, computed by PyTorch in float64.

Writes tiny/ops.npz. For quick_gelu, gelu (exact error function), element by element, special values among them:
  NAME/in, NAME/out, NAME/grad (the derivative), NAME/float32 (what PyTorch's float32 gives, for comparison)
for softmax and layer_norm, row by row, special rows last:
  softmax/{in,out}, layer_norm/{in,w,b,out}
  layer_norm/{grad_out,grad_in,grad_w,grad_b} belong to layer_norm_finite: the rows of in before layer_norm/finite[0]
  softmax/{grad_out,grad_in} likewise: the rows before softmax/finite[0]
and self-attention without mask, heads by columns, as in the tower: SIZES/qkv [B*T,3C], out [B*T,C], grad_out, grad_qkv,
where SIZES is attention_bBtThHdD.

Writes tiny/posembed.npz. For grids FROM and TO, position embeddings with the class row first, [1+FROM*FROM,C]:
  FROMtoTO/in, FROMtoTO/torch, FROMtoTO/antialias
torch is torch.nn.functional.interpolate(mode="bicubic", align_corners=False), a = -0.75: by the method
CLIPVisionEmbeddings.interpolate_pos_encoding of transformers. antialias has antialias=True, a = -0.5, as OpenCLIP's
resize_pos_embed (mlfoundations/open_clip, src/open_clip/model.py).
"""

import os

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionEmbeddings

import common

INF, NAN = float("inf"), float("nan")
GRIDS = [(6, 9), (6, 4), (5, 7), (7, 3), (4, 4), (1, 3), (3, 1), (24, 35)]


def elementwise(out, name, f):
    special = [0.0, -0.0, INF, -INF, NAN, 88, -88, 89, -89, 104, -104, 1e-30, -1e-30, 1e-45, -1e-45, 3e38, -3e38, 1e4, -1e4]
    x = np.concatenate([np.float32(special), np.linspace(-12, 12, 481, dtype=np.float32), np.geomspace(1e-8, 60, 60, dtype=np.float32),
                        -np.geomspace(1e-8, 60, 60, dtype=np.float32)])
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = f(t)
    y.sum().backward()
    out.update({name + "/in": x, name + "/out": y, name + "/grad": t.grad, name + "/float32": f(torch.tensor(x))})


def rowwise(out, name, f, x, finite, params=()):
    """f maps rows and its parameters to rows."""
    t = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x,) + params]
    out.update({name + "/in": x, name + "/out": f(*t), name + "/finite": np.int64([finite])})
    g = np.random.Generator(np.random.PCG64(5)).standard_normal((finite, x.shape[1]), dtype=np.float32)
    (f(t[0][:finite], *t[1:]) * torch.tensor(g)).sum().backward()
    out.update({name + "/grad_out": g, name + "/grad_in": t[0].grad[:finite]})
    for k, a, p in zip("wb", params, t[1:]):
        out.update({name + "/" + k: a, name + "/grad_" + k: p.grad})


def attention(out, rng, b, t, h, d, scale=1.0):
    c = h * d
    qkv = rng.standard_normal((b * t, 3 * c), dtype=np.float32) * np.float32(scale)
    g = rng.standard_normal((b * t, c), dtype=np.float32)
    x = torch.tensor(qkv, dtype=torch.float64, requires_grad=True)
    q, k, v = x.reshape(b, t, 3, h, d).permute(2, 0, 3, 1, 4)  # each [B,H,T,D]
    y = F.scaled_dot_product_attention(q, k, v).permute(0, 2, 1, 3).reshape(b * t, c)
    (y * torch.tensor(g)).sum().backward()
    name = "attention_b%dt%dh%dd%d" % (b, t, h, d)
    out.update({name + "/qkv": qkv, name + "/out": y, name + "/grad_out": g, name + "/grad_qkv": x.grad})


def ops():
    rng = np.random.Generator(np.random.PCG64(3))
    out = {}
    elementwise(out, "quick_gelu", lambda x: x * torch.sigmoid(1.702 * x))
    elementwise(out, "gelu", lambda x: F.gelu(x))

    n = 19
    normal = lambda rows, std=1.0: rng.standard_normal((rows, n), dtype=np.float32) * np.float32(std)
    with_value = lambda *v: np.concatenate([np.float32(v), rng.standard_normal(n - len(v), dtype=np.float32)])[None]
    x = np.concatenate([normal(4), normal(2, 30), normal(1, 1e-20), np.full((1, n), -7, np.float32), normal(1) + 1000,
                        with_value(88, -88), with_value(3e38, -3e38), with_value(-INF), with_value(-INF, -INF, 5),
                        with_value(NAN), with_value(INF), with_value(INF, -INF), np.full((1, n), -INF, np.float32)])
    rowwise(out, "softmax", lambda x: F.softmax(x, -1), x, finite=10)

    w, b = np.exp(normal(1, 0.3))[0], normal(1, 0.5)[0]
    x = np.concatenate([normal(4), normal(2, 50), normal(1) + 300, normal(1, 1e-3), np.full((1, n), 2.5, np.float32), np.zeros((1, n), np.float32),
                        normal(1, 1e-30), normal(1, 1e15), with_value(NAN), with_value(INF), with_value(-INF, 1)])
    rowwise(out, "layer_norm", lambda x, w, b: F.layer_norm(x, (n,), w, b, 1e-5), x, finite=12, params=(w, b))

    attention(out, rng, 2, 5, 3, 7)
    attention(out, rng, 1, 1, 2, 4)
    attention(out, rng, 1, 19, 1, 64)
    attention(out, rng, 2, 9, 2, 16, scale=6.0)  # scores of tens: one weight is nearly 1
    write("ops.npz", out)


def posembed():
    rng = np.random.Generator(np.random.PCG64(4))
    out = {}
    for a, b in GRIDS:
        c = 2 if a > 10 else 5
        pos = rng.standard_normal((1 + a * a, c), dtype=np.float32)
        name = "%dto%d" % (a, b)
        e = CLIPVisionEmbeddings(CLIPVisionConfig(hidden_size=c, num_attention_heads=1, image_size=a * 2, patch_size=2)).double()
        e.position_embedding.weight.data = torch.tensor(pos).double()
        out[name + "/in"] = pos
        out[name + "/torch"] = e.interpolate_pos_encoding(torch.zeros(1, 1 + b * b, c).double(), 2 * b, 2 * b)[0]
        t = torch.tensor(pos).double()
        grid = t[1:].reshape(1, a, a, c).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(b, b), mode="bicubic", antialias=True, align_corners=False)
        out[name + "/antialias"] = torch.cat([t[:1], grid.permute(0, 2, 3, 1).reshape(b * b, c)])
    assert all(np.isfinite(np.asarray(x.detach() if torch.is_tensor(x) else x)).all() for x in out.values())
    write("posembed.npz", out)


def write(file, out):
    arrays = {}
    for k, a in out.items():
        a = a.detach().numpy() if torch.is_tensor(a) else a
        with np.errstate(over="ignore", under="ignore"):
            arrays[k] = a if a.dtype == np.int64 else a.astype(np.float32)
    common.savez(os.path.join(common.TINY, file), arrays)


if __name__ == "__main__":
    ops()
    posembed()
