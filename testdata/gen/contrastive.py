"""CLIP's loss of images and texts with all its gradients, and ten steps of training by it: transformers in float64.

Writes tiny/contrastive.npz. The model is that in tiny/huggingface. Text i of words [N,C] belongs to image i of patches
[N*G*G,3*P*P]; its words stand for letters, as a vocabulary has them that is the letters and the letters at the end of a
word, and zeros follow its end. Names of parameters are those of package clipvit after "Tower." and of package cliptext after
"Text.".

  patches [N*G*G,3*P*P], words [N,C]
  loss, grad/NAME                     of all N pairs
  alike_loss, alike/NAME              the same if the texts of the first three images and the fourth's and fifth's are one: their
                                      targets are spread evenly; two gradients
  curve_loss, curve_norm [STEPS]      of steps of BATCH pairs, from the first again after the last: AdamW without decay of norms, biases,
                                      positions and the scale, rates of their own for the towers and for the scale, which is clamped
                                      to ln 100 after each step, as OpenCLIP does it
  curve_scale [STEPS]                 the logarithm of the scale after each step
  final/NAME                          some weights after the last step
"""

import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel

import common
import stages
import text

N, BATCH, STEPS = 12, 6, 10
RATE, TEXT_RATE, SCALE_RATE, DECAY = 2e-4, 3e-4, 0.01, 0.1


def load():
    m = CLIPModel.from_pretrained(os.path.join(common.TINY, "huggingface"), attn_implementation="sdpa")
    return m.to(torch.float64).train()  # there is no dropout


def ours(named):
    """Hugging Face's names -> ours, for both towers."""
    vision = {k: a for k, a in named.items() if k.startswith(("vision_model.", "visual_projection."))}
    texts = {k: a for k, a in named.items() if k.startswith(("text_model.", "text_projection."))}
    out = {"Tower." + k: a for k, a in stages.ours(vision).items()}
    out.update({"Text." + k: a for k, a in text.ours(texts).items()})
    out["Text.LogitScale"] = named["logit_scale"].detach().numpy().reshape(1, 1)
    assert len(vision) + len(texts) + 1 == len(named)
    return out


def words(rng, c):
    """Texts of letters: a word of 1 to 5 and another of 1 or 2, no two alike."""
    letters = (c.vocab_size - 2) // 2
    rows = set()
    while len(rows) < N:
        first, second = rng.integers(0, letters, rng.integers(1, 6)), rng.integers(0, letters, rng.integers(1, 3))
        row = [c.vocab_size - 2, *first[:-1], first[-1] + letters, *second[:-1], second[-1] + letters, c.vocab_size - 1]
        assert len(row) <= c.max_position_embeddings
        rows.add(tuple(int(w) for w in row) + (0,) * (c.max_position_embeddings - len(row)))
    return np.array(sorted(rows), dtype=np.int64)


def main():
    m = load()
    c = m.config
    rng = np.random.Generator(np.random.PCG64(41))
    pixels = rng.uniform(-1.8, 2.1, (N, 3, c.vision_config.image_size, c.vision_config.image_size)).astype(np.float32)
    tokens = words(rng, c.text_config)
    x, t = torch.tensor(pixels, dtype=torch.float64), torch.tensor(tokens)
    out = {"patches": common.patches(pixels, c.vision_config.patch_size)}

    def loss_of(at, to):
        return m(input_ids=t[at:to], pixel_values=x[at:to], return_loss=True)

    y = loss_of(0, N)
    y.loss.backward()
    out["loss"] = y.loss.item()
    out.update({"grad/" + k: a.copy() for k, a in ours({k: p.grad for k, p in m.named_parameters()}).items()})

    m.zero_grad()
    alike = torch.arange(N)
    alike[:3], alike[3:5] = 0, 3
    target = (alike[:, None] == alike[None]).double()
    target /= target.sum(1, keepdim=True)
    logits = loss_of(0, N).logits_per_text
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    loss.backward()
    out["alike_loss"] = loss.item()
    gradients = ours({k: p.grad for k, p in m.named_parameters()})
    for k in ("Tower.Proj", "Text.Token"):
        out["alike/" + k] = gradients[k].copy()

    named = dict(m.named_parameters())
    groups = []
    for k, p in named.items():
        rate = SCALE_RATE if k == "logit_scale" else TEXT_RATE if k.startswith("text_") else RATE
        plain = p.ndim < 2 or k.endswith(("class_embedding", "position_embedding.weight"))
        groups.append({"params": [p], "lr": rate, "weight_decay": 0.0 if plain else DECAY})
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8)
    curve = {"curve_loss": [], "curve_norm": [], "curve_scale": []}
    for step in range(STEPS):
        at = step * BATCH % N
        optimizer.zero_grad()
        loss = loss_of(at, at + BATCH).loss
        loss.backward()
        curve["curve_loss"].append(loss.item())
        curve["curve_norm"].append(torch.nn.utils.clip_grad_norm_(list(named.values()), 1.0).item())
        optimizer.step()
        with torch.no_grad():
            m.logit_scale.clamp_(0, math.log(100))
        curve["curve_scale"].append(m.logit_scale.item())
    print("loss %.6f, texts alike %.6f" % (out["loss"], out["alike_loss"]), {k: np.round(v, 4).tolist() for k, v in curve.items()})
    out.update(curve)
    final = ours(named)
    for k in ("Tower.Blocks.1.Attn.Out.W", "Text.Blocks.0.Attn.Out.W", "Text.Token"):
        out["final/" + k] = final[k].copy()
    arrays = {k: np.ascontiguousarray(a, dtype=np.float32) for k, a in out.items()}
    for k, a in arrays.items():
        assert np.isfinite(a).all(), k
    arrays["words"] = tokens
    common.savez(os.path.join(common.TINY, "contrastive.npz"), arrays)


if __name__ == "__main__":
    main()
