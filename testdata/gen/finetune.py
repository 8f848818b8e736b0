"""Twenty steps of training: a tiny tower with a linear head, in float64 by PyTorch.

Writes tiny/finetune.npz. The tower is that of tiny/stages_quickgelu.npz; the head is zero at first; image i of
patches [N*G*G,3*P*P] has label labels[i], and steps take BATCH of them, from the first again after the last. All is
as finetune.Recipe has it: AdamW, rates that fall layer by layer, decay of weights but not of norms, biases and
embeddings, warm-up and cosine, clipping, smoothed labels, averages.

  patches [N*G*G,3*P*P], labels [N]
  loss, norm, right [STEPS]     of every step: mean loss, norm of the gradients before clipping, images recognised
  average_loss                  of all images, with the averages of the weights after the last step
  final/NAME                    some weights after the last step
"""

import math
import os

import numpy as np
import torch
import torch.nn.functional as F

import common
import stages
import towers

STEPS, TOTAL, WARMUP, BATCH, N, K = 20, 21, 3, 4, 12, 3
RATE, HEAD_RATE, DECAY, LAYER_DECAY, CLIP, SMOOTHING, EMA = 2e-3, 1e-2, 0.05, 0.75, 1.0, 0.1, 0.9


def layer_factor(name, layers):
    if name.startswith(("vision_model.embeddings.", "vision_model.pre_layrnorm.")):
        return LAYER_DECAY ** (layers + 1)
    if name.startswith("vision_model.encoder.layers."):
        return LAYER_DECAY ** (layers - int(name.split(".")[3]))
    return 1.0


def main():
    c = stages.TOWERS["quickgelu"]
    weights = common.vision_weights(np.random.Generator(np.random.PCG64(c["seed"])), c)
    m = towers.hf_vision(weights, c, c["activation"], torch.float64).train()
    head = torch.nn.Linear(c["E"], K, dtype=torch.float64)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    rng = np.random.Generator(np.random.PCG64(21))
    size = c["G"] * c["P"]
    labels = np.arange(N) * 5 % K
    pixels = rng.uniform(-1.8, 2.1, (N, 3, size, size)).astype(np.float32)
    pixels[:, 0] += 0.3 * (labels - 1)[:, None, None].astype(np.float32)  # something to learn

    named = list(m.named_parameters()) + [("head." + k, p) for k, p in head.named_parameters()]
    groups = []
    for k, p in named:
        rate = HEAD_RATE if k.startswith("head.") else RATE * layer_factor(k, c["L"])
        plain = p.ndim < 2 or k.endswith(("class_embedding", "position_embedding.weight"))
        groups.append({"params": [p], "lr": rate, "weight_decay": 0.0 if plain else DECAY})
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
    factor = lambda s: s / WARMUP if s < WARMUP else 0.5 * (1 + math.cos(math.pi * (s - WARMUP) / (TOTAL - WARMUP)))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    parameters = [p for _, p in named]
    averages = [p.detach().clone() for p in parameters]

    x, t = torch.tensor(pixels, dtype=torch.float64), torch.tensor(labels)
    out = {"loss": [], "norm": [], "right": []}
    for step in range(STEPS):
        at = step * BATCH % N
        logits = head(m(pixel_values=x[at:at + BATCH]).image_embeds)
        loss = F.cross_entropy(logits, t[at:at + BATCH], label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        out["loss"].append(loss.item())
        out["norm"].append(torch.nn.utils.clip_grad_norm_(parameters, CLIP).item())
        out["right"].append((logits.argmax(1) == t[at:at + BATCH]).sum().item())
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for a, p in zip(averages, parameters):
                a.lerp_(p, 1 - min(EMA, (2 + step) / (11 + step)))  # after step+1 steps
    final = stages.ours(dict(m.named_parameters()))
    for k in ("Embed.Patch", "Blocks.1.Attn.QKV.W"):
        out["final/" + k] = final[k].copy()
    with torch.no_grad():
        for a, p in zip(averages, parameters):
            p.copy_(a)
        out["average_loss"] = F.cross_entropy(head(m(pixel_values=x).image_embeds), t, label_smoothing=SMOOTHING).item()
    print("loss %.4f to %.4f, with averages %.4f; norms %.2f to %.2f" % (out["loss"][0], out["loss"][-1], out["average_loss"], min(out["norm"]), max(out["norm"])))
    out["patches"] = common.patches(pixels, c["P"])
    arrays = {k: np.asarray(a, dtype=np.float32) for k, a in out.items()}
    arrays["labels"] = labels.astype(np.int64)
    common.savez(os.path.join(common.TINY, "finetune.npz"), arrays)


if __name__ == "__main__":
    main()
