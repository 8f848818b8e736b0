"""All gradients of one block of ViT-L/14-336, at its real size, by transformers in float64.

Writes tiny/block_full.npz. Weights, input and output gradient are 12 million numbers of a formula (draw), so that
nothing large is kept; of every result there are, under its path in package clipvit's Block, and under x for the
input and y for the output,

  norm/NAME      [1]        its Euclidean norm
  sums/NAME      [SUMS]     its scalar products with SUMS more vectors of the formula: every entry counts
  sample/NAME    [SAMPLES]  entries, at the places of the formula
  float32        [1]        how far PyTorch's float32 is from its float64, in the measure of the test
"""

import os

import numpy as np
import torch
from transformers import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

import common

C, H, F, T = 1024, 16, 4096, 577
SUMS, SAMPLES = 2, 512

# In this order the formula's numbers are drawn; each is scaled and moved, in float32. Scores of the attention
# are then near 1, and so is what comes out of every layer.
PARAMS = [  # path, name in transformers, shape, scale, mean
    ("x", None, (T, C), 1, 0),
    ("y", None, (T, C), 2**-3, 0),  # its gradient
    ("Norm1.W", "layer_norm1.weight", (C, 1), 2**-4, 1),
    ("Norm1.B", "layer_norm1.bias", (C, 1), 2**-4, 0),
    ("Attn.QKV.W", "self_attn.{}_proj.weight", (3 * C, C), 2**-5, 0),
    ("Attn.QKV.B", "self_attn.{}_proj.bias", (3 * C, 1), 2**-4, 0),
    ("Attn.Out.W", "self_attn.out_proj.weight", (C, C), 2**-5, 0),
    ("Attn.Out.B", "self_attn.out_proj.bias", (C, 1), 2**-4, 0),
    ("Norm2.W", "layer_norm2.weight", (C, 1), 2**-4, 1),
    ("Norm2.B", "layer_norm2.bias", (C, 1), 2**-4, 0),
    ("MLP.Up.W", "mlp.fc1.weight", (F, C), 2**-5, 0),
    ("MLP.Up.B", "mlp.fc1.bias", (F, 1), 2**-4, 0),
    ("MLP.Down.W", "mlp.fc2.weight", (C, F), 2**-6, 0),
    ("MLP.Down.B", "mlp.fc2.bias", (C, 1), 2**-4, 0),
]


def mix(i):
    """Scrambles 32-bit numbers."""
    x = i.astype(np.uint32) * np.uint32(2654435761)
    x ^= x >> np.uint32(15)
    x *= np.uint32(2246822519)
    return x ^ x >> np.uint32(13)


def draw(at, n):
    """n numbers from -2 to 2, exact in float32, from number at on."""
    return (mix(np.arange(at, at + n)) >> np.uint32(8)).astype(np.float32) * np.float32(2**-22) - np.float32(2)


def places(n):
    """Where samples of n entries are taken."""
    return mix(np.arange(SAMPLES)) % np.uint32(n)


def layer_parts(path, name):
    """Names in transformers of a tensor, which queries, keys and values share."""
    return [name.format(p) for p in "qkv"] if "{}" in name else [name]


def run(values, dtype):
    """Every result by path, as a flat array in float64."""
    config = CLIPVisionConfig(hidden_size=C, intermediate_size=F, num_attention_heads=H, hidden_act="quick_gelu", layer_norm_eps=1e-5)
    config._attn_implementation = "sdpa"  # whose softmax is in the precision of its input, unlike that of "eager"
    block = CLIPEncoderLayer(config).to(dtype)
    params = dict(block.named_parameters())
    for path, name, *_ in PARAMS[2:]:
        parts = layer_parts(path, name)
        for part, a in zip(parts, np.split(values[path], len(parts))):
            params[part].data.copy_(torch.from_numpy(a).reshape(params[part].shape))
    x = torch.from_numpy(values["x"]).to(dtype).unsqueeze(0).requires_grad_()
    (y,) = block(x, None, None)
    y.backward(torch.from_numpy(values["y"]).to(dtype).unsqueeze(0))
    flat = lambda a: a.detach().double().numpy().reshape(-1)
    out = {"x": flat(x.grad), "y": flat(y)}
    for path, name, *_ in PARAMS[2:]:
        out[path] = np.concatenate([flat(params[part].grad) for part in layer_parts(path, name)])
    return out


def summary(results, at):
    """What is kept; the vectors of sums are drawn from number at on, for every result the same."""
    longest = max(a.size for a in results.values())
    vectors = [draw(at + i * longest, longest).astype(np.float64) for i in range(SUMS)]
    out = {}
    for name, a in results.items():
        out["norm/" + name] = np.float64([np.linalg.norm(a)])
        out["sums/" + name] = np.float64([a @ v[: a.size] for v in vectors])
        out["sample/" + name] = a[places(a.size)]
    return out


def apart(got, want, sizes):
    """How far a summary is from another, the largest figure of all: norms and sums in terms of the norm, samples in terms of
    the root of the mean square."""
    worst = 0.0
    for name, n in sizes.items():
        norm = want["norm/" + name][0]
        for kind, scale in ("norm", norm), ("sums", norm), ("sample", norm / np.sqrt(n)):
            worst = max(worst, np.abs(got["%s/%s" % (kind, name)] - want["%s/%s" % (kind, name)]).max() / scale)
    return worst


def main():
    torch.set_num_threads(os.cpu_count())
    values, at = {}, 0
    for path, _, shape, scale, mean in PARAMS:
        n = int(np.prod(shape))
        values[path] = (draw(at, n) * np.float32(scale) + np.float32(mean)).reshape(shape)
        at += n
    results = run(values, torch.float64)
    want = summary(results, at)
    sizes = {name: a.size for name, a in results.items()}
    want["float32"] = np.float64([apart(summary(run(values, torch.float32), at), want, sizes)])
    print("float32 differs by %.2g" % want["float32"][0])
    common.savez(os.path.join(common.TINY, "block_full.npz"), want)


if __name__ == "__main__":
    main()
