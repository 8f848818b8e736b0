"""Tiny checkpoints as the newest libraries save them, and what these compute with them. Runs in .venv/torch-2.15.0.

  families_new.py [NAME]...

Writes into families/, each with random weights of its own:

  hf5-clip/            transformers' CLIPModel and CLIPProcessor: processor_config.json and tokenizer.json, float32
  hf5-vision/          CLIPVisionModel built from a configuration: names without "vision_model."; gelu, bfloat16
  hf5-classifier/      CLIPForImageClassification of three classes, float32
  hf5-variant/         CLIPVisionModelWithProjection by save_pretrained(variant="fp16")
  hf5-variant-shards/  the same in shards with an index
  hf5-llava/           LlavaForConditionalGeneration built from a configuration, float16
  hf5-llava-next/      LlavaNextForConditionalGeneration, likewise, with image_newline
  openclip-pth/        a checkpoint of open_clip's training as torch.save writes it, a file of any name; quick_gelu
  timm/                timm's save_for_hf of a tower with the projection as its head; quick_gelu
  timm-classifier/     the same with three classes; gelu
  timm-dual/           timm's files beside OpenCLIP's of the same model, as repositories of both have them
  st-root/             sentence-transformers' CLIP as 6.2 saves it: all in the root
  st-folder/           the same as before 6: modules.json leads to 0_CLIPModel
  longclip-hf/         a CLIPModel of 24 positions of text, as transformers' LongCLIP has 248
  NAME.npz             for each: patches [B*G*G,3*P*P]; hidden_states [L+1,B*T,C]; embedding [B,E] where there is one, or
                       the post-norm of the class token; logits [B,K] of a classifier; projector_in, projected and
                       image_newline; tokens [B,N] and text_embedding [B,E] of a text tower

All computed in float64 with the weights as they are stored.
"""

import os
import shutil
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"  # tokenizer_config.json says whether it was

import numpy as np
import open_clip
import timm
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf, vision_transformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (CLIPConfig, CLIPForImageClassification, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer, CLIPVisionConfig,
                          CLIPVisionModel, CLIPVisionModelWithProjection, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration,
                          LlavaNextConfig, LlavaNextForConditionalGeneration)
from transformers.utils import logging

import common
from families import OUT, folder, rng_of, write_json

B = 2
SMALL = dict(P=4, G=3, C=16, H=2, F=24, L=3, E=10, N=9, W=16, LT=1)
WORDS = ["a", "b", "c", "t", "o", "f", "p", "h", "a</w>", "b</w>", "c</w>", "t</w>", "o</w>", "f</w>", "p</w>", "h</w>"]
MERGES = ["a t</w>", "c at</w>", "o f</w>", "p h", "o t", "ph ot", "phot o</w>"]


def fill(rng, m, dtype=torch.float32):
    """Random weights, far from those of an initialisation, rounded to dtype, in a model of dtype."""
    for name, p in m.named_parameters():
        norm = "norm" in name.lower() or ".ln_" in name or name.startswith("ln_") or "layrnorm" in name
        if name.endswith("logit_scale"):
            continue
        std = 1.2 * p[0].numel() ** -0.5 if p.ndim > 1 and "position" not in name and "token" not in name and "pos_embed" not in name else 0.3
        p.data = torch.from_numpy(common.normal(rng, tuple(p.shape), std)) + (1 if norm and name.endswith("weight") else 0)
    return m.to(dtype).eval()


def vision(c, act="quick_gelu"):
    return CLIPVisionConfig(hidden_size=c["C"], intermediate_size=c["F"], projection_dim=c["E"], num_hidden_layers=c["L"], num_attention_heads=c["H"],
                            image_size=c["G"] * c["P"], patch_size=c["P"], hidden_act=act)


def vocabulary():
    v = {w: i for i, w in enumerate(WORDS)}
    for m in MERGES:
        v.setdefault("".join(m.split()), len(v))
    for w in ("<|startoftext|>", "<|endoftext|>"):
        v[w] = len(v)
    return v


def clip_tokenizer(n):
    v = vocabulary()
    return CLIPTokenizer(vocab=v, merges=[tuple(m.split()) for m in MERGES], model_max_length=n)


def clip(c, act="quick_gelu"):
    v = vocabulary()
    text = dict(hidden_size=c["W"], intermediate_size=4 * c["W"], num_hidden_layers=c["LT"], num_attention_heads=2, projection_dim=c["E"], hidden_act=act,
                max_position_embeddings=c["N"], vocab_size=len(v), bos_token_id=len(v) - 2, eos_token_id=len(v) - 1, pad_token_id=len(v) - 1)
    return CLIPConfig(text_config=text, vision_config=vision(c, act).to_dict(), projection_dim=c["E"])


def pixels_of(rng, c):
    s = c["G"] * c["P"]
    return rng.uniform(-1.8, 2.1, (B, 3, s, s)).astype(np.float32)


def save_golden(name, c, pixels, out):
    arrays = {"patches": common.patches(pixels, c["P"])}
    for k, a in out.items():
        a = a.detach().double().numpy() if torch.is_tensor(a) else np.asarray(a)
        if k == "hidden_states":
            a = a.reshape(a.shape[0], -1, a.shape[-1])
        if k == "tokens":
            arrays[k] = a.astype(np.int64)
            continue
        arrays[k] = np.ascontiguousarray(a, dtype=np.float32)
        assert np.isfinite(arrays[k]).all() and np.abs(arrays[k]).max() > 1e-3, (name, k)
    common.savez(os.path.join(OUT, name + ".npz"), arrays)
    for d, _, names in os.walk(os.path.join(OUT, name)):
        for n in names:
            os.chmod(os.path.join(d, n), 0o644)


def tower_out(m, x):
    """hidden_states and the post-norm of a CLIPVisionModel, or the embedding of one with a projection."""
    y = m.double()(pixel_values=x, output_hidden_states=True)
    return {"hidden_states": torch.stack(y.hidden_states), "embedding": y.image_embeds if "image_embeds" in y else y.pooler_output}


def text_out(m, c):
    ids = vocabulary()
    end = len(ids) - 1
    rows = [[end - 1, ids["cat</w>"], ids["a</w>"], end], [end - 1, ids["photo</w>"], ids["of</w>"], ids["a</w>"], ids["b</w>"], end]]
    tokens = np.full((len(rows), c["N"]), end, np.int64)
    for i, r in enumerate(rows):
        tokens[i, : len(r)] = r
    return {"tokens": tokens, "text_embedding": m.get_text_features(input_ids=torch.from_numpy(tokens)).pooler_output}


def both_out(m, x, c):
    m = m.double()
    y = m.vision_model(pixel_values=x, output_hidden_states=True)
    return {"hidden_states": torch.stack(y.hidden_states), "embedding": m.get_image_features(pixel_values=x).pooler_output, **text_out(m, c)}


# transformers.

def hf5_clip(name="hf5-clip", c=SMALL):
    rng, path = rng_of(name), folder(name)
    m = fill(rng, CLIPModel(clip(c)))
    m.save_pretrained(path)
    size = c["G"] * c["P"]
    image = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    CLIPProcessor(image_processor=image, tokenizer=clip_tokenizer(c["N"])).save_pretrained(path)
    pixels = pixels_of(rng, c)
    save_golden(name, c, pixels, both_out(m, torch.from_numpy(pixels).double(), c))


def longclip_hf():
    hf5_clip("longclip-hf", {**SMALL, "N": 24})


def hf5_vision():
    name, c = "hf5-vision", SMALL
    rng, path = rng_of(name), folder(name)
    m = fill(rng, CLIPVisionModel(vision(c, "gelu")), torch.bfloat16)
    m.save_pretrained(path)
    pixels = pixels_of(rng, c)
    save_golden(name, c, pixels, tower_out(m, torch.from_numpy(pixels).double()))


def hf5_classifier():
    name, c = "hf5-classifier", SMALL
    rng, path = rng_of(name), folder(name)
    config = clip(c)
    config.num_labels = 3
    config.id2label, config.label2id = {0: "cat", 1: "dog", 2: "a, b"}, {"cat": 0, "dog": 1, "a, b": 2}
    m = fill(rng, CLIPForImageClassification(config))
    m.save_pretrained(path)
    pixels = pixels_of(rng, c)
    x = torch.from_numpy(pixels).double()
    save_golden(name, c, pixels, {**tower_out(m.vision_model, x), "logits": m.double()(pixel_values=x).logits})


def hf5_variant(name="hf5-variant", **save):
    c = SMALL
    rng, path = rng_of(name), folder(name)
    m = fill(rng, CLIPVisionModelWithProjection(vision(c)), torch.float16)
    m.save_pretrained(path, variant="fp16", **save)
    pixels = pixels_of(rng, c)
    save_golden(name, c, pixels, tower_out(m, torch.from_numpy(pixels).double()))


def hf5_variant_shards():
    hf5_variant("hf5-variant-shards", max_shard_size="12KB")


def llava(name, config_class, model_class, **extra):
    c = SMALL
    rng, path = rng_of(name), folder(name)
    text = LlamaConfig(hidden_size=12, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=50)
    m = fill(rng, model_class(config_class(vision_config=vision(c), text_config=text, image_token_index=49, **extra)), torch.float16)
    if hasattr(m.model, "image_newline"):
        m.model.image_newline.data = torch.from_numpy(common.normal(rng, (12,), 1)).half()
    m.save_pretrained(path)
    pixels = pixels_of(rng, c)
    m = m.double()
    out = tower_out(m.model.vision_tower, torch.from_numpy(pixels).double())
    x = out["hidden_states"][-2][:, 1:].reshape(-1, c["C"]).float()
    out["projector_in"], out["projected"] = x, m.model.multi_modal_projector(x.double())
    if hasattr(m.model, "image_newline"):
        out["image_newline"] = m.model.image_newline
    save_golden(name, c, pixels, out)


def hf5_llava():
    llava("hf5-llava", LlavaConfig, LlavaForConditionalGeneration, image_seq_length=9)


def hf5_llava_next():
    llava("hf5-llava-next", LlavaNextConfig, LlavaNextForConditionalGeneration, image_grid_pinpoints=[[12, 24], [24, 12], [24, 24]])


# open_clip and timm.

def openclip_model(rng, c, quick, dtype=torch.float32):
    """A model of open_clip, and what stands in its open_clip_config.json."""
    config = {"embed_dim": c["E"],
              "vision_cfg": {"image_size": c["G"] * c["P"], "layers": c["L"], "width": c["C"], "head_width": c["C"] // c["H"], "patch_size": c["P"],
                             "mlp_ratio": c["F"] / c["C"]},
              "text_cfg": {"context_length": c["N"], "vocab_size": len(vocabulary()), "width": c["W"], "heads": 2, "layers": c["LT"]}}
    if quick:
        config["quick_gelu"] = True
    m = fill(rng, open_clip.model.CLIP(**config), dtype)
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD), "interpolation": "bicubic", "resize_mode": "shortest"}
    return m, {"model_cfg": config, "preprocess_cfg": preprocess}


def openclip_out(m, x, c):
    m = m.double().eval()
    hidden = []
    hooks = [h.register_forward_hook(lambda _, __, y: hidden.append(y)) for h in [m.visual.ln_pre, *m.visual.transformer.resblocks]]
    e = m.encode_image(x)
    for h in hooks:
        h.remove()
    end = len(vocabulary()) - 1
    tokens = np.zeros((2, c["N"]), np.int64)
    tokens[0, :4], tokens[1, :6] = [end - 1, 3, 5, end], [end - 1, 1, 20, 7, 2, end]
    return {"hidden_states": torch.stack(hidden), "embedding": e, "tokens": tokens, "text_embedding": m.encode_text(torch.from_numpy(tokens))}


def openclip_pth():
    name, c = "openclip-pth", SMALL
    rng, path = rng_of(name), folder(name)
    m, config = openclip_model(rng, c, True)
    write_json(path, "open_clip_config.json", config)
    # Source: open_clip_train/main.py: checkpoint_dict.
    torch.save({"epoch": 3, "name": "a-run", "state_dict": {"module." + k: v.clone() for k, v in m.state_dict().items()}}, os.path.join(path, "epoch_3.pth"))
    pixels = pixels_of(rng, c)
    save_golden(name, c, pixels, openclip_out(m, torch.from_numpy(pixels).double(), c))


def timm_model(c, architecture, classes):
    s = c["G"] * c["P"]
    return timm.create_model(architecture, num_classes=classes, img_size=s, patch_size=c["P"], embed_dim=c["C"], depth=c["L"], num_heads=c["H"],
                             mlp_ratio=c["F"] / c["C"]).eval()


def timm_out(m, x):
    m = m.double()
    hidden = []
    hooks = [h.register_forward_hook(lambda _, __, y: hidden.append(y)) for h in [m.norm_pre, *m.blocks]]
    y = m(x)
    for h in hooks:
        h.remove()
    return torch.stack(hidden), y


def timm_tower(name="timm"):
    c = SMALL
    rng, path = rng_of(name), folder(name)
    o, config = openclip_model(rng, c, True)
    m = timm_model(c, "vit_large_patch14_clip_quickgelu_336", c["E"])
    m.load_state_dict(vision_transformer.checkpoint_filter_fn(o.state_dict(), m))
    save_for_hf(m, path, model_config=dict(num_classes=c["E"]), safe_serialization=True)
    pixels = pixels_of(rng, c)
    x = torch.from_numpy(pixels).double()
    hidden, y = timm_out(m, x)
    out = {"hidden_states": hidden, "embedding": y}
    theirs = openclip_out(o, x, c)
    torch.testing.assert_close(theirs["embedding"], y, rtol=0, atol=1e-9)
    if name == "timm-dual":
        save_file({k: v.float().contiguous() for k, v in o.state_dict().items()}, os.path.join(path, "open_clip_model.safetensors"), metadata={"format": "pt"})
        write_json(path, "open_clip_config.json", config)
        out = theirs
    save_golden(name, c, pixels, out)


def timm_dual():
    timm_tower("timm-dual")


def timm_classifier():
    name, c = "timm-classifier", SMALL
    rng, path = rng_of(name), folder(name)
    m = fill(rng, timm_model(c, "vit_base_patch16_clip_224.laion2b_ft_in12k_in1k".split(".")[0], 3))
    cfg = dict(m.pretrained_cfg)
    cfg.update(input_size=(3, 12, 12), crop_pct=1.0, tag="laion2b_ft_in1k", notes=None)
    m.pretrained_cfg = cfg
    save_for_hf(m, path, model_config=dict(num_classes=3, label_names=["cat", "dog", "bird"]), safe_serialization=True)
    pixels = pixels_of(rng, c)
    x = torch.from_numpy(pixels).double()
    hidden, y = timm_out(m, x)
    save_golden(name, c, pixels, {"hidden_states": hidden, "embedding": m.forward_head(m.norm(hidden[-1]), pre_logits=True), "logits": y})


# sentence-transformers.

def st_root(name="st-root"):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules.clip_model import CLIPModel as Module

    c = SMALL
    hf5_clip(name)
    path = os.path.join(OUT, name)
    saved = path + ".tmp"
    st = SentenceTransformer(modules=[Module(path)])
    shutil.rmtree(saved, ignore_errors=True)
    st.save(saved, create_model_card=False)
    shutil.rmtree(path)
    os.rename(saved, path)
    if name == "st-folder":
        # Source: clip-ViT-L-14 on the hub, whose modules.json and folders are those of sentence-transformers 0.4 to 5.
        inner = os.path.join(path, "0_CLIPModel")
        os.makedirs(inner)
        for n in os.listdir(path):
            if n not in ("0_CLIPModel", "modules.json", "config_sentence_transformers.json"):
                os.rename(os.path.join(path, n), os.path.join(inner, n))
        write_json(path, "modules.json", [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}])
        SentenceTransformer(path)  # it loads
    for d, _, names in os.walk(path):
        for n in names:
            os.chmod(os.path.join(d, n), 0o644)


def st_folder():
    st_root("st-folder")


ALL = [hf5_clip, hf5_vision, hf5_classifier, hf5_variant, hf5_variant_shards, hf5_llava, hf5_llava_next, openclip_pth, timm_tower, timm_classifier,
       timm_dual, st_root, st_folder, longclip_hf]


def main():
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_grad_enabled(False)
    for f in ALL:
        if not sys.argv[1:] or f.__name__ in sys.argv[1:]:
            print(f.__name__, flush=True)
            f()


if __name__ == "__main__":
    main()
