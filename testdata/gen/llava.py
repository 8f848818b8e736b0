"""LLaVA's visual features, by transformers' own model and image processor, of pictures padded to a square.

Writes projector/llava.npz, with the pictures of xcomposer.py:

  param/NAME, projector/Layers.i.W   a tiny tower under the paths of package clipvit, and LLaVA's projector
  pad/I/crc                  of picture I: CRC-32 of the patches as uint8 [G*G,3*P*P], before they are normalised
  pad/I/patches              every 5th value of the patches [G*G,3*P*P]
  pad/I/default [G*G,O], pad/I/full [T,O]   get_image_features with each vision_feature_select_strategy
  pad/layer/LAYER            the same, default, of I=6 with another vision_feature_layer, counted from 0
  hidden_states [L+1,T,C]    of I=6
  clip/I/crc                 CRC-32 of the float32 patches that OpenAI's transform gives, little-endian
  clip-transformers/I/crc    as pad/I/crc, not padded

Sources: transformers, models/llava/modeling_llava.py (LlavaModel.get_image_features) and models/clip/image_processing_clip.py,
which are called; haotian-liu/LLaVA, llava/mm_utils.py (expand2square, process_images: image_aspect_ratio "pad");
openai/CLIP, clip/clip.py (_transform), which is called.
"""

import os

import numpy as np
import torch
from clip.clip import _transform
from PIL import Image
from transformers import CLIPImageProcessor, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.models.llava.image_processing_llava import LlavaImageProcessor

import common
import towers
import xcomposer

TOWER = dict(P=5, G=6, C=20, H=4, F=44, L=3, E=10)
O = 11
LAST = {"input_data_format": "channels_last"}  # of a dot it is not clear


def expand2square(img, colour):
    width, height = img.size
    side = max(width, height)
    square = Image.new(img.mode, (side, side), colour)
    square.paste(img, ((side - width) // 2 if width < height else 0, (side - height) // 2 if width > height else 0))
    return square


def main():
    c = TOWER
    size = c["G"] * c["P"]
    rng = np.random.Generator(np.random.PCG64(6))
    weights = common.vision_weights(rng, c)
    config = LlavaConfig(
        vision_config=towers.vision_config(c).to_dict(), image_token_index=49, image_seq_length=c["G"] ** 2,
        vision_feature_layer=-2, vision_feature_select_strategy="default",
        text_config=LlamaConfig(hidden_size=O, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, vocab_size=50).to_dict())
    config.vision_config._attn_implementation = "sdpa"  # the eager one has its softmax in float32
    m = LlavaForConditionalGeneration(config).double().eval()
    vision = {k: v.double() for k, v in towers.hf_names(weights).items() if k.startswith("vision_model.")}
    m.model.vision_tower.load_state_dict(vision, strict=True)
    p = m.model.multi_modal_projector
    for q in p.parameters():
        q.data = torch.from_numpy(common.normal(rng, tuple(q.shape), 1.2 * q.shape[-1] ** -0.5 if q.ndim > 1 else 0.2)).double()

    out = {"param/" + k: a for k, a in common.our_names(weights).items() if k != "Proj"}
    out.update(xcomposer.layers_of(torch.nn.Sequential(p.linear_1, torch.nn.GELU(), p.linear_2), "projector/"))
    sizes = dict(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    processor = CLIPImageProcessor(**sizes)
    raw = CLIPImageProcessor(**sizes, do_rescale=False, do_normalize=False)
    colour = tuple(int(x * 255) for x in processor.image_mean)
    assert colour == (122, 116, 104)
    torch.set_grad_enabled(False)
    for i, wh in enumerate(xcomposer.PICTURES):
        at, img = "pad/%d/" % i, expand2square(xcomposer.picture(*wh), colour)
        pixels = processor(img, return_tensors="pt", **LAST).pixel_values
        theirs = LlavaImageProcessor(do_pad=True, **sizes)(xcomposer.picture(*wh), return_tensors="pt", **LAST).pixel_values
        assert torch.equal(pixels, theirs)  # they pad as LLaVA does
        values = raw(img, return_tensors="np", **LAST).pixel_values
        assert values.dtype == np.uint8
        out[at + "crc"] = np.array(xcomposer.binascii.crc32(common.patches(values, c["P"]).tobytes()), np.int64)
        out[at + "patches"] = common.patches(pixels.numpy(), c["P"]).reshape(-1)[::5]
        for strategy in ("default", "full"):
            out[at + strategy] = m.get_image_features(pixels.double(), vision_feature_select_strategy=strategy)[0]
        if i == 6:
            out["hidden_states"] = torch.cat(m.model.vision_tower(pixels.double(), output_hidden_states=True).hidden_states)
            for layer in range(c["L"] + 1):
                out["pad/layer/%d" % layer] = m.get_image_features(pixels.double(), vision_feature_layer=layer)[0]

        # Without padding, where transformers may cut out a pixel further left than torchvision does if what is left over is odd.
        pixels = _transform(size)(xcomposer.picture(*wh))[None]
        out["clip/%d/crc" % i] = xcomposer.crc(common.patches(pixels.numpy(), c["P"]))
        values = raw(xcomposer.picture(*wh), return_tensors="np", **LAST).pixel_values
        out["clip-transformers/%d/crc" % i] = np.array(xcomposer.binascii.crc32(common.patches(values, c["P"]).tobytes()), np.int64)
    common.savez(os.path.join(xcomposer.OUT, "llava.npz"), xcomposer.as_arrays(out))


if __name__ == "__main__":
    main()
