"""One peer of the benchmark: answers the requests of bench's driver, a line of JSON each.

    worker.py KIND THREADS          reads requests from standard input
    worker.py export DIR            writes DIR/model.onnx and DIR/openvino.xml, which runtimes load
    worker.py files KIND THREADS DIR FOLDER OUT BATCH WORKERS   writes the embeddings of FOLDER's pictures to OUT

The requests are those of protocol.go. Everything is in float32.
"""

import itertools
import json
import multiprocessing
import os
import sys
import time
import zlib
from pathlib import Path

import numpy as np


def mixed(n, at=0):
    """n integers of 24 bits from number at on, which look random."""
    x = np.arange(at, at + n, dtype=np.uint32) * np.uint32(2654435761)
    x ^= x >> np.uint32(15)
    x *= np.uint32(2246822519)
    x ^= x >> np.uint32(13)
    return x >> np.uint32(8)


def values(n, at=0):
    """n numbers from -2 to 2 from number at on, the same as valuesFrom in worker.go makes: every float is exact."""
    return mixed(n, at).astype(np.float32) * np.float32(2**-22) - np.float32(2)


def config_of(path):
    """config.json: of a text tower if it has text_config, of blocks alone if it has blocks, else of a vision tower."""
    return json.loads((Path(path) / "config.json").read_text())


def inputs(path, batch, tokens):
    """Pixels [B,3,S,S] of images; of texts ids [B,T], as texts in worker.go makes them; for blocks [B,T,C]."""
    config = config_of(path)
    if "blocks" in config:
        return values(batch * tokens * config["hidden_size"]).reshape(batch, tokens, -1)
    if "text_config" not in config:
        size = config["image_size"]
        return values(batch * 3 * size * size).reshape(-1, 3, size, size)
    vocab = config["text_config"]["vocab_size"]
    ids = mixed(batch * tokens).astype(np.int64).reshape(batch, tokens) % (vocab - 2)
    ids[:, 0], ids[:, -1] = vocab - 2, vocab - 1
    return ids


def tower(path, threads):
    """The tower as a module from pixels or ids to embeddings, or its blocks from tokens to tokens, which is what gets traced, compiled and exported."""
    import torch
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    config = config_of(path)
    texts, blocks = "text_config" in config, "blocks" in config
    kind = CLIPTextModelWithProjection if texts else CLIPVisionModelWithProjection

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = kind.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")

        def forward(self, x):
            if blocks:
                return self.model.vision_model.encoder(inputs_embeds=x).last_hidden_state
            return self.model(x).text_embeds if texts else self.model(x).image_embeds

    torch.set_num_threads(threads)
    return Tower().eval()


def from_torch(model):
    """The version and the function of a module."""
    import torch

    def encode(x):
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return f"torch {torch.__version__}", encode


# Each peer loads the model and returns its version and a function from pixels [B,3,S,S] or ids [B,T] to embeddings [B,E].


def torch_eager(path, threads):
    return from_torch(tower(path, threads))


def torch_frozen(path, threads):
    """The traced graph, frozen and optimized. torch.jit.enable_onednn_fusion in its place is no faster."""
    import torch

    with torch.inference_mode():
        traced = torch.jit.trace(tower(path, threads), torch.from_numpy(inputs(path, 2, 10)), check_trace=False)
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
    return f"onnxruntime {onnxruntime.__version__}", lambda x: session.run(None, {"x": x})[0]


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


# Searching: both take rows [N,W] in half precision and return the version and a function from queries to the numbers of
# their nearest rows.

SEARCH_HITS, SEARCH_QUERIES = 10, 64  # as in search.go


def numpy_index(rows):
    wide = rows.astype(np.float32)

    def find(queries):
        numbers, scores = [], []
        for at in range(0, len(wide), 65536):
            s = queries @ wide[at : at + 65536].T
            best = np.argpartition(s, -SEARCH_HITS, axis=1)[:, -SEARCH_HITS:]
            numbers.append(best + at)
            scores.append(np.take_along_axis(s, best, 1))
        numbers, scores = np.concatenate(numbers, 1), np.concatenate(scores, 1)
        return np.take_along_axis(numbers, np.argsort(-scores, axis=1)[:, :SEARCH_HITS], 1)

    return f"numpy {np.__version__}", find


def faiss_index(kind, rows, threads):
    import faiss

    faiss.omp_set_num_threads(threads)
    width = rows.shape[1]
    if kind == "faiss-fp16":
        index = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.train(rows[:1000].astype(np.float32))
    else:
        index = faiss.IndexFlatIP(width)
    for at in range(0, len(rows), 65536):
        index.add(rows[at : at + 65536].astype(np.float32))
    return f"faiss {faiss.__version__}, {faiss.get_compile_options().strip()}", lambda x: index.search(x, SEARCH_HITS)[1]


# Training, as trainTower and trainProjector of train_worker.go have it: prepare returns the version and a function
# that makes one step.

HEAD_SCALE, LORA_SCALE, PROJECTOR_SCALE = 2**-5, 2**-6, 2**-6
LINEARS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


class Numbers:
    """values one after the other, each once."""

    def __init__(self):
        self.at = 0

    def next(self, shape, scale=1):
        import torch

        n = int(np.prod(shape))
        x = torch.from_numpy(values(n, self.at) * np.float32(scale)).reshape(shape)
        self.at += n
        return x


def torch_tower_lesson(path, lesson, numbers):
    """The modules to train, by name, and the function that computes their loss."""
    import torch
    from transformers import CLIPVisionModelWithProjection

    model = CLIPVisionModelWithProjection.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").train()
    c = model.config
    x = numbers.next((lesson["batch"], 3, c.image_size, c.image_size))
    labels = torch.arange(lesson["batch"]) % lesson["classes"]
    head = torch.nn.Linear(c.projection_dim, lesson["classes"])
    with torch.no_grad():
        head.weight.copy_(numbers.next(head.weight.shape, HEAD_SCALE))
        head.bias.zero_()
    if lesson["case"] == "lora":
        import peft

        model = peft.get_peft_model(model, peft.LoraConfig(r=lesson["rank"], lora_alpha=lesson["rank"], target_modules=LINEARS))
        at = numbers.at
        for name, p in model.named_parameters():
            if ".lora_A." in name:
                numbers.at = at  # the same for every A of a size
                p.data.copy_(numbers.next(p.shape, LORA_SCALE))
    return {"tower": model, "head": head}, lambda: torch.nn.functional.cross_entropy(head(model(x).image_embeds), labels)


def torch_projector_lesson(path, lesson, numbers):
    import torch

    c = json.loads((Path(path) / "config.json").read_text())
    rows, columns, width = lesson["batch"] * (c["image_size"] // c["patch_size"]) ** 2, c["hidden_size"], lesson["width"]
    x, targets = numbers.next((rows, columns)), numbers.next((rows, width))
    model = torch.nn.Sequential(torch.nn.Linear(columns, width), torch.nn.GELU(), torch.nn.Linear(width, width))
    with torch.no_grad():
        for layer in model[0], model[2]:
            layer.weight.copy_(numbers.next(layer.weight.shape, PROJECTOR_SCALE))
            layer.bias.zero_()
    return {"projector": model}, lambda: torch.nn.functional.mse_loss(model(x), targets)


def prepare(kind, path, lesson, threads):
    import torch

    torch.set_num_threads(threads)
    numbers = Numbers()
    make = torch_projector_lesson if lesson["case"] == "projector" else torch_tower_lesson
    modules, compute = make(path, lesson, numbers)
    named = [(name, p) for m in modules.values() for name, p in m.named_parameters() if p.requires_grad]
    decays = lambda name, p: p.ndim > 1 and "position_embedding" not in name
    groups = [
        {"params": [p for name, p in named if decays(name, p)], "weight_decay": lesson["decay"]},
        {"params": [p for name, p in named if not decays(name, p)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=lesson["rate"], fused=kind != "torch" or None)
    if kind == "torch-compile":  # what Python computes of a loss becomes a graph; it needs a C++ compiler
        compute = torch.compile(compute)
    parameters = [p for _, p in named]

    def step():
        times = [time.perf_counter()]
        loss = compute()
        value = loss.item()
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        norm = torch.nn.utils.clip_grad_norm_(parameters, lesson["clip"]).item()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter())
        return {"loss": value, "norm": norm, "parts": np.diff(times).tolist()}

    version = f"torch {torch.__version__}"
    if lesson["case"] == "lora":
        import peft

        version += f", peft {peft.__version__}"
    return version, step


PEERS = {"torch": torch_eager, "torch-frozen": torch_frozen, "torch-compile": torch_compile, "ort": ort, "openvino": openvino}
PRODUCTS = {"torch": torch_gemm, "numpy": numpy_gemm}


def export(path):
    """Writes what ONNX Runtime and OpenVINO load, for batches of any size, texts of any length, with float32 weights."""
    import torch

    with torch.inference_mode():
        dynamic = {0: "batch"}
        if config_of(path).keys() & {"text_config", "blocks"}:
            dynamic[1] = "tokens"
        torch.onnx.export(
            tower(path, os.cpu_count()),
            (torch.from_numpy(inputs(path, 2, 12)),),
            f"{path}/model.onnx",
            dynamo=False,
            input_names=["x"],
            output_names=["embeddings"],
            dynamic_axes={"x": dynamic, "embeddings": dynamic if "blocks" in config_of(path) else {0: "batch"}},
        )
    import openvino

    openvino.save_model(openvino.convert_model(f"{path}/model.onnx"), f"{path}/openvino.xml", compress_to_fp16=False)


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # openai/CLIP, clip/clip.py


def picture(path, size):
    """The pixels [S,S,3] of a picture as openai/CLIP's _transform resizes and crops it."""
    from PIL import Image

    with Image.open(path) as m:
        w, h = m.size
        scaled = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)
        m = m.resize(scaled, Image.Resampling.BICUBIC)
        left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
        return np.asarray(m.crop((left, top, left + size, top + size)).convert("RGB"))


def prepared(item):
    """Normalised pixels [3,S,S] of a path and a size."""
    x = picture(*item).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    return (x - np.array(MEAN, np.float32)[:, None, None]) / np.array(STD, np.float32)[:, None, None]


class Pictures:
    """A torch.utils.data.Dataset."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return prepared(self.items[i])


def files(kind, threads, path, folder, out, batch, workers):
    """Embeddings of the pictures of a folder: workers decode while the model computes."""
    size = config_of(path)["image_size"]
    items = [(str(p), size) for p in sorted(Path(folder).iterdir())]
    rows = []
    if kind.startswith("torch"):
        import torch

        _, encode = PEERS[kind](path, threads)
        for x in torch.utils.data.DataLoader(Pictures(items), batch_size=batch, num_workers=workers):
            rows.append(encode(x.numpy()))
    else:
        with multiprocessing.get_context("fork").Pool(workers) as pool:  # before the model is loaded, so that workers are small
            all = pool.imap(prepared, items, chunksize=4)
            _, encode = PEERS[kind](path, threads)
            while x := list(itertools.islice(all, batch)):
                rows.append(encode(np.stack(x)))
            pool.close()
            pool.join()
    np.save(out, np.concatenate(rows))


def pictures(folder, size):
    """CPU seconds to decode and resize all pictures of a folder, and a checksum of each's pixels, channel by channel."""
    import PIL

    seconds, sums = 0, []
    for path in sorted(Path(folder).iterdir()):
        start = time.process_time()
        x = picture(path, size)
        seconds += time.process_time() - start
        sums.append(zlib.crc32(x.transpose(2, 0, 1).tobytes()) & 0xFFFFFF)
    return {"seconds": seconds, "values": sums, "version": f"Pillow {PIL.__version__}"}


def serve(kind, threads, replies):
    encode = product = step = path = shape = version = None
    for line in sys.stdin:
        request = json.loads(line)
        reply = {}
        try:
            match request["cmd"]:
                case "load":
                    path = request["dir"]
                    reply["version"], encode = PEERS[kind](path, threads)
                case "encode":
                    x = inputs(path, request["batch"], request.get("tokens", 1))
                    times = []
                    for _ in range(request.get("calls", 1)):
                        start = time.perf_counter()
                        y = encode(x)
                        times.append(time.perf_counter() - start)
                    reply["seconds"] = float(np.median(times))
                    if request.get("blocks"):
                        y = y[-1, -1]
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
                case "rows":
                    rows = np.fromfile(request["dir"], np.float16).reshape(-1, request["size"])
                    queries = rows[-SEARCH_QUERIES:].astype(np.float32)
                    rows = rows[:-SEARCH_QUERIES]
                    reply["version"], find = numpy_index(rows) if kind == "numpy" else faiss_index(kind, rows, threads)
                    del rows
                case "find":
                    times = []
                    for _ in range(request.get("calls", 1)):
                        start = time.perf_counter()
                        hits = find(queries[: request["batch"]])
                        times.append(time.perf_counter() - start)
                    reply["seconds"], reply["hits"] = float(np.median(times)), hits.tolist()
                case "pictures":
                    reply = pictures(request["dir"], request["size"])
                case "prepare":
                    reply["version"], step = prepare(kind, request["dir"], request["lesson"], threads)
                case "step":
                    start = time.perf_counter()
                    reply["step"] = step()
                    reply["seconds"] = time.perf_counter() - start
                case cmd:
                    raise ValueError(f"request {cmd!r}, want load, encode, gemm, rows, find, pictures, prepare or step")
        except Exception as e:  # the driver says in its table what went wrong
            reply = {"error": f"{type(e).__name__}: {e}".splitlines()[0]}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    # Replies have standard output to themselves: libraries print.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if sys.argv[1] == "export":
        export(sys.argv[2])
    elif sys.argv[1] == "files":
        kind, threads, path, folder, out, batch, workers = sys.argv[2:]
        files(kind, int(threads), path, folder, out, int(batch), int(workers))
    else:
        serve(sys.argv[1], int(sys.argv[2]), replies)
