"""Checkpoints of one tensor as the newest libraries save them, with what people keep beside it, in containers/.

  containers.py    in .venv/torch-2.15.0: all but mmengine.pth
  containers.py    in .venv: mmengine.pth, where mmengine is

Every file has the tensor w, [2,3] of float32, the numbers 0 to 5, in it or in a module. What is beside it says the table below.
Sets of texts have an order of their own in every run: they have one element here.
"""

import argparse
import array
import collections
import dataclasses
import datetime
import enum
import os
import pathlib
import random
import sys
import uuid

import numpy as np
import torch
import torch.serialization

# The legacy form keeps the source of every module's class, and the path of its file on this machine.
torch.serialization.get_source_lines_and_file = lambda obj, error_msg=None: ([], 0, obj.__module__)

out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "containers")
os.makedirs(out, exist_ok=True)


def path(name):
    return os.path.join(out, name)


w = torch.arange(6.0).reshape(2, 3)


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Options:
    rate: float = 1e-3
    layers: list = dataclasses.field(default_factory=lambda: [1, 2])


class Slots:
    __slots__ = ("a",)

    def __init__(self):
        self.a = 3

    def __getstate__(self):
        return None, {"a": self.a}


class Dict(dict):
    pass


class List(list):
    pass


def collate(batch):
    return batch


def beside():
    torch.manual_seed(0)
    random.seed(0)
    optimizer = torch.optim.AdamW([w.clone().requires_grad_()])
    loop = []
    loop.append((loop,))
    return {
        "set": {"a"}, "frozenset": frozenset([1, 2]), "bytes": b"abc", "bytearray": bytearray(b"xyz"), "large": 1 << 200, "negative": -(1 << 100),
        "complex": 1 + 2j, "range": range(5), "slice": slice(1, 2), "ellipsis": ..., "nan": float("nan"), "loop": loop, "numbers": [0.5] * 2500,
        "counter": collections.Counter("aab"), "defaultdict": collections.defaultdict(list, {"a": [1]}), "ordered": collections.OrderedDict(a=1),
        "array": array.array("d", [1, 2]), "date": datetime.datetime(2026, 11, 30), "uuid": uuid.UUID(int=7), "path": pathlib.PurePosixPath("/a/b"),
        "namespace": argparse.Namespace(lr=1e-3, out=pathlib.PurePosixPath("x")), "enum": Color.RED, "dataclass": Options(), "slots": Slots(),
        "dict": Dict(a=1), "list": List([1]), "function": collate, "class": Slots, "random": random.getstate()[1][:20],
        "float64": np.float64(0.5), "int64": np.int64(3), "bool": np.bool_(True), "ndarray": np.arange(10.0), "strings": np.array(["a", "b"]),
        "objects": np.array([None, {1: 2}], dtype=object), "record": np.zeros(2, dtype=[("a", "i4")]), "numpy dtype": np.dtype("float32"),
        "generator": np.random.PCG64(0).state, "dtype": torch.float16, "size": torch.Size([1, 2]), "device": torch.device("cuda:0"),
        "layout": torch.strided, "parameter": torch.nn.Parameter(torch.ones(2)), "quantized": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
        "sparse": torch.eye(2).to_sparse(), "csr": torch.eye(2).to_sparse_csr(), "float8": torch.ones(4).to(torch.float8_e4m3fn),
        "uint16": torch.ones(3).to(torch.uint16), "complex64": torch.ones(2, dtype=torch.complex64), "empty": torch.zeros(0, 768),
        "exception": ValueError("x"), "module": torch.nn.Linear(1, 1), "optimizer": optimizer.state_dict(),
    }


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(w.clone())
        self.register_buffer("mask", torch.ones(2), persistent=False)

    def forward(self, x):
        return x @ self.w


def mmengine():
    from mmengine.logging import MessageHub

    hub = MessageHub("run")
    for i in range(3):
        hub.update_scalar("train/loss", 2.0 - i)
        hub.update_info("iter", i)
    torch.save({"meta": {"epoch": 0, "iter": 3, "dataset_meta": None}, "state_dict": {"w": w}, "message_hub": hub.state_dict()}, path("mmengine.pth"))


def main():
    for protocol in 2, 5:
        torch.save({"extra": beside(), "state_dict": {"w": w}}, path(f"beside{protocol}.pt"), pickle_protocol=protocol)
    torch.save({"extra": {k: v for k, v in beside().items() if k not in ("float8", "uint16")}, "model": {"w": w}}, path("beside_legacy2.pt"), _use_new_zipfile_serialization=False)
    torch.save({"w": w}, path("legacy5.pt"), _use_new_zipfile_serialization=False, pickle_protocol=5)
    model = Model()
    torch.save(model, path("module.pt"))
    torch.save(model, path("module_legacy.pt"), _use_new_zipfile_serialization=False)
    torch.save({"model": torch.nn.DataParallel(model), "epoch": 1}, path("parallel.pt"))
    torch.save(torch.optim.swa_utils.AveragedModel(model).state_dict(), path("averaged.pt"))
    torch.jit.save(torch.jit.script(model), path("script.pt"))
    from safetensors.torch import save_model

    tied = torch.nn.Module()
    tied.w = torch.nn.Parameter(w.clone())
    tied.v = tied.w
    save_model(tied, path("tied.safetensors"))
    np.savez(path("beside.npz"), w=w.numpy(), name=np.array("run"), epoch=np.array(None, dtype=object))


if __name__ == "__main__":
    if torch.__version__.startswith("2.15."):
        main()
    else:
        mmengine()
