"""A small service of embeddings, as people write them: FastAPI on uvicorn, Pillow, and ONNX Runtime.

    serve.py DIR PORT THREADS

Posts to /v1/embeddings with a JPEG file as the body are answered as OpenAI's are. Pictures that come at the same time are decoded by threads
and go through the tower together. DIR is what bench's export made: model.onnx and config.json.
"""

import asyncio
import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from PIL import Image

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
BATCH = 16  # pictures that go through the tower together
WAIT = 0.005  # seconds that the first of them waits for others

folder, port, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
size = json.loads((folder / "config.json").read_text())["image_size"]


def prepare(file):
    """Pixels [3,S,S] of a file, as OpenAI's code makes them."""
    image = Image.open(io.BytesIO(file))
    w, h = image.size
    short = min(w, h)
    image = image.resize((int(size * w / short), int(size * h / short)), Image.BICUBIC)
    w, h = image.size
    left, top = round((w - size) / 2), round((h - size) / 2)
    image = image.crop((left, top, left + size, top + size)).convert("RGB")
    x = (np.asarray(image, np.float32) / 255 - MEAN) / STD
    return x.transpose(2, 0, 1)


class Batcher:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or decoding gets no processor
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name
        self.queue = asyncio.Queue()
        self.tower = ThreadPoolExecutor(1)
        self.decoders = ThreadPoolExecutor(threads)

    async def encode(self, file):
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        await self.queue.put((await loop.run_in_executor(self.decoders, prepare, file), done))
        return await done

    async def run(self):
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self.queue.get()]
            late = loop.time() + WAIT
            while len(batch) < BATCH:
                try:
                    batch.append(await asyncio.wait_for(self.queue.get(), max(late - loop.time(), 0)))
                except TimeoutError:
                    break
            x = np.stack([pixels for pixels, _ in batch])
            try:
                [y] = await loop.run_in_executor(self.tower, self.session.run, None, {self.name: x})
                for (_, done), row in zip(batch, y):
                    done.cancelled() or done.set_result(row)
            except Exception as e:
                for _, done in batch:
                    done.cancelled() or done.set_exception(e)


@asynccontextmanager
async def lifespan(app):
    app.state.batcher = Batcher()
    task = asyncio.create_task(app.state.batcher.run())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/v1/embeddings")
async def embeddings(request: Request):
    vector = await app.state.batcher.encode(await request.body())
    vector = vector / np.linalg.norm(vector)
    return JSONResponse({"object": "list", "model": folder.name, "data": [{"object": "embedding", "index": 0, "embedding": vector.tolist()}]})


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
