"""Asks a server by the clients for Python of OpenAI, Cohere, Voyage, infinity and clip-retrieval, and as immich's server does.

    clients.py ADDRESS VITAGO PICTURES

VITAGO is the program, whose encode says what the vectors are: those of the clients have the same bits. The server has the model
builtin:demo by the name demo and the alias ViT-B-32__openai. With INDEX=NAME there is a model of that name with an index of PICTURES.
clip-retrieval's client is loaded from its file, since its package imports torch.
"""

import base64
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import requests
from PIL import Image

base, vitago, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
red, blue = folder / "red-circle.png", folder / "blue-square.png"


def encode(*args):
    out = subprocess.run([vitago, "encode", "--model", "builtin:demo", *args], check=True, capture_output=True, text=True).stdout
    return [np.array(json.loads(line)["embedding"], np.float32) for line in out.splitlines()]


def same(what, got, want):
    got = np.array(got, np.float32)
    want = np.array(want, np.float32)
    assert got.shape == want.shape, f"{what}: the shape is {got.shape}, want {want.shape}"
    assert (got.view(np.int32) == want.view(np.int32)).all(), f"{what}: differs by {np.abs(got - want).max()}"
    print("  ", what)


def fails(what, kind, words, f):
    try:
        f()
    except kind as e:
        assert words in str(e), f"{what}: {e}"
        print("  ", what, "->", type(e).__name__)
        return e
    raise AssertionError(f"{what}: no error")


def uri(path):
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


images = encode("--normalize", str(red), str(blue))
texts = encode("--normalize", "--text", "a red circle", "a blue square")
raw = encode(str(red))[0]
long = "a red circle " * 40

print("openai", __import__("openai").__version__)
import openai

client = openai.OpenAI(base_url=base + "/v1", api_key="none")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[4] / "testdata" / "gen"))
import pages

(code,) = pages.python("docs/serving.md")
shown = pages.run("docs/serving.md", code.replace("http://localhost:8080", base), {"OpenAI": openai.OpenAI})
same("the block of docs/serving.md", [d.embedding for d in shown["vectors"].data], texts)
create = client.with_options(max_retries=2).embeddings.create
r = create(model="demo", input=["a red circle", "a blue square"])  # the client asks for base64
same("texts", [d.embedding for d in r.data], texts)
assert [d.index for d in r.data] == [0, 1] and r.usage.prompt_tokens == 10 and r.model == "demo", r
same("texts as float", [d.embedding for d in create(model="demo", input="a red circle", encoding_format="float").data], texts[:1])
same("data URIs", [d.embedding for d in create(model="demo", input=[uri(red), uri(blue)]).data], images)
same("modality", [d.embedding for d in create(model="demo", input=[uri(red)], extra_body={"modality": "image"}).data], images[:1])
same("objects", [d.embedding for d in create(model="demo", input=[{"image": uri(red)}, {"text": "a red circle"}]).data], [images[0], texts[0]])
r = create(model="demo", input="", extra_body={"input": [uri(red)], "features": "patches", "layer": -2, "normalized": False})
rows = np.array(r.data[0].embedding, np.float32).reshape(r.model_extra["shape"])
tmp = subprocess.run([vitago, "encode", "--model", "builtin:demo", "--features", "patches", "--layer", "-2", str(red)], check=True, capture_output=True, text=True).stdout
same("patches of a layer", rows, json.loads(tmp)["patches"])
with_header = client.embeddings.with_raw_response.create(model="demo", input="a red circle")
assert len(with_header.headers["vitago-fingerprint"]) == 64 == len(with_header.parse().model_extra["fingerprint"])
assert [m.id for m in client.models.list()][0] == "demo" and client.models.retrieve("ViT-B-32__openai").owned_by == "vitago"
fails("no model", openai.NotFoundError, "does not exist", lambda: create(model="other", input="a"))
fails("token ids", openai.BadRequestError, "token ids", lambda: create(model="demo", input=[[1, 2]]))
fails("dimensions", openai.BadRequestError, "does not cut", lambda: create(model="demo", input="a", dimensions=8))
fails("a long text", openai.UnprocessableEntityError, "", lambda: create(model="demo", input=long))
assert create(model="demo", input=long, extra_body={"truncate": True}).usage.prompt_tokens > 8
fails("no picture", openai.UnprocessableEntityError, "not an image", lambda: create(model="demo", input="data:image/png;base64,AAAA"))

print("cohere", __import__("cohere").__version__)
import cohere

co = cohere.ClientV2(api_key="none", base_url=base)
r = co.embed(model="demo", input_type="image", embedding_types=["float", "ubinary"], images=[uri(red)])
same("images", r.embeddings.float_, images[:1])
same("ubinary", r.embeddings.ubinary, [np.packbits(images[0] > 0)])
assert (r.images[0].width, r.images[0].height, r.images[0].format) == Image.open(red).size + ("png",), r.images
r = co.embed(model="demo", input_type="search_document", embedding_types=["float", "base64"], inputs=[{"content": [{"type": "image_url", "image_url": {"url": uri(blue)}}]}])
same("inputs", r.embeddings.float_, images[1:])
same("base64", [np.frombuffer(base64.b64decode(r.embeddings.base64[0]), "<f4")], images[1:])
r = co.embed(model="demo", input_type="search_query", embedding_types=["float"], texts=["a red circle", "a blue square"])
same("texts", r.embeddings.float_, texts)
assert r.meta.billed_units.input_tokens == 10, r.meta
co.embed(model="demo", input_type="search_query", embedding_types=["float"], texts=[long])  # cut by default
fails("a long text", cohere.UnprocessableEntityError, "", lambda: co.embed(model="demo", input_type="search_query", embedding_types=["float"], texts=[long], truncate="NONE"))
fails("int8", cohere.BadRequestError, "int8", lambda: co.embed(model="demo", input_type="image", embedding_types=["int8"], images=[uri(red)]))
fails("no model", cohere.NotFoundError, "does not exist", lambda: co.embed(model="other", input_type="search_query", embedding_types=["float"], texts=["a"]))
v1 = cohere.Client(api_key="none", base_url=base)
same("v1 texts", v1.embed(model="demo", texts=["a red circle", "a blue square"], input_type="search_query").embeddings, texts)
same("v1 images", v1.embed(model="demo", images=[uri(red)], input_type="image", embedding_types=["float"]).embeddings.float_, images[:1])

print("voyageai", __import__("voyageai").__version__)
import voyageai

vo = voyageai.Client(api_key="none", base_url=base + "/v1", max_retries=0)
r = vo.multimodal_embed(model="demo", inputs=[[Image.open(red)], [Image.open(blue)], ["a red circle"]])  # lossless WebP of RGB
same("pictures and a text", r.embeddings, images + texts[:1])
size = Image.open(red).size
assert r.text_tokens == 5 and r.image_pixels == 2 * size[0] * size[1] and r.video_pixels == 0, vars(r)
same("base64", vo.multimodal_embed(model="demo", inputs=[{"content": [{"type": "image_base64", "image_base64": uri(red)}]}]).embeddings, images[:1])
same("texts", vo.embed(["a red circle", "a blue square"], model="demo", input_type="document").embeddings, texts)
fails("a text with a picture", voyageai.error.InvalidRequestError, "several parts", lambda: vo.multimodal_embed(model="demo", inputs=[["a", Image.open(red)]]))

print("infinity_client", __import__("importlib.metadata", fromlist=["x"]).version("infinity-client"))
import infinity_client
from infinity_client.api.default import embeddings
from infinity_client.models import OpenAIEmbeddingInputImage, OpenAIEmbeddingInputText
from infinity_client.vision_client import InfinityVisionAPI

inf = infinity_client.Client(base_url=base)
r = embeddings.sync(client=inf, body=OpenAIEmbeddingInputImage(input_=[uri(red), uri(blue)]))  # without a model, with dimensions 0
same("images", [d.embedding for d in r.data], images)
r = embeddings.sync(client=inf, body=OpenAIEmbeddingInputText(input_="a red circle", model="demo"))
same("a text", [d.embedding for d in r.data], texts[:1])
import concurrent.futures
import threading

vision = InfinityVisionAPI.__new__(InfinityVisionAPI)  # __init__ asks for the text "test", which the small model has no word for
vision.url, vision.format, vision.hidden_dim, vision.session = base, "base64", 64, requests.Session()
vision.sem, vision.tp = threading.Semaphore(), concurrent.futures.ThreadPoolExecutor()
got, tokens = vision.image_embed(model="demo", images=[Image.open(red).convert("RGB")]).result()  # as JPEG
jpeg = io.BytesIO()
Image.open(red).convert("RGB").save(jpeg, "JPEG")
out = subprocess.run([vitago, "encode", "--model", "builtin:demo", "--normalize", "-"], input=jpeg.getvalue(), check=True, capture_output=True).stdout
same("the vision client", got[0], [json.loads(out)["embedding"]])

print("immich, as its server asks")
with open(red, "rb") as f:
    r = requests.post(base + "/predict", data={"entries": json.dumps({"clip": {"visual": {"modelName": "ViT-B-32__openai"}}})}, files={"image": f})
assert r.status_code == 200, r.text
same("visual", json.loads(r.json()["clip"]), encode("--normalize", "--preprocess", "immich", str(red))[0])
assert (r.json()["imageWidth"], r.json()["imageHeight"]) == size
r = requests.post(base + "/predict", files={"entries": (None, json.dumps({"clip": {"textual": {"modelName": "ViT-B-32__openai", "options": {"language": "en"}}}})), "text": (None, "a red circle")})
same("textual", json.loads(r.json()["clip"]), texts[0])
assert requests.get(base + "/ping").text == "pong" and requests.get(base + "/").json() == {"message": "Immich ML"}

if name := os.environ.get("INDEX"):
    print("clip-retrieval", __import__("importlib.metadata", fromlist=["x"]).version("clip-retrieval"))
    root = importlib.util.find_spec("clip_retrieval").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("clip_client", pathlib.Path(root) / "clip_client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert name in requests.get(base + "/indices-list").json()
    find = module.ClipClient(url=base + "/knn-service", indice_name=name, num_images=3)
    got = find.query(image=str(red))
    assert got[0]["image_path"].endswith("/red-circle.png") and got[0]["similarity"] > 0.999 and len(got) == 3, got
    assert find.query(text="a red circle")[0]["image_path"].endswith("red-circle.png")
    assert find.query(embedding_input=[float(x) for x in images[1]])[0]["image_path"].endswith("/blue-square.png")
    meta = requests.post(base + "/metadata", json={"ids": [got[0]["id"]], "indice_name": name}).json()
    assert meta[0]["metadata"]["image_path"] == got[0]["image_path"], meta
    print("   a picture, a text, a vector")
print("all the same")
