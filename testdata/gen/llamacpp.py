"""Gives llama.cpp's image encoder the mmproj files that vitago exports, and compares its tokens with ours.

  llamacpp.py build FOLDER      compiles that encoder: C++, cmake, 4 minutes, 300 MB
  llamacpp.py FOLDER VITAGO     compares; VITAGO is the built command

Runs in .venv. llama.cpp is that in the source package of
llama-cpp-python 0.3.36. Of its image encoders LLaVA's alone is compiled: the symbols of the others stay unresolved, and
none of them is called.

What llama.cpp is known to do differently is done to ours as well, one thing after the other, until both agree:

  order   the class token is put behind the patches, while positions and the choice of patches take it for the first
          (ggml-org/llama.cpp, issue 25814): patch i has the position of i-1, the class has the last one, and the
          tokens are those of patch 1, 2, ... and the class. Ours: a checkpoint whose positions are turned by one.
  gelu    the projector's GELU is the tanh approximation; LLaVA's is exact.
  half    ggml looks up GELU and QuickGELU in tables, both sides in half precision, and rounds pixels and the kernel
          of the patches to it. As this cannot be done to ours, transformers' tower stands in.
  layer   without the key feature_layer, the last of the blocks that are in the file is left out, and its own converter
          leaves one out already (issue 25817). Our files have the key; here it is taken out.
  resize  LLaVA-1.5 pads to a square and then resizes; llama.cpp resizes, rounding the shorter side up, and then pads.
"""

import copy
import glob
import os
import subprocess
import sys
import tarfile
import tempfile

PACKAGE = "llama-cpp-python==0.3.36"
HERE = os.path.dirname(os.path.abspath(__file__))


def build(folder):
    run = lambda *args: subprocess.run(args, check=True)
    os.makedirs(folder, exist_ok=True)
    if not glob.glob(os.path.join(folder, "llama_cpp_python-*.tar.gz")):
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder, PACKAGE)
    archive, = glob.glob(os.path.join(folder, "llama_cpp_python-*.tar.gz"))
    with tarfile.open(archive) as t:
        t.extractall(folder, filter="data")
    source, = glob.glob(os.path.join(folder, "llama_cpp_python-*", "vendor", "llama.cpp"))
    ggml = os.path.join(folder, "ggml")
    open(os.path.join(source, "ggml", "ggml.pc.in"), "a").close()  # the package lacks what only an installation needs
    run("cmake", "-S", os.path.join(source, "ggml"), "-B", ggml, "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF",
        "-DGGML_OPENMP=OFF", "-DGGML_BUILD_TESTS=OFF", "-DGGML_BUILD_EXAMPLES=OFF")
    run("cmake", "--build", ggml, "--parallel", "2", "--target", "ggml")
    mtmd = os.path.join(source, "tools", "mtmd")
    objects = []
    flags = ["-std=c++17", "-O1", "-w"]
    for d in (mtmd, os.path.join(mtmd, ".."), os.path.join(source, "ggml", "include"), os.path.join(source, "include"), os.path.join(source, "common"), os.path.join(source, "vendor")):
        flags += ["-I", d]
    for f in (os.path.join(HERE, "llamacpp.cpp"), os.path.join(mtmd, "clip.cpp"), os.path.join(mtmd, "mtmd-image.cpp"), os.path.join(mtmd, "models", "llava.cpp")):
        objects.append(os.path.join(folder, os.path.basename(f) + ".o"))
        run("c++", *flags, "-c", f, "-o", objects[-1])
    libs = [glob.glob(os.path.join(ggml, "**", "lib%s.a" % n), recursive=True)[0] for n in ("ggml", "ggml-cpu", "ggml-base")]
    run("c++", "-no-pie", "-Wl,--unresolved-symbols=ignore-all", *objects, "-Wl,--start-group", *libs, "-Wl,--end-group", "-lpthread", "-ldl", "-o", os.path.join(folder, "llamacpp"))


def main(folder, vitago):
    import numpy as np
    import torch
    import transformers
    from PIL import Image
    from safetensors.torch import load_file, save_file
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    size, width, layers, out = 112, 256, 6, 192
    tmp = tempfile.TemporaryDirectory()
    at = lambda *p: os.path.join(tmp.name, *p)
    run = lambda *args: subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    # A LLaVA with random weights.
    torch.manual_seed(21)
    vision = CLIPVisionConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=4, image_size=size, patch_size=14, projection_dim=32)
    text = LlamaConfig(hidden_size=out, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, vocab_size=64)
    m = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=63, image_seq_length=(size // 14) ** 2))
    for k, p in m.named_parameters():
        if "norm" not in k and ("vision_tower" in k or "projector" in k):
            torch.nn.init.normal_(p, std=p.shape[-1] ** -0.5 if p.ndim == 2 and "embedding" not in k else 0.1)
    m.eval().save_pretrained(at("llava"))
    # The same with positions for what llama.cpp does: the class, which is last there, is first here.
    os.mkdir(at("turned"))
    state = load_file(at("llava", "model.safetensors"))
    key, = (k for k in state if k.endswith("position_embedding.weight"))
    state[key] = torch.roll(state[key], 1, 0).contiguous()
    save_file(state, at("turned", "model.safetensors"), {"format": "pt"})
    with open(at("llava", "config.json")) as f, open(at("turned", "config.json"), "w") as g:
        g.write(f.read())

    def tower(model, picture, layer):
        """The states of a layer, [T,C], by our tower; the picture has its size already."""
        run(vitago, "encode", "--model", at(model), "--features", "all", "--layer", str(layer), "-o", at("x.npy"), picture)
        return torch.from_numpy(np.load(at("x.npy"))[0]).double()

    projector = m.model.multi_modal_projector.double()

    def project(x, gelu):
        with torch.no_grad():
            return projector.linear_2(torch.nn.functional.gelu(projector.linear_1(x), approximate=gelu))

    def ours(picture, order=False, gelu="none", layer=-2):
        if not order:
            return project(tower("llava", picture, layer)[1:], gelu)
        x = tower("turned", picture, layer)
        return project(torch.cat([x[2:], x[:1]]), gelu)

    half = lambda x: x.half().double()
    table = lambda f: lambda x: half(f(half(x)))

    def halved(picture):
        """Order, gelu and half, by transformers."""
        v = copy.deepcopy(m.model.vision_tower).double()
        v.config._attn_implementation = "sdpa"  # the eager one has its softmax in float32
        v.vision_model.embeddings.position_embedding.weight.data = torch.roll(v.vision_model.embeddings.position_embedding.weight.data, 1, 0)
        v.vision_model.embeddings.patch_embedding.weight.data = half(v.vision_model.embeddings.patch_embedding.weight.data)
        for block in v.vision_model.encoder.layers:
            block.mlp.activation_fn.forward = table(lambda x: x * torch.sigmoid(1.702 * x))
        pixels = (np.asarray(Image.open(picture)) / 255 - MEAN) / STD
        with torch.no_grad():
            x = v(half(torch.from_numpy(pixels).permute(2, 0, 1)[None]), output_hidden_states=True).hidden_states[-2][0]
            gelu = table(lambda x: torch.nn.functional.gelu(x, approximate="tanh"))
            return projector.linear_2(gelu(projector.linear_1(torch.cat([x[2:], x[:1]]))))

    def tokens(picture, *flags):
        run(vitago, "tokens", "--model", at("llava"), "-o", at("t.npy"), *flags, picture)
        return torch.from_numpy(np.load(at("t.npy"))).double()

    def llamacpp(mmproj, picture):
        img = Image.open(picture).convert("RGB")
        with open(at("rgb"), "wb") as f:
            f.write(img.tobytes())
        run(os.path.join(folder, "llamacpp"), mmproj, at("rgb"), str(img.width), str(img.height), at("tokens"), at("pixels"))
        pixels = np.fromfile(at("pixels"), np.float32).reshape(size, size, 3)
        return torch.from_numpy(np.fromfile(at("tokens"), np.float32)).reshape(-1, out).double(), np.rint((pixels * STD + MEAN) * 255).astype(np.uint8)

    rows = []

    def report(what, got, want, least=0.0):
        cos = torch.nn.functional.cosine_similarity(got, want, dim=1)
        error = ((got - want).abs().max() / want.abs().max()).item()
        rows.append("| %s | %.6f | %.6f | %.1e |" % (what, cos.mean(), cos.min(), error))
        print(rows[-1], flush=True)
        assert cos.min() >= least, rows[-1]

    # Smooth colours and some noise.
    rng = np.random.Generator(np.random.PCG64(5))

    def picture(name, w, h):
        base = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((w, h), Image.Resampling.BICUBIC)
        noisy = np.clip(np.asarray(base, np.int16) + rng.integers(-20, 21, (h, w, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(at(name))
        return at(name)

    square, wide = picture("square.png", size, size), picture("wide.png", 301, 200)
    print("| llama.cpp against | mean cosine of the tokens | least | max error |\n|---|---|---|---|")
    report("(ours, `vitago tokens` against tower and projector apart)", tokens(square), ours(square), 0.999999)
    report("(ours with its gelu against ours)", ours(square, gelu="tanh"), ours(square))
    for dtype, least in (("f32", 0.9999), ("f16", 0.9999)):
        run(vitago, "export", at("llava"), at(dtype + ".gguf"), "--to", "gguf", "--dtype", dtype)
        got, pixels = llamacpp(at(dtype + ".gguf"), square)
        assert np.array_equal(pixels, np.asarray(Image.open(square)))  # nothing to resize
        report(dtype + ": ours", got, tokens(square))
        report(dtype + ": ours with its gelu", got, ours(square, gelu="tanh"))
        report(dtype + ": ours with its order", got, ours(square, order=True))
        report(dtype + ": ours with its order and gelu", got, ours(square, order=True, gelu="tanh"), least)
        report(dtype + ": transformers' with its order, gelu and half", got, halved(square), least)

    # The key is taken out of the f32 file; with a block less the file is what llama.cpp's converter writes.
    with open(at("f32.gguf"), "rb") as f:
        data = f.read()
    assert data.count(b"clip.vision.feature_layer") == 1
    data = data.replace(b"clip.vision.feature_layer", b"clip.vision.featureXlayer")
    count = b"clip.vision.block_count\x04\x00\x00\x00"
    assert data.count(count + bytes([layers, 0, 0, 0])) == 1
    for name, blocks, layer in (("no feature_layer, all blocks", layers, -2), ("no feature_layer, a block less", layers - 1, -3)):
        with open(at("layer.gguf"), "wb") as f:
            f.write(data.replace(count + bytes([layers]), count + bytes([blocks])))
        got, _ = llamacpp(at("layer.gguf"), square)
        report("%s: ours with its order and gelu" % name, got, ours(square, order=True, gelu="tanh"))
        report("%s: the same of layer %d" % (name, layer), got, ours(square, order=True, gelu="tanh", layer=layer), 0.9999)

    # A picture that has to be resized: LLaVA's own arithmetic, which ours is compared with elsewhere, and theirs.
    got, pixels = llamacpp(at("f32.gguf"), wide)
    img = Image.open(wide)
    want = Image.new("RGB", (max(img.size),) * 2, (122, 116, 104))
    want.paste(img, (0, (img.width - img.height) // 2))
    want = np.asarray(want.resize((size, size), Image.Resampling.BICUBIC))
    differ = np.abs(pixels.astype(int) - want).max(2)
    at_rows = np.nonzero(differ)[0]
    print("| resized %d x %d: %d of %d pixels differ, in rows %d to %d, by up to %d levels | | | |" % (*img.size, (differ > 0).sum(), differ.size, at_rows.min(), at_rows.max(), differ.max()))
    Image.fromarray(want).save(at("ours.png"))
    Image.fromarray(pixels).save(at("theirs.png"))
    report("(ours, `vitago tokens` against LLaVA's pixels by Pillow)", tokens(wide), ours(at("ours.png")), 0.999999)
    report("resized: ours", got, tokens(wide))
    report("resized: ours of its pixels", got, ours(at("theirs.png")))
    report("resized: ours with its order and gelu", got, ours(at("ours.png"), order=True, gelu="tanh"))
    report("resized: ours of its pixels with its order and gelu", got, ours(at("theirs.png"), order=True, gelu="tanh"), 0.9999)
    report("(resized: ours, of its pixels, against ours)", ours(at("theirs.png")), ours(at("ours.png")))
    print("%s, torch %s, transformers %s" % (PACKAGE, torch.__version__, transformers.__version__))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "build":
        build(sys.argv[2])
    elif len(sys.argv) == 3:
        main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]))
    else:
        sys.exit(__doc__)
