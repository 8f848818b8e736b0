"""One peer of the benchmark: answers the requests of bench's driver, a line of JSON each.

    worker.py KIND THREADS          reads requests from standard input
    worker.py export DIR            writes DIR/model.onnx and DIR/openvino.xml, which runtimes load

The requests are those of protocol.go. Everything is in float32.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def values(n):
    """n numbers from -2 to 2, the same as values in worker.go makes: every float is exact."""
    x = np.arange(n, dtype=np.uint32) * np.uint32(2654435761)
    x ^= x >> np.uint32(15)
    x *= np.uint32(2246822519)
    x ^= x >> np.uint32(13)
    return (x >> np.uint32(8)).astype(np.float32) * np.float32(2**-22) - np.float32(2)


def image_size(path):
    return json.loads((Path(path) / "config.json").read_text())["image_size"]


def tower(path, threads):
    """The tower as a module from pixels to embeddings, which is what gets traced, compiled and exported."""
    import torch
    from transformers import CLIPVisionModelWithProjection

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = CLIPVisionModelWithProjection.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")

        def forward(self, x):
            return self.model(x).image_embeds

    torch.set_num_threads(threads)
    return Tower().eval()


def from_torch(model):
    """The version and the function of a module."""
    import torch

    def encode(x):
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return f"torch {torch.__version__}", encode


# Each peer loads the model and returns its version and a function from pixels [B,3,S,S] to embeddings [B,E].


def torch_eager(path, threads):
    return from_torch(tower(path, threads))


def torch_frozen(path, threads):
    """The traced graph, frozen and optimized. torch.jit.enable_onednn_fusion in its place is no faster."""
    import torch

    size = image_size(path)
    with torch.inference_mode():
        traced = torch.jit.trace(tower(path, threads), torch.zeros(2, 3, size, size), check_trace=False)
        return from_torch(torch.jit.optimize_for_inference(torch.jit.freeze(traced)))


def torch_compile(path, threads):
    """Inductor with freezing, which packs the weights for oneDNN. It needs a C++ compiler."""
    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True
    return from_torch(torch.compile(tower(path, threads), dynamic=False))


def ort(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(f"{path}/model.onnx", options, providers=["CPUExecutionProvider"])
    return f"onnxruntime {onnxruntime.__version__}", lambda x: session.run(None, {"pixels": x})[0]


def openvino(path, threads):
    import openvino

    core = openvino.Core()
    model = core.compile_model(
        f"{path}/openvino.xml",
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"},
    )
    return f"openvino {openvino.__version__.split('-')[0]}", lambda x: model(x)[0]


# Each product takes x [M,K] and w [N,K] and returns its version and a function that computes x·wᵀ.


def torch_gemm(x, w, threads):
    import torch

    torch.set_num_threads(threads)
    x, w = torch.from_numpy(x), torch.from_numpy(w)

    def product():
        with torch.inference_mode():
            return torch.nn.functional.linear(x, w).numpy()

    return f"torch {torch.__version__}", product


def numpy_gemm(x, w, threads):  # OpenBLAS; the driver's environment says how many threads
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"numpy {np.__version__}, {blas['name']} {blas['version']}", lambda: x @ w.T


PEERS = {"torch": torch_eager, "torch-frozen": torch_frozen, "torch-compile": torch_compile, "ort": ort, "openvino": openvino}
PRODUCTS = {"torch": torch_gemm, "numpy": numpy_gemm}


def export(path):
    """Writes what ONNX Runtime and OpenVINO load, with any batch size and float32 weights."""
    import torch

    size = image_size(path)
    with torch.inference_mode():
        torch.onnx.export(
            tower(path, os.cpu_count()),
            (torch.zeros(2, 3, size, size),),
            f"{path}/model.onnx",
            dynamo=False,
            input_names=["pixels"],
            output_names=["embeddings"],
            dynamic_axes={"pixels": {0: "batch"}, "embeddings": {0: "batch"}},
        )
    import openvino

    openvino.save_model(openvino.convert_model(f"{path}/model.onnx"), f"{path}/openvino.xml", compress_to_fp16=False)


def serve(kind, threads, replies):
    encode = product = size = shape = version = None
    for line in sys.stdin:
        request = json.loads(line)
        reply = {}
        try:
            match request["cmd"]:
                case "load":
                    size = image_size(request["dir"])
                    reply["version"], encode = PEERS[kind](request["dir"], threads)
                case "encode":
                    x = values(request["batch"] * 3 * size * size).reshape(-1, 3, size, size)
                    start = time.perf_counter()
                    y = encode(x)
                    reply["seconds"] = time.perf_counter() - start
                    reply["values"] = y.reshape(-1).tolist()
                case "gemm":
                    m, n, k = request["shape"]
                    if shape != (m, n, k):
                        shape = m, n, k
                        x, w = np.split(values((m + n) * k).reshape(m + n, k), [m])
                        version, product = PRODUCTS[kind](x, w, threads)
                        product()
                    start = time.perf_counter()
                    for _ in range(request["calls"]):
                        y = product()
                    reply["seconds"] = (time.perf_counter() - start) / request["calls"]
                    reply["values"] = y[-1].tolist()
                    reply["version"] = version
                case cmd:
                    raise ValueError(f"request {cmd!r}, want load, encode or gemm")
        except Exception as e:  # the driver says in its table what went wrong
            reply = {"error": f"{type(e).__name__}: {e}".splitlines()[0]}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    # Replies have standard output to themselves: libraries print.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if sys.argv[1] == "export":
        export(sys.argv[2])
    else:
        serve(sys.argv[1], int(sys.argv[2]), replies)
