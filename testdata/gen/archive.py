"""Writes a two-tower CLIP as a TorchScript archive in the form of OpenAI's. Runs on torch 1.7 and later.

  archive.py [--float32] [--cuda] [--strip] [--share] [--clip] CONFIG WEIGHTS.npz OUT.pt

CONFIG is a JSON object with the letters of common.py; WEIGHTS.npz holds OpenAI's names. --clip traces the class of
today's clip package in place of openai_clip.py's.
"""

import argparse
import gc
import json
import os
import sys
import types
import zipfile
from concurrent.futures.thread import ThreadPoolExecutor

import numpy as np
import torch

import common
import openai_clip
import torchzip


def run(f):
    """Calls f, with the paths of this machine hidden from the Python stack: in a thread, whose stack is new."""
    hide_paths()
    ThreadPoolExecutor(1).submit(f).result()


def hide_paths():
    """TorchScript writes the file names of the Python stack into code/*.debug_pkl: make them the same on every machine."""
    def relative(code):
        name = code.co_filename
        for mark in ("site-packages/", "testdata/gen/", "lib/python"):
            if mark in name:
                name = name[name.rindex(mark) + (len(mark) if mark != "lib/python" else 0):]
        consts = tuple(relative(k) if isinstance(k, types.CodeType) else k for k in code.co_consts)
        return code.replace(co_filename=name, co_consts=consts)
    for f in gc.get_objects():
        if type(f) is types.FunctionType and os.path.isabs(f.__code__.co_filename):
            f.__code__ = relative(f.__code__)


def clip_package(c):
    from clip.model import CLIP

    return CLIP(c["E"], c["G"] * c["P"], c["L"], c["C"], c["P"], c["N"], c["V"], c["W"], c["W"] // 64, c["LT"])


def build(c, weights, module=openai_clip.Multimodal):
    """A float32 model with these weights, traced as OpenAI traced theirs: three methods in one module."""
    m = module(c)
    state = m.state_dict()
    for name in list(weights):
        with torch.no_grad():
            state.pop(name).copy_(torch.from_numpy(np.asarray(weights[name])))
    assert set(state) <= {"input_resolution", "context_length", "vocab_size"}, list(state)
    m.eval()
    s = c["G"] * c["P"]
    image, text = torch.zeros(1, 3, s, s), torch.ones(1, c["N"], dtype=torch.long)
    with torch.no_grad():
        inputs = {"encode_image": image, "encode_text": text, "forward": (image, text)}
        return torch.jit.trace_module(m, inputs, check_trace=False)


def halve(m):
    """As openai/CLIP, clip/model.py, convert_weights, but after tracing, since old CPU kernels know no half precision."""
    for name, p in m.named_parameters():
        if common.is_half(name):
            p.data = p.data.half()


def share(m):
    """Tensors that share storages: all parameters of the block 0 of the vision tower lie in one, with offsets, out_proj as
    a transposed view, and block 1's ln_1 is block 0's ln_1."""
    with torch.no_grad():
        for dtype in (torch.half, torch.float):
            own = [(n, p) for n, p in m.named_parameters() if n.startswith("visual.transformer.resblocks.0.") and p.dtype == dtype]
            if not own:
                continue
            flat = torch.zeros(sum(p.numel() for _, p in own) + 3, dtype=dtype)
            at = 3  # no tensor begins at 0
            for n, p in own:
                part = flat[at : at + p.numel()]
                at += p.numel()
                part = part.view(p.shape[1], p.shape[0]).t() if n.endswith("out_proj.weight") else part.view(p.shape)
                part.copy_(p.data)
                p.data = part
        params = dict(m.named_parameters())
        for k in ("weight", "bias"):
            a, b = (params["visual.transformer.resblocks.%d.ln_1.%s" % (i, k)] for i in (0, 1))
            assert torch.equal(a, b), "block 1's ln_1 must have block 0's values"
            b.data = a.data


def save(m, path, cuda=False, strip=False):
    """torch.jit.save. With cuda, the storages are then said to be on cuda:0, where OpenAI saved them: just that name is
    changed. strip leaves the Python stacks out."""
    torch.jit.save(m, path)
    if not (cuda or strip):
        return

    def change(name, data):
        if strip and name.endswith(".debug_pkl"):
            return None
        if cuda and name in ("data.pkl", "constants.pkl"):
            return data.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")  # BINUNICODE, length, text
        return data

    saved = path + ".saved"
    os.replace(path, saved)
    if os.path.getsize(saved) < 1 << 24:  # that nothing else is changed
        torchzip.repack(saved, path, lambda name, data: data)
        with open(saved, "rb") as a, open(path, "rb") as b:
            assert a.read() == b.read(), "not the form that torch %s writes" % torch.__version__
    torchzip.repack(saved, path, change)
    os.remove(saved)


def check(path, weights, halves):
    """Every tensor of the archive is what it should be, and no path of this machine is in it."""
    got = torch.jit.load(path, map_location="cpu").state_dict()
    for k, a in weights.items():
        dtype = torch.half if halves and common.is_half(k) else torch.float
        assert got[k].dtype == dtype and np.array_equal(got[k].float().numpy(), a), k
    with zipfile.ZipFile(path) as z:
        for r in z.infolist():
            if r.file_size < 1 << 24:
                b = z.read(r)
                for bad in (common.GEN, os.path.dirname(torch.__file__), "/root", "/home"):
                    assert bad.encode() not in b, (r.filename, bad)


def main():
    if "--clip" in sys.argv:
        import clip.model  # noqa: F401, so that hide_paths sees it
    run(write)


def write():
    a = argparse.ArgumentParser()
    a.add_argument("--float32", action="store_true")
    a.add_argument("--cuda", action="store_true")
    a.add_argument("--strip", action="store_true")
    a.add_argument("--share", action="store_true")
    a.add_argument("--clip", action="store_true")
    a.add_argument("config")
    a.add_argument("weights")
    a.add_argument("out")
    a = a.parse_args()
    weights = dict(np.load(a.weights))
    m = build(json.loads(a.config), weights, clip_package if a.clip else openai_clip.Multimodal)
    if not a.float32:
        halve(m)
    if a.share:
        share(m)
    save(m, a.out, a.cuda, a.strip)
    check(a.out, weights, not a.float32)
    print("%s: torch %s" % (os.path.basename(a.out), torch.__version__))


if __name__ == "__main__":
    main()
