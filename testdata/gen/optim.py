"""Goldens of the optimisers, computed by PyTorch in float64 and rounded to float32; schedules by transformers.

Writes tiny/optim.npz. All cases start from the same parameters and get the same gradients:
  param/PATH    float32, the shapes as in package clipvit
  grad/PATH     [S,2,...] for S steps of two micro-batches each, whose mean is the gradient
  present/PATH  [S] int64, 0 where the parameter has no gradient (None) at that step
and for every CASE, in numbers of float64 unless said otherwise:
  CASE/options              beta1, beta2, eps of AdamW; momentum, nesterov of SGD
  CASE/rate, CASE/decay     [G] of the parameter groups; CASE/group/PATH int64 says which of them PATH is in
  CASE/factor               [S], by which LambdaLR multiplied the rates
  CASE/max_norm             of clip_grad_norm_; CASE/norm [S] is what it returned
  CASE/param/PATH           [S,...] float32, after every step
  CASE/ema/PATH             float32, the exponential moving average at the end, with the decay CASE/ema_decay
  CASE/state/PATH.SLOT      float32, what PyTorch keeps of the parameter at the end
  CASE/float32              how far PyTorch's own float32 is from CASE/param, of the largest value of a parameter
For every schedule, schedule/NAME/{options,factor}: warm-up and total steps and floor, and the factors.
"""

import os

import numpy as np
import torch
import transformers

import common

STEPS = 20
PATHS = {  # all kinds: a class token, a matrix, vectors, a matrix of a head
    "Embed.Class": (1, 6),
    "Blocks.0.Norm1.W": (6, 1),
    "Blocks.0.Attn.QKV.W": (9, 5),
    "Blocks.1.MLP.Up.B": (7, 1),
    "Head.W": (3, 4),
}
INF = float("inf")

# Rates so high that the steps are about as long as the parameters: their errors are then those of the sums.
CASES = {
    "adamw": dict(kind="adamw", options=(0.9, 0.999, 1e-8), groups=[(0.1, 0.01)], schedule=("constant", 0, STEPS, 0), max_norm=INF, ema=0.9),
    "adamw_groups": dict(kind="adamw", options=(0.85, 0.95, 1e-3), groups=[(0.2, 0.3), (0.05, 0.0), (0.01, 0.05)],
                         schedule=("cosine", 4, STEPS, 0.1), max_norm=1.5, ema=0.98),
    "sgd": dict(kind="sgd", options=(0.0, 0), groups=[(0.1, 0.0)], schedule=("constant", 3, STEPS, 0), max_norm=INF, ema=0.5),
    "sgd_momentum": dict(kind="sgd", options=(0.9, 0), groups=[(0.05, 0.1), (0.02, 0.0)], schedule=("cosine", 0, STEPS, 0), max_norm=2.5, ema=0.9),
    "sgd_nesterov": dict(kind="sgd", options=(0.8, 1), groups=[(0.1, 0.05), (0.03, 0.0)], schedule=("linear", 5, STEPS, 0), max_norm=0.5, ema=0.9),
}
SCHEDULES = {
    "constant": ("constant", 0, 12, 0), "constant_warmup": ("constant", 5, 12, 0),
    "cosine": ("cosine", 0, 17, 0), "cosine_warmup": ("cosine", 4, 23, 0), "cosine_floor": ("cosine", 3, 20, 0.05), "cosine_short": ("cosine", 6, 6, 0),
    "linear": ("linear", 0, 9, 0), "linear_warmup": ("linear", 7, 31, 0), "linear_one": ("linear", 0, 1, 0),
}


def lr_scheduler(optimizer, name, warmup, total, floor):
    t = transformers.optimization
    if name == "constant":
        return t.get_constant_schedule_with_warmup(optimizer, warmup)
    if name == "linear":
        return t.get_linear_schedule_with_warmup(optimizer, warmup, total)
    if floor:
        return t.get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup, total, min_lr_rate=floor)
    return t.get_cosine_schedule_with_warmup(optimizer, warmup, total)


def inputs():
    rng = np.random.Generator(np.random.PCG64(8))
    normal = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
    out = {}
    for i, (path, shape) in enumerate(PATHS.items()):
        out["param/" + path] = normal(*shape)
        size = np.float32(10) ** rng.integers(-3, 1, (STEPS, 1) + (1,) * len(shape)).astype(np.float32)
        out["grad/" + path] = normal(STEPS, 2, *shape) * size
        present = np.ones(STEPS, np.int64)
        if i in (1, 3):  # two start late and pause
            present[: i] = 0
            present[9 + i : 11 + i] = 0
        out["present/" + path] = present
    return out


def train(data, case, dtype):
    """Returns what the case's arrays are, but for the options."""
    groups = [dict(params=[], lr=rate, weight_decay=decay) for rate, decay in case["groups"]]
    params, out = {}, {}
    for i, path in enumerate(PATHS):
        params[path] = torch.nn.Parameter(torch.tensor(data["param/" + path], dtype=dtype))
        g = i % len(groups)
        groups[g]["params"].append(params[path])
        out["group/" + path] = np.int64([g])
    if case["kind"] == "adamw":
        beta1, beta2, eps = case["options"]
        optimizer = torch.optim.AdamW(groups, betas=(beta1, beta2), eps=eps)
    else:
        momentum, nesterov = case["options"]
        optimizer = torch.optim.SGD(groups, lr=0, momentum=momentum, nesterov=bool(nesterov))
    scheduler = lr_scheduler(optimizer, *case["schedule"])
    model = torch.nn.ParameterList(params.values())
    ema = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(case["ema"]))
    ema.update_parameters(model)  # the first copies
    factors, norms = [], []
    history = {path: [] for path in PATHS}
    for step in range(STEPS):
        optimizer.zero_grad()
        for path, p in params.items():
            if data["present/" + path][step]:
                p.grad = torch.tensor(data["grad/" + path][step], dtype=dtype).mean(0)
        norms.append(torch.nn.utils.clip_grad_norm_(params.values(), case["max_norm"]).item())
        factors.append(scheduler.get_last_lr()[0] / case["groups"][0][0])
        optimizer.step()
        scheduler.step()
        ema.update_parameters(model)
        for path, p in params.items():
            history[path].append(p.detach().numpy().copy())
    out.update(factor=np.float64(factors), norm=np.float64(norms))
    for i, (path, p) in enumerate(params.items()):
        out["param/" + path] = np.stack(history[path])
        out["ema/" + path] = ema.module[i].detach().numpy()
        for slot, v in optimizer.state[p].items():
            if v is not None:
                out["state/%s.%s" % (path, slot)] = v.detach().numpy().reshape(p.shape if v.ndim else 1)
    return out


def schedule(name, warmup, total, floor):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = lr_scheduler(optimizer, name, warmup, total, floor)
    factors = []
    for _ in range(total + 1):
        factors.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return np.float64(factors)


def main():
    out = inputs()
    for name, case in CASES.items():
        want = train(out, case, torch.float64)
        single = train(out, case, torch.float32)
        worst = max(np.abs(want[k] - single[k]).max() / np.abs(want[k]).max() for k in want if k.startswith("param/"))
        clipped = sum(n > case["max_norm"] for n in want["norm"])
        moved = max(np.abs(want["param/" + p][-1] - out["param/" + p]).max() for p in PATHS)
        print("%s: float32 differs by %.2g; %d of %d steps clipped; moved by %.2g" % (name, worst, clipped, STEPS, moved))
        assert case["max_norm"] == INF or 0 < clipped < STEPS, "a case of clipping clips some steps"
        rates, decays = zip(*case["groups"])
        want.update(options=np.float64(case["options"]), rate=np.float64(rates), decay=np.float64(decays),
                    max_norm=np.float64([case["max_norm"]]), ema_decay=np.float64([case["ema"]]), float32=np.float64([worst]))
        for k, a in want.items():
            out[name + "/" + k] = a.astype(np.float32) if k.split("/")[0] in ("param", "ema", "state") else a
    for name, s in SCHEDULES.items():
        out["schedule/%s/options" % name] = np.float64(s[1:])
        out["schedule/%s/factor" % name] = schedule(*s)
    common.savez(os.path.join(common.TINY, "optim.npz"), out)


if __name__ == "__main__":
    main()
