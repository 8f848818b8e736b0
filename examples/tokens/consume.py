"""Gives tokens that vitago wrote to a language model in Python, and compares with what transformers does itself.

  consume.py VITAGO

VITAGO is the built command (go build ./cmd/vitago). requirements.txt says what else it takes. The model is a LLaVA that
this script makes, small and with random weights; with a real one the three lines in tokens_in_place are the same.

A tensor of the file takes the place of the embeddings of one image:

  LLaVA        The processor writes as many image tokens into the prompt as there are visual tokens. Their embeddings are
               overwritten, and the language model gets inputs_embeds in place of input_ids. See tokens_in_place.
  XComposer2   The model has no image token: embeddings of the text before, of the image and of the text after it are put
               side by side, and a mask says which are of the image, since those alone pass through the low-rank branch
               of every linear layer (PLoRA). See xcomposer2; then model.generate(inputs_embeds=x, im_mask=mask).
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from transformers import CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

IMAGE = 63  # the image token of the vocabulary


def read_tokens(path):
    """The tokens of each image, [N,O], by its name, and what is known of it."""
    with safe_open(path, "pt") as f:
        known = json.loads(f.metadata()["images"])
        return {image["name"]: f.get_tensor(image["name"]) for image in known}, known


def tokens_in_place(model, ids, images):
    """The embeddings of a prompt whose image tokens are replaced, in order, by those of the images."""
    embeddings = model.get_input_embeddings()(ids)
    places = (ids == model.config.image_token_index).unsqueeze(-1).expand_as(embeddings)
    return embeddings.masked_scatter(places, torch.cat(images).to(embeddings.dtype))


def xcomposer2(embed, parts, images):
    """InternLM-XComposer2's input: parts are ids [n] of text, one more than there are images, which stand between them.

    embed is model.model.tok_embeddings. Source: modeling_internlm_xcomposer2.py, interleav_wrap_chat.
    """
    embeddings, mask = [], []
    for i, ids in enumerate(parts):
        embeddings.append(embed(ids))
        mask.append(torch.zeros(len(ids), dtype=torch.bool))
        if i < len(images):
            embeddings.append(images[i].to(embeddings[0].dtype))
            mask.append(torch.ones(len(images[i]), dtype=torch.bool))
    return torch.cat(embeddings)[None], torch.cat(mask)[None]


def small_llava(folder):
    """A LLaVA with random weights, saved as transformers saves one. Returned with its image processor."""
    torch.manual_seed(1)
    size, patch = 56, 14
    vision = CLIPVisionConfig(hidden_size=64, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4, image_size=size, patch_size=patch, projection_dim=32)
    text = LlamaConfig(hidden_size=96, intermediate_size=192, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, vocab_size=64)
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE, image_seq_length=(size // patch) ** 2))
    for name, p in model.named_parameters():
        if p.ndim > 1:  # what random weights say of an image is little; this is more
            torch.nn.init.normal_(p, std=p[0].numel() ** -0.5)
    model.eval().save_pretrained(folder)
    return model, CLIPImageProcessor(size={"shortest_edge": size}, crop_size=size)


def main(vitago):
    with tempfile.TemporaryDirectory() as folder:
        model, processor = small_llava(folder)
        paths = []
        for i, size in enumerate([(90, 60), (61, 77)]):
            paths.append(os.path.join(folder, "%d.png" % i))
            noise = np.random.default_rng(i).integers(0, 256, (5, 5, 3), np.uint8)
            Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(paths[-1])
        out = os.path.join(folder, "tokens.safetensors")
        # LLaVA pads an image to a square; transformers' processor for it, as its checkpoints have it, crops.
        subprocess.run([vitago, "tokens", "--model", folder, "--layout", "clip-transformers", "-o", out, *paths], check=True)
        tokens, known = read_tokens(out)
        for image in known:
            print("%(tokens)d tokens of an image of %(width)d by %(height)d pixels" % image)
        images = [tokens[p] for p in paths]

        # A prompt about two images.
        n = [len(t) for t in images]
        ids = torch.tensor([[1, 5, 9] + [IMAGE] * n[0] + [17, 4] + [IMAGE] * n[1] + [30, 31, 32]])
        pixels = processor([Image.open(p) for p in paths], return_tensors="pt").pixel_values
        with torch.no_grad():
            theirs = model(input_ids=ids, pixel_values=pixels).logits
            ours = model(inputs_embeds=tokens_in_place(model, ids, images)).logits
            swapped = model(inputs_embeds=tokens_in_place(model, ids, images[::-1])).logits
            longer = model.generate(input_ids=ids, pixel_values=pixels, max_new_tokens=8, do_sample=False, pad_token_id=0)[:, ids.shape[1]:]
            longer_ours = model.generate(inputs_embeds=tokens_in_place(model, ids, images), max_new_tokens=8, do_sample=False, pad_token_id=0)
            want = model.get_image_features(pixels)
        scale = theirs.abs().max()
        error = lambda a, b: ((a - b).abs().max() / b.abs().max()).item()
        print("tokens against transformers' get_image_features: %.1e of the largest" % max(error(a, b) for a, b in zip(images, want)))
        print("logits: %.1e of the largest; with the images swapped %.1e" % (error(ours, theirs), error(swapped, theirs)))
        print("generated %s, and from our tokens %s" % (longer[0].tolist(), longer_ours[0].tolist()))
        assert scale > 0 and error(ours, theirs) < 1e-5 < 1e-2 < error(swapped, theirs)
        assert torch.equal(longer, longer_ours)

        x, mask = xcomposer2(model.get_input_embeddings(), [torch.tensor([1, 5, 9]), torch.tensor([17, 4]), torch.tensor([30, 31, 32])], images)
        assert torch.equal(x, tokens_in_place(model, ids, images)) and torch.equal(mask, ids == IMAGE)
        print("XComposer2's inputs_embeds %s, im_mask with %d of %d" % (list(x.shape), mask.sum(), mask.numel()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(os.path.abspath(sys.argv[1]))
