"""Gives tokens that vitago wrote to a language model in Python, which answers a prompt about the pictures.

  vitago tokens --model llava-hf/llava-1.5-7b-hf -o tokens.safetensors photo.jpg
  consume.py llava-hf/llava-1.5-7b-hf tokens.safetensors "USER: <image>\\nWhat is this? ASSISTANT:"

MODEL is a LLaVA of transformers (llava, llava_next): a directory or an id of the hub. TOKENS is the file. In PROMPT each
<image> stands for one picture of the file, in order; without any, all of them come before it. A prompt is taken as it is:
models want it in the form that they were trained with. The vision tower of MODEL is not used.

A tensor of the file takes the place of the embeddings of one image:

  LLaVA        Into the prompt go as many image tokens as there are visual tokens. Their embeddings are overwritten, and the
               language model gets inputs_embeds in place of input_ids. See tokens_in_place.
  XComposer2   The model has no image token: embeddings of the text before, of the image and of the text after it are put
               side by side, and a mask says which are of the image, since those alone pass through the low-rank branch
               of every linear layer (PLoRA). See xcomposer2; then model.generate(inputs_embeds=x, im_mask=mask).

  consume.py --self-test VITAGO

makes a small LLaVA of random weights, has the command VITAGO write its tokens, and compares what comes out with what
transformers does with the pictures themselves. requirements.txt says what all of this was run with.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile


class Wrong(Exception):
    """A mistake of the user's, in words."""


def read_tokens(path):
    """The tokens [N,O] of each image by its name, in the order of the file."""
    from safetensors import SafetensorError, safe_open

    if not os.path.exists(path):
        raise Wrong("%s: no such file" % path)
    try:
        with safe_open(path, "pt") as f:
            metadata = f.metadata() or {}
            names = list(f.keys())
            tensors = {name: f.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as e:
        raise Wrong("%s is no safetensors file: %s; vitago tokens writes one with -o FILE.safetensors" % (path, e))
    if "images" in metadata:  # the order in which they were given; the tensors are sorted
        names = [x["name"] if isinstance(x, dict) else x for x in json.loads(metadata["images"])]
    for name in json.loads(metadata.get("skipped", "[]")):
        print("%s: %s could not be read, and has no tokens" % (path, name if isinstance(name, str) else name.get("name")), file=sys.stderr)
    for name in names:
        if name not in tensors or tensors[name].ndim != 2:
            shape = "no tensor" if name not in tensors else "shape %s" % list(tensors[name].shape)
            raise Wrong("%s: %s has %s, want [tokens,width]: is it a file that vitago tokens wrote?" % (path, name, shape))
        if not tensors[name].isfinite().all():
            raise Wrong("%s: the tokens of %s are not all numbers" % (path, name))
    if not names:
        raise Wrong("%s has tokens of no image" % path)
    return {name: tensors[name] for name in names}


def image_token(config):
    """The id of the image token."""
    for name in ("image_token_id", "image_token_index"):  # transformers 5 and 4
        if getattr(config, name, None) is not None:
            return getattr(config, name)
    raise Wrong("the model, a %s, has no image token: want a LLaVA of transformers (llava, llava_next)" % config.model_type)


def expected(config):
    """How many tokens an image has, or None if that depends on the image."""
    if config.model_type != "llava" or not hasattr(config.vision_config, "patch_size"):
        return None
    patches = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    return patches + (getattr(config, "vision_feature_select_strategy", "default") == "full")


def check(images, config):
    """Raises Wrong unless the tokens are those of such a model."""
    width, want = config.get_text_config().hidden_size, expected(config)
    for name, x in images.items():
        if x.shape[1] != width:
            raise Wrong("the tokens of %s have width %d, the language model wants %d: they are of another model, or its projector is another" % (name, x.shape[1], width))
        if want is not None and len(x) != want:
            raise Wrong("%s has %d tokens, a picture of this model has %d: they are of another model, or another --layout" % (name, len(x), want))


def prompt_ids(tokenizer, config, prompt, images):
    """The ids [1,T] of a prompt with as many image tokens as there are visual tokens."""
    import torch

    number = image_token(config)
    token = tokenizer.convert_ids_to_tokens(number)
    if token is None:
        raise Wrong("the tokenizer has no token %d, which is the image token of the model" % number)
    prompt = prompt.replace("<image>", token)
    if token not in prompt:
        prompt = (token + "\n") * len(images) + prompt
    parts = prompt.split(token)
    if len(parts) - 1 != len(images):
        raise Wrong("the prompt has %d of %s, and the file tokens of %d images: %s" % (len(parts) - 1, token, len(images), ", ".join(images)))
    text = parts[0]
    for part, x in zip(parts[1:], images.values()):
        text += token * len(x) + part
    ids = torch.tensor([tokenizer(text).input_ids])
    got, want = int((ids == number).sum()), sum(len(x) for x in images.values())
    if got != want:
        raise Wrong("the tokenizer makes %d image tokens of %d: it does not know %s as one token" % (got, want, token))
    return ids


def tokens_in_place(model, ids, images):
    """The embeddings of a prompt whose image tokens are replaced, in order, by those of the images."""
    import torch

    embeddings = model.get_input_embeddings()(ids)
    places = (ids == image_token(model.config)).unsqueeze(-1).expand_as(embeddings)
    return embeddings.masked_scatter(places, torch.cat(images).to(embeddings.dtype))


def xcomposer2(embed, parts, images):
    """InternLM-XComposer2's input: parts are ids [n] of text, one more than there are images, which stand between them.

    embed is model.model.tok_embeddings. Source: modeling_internlm_xcomposer2.py, interleav_wrap_chat.
    """
    import torch

    embeddings, mask = [], []
    for i, ids in enumerate(parts):
        embeddings.append(embed(ids))
        mask.append(torch.zeros(len(ids), dtype=torch.bool))
        if i < len(images):
            embeddings.append(images[i].to(embeddings[0].dtype))
            mask.append(torch.ones(len(images[i]), dtype=torch.bool))
    return torch.cat(embeddings)[None], torch.cat(mask)[None]


def answer(path, tokens, prompt, length=64, dtype="auto"):
    """What the model says to a prompt about the images of a file of tokens, and the ids of that."""
    images = read_tokens(tokens)
    import torch
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as e:
        raise Wrong("%s is no model of transformers: %s" % (path, str(e).strip().splitlines()[0]))
    if hasattr(config, "mm_vision_tower"):
        raise Wrong("%s has the form of LLaVA's own code, want that of transformers, as llava-hf/llava-1.5-7b-hf has it" % path)
    image_token(config)
    check(images, config)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as e:
        raise Wrong("%s has no tokenizer: %s" % (path, str(e).strip().splitlines()[0]))
    ids = prompt_ids(tokenizer, config, prompt, images)
    model = transformers.AutoModelForImageTextToText.from_pretrained(path, dtype=dtype).eval()
    with torch.no_grad():
        x = tokens_in_place(model, ids, list(images.values()))
        end = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        out = model.generate(inputs_embeds=x, attention_mask=torch.ones_like(ids), max_new_tokens=length, do_sample=False, pad_token_id=end)
    return tokenizer.decode(out[0], skip_special_tokens=True), out


IMAGE = 63  # the image token of the small model


def small_llava(folder):
    """A LLaVA of random weights, saved as transformers saves one, with a tokenizer. Returned with its image processor."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast

    torch.manual_seed(1)
    size, patch = 56, 14
    vision = CLIPVisionConfig(hidden_size=64, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4, image_size=size, patch_size=patch, projection_dim=32)
    text = LlamaConfig(hidden_size=96, intermediate_size=192, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, vocab_size=64)
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE, image_seq_length=(size // patch) ** 2))
    for name, p in model.named_parameters():
        if p.ndim > 1:  # what random weights say of an image is little; this is more
            torch.nn.init.normal_(p, std=p[0].numel() ** -0.5)
    model.eval().save_pretrained(folder)
    words = {"w%d" % i: i for i in range(IMAGE)}
    words["<image>"] = IMAGE
    words_of = Tokenizer(models.WordLevel(words, unk_token="w0"))
    words_of.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words_of, unk_token="w0", pad_token="w0", additional_special_tokens=["<image>"]).save_pretrained(folder)
    processor = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)  # transformers 5 has two
    return model, processor(size={"shortest_edge": size}, crop_size=size)


def self_test(vitago):
    import numpy as np
    import torch
    import transformers
    from PIL import Image
    from safetensors.torch import save_file

    print("torch %s, transformers %s" % (torch.__version__, transformers.__version__))
    with tempfile.TemporaryDirectory() as folder:
        model, processor = small_llava(folder)
        paths = []
        for i, size in enumerate([(90, 60), (61, 77)]):
            paths.append(os.path.join(folder, "%d.png" % (9 - i)))  # their order is not that of their names
            noise = np.random.default_rng(i).integers(0, 256, (5, 5, 3), np.uint8)
            Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(paths[-1])
        out = os.path.join(folder, "tokens.safetensors")
        # LLaVA pads an image to a square; transformers' processor for it, as its checkpoints have it, crops.
        subprocess.run([vitago, "tokens", "--model", folder, "--layout", "clip-transformers", "-o", out, *paths], check=True)
        tokens = read_tokens(out)
        images = list(tokens.values())
        assert list(tokens) == paths and all(len(t) == 16 for t in images)

        # A prompt about two images.
        n = [len(t) for t in images]
        ids = torch.tensor([[1, 5, 9] + [IMAGE] * n[0] + [17, 4] + [IMAGE] * n[1] + [30, 31, 32]])
        pixels = processor([Image.open(p) for p in paths], return_tensors="pt").pixel_values
        with torch.no_grad():
            theirs = model(input_ids=ids, pixel_values=pixels).logits
            ours = model(inputs_embeds=tokens_in_place(model, ids, images)).logits
            swapped = model(inputs_embeds=tokens_in_place(model, ids, images[::-1])).logits
            longer = model.generate(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, pad_token_id=0)[:, ids.shape[1]:]
            want = model.get_image_features(pixels)
            want = getattr(want, "pooler_output", want)  # transformers 5
        scale = theirs.abs().max()
        error = lambda a, b: ((a - b).abs().max() / b.abs().max()).item()
        print("tokens against transformers' get_image_features: %.1e of the largest" % max(error(a, b) for a, b in zip(images, want)))
        print("logits: %.1e of the largest; with the images swapped %.1e" % (error(ours, theirs), error(swapped, theirs)))
        assert scale > 0 and error(ours, theirs) < 1e-5 < 1e-2 < error(swapped, theirs)

        # The same through the files, as a user does it.
        prompt = "w1 w5 w9 <image> w17 w4 <image> w30 w31 w32"
        text, got = answer(folder, out, prompt, length=8)
        print("generated %s, and from the file %s: %r" % (longer[0].tolist(), got[0].tolist(), text))
        assert torch.equal(longer, got) and text.split() == ["w%d" % i for i in longer[0].tolist() if i != IMAGE]
        _, got = answer(folder, out, "w30 w31", length=4)
        _, first = answer(folder, out, "<image>\n<image>\nw30 w31", length=4)
        assert torch.equal(got, first)

        def refused(words, tensors, prompt="<image> w1"):
            save_file(tensors, out)
            try:
                answer(folder, out, prompt)
            except Wrong as e:
                assert words in str(e), e
                print("refused: %s" % e)
            else:
                raise AssertionError("not refused: " + words)

        a, b = (x.clone() for x in images)
        refused("the prompt has 1 of <image>, and the file tokens of 2 images", {"a": a, "b": b})
        refused("have width 95, the language model wants 96", {"a": a[:, 1:].contiguous()})
        refused("has 15 tokens, a picture of this model has 16", {"a": a[1:].contiguous()})
        refused("has shape [16], want [tokens,width]", {"a": a[:, 0].contiguous()})
        refused("not all numbers", {"a": a / 0})
        refused("tokens of no image", {})

        x, mask = xcomposer2(model.get_input_embeddings(), [torch.tensor([1, 5, 9]), torch.tensor([17, 4]), torch.tensor([30, 31, 32])], images)
        assert torch.equal(x, tokens_in_place(model, ids, images)) and torch.equal(mask, ids == IMAGE)
        print("XComposer2's inputs_embeds %s, im_mask with %d of %d" % (list(x.shape), mask.sum(), mask.numel()))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", nargs="?", metavar="MODEL", help="directory or hub id of a LLaVA of transformers")
    p.add_argument("tokens", nargs="?", metavar="TOKENS", help="safetensors file that vitago tokens wrote")
    p.add_argument("prompt", nargs="?", metavar="PROMPT", help="text with <image> for each picture")
    p.add_argument("--max-new-tokens", type=int, default=64, metavar="N", help="how long the answer may be (default: 64)")
    p.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"], help="of the language model (default: as its files say)")
    p.add_argument("--self-test", metavar="VITAGO", help="the built command (go build ./cmd/vitago)")
    a = p.parse_args()
    given = [x is not None for x in (a.model, a.tokens, a.prompt)]
    if a.self_test is not None:
        if any(given):
            p.error("--self-test goes without MODEL, TOKENS and PROMPT")
        return self_test(os.path.abspath(a.self_test))
    if not all(given):
        p.error("want MODEL TOKENS PROMPT")
    if a.max_new_tokens < 1:
        p.error("--max-new-tokens is %d, want 1 or more" % a.max_new_tokens)
    try:
        print(answer(a.model, a.tokens, a.prompt, a.max_new_tokens, a.dtype)[0])
    except Wrong as e:
        sys.exit("consume.py: %s" % e)
    except ImportError as e:
        sys.exit("consume.py: %s; see requirements.txt beside it" % e)


if __name__ == "__main__":
    main()
