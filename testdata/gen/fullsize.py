"""Full-size towers with random weights, and what PyTorch computes with them. Nothing of it is committed.

  fullsize.py archive OUT.pt                      under the torch of OpenAI's archives: .venv/torch-1.7.1/bin/python
  fullsize.py expect OUT.pt OUT.npz IMAGE...      under .venv/bin/python
  fullsize.py openclip NAME DIR IMAGE...          under .venv/torch-2.15.0/bin/python

archive writes the form of OpenAI's ViT-L-14-336px.pt: a TorchScript archive of both towers, traced, half and float
mixed, storages on cuda:0, 427,944,193 parameters. It takes 5 GB of memory and half a minute.

expect preprocesses the images with OpenAI's own transform (clip.clip._transform: torchvision and Pillow), and encodes
them in float32 with OpenAI's code (clip.model.build_model) and with transformers, which must agree. OUT.npz holds
  embedding/IMAGE [1,E] and embedding_transformers/IMAGE
  pixels/IMAGE [S,S,3] uint8, after resize, crop and RGB; patches/IMAGE [G*G,3*P*P]
  hidden_states/IMAGE [L+1,T,C] of the first --hidden images (2), those of transformers
  error/openai_transformers/IMAGE: how far the two embeddings are apart, relative to the largest element

openclip makes a model of open_clip's registry, such as ViT-H-14, writes it in half precision as open_clip does, and encodes the images and
some texts with it in float32. DIR gets open_clip_config.json, open_clip_model.safetensors and expected.npz, with
  embedding/IMAGE [1,E]; pixels/IMAGE [S,S,3] uint8 and patches/IMAGE [G*G,3*P*P] of open_clip's own transform
  hidden_states/IMAGE [L+1,T,C] of the first image, and of the text towers tokens [B,N] and text_embedding [B,E]
ViT-H-14 takes 8 GB of memory, 2 GB of disk, and a minute.
"""

import argparse
import os
import sys
import time

import numpy as np

import common

VITL14_336 = dict(P=14, G=24, C=1024, H=16, F=4096, L=24, E=768, N=77, V=49408, W=768, LT=12)
SEED = 336


def write_archive(out):
    import archive
    import torch

    def work():
        rng = np.random.Generator(np.random.PCG64(SEED))
        weights = common.vision_weights(rng, VITL14_336)
        weights.update(common.text_weights(rng, VITL14_336))
        print("%d parameters" % sum(a.size for a in weights.values()))
        m = archive.build(VITL14_336, weights)
        weights.clear()
        archive.halve(m)
        archive.save(m, out, cuda=True)
        print("%s: %d bytes by torch %s" % (out, os.path.getsize(out), torch.__version__))

    archive.run(work)


def expect(path, out, images, hidden):
    import torch
    from clip import clip
    from clip.model import build_model
    from PIL import Image

    import towers

    torch.set_grad_enabled(False)
    state = {k: v.clone() for k, v in torch.jit.load(path, map_location="cpu").state_dict().items()}
    openai = build_model(dict(state)).float().visual
    weights = {k: v.float().numpy() for k, v in state.items()}
    del state
    hf = towers.hf_vision(weights, VITL14_336)
    del weights
    transform = clip._transform(VITL14_336["G"] * VITL14_336["P"])
    result, seconds = {}, []
    for i, file in enumerate(images):
        name = os.path.basename(file)
        image = Image.open(file)
        x = transform(image)[None]
        pixels = np.asarray(clip._convert_image_to_rgb(transform.transforms[1](transform.transforms[0](Image.open(file)))))
        assert np.allclose(pixels.transpose(2, 0, 1) / 255, x[0] * np.reshape(transform.transforms[4].std, (3, 1, 1))
                           + np.reshape(transform.transforms[4].mean, (3, 1, 1)), atol=1e-6)
        start = time.time()
        a = openai(x)
        seconds.append(time.time() - start)
        b = hf(pixel_values=x, output_hidden_states=i < hidden)
        error = float((a - b.image_embeds).abs().max() / a.abs().max())
        assert error < 2e-5, (name, error)
        result["embedding/" + name] = a.numpy()
        result["embedding_transformers/" + name] = b.image_embeds.numpy()
        result["pixels/" + name] = pixels
        result["patches/" + name] = common.patches(x.numpy(), VITL14_336["P"])
        result["error/openai_transformers/" + name] = np.float64(error)
        if i < hidden:
            result["hidden_states/" + name] = np.concatenate([h.numpy() for h in b.hidden_states])
        print("%s %s: |embedding| %.3f, openai against transformers %.1e, PyTorch %.2f s with %d threads" % (
            name, image.mode, a.norm(), error, seconds[-1], torch.get_num_threads()), flush=True)
    e = np.concatenate([result["embedding/" + os.path.basename(f)] for f in images])
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    print("cosines\n%s" % np.round(e @ e.T, 3))
    common.savez(out, result)


def openclip(name, out, images):
    import json

    import open_clip
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    torch.set_grad_enabled(False)
    os.makedirs(out, exist_ok=True)
    config = open_clip.get_model_config(name)
    m = open_clip.model.CLIP(**config).half().eval()
    rng = np.random.Generator(np.random.PCG64(SEED))
    for k, p in m.named_parameters():
        tower = m.visual.transformer if k.startswith("visual.") else m.transformer
        if k == "logit_scale":
            continue
        if ".ln_" in k or k.startswith("ln_"):
            a = np.exp(common.normal(rng, tuple(p.shape), 0.3)) if k.endswith("weight") else common.normal(rng, tuple(p.shape), 0.1)
        elif p.ndim == 1 or "embedding" in k:
            a = common.normal(rng, tuple(p.shape), 0.2)
        elif k.endswith("proj"):
            a = common.normal(rng, tuple(p.shape), p.shape[0] ** -0.5)
        else:
            a = common.normal(rng, tuple(p.shape), p[0].numel() ** -0.5)
            if "in_proj" in k:
                a[: 2 * len(a) // 3] *= 2  # attention is far from uniform
            if "out_proj" in k or "c_proj" in k:
                a *= 1.5 * (2 * len(tower.resblocks)) ** -0.5
        p.data = torch.from_numpy(a).half()
    vision = sum(p.numel() for p in m.visual.parameters())
    print("%s: %d parameters, %d of the vision tower" % (name, sum(p.numel() for p in m.parameters()), vision), flush=True)
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD), "interpolation": "bicubic", "resize_mode": "shortest"}
    with open(os.path.join(out, "open_clip_config.json"), "w") as f:
        json.dump({"model_cfg": config, "preprocess_cfg": preprocess}, f, indent=1)
    save_file({k: v.contiguous() for k, v in m.state_dict().items()}, os.path.join(out, "open_clip_model.safetensors"), metadata={"format": "pt"})

    m = m.float()
    size = config["vision_cfg"]["image_size"]
    transform = open_clip.image_transform(size, is_train=False)
    result = {}
    tokens = open_clip.get_tokenizer("ViT-B-32")(["a photo of a cat.", "a diagram", "two dogs that play in the snow, seen from above"])
    result["tokens"], result["text_embedding"] = tokens.numpy(), m.encode_text(tokens).numpy()
    hidden = []
    for i, file in enumerate(images):
        name = os.path.basename(file)
        x = transform(Image.open(file))[None]
        hooks = [h.register_forward_hook(lambda _, __, y: hidden.append(y[0].numpy())) for h in [m.visual.ln_pre, *m.visual.transformer.resblocks]] if i == 0 else []
        start = time.time()
        result["embedding/" + name] = m.encode_image(x).numpy()
        seconds = time.time() - start
        for h in hooks:
            h.remove()
        if i == 0:
            result["hidden_states/" + name] = np.concatenate(hidden)
        pixels = transform.transforms[2](transform.transforms[1](transform.transforms[0](Image.open(file))))
        result["pixels/" + name] = np.asarray(pixels)
        result["patches/" + name] = common.patches(x.numpy(), config["vision_cfg"]["patch_size"])
        print("%s: |embedding| %.3f, PyTorch %.2f s with %d threads" % (name, np.linalg.norm(result["embedding/" + name]), seconds, torch.get_num_threads()), flush=True)
    common.savez(os.path.join(out, "expected.npz"), result)


def main():
    a = argparse.ArgumentParser()
    verbs = a.add_subparsers(dest="verb", required=True)
    v = verbs.add_parser("archive")
    v.add_argument("out")
    v = verbs.add_parser("expect")
    v.add_argument("--hidden", type=int, default=2)
    v.add_argument("archive")
    v.add_argument("out")
    v.add_argument("images", nargs="+")
    v = verbs.add_parser("openclip")
    v.add_argument("name")
    v.add_argument("dir")
    v.add_argument("images", nargs="+")
    a = a.parse_args()
    if a.verb == "openclip":
        return openclip(a.name, a.dir, a.images)
    if a.verb == "archive":
        write_archive(a.out)
    else:
        expect(a.archive, a.out, a.images, a.hidden)


if __name__ == "__main__":
    sys.exit(main())
