"""Encodes tars by clip-retrieval's inference, for "bench shards".

    shards.py export MODEL OUT             the weights of MODEL, a Hugging Face directory, as a file of OpenCLIP; its text tower is random
    shards.py sort FOLDER OUT              what encode wrote, by the names of pictures, as float32
    shards.py encode MODEL WEIGHTS TARS OUT BATCH WORKERS THREADS
"""

import glob
import json
import os
import shutil
import sys


def name_of(config):
    """OpenCLIP's name of a tower."""
    sizes = {(768, 32): "ViT-B-32", (768, 16): "ViT-B-16", (1024, 14): "ViT-L-14"}
    name = sizes[config["hidden_size"], config["patch_size"]]
    if config["image_size"] != 224:
        name += f"-{config['image_size']}"
    return name + ("-quickgelu" if config["hidden_act"] == "quick_gelu" else "")


def export(model, out):
    import open_clip
    import torch
    from safetensors.torch import load_file

    with open(os.path.join(model, "config.json")) as f:
        config = json.load(f)
    ours = {k.removeprefix("vision_model."): v.float() for k, v in load_file(os.path.join(model, "model.safetensors")).items()}
    clip = open_clip.create_model(name_of(config))
    state = clip.state_dict()
    names = {"embeddings.class_embedding": "class_embedding", "embeddings.position_embedding.weight": "positional_embedding", "embeddings.patch_embedding.weight": "conv1.weight",
             "pre_layrnorm.weight": "ln_pre.weight", "pre_layrnorm.bias": "ln_pre.bias", "post_layernorm.weight": "ln_post.weight", "post_layernorm.bias": "ln_post.bias"}
    new = {"proj": ours["visual_projection.weight"].T}
    new.update({to: ours[of] for of, to in names.items()})
    parts = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}
    for i in range(config["num_hidden_layers"]):
        layer, block = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for end in ["weight", "bias"]:
            new[block + "attn.in_proj_" + end] = torch.cat([ours[f"{layer}self_attn.{p}_proj.{end}"] for p in "qkv"])
            new.update({f"{block}{to}.{end}": ours[f"{layer}{of}.{end}"] for of, to in parts.items()})
    visual = {k for k in state if k.startswith("visual.")}
    assert visual == {"visual." + k for k in new}, visual ^ {"visual." + k for k in new}
    state.update({"visual." + k: v.reshape(state["visual." + k].shape) for k, v in new.items()})
    torch.save(state, out)


def encode(model, weights, tars, out, batch, workers, threads):
    import torch

    torch.set_num_threads(threads)
    from clip_retrieval.clip_inference import clip_inference

    with open(os.path.join(model, "config.json")) as f:
        name = name_of(json.load(f))
    shutil.rmtree(out, ignore_errors=True)
    files = sorted(glob.glob(os.path.join(tars, "*.tar")))
    clip_inference(
        input_dataset="{" + ",".join(files) + "}" if len(files) > 1 else files[0], output_folder=out, input_format="webdataset", batch_size=batch, num_prepro_workers=workers,
        enable_text=False, enable_image=True, enable_metadata=False, clip_model=f"open_clip:{name}/{weights}", output_partition_count=1, cache_path=None,
    )


def sort(folder, out):
    """The vectors by the keys of their pictures, in float32."""
    import numpy as np
    import pyarrow.parquet as pq

    rows = []
    for f in sorted(glob.glob(os.path.join(folder, "img_emb", "*.npy"))):
        names = pq.read_table(f.replace("img_emb", "metadata").replace(".npy", ".parquet"))["image_path"].to_pylist()
        rows += zip(names, np.load(f).astype(np.float32), strict=True)
    rows.sort(key=lambda r: r[0])
    np.save(out, np.stack([v for _, v in rows]))


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(*sys.argv[2:4])
    elif sys.argv[1] == "sort":
        sort(*sys.argv[2:4])
    else:
        model, weights, tars, out, batch, workers, threads = sys.argv[2:9]
        encode(model, weights, tars, out, int(batch), int(workers), int(threads))
