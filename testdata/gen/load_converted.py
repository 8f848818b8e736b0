"""Loads model directories that the converter wrote with transformers, and compares what they compute. Runs in .venv and in .venv/torch-2.15.0.

  load_converted.py DIR [--openai ARCHIVE.pt]

DIR must load without a missing, unexpected or misshapen tensor, in its own precision, as CLIPModel and as
CLIPVisionModelWithProjection; a tokenizer, if it is there, must give the words of OpenAI's. With --openai, the
embeddings of a fixed input in float32 must be those that OpenAI's code computes from the archive.
"""

import argparse
import json
import os

import numpy as np
import torch
from safetensors import safe_open
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer, CLIPTokenizerFast, CLIPVisionModel, CLIPVisionModelWithProjection

TEXTS = ["a photo of a cat", "Hello,   World! it's 123 €uro naïve 日本", "<|startoftext|> x", ""]


def embedding(y):
    """What get_image_features and get_text_features return: a tensor, and since transformers 5 an object that has it."""
    return y if torch.is_tensor(y) else y.pooler_output


def load(cls, folder, complete=True, **options):
    m, info = cls.from_pretrained(folder, output_loading_info=True, **options)
    if not complete:  # a vision model of a file that has both towers
        info["unexpected_keys"] = [k for k in info["unexpected_keys"] if not k.startswith(("text_", "logit_scale"))]
    assert not any(info.values()), info
    return m.eval()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("folder")
    a.add_argument("--openai")
    a = a.parse_args()
    with open(os.path.join(a.folder, "config.json")) as f:
        config = json.load(f)
    both = config["model_type"] == "clip"
    vision_config = config["vision_config"] if both else config

    with safe_open(os.path.join(a.folder, "model.safetensors"), "pt") as f:
        assert f.metadata()["format"] == "pt" and len(f.metadata()["source_sha256"]) == 64, f.metadata()
        raw = {k: f.get_tensor(k) for k in f.keys()}
    processor = CLIPImageProcessor.from_pretrained(a.folder)
    size = vision_config["image_size"]
    assert processor.crop_size == {"height": size, "width": size} and processor.size == {"shortest_edge": size}

    projected = "visual_projection.weight" in raw
    vision = load(CLIPVisionModelWithProjection if projected else CLIPVisionModel, a.folder, not both)
    models = [vision] + ([load(CLIPModel, a.folder)] if both else [])
    for m in models:
        state = m.state_dict()
        for k, t in state.items():
            assert torch.equal(t, raw[k].to(t.dtype)), k
    own = load(type(models[-1]), a.folder, dtype="auto")
    print("%s: %d tensors, %s; dtype auto gives %s" % (a.folder, len(raw), sorted({str(t.dtype) for t in raw.values()}), own.dtype))

    x = torch.from_numpy(np.random.Generator(np.random.PCG64(3)).uniform(-1.8, 2.1, (2, 3, size, size)).astype(np.float32))
    with torch.no_grad():
        image = vision(pixel_values=x).image_embeds if projected else vision(pixel_values=x).pooler_output
    if both:
        clip, tc = models[1], config["text_config"]
        with torch.no_grad():
            assert torch.equal(embedding(clip.get_image_features(pixel_values=x)), image)
        ids = torch.full((2, tc["max_position_embeddings"]), 0)
        for row, n in zip(ids, (3, 5)):
            row[: n + 1] = torch.tensor([tc["bos_token_id"], *range(7, 7 + n - 1), tc["eos_token_id"]])
        with torch.no_grad():
            text = embedding(clip.get_text_features(input_ids=ids))

    if a.openai:
        from clip.model import build_model

        state = torch.jit.load(a.openai, map_location="cpu").state_dict()
        m = build_model(state).float().eval()
        with torch.no_grad():
            pairs = [("image", m.encode_image(x), image)] + ([("text", m.encode_text(ids), text)] if both else [])
        for name, want, got in pairs:
            rel = ((got - want).abs().max() / want.abs().max()).item()
            cos = torch.nn.functional.cosine_similarity(got.double(), want.double()).min().item()
            print("%s embedding: largest difference %.2e of the largest value, cosine %.9f" % (name, rel, cos))
            assert rel < 2e-5 and cos > 0.999999
        if both:
            assert models[1].logit_scale.item() == m.logit_scale.item()

    if os.path.exists(os.path.join(a.folder, "vocab.json")):
        from clip.simple_tokenizer import SimpleTokenizer

        ours = SimpleTokenizer()
        for cls in (CLIPTokenizer, CLIPTokenizerFast):
            t = cls.from_pretrained(a.folder)
            assert (t.bos_token_id, t.eos_token_id, t.pad_token_id) == (49406, 49407, 49407)
            assert t.model_max_length == config["text_config"]["max_position_embeddings"]
            for text in TEXTS:
                want = [49406] + ours.encode(text) + [49407]
                assert list(t(text).input_ids) == want, (cls, text, t(text).input_ids, want)
        assert ours.encoder == t.get_vocab()
        print("tokenizer: %d words, as OpenAI's" % len(t.get_vocab()))
    print("ok")


if __name__ == "__main__":
    main()
