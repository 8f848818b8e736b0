"""One tiny CLIP of two towers in every form of checkpoint. Runs in .venv, and calls the old versions of torch itself.

All files hold the same weights (those that convert_weights of openai/CLIP makes half precision are rounded to it), so
that all must convert to the same model. Writes into tiny/:

  openai_torch1.7.1.pt      TorchScript, as OpenAI's: half and float, classes __torch__.multimodal..., storages on cuda:0
  openai_torch1.13.1.pt     the same by a later torch, on cpu
  openai_torch2.9.1.pt      the same by today's
  shared_torch1.8.1.pt      TorchScript: tensors share storages at offsets, transposed views, tied weights
  float32_torch2.0.1.pt     TorchScript: everything float32
  thirdparty_torch2.9.1.pt  TorchScript of the clip package's class: __torch__.clip.model.CLIP, without the scalar buffers
  state_torch1.7.1.pt       torch.save of a state dict, zip form, by torch 1.7.1; half and float
  state_torch2.9.1.pt       the same by today's, but every value a torch.nn.Parameter
  state_legacy.pt           torch.save in the form before zip, views of one storage among the values
  openclip.pt               as OpenCLIP saves in training: {"epoch", "name", "state_dict", "optimizer"}, names with
                            "module." in front, bfloat16 (rounded from the weights)
  huggingface/              transformers' CLIPModel: config.json, model.safetensors, preprocessor_config.json; half and float
  huggingface-vision/       transformers' CLIPVisionModelWithProjection, float32
  huggingface-bin/          the same as pytorch_model.bin with the position_ids of old versions
  clip_expected.npz         state/NAME: the weights under OpenAI's names, float32, scalars int64;
                            pixels [B,3,S,S], patches [B*G*G,3*P*P], text [B,N] int64;
                            embedding_openai, embedding_transformers [B,E], text_embedding_openai, text_embedding_transformers
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import OrderedDict

import numpy as np
import torch
from clip.model import build_model
from transformers import CLIPImageProcessor

import common
import towers

C = dict(P=6, G=4, C=64, H=1, F=256, L=2, E=10, N=9, V=50, W=64, LT=1)
SIZES = OrderedDict(input_resolution=C["G"] * C["P"], context_length=C["N"], vocab_size=C["V"])
VENVS = os.environ.get("VITAGO_VENVS", os.path.join(common.GEN, ".venv"))

# Under the old torch: reads the weights, writes a state dict.
SAVE = """
import sys, collections, numpy, torch, common
w = numpy.load(sys.argv[1])
t = lambda k: torch.from_numpy(numpy.array(w[k]))
torch.save(collections.OrderedDict((k, t(k).half() if common.is_half(k) else t(k)) for k in w.files), sys.argv[2])
"""


def make_weights():
    rng = np.random.Generator(np.random.PCG64(7))
    w = common.vision_weights(rng, C)
    w.update(common.text_weights(rng, C))
    for k in ("weight", "bias"):  # for archive.share
        w["visual.transformer.resblocks.1.ln_1." + k] = w["visual.transformer.resblocks.0.ln_1." + k].copy()
    return common.round_half(w)


def expected(w):
    """Runs OpenAI's code and transformers on the same input: they must agree."""
    rng = np.random.Generator(np.random.PCG64(8))
    b, s = 3, C["G"] * C["P"]
    pixels = rng.uniform(-1.8, 2.1, (b, 3, s, s)).astype(np.float32)
    text = rng.integers(1, C["V"] - 2, (b, C["N"]))
    text[:, 0] = C["V"] - 2
    for row, end in zip(text, (3, 5, C["N"] - 1)):
        row[end:] = 0
        row[end] = C["V"] - 1  # the highest number ends a text
    state = {k: torch.from_numpy(np.array(a)) for k, a in w.items()}
    openai = build_model(dict(state))
    for k, p in openai.named_parameters():  # common.is_half is what convert_weights does
        assert (p.dtype == torch.half) == common.is_half(k), k
    openai = openai.float()
    hf = towers.hf_clip(state, C)
    x, t = torch.from_numpy(pixels), torch.from_numpy(text)
    with torch.no_grad():
        out = dict(embedding_openai=openai.encode_image(x), embedding_transformers=hf.get_image_features(x),
                   text_embedding_openai=openai.encode_text(t), text_embedding_transformers=hf.get_text_features(t))
    for k in ("embedding", "text_embedding"):
        a, b = out[k + "_openai"], out[k + "_transformers"]
        assert (a - b).abs().max() < 2e-6 * a.abs().max(), k
        assert torch.nn.functional.cosine_similarity(a[0], a[1], dim=0) < 0.99, "inputs must matter"
    arrays = {"state/" + k: a for k, a in w.items()}
    arrays.update({"state/" + k: np.int64(v) for k, v in SIZES.items()})
    arrays.update(pixels=pixels, patches=common.patches(pixels, C["P"]), text=text.astype(np.int64))
    arrays.update({k: a.numpy() for k, a in out.items()})
    common.savez(tiny("clip_expected.npz"), arrays)


def tiny(name):
    return os.path.join(common.TINY, name)


def torchscript(weights_file, torch_version, name, *flags):
    out = "%s_torch%s.pt" % (name, torch_version)
    call(torch_version, "archive.py", *flags, json.dumps(C), weights_file, tiny(out))


def call(torch_version, *args):
    python = sys.executable if torch.__version__.startswith(torch_version) else os.path.join(VENVS, "torch-" + torch_version, "bin", "python")
    # in the folder of the scripts, so that no other path is on the stack that TorchScript records
    subprocess.run([python, "-W", "ignore", *args], cwd=common.GEN, check=True)


def mixed(w):
    return OrderedDict((k, torch.from_numpy(np.array(a)).to(torch.half if common.is_half(k) else torch.float)) for k, a in w.items())


def state_dicts(w, weights_file):
    call("1.7.1", "-c", SAVE, weights_file, tiny("state_torch1.7.1.pt"))
    parameters = OrderedDict((k, torch.nn.Parameter(t)) for k, t in mixed(w).items())
    save(parameters, "state_torch2.9.1.pt")
    legacy = mixed(w)
    for k, v in SIZES.items():
        legacy[k] = torch.tensor(v)
    one = torch.cat([torch.zeros(5), legacy["visual.ln_pre.weight"], legacy["visual.ln_pre.bias"]])
    legacy["visual.ln_pre.weight"], legacy["visual.ln_pre.bias"] = one[5:69], one[69:]
    legacy["text_projection"] = legacy["text_projection"].t().contiguous().t()  # the same values, columns first
    save(legacy, "state_legacy.pt", _use_new_zipfile_serialization=False)
    bf16 = OrderedDict(("module." + k, t.bfloat16()) for k, t in mixed(w).items())
    optimizer = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)}}, "param_groups": [
        {"lr": 1e-5, "betas": (0.9, 0.98), "eps": 1e-6, "amsgrad": False, "foreach": None, "params": [0]}]}
    save({"epoch": 3, "name": "tiny", "state_dict": bf16, "optimizer": optimizer}, "openclip.pt")


def save(value, name, **options):
    torch.save(value, tiny(name), **options)
    back = torch.load(tiny(name), weights_only=True)
    assert back.keys() == value.keys()


def hugging_face(w):
    state = mixed(w)
    for name, m in (("huggingface", towers.hf_clip(state, C)), ("huggingface-vision", towers.hf_vision(w, C))):
        folder = tiny(name)
        shutil.rmtree(folder, ignore_errors=True)
        m.save_pretrained(folder)
        CLIPImageProcessor(size={"shortest_edge": C["G"] * C["P"]}, crop_size=C["G"] * C["P"]).save_pretrained(folder)
        os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
        back, info = type(m).from_pretrained(folder, output_loading_info=True)
        assert not any(info.values()), info
    folder = tiny("huggingface-bin")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tiny("huggingface-vision"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    bin = OrderedDict((k, v.clone()) for k, v in m.state_dict().items())
    bin["vision_model.embeddings.position_ids"] = torch.arange(1 + C["G"] ** 2)[None]
    save(bin, "huggingface-bin/pytorch_model.bin")


def main():
    w = make_weights()
    expected(w)
    with tempfile.TemporaryDirectory() as d:
        f = os.path.join(d, "weights.npz")
        common.savez(f, w)
        torchscript(f, "1.7.1", "openai", "--cuda")
        torchscript(f, "1.8.1", "shared", "--share")
        torchscript(f, "1.13.1", "openai")
        torchscript(f, "2.0.1", "float32", "--float32")
        torchscript(f, "2.9.1", "openai")
        torchscript(f, "2.9.1", "thirdparty", "--clip")
        state_dicts(w, f)
    hugging_face(w)


if __name__ == "__main__":
    main()
