"""What the generators share. It needs numpy only and runs on Python 3.8, for the old versions of torch."""

import os
import zipfile

import numpy as np

GEN = os.path.dirname(os.path.abspath(__file__))
TESTDATA = os.path.dirname(GEN)
TINY = os.path.join(TESTDATA, "tiny")


def savez(path, arrays):
    """Writes a dict of arrays as numpy.savez does, but the same bytes every time: numpy puts the clock in."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        for name, a in arrays.items():
            a = np.ascontiguousarray(a) if np.ndim(a) else np.asarray(a)
            with z.open(zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0)), "w") as f:
                np.lib.format.write_array(f, a, version=(1, 0), allow_pickle=False)


def patches(pixels, p):
    """[B,3,S,S] -> [B*G*G,3*P*P]: images, then patches row by row; columns by channel, row, column."""
    b, c, s, _ = pixels.shape
    g = s // p
    x = pixels.reshape(b, c, g, p, g, p).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(x.reshape(b * g * g, c * p * p))


def our_names(openai):
    """The vision tower of a state dict with OpenAI's names -> the paths and shapes of package clipvit."""
    v = {k[len("visual."):]: np.asarray(a) for k, a in openai.items() if k.startswith("visual.")}
    column = lambda a: a.reshape(-1, 1)  # spago's vectors are [n,1]
    out = {
        "Embed.Patch": v["conv1.weight"].reshape(v["conv1.weight"].shape[0], -1),
        "Embed.Class": v["class_embedding"].reshape(1, -1),
        "Embed.Position": v["positional_embedding"],
        "PreNorm.W": column(v["ln_pre.weight"]),
        "PreNorm.B": column(v["ln_pre.bias"]),
    }
    layers = sum(k.endswith("attn.in_proj_weight") for k in v)
    for i in range(layers):
        r, b = "transformer.resblocks.%d." % i, "Blocks.%d." % i
        for theirs, ours in (("ln_1", "Norm1"), ("attn.out_proj", "Attn.Out"), ("ln_2", "Norm2"),
                             ("mlp.c_fc", "MLP.Up"), ("mlp.c_proj", "MLP.Down")):
            w = v[r + theirs + ".weight"]
            out[b + ours + ".W"] = w if w.ndim == 2 else column(w)
            out[b + ours + ".B"] = column(v[r + theirs + ".bias"])
        out[b + "Attn.QKV.W"] = v[r + "attn.in_proj_weight"]
        out[b + "Attn.QKV.B"] = column(v[r + "attn.in_proj_bias"])
    out["PostNorm.W"] = column(v["ln_post.weight"])
    out["PostNorm.B"] = column(v["ln_post.bias"])
    if "proj" in v:
        out["Proj"] = v["proj"].T
    return out


def is_half(name):
    """Whether OpenAI's archives hold this tensor in half precision. Source: openai/CLIP, clip/model.py, convert_weights."""
    norm = ".ln_" in name or name.startswith("ln_")
    return not norm and (name.endswith(("_weight", "_bias", "proj.weight", "proj.bias", "c_fc.weight", "c_fc.bias",
                                        "conv1.weight", "text_projection", ".proj")))


def vision_weights(rng, c):
    """Random weights of a vision tower, OpenAI's names, float32. c has the letters of package clipvit as keys."""
    t, prefix = 1 + c["G"] ** 2, "visual."
    w = {
        prefix + "class_embedding": normal(rng, (c["C"],), 0.5),
        prefix + "positional_embedding": normal(rng, (t, c["C"]), 0.5),
        prefix + "proj": normal(rng, (c["C"], c["E"]), c["C"] ** -0.5),
        prefix + "conv1.weight": normal(rng, (c["C"], 3, c["P"], c["P"]), (3 * c["P"] ** 2) ** -0.5),
    }
    norm_weights(rng, w, prefix + "ln_pre", c["C"])
    blocks(rng, w, prefix + "transformer.resblocks", c["L"], c["C"], c["F"])
    norm_weights(rng, w, prefix + "ln_post", c["C"])
    return w


def text_weights(rng, c):
    """Random weights of a text tower: N context, V vocabulary, W width, LT layers, E."""
    w = {
        "positional_embedding": normal(rng, (c["N"], c["W"]), 0.1),
        "text_projection": normal(rng, (c["W"], c["E"]), c["W"] ** -0.5),
        "logit_scale": np.float32(np.log(1 / 0.07)),
    }
    blocks(rng, w, "transformer.resblocks", c["LT"], c["W"], 4 * c["W"])
    w["token_embedding.weight"] = normal(rng, (c["V"], c["W"]), 0.2)
    norm_weights(rng, w, "ln_final", c["W"])
    return w


def blocks(rng, w, prefix, layers, width, mlp):
    # OpenAI's initialisation (clip/model.py, CLIP.initialize_parameters), but with queries and keys twice as
    # big, so that attention is far from uniform, and with biases and norms that are not trivial, as if trained.
    proj = width ** -0.5 * (2 * layers) ** -0.5 * 1.5
    for i in range(layers):
        p = "%s.%d." % (prefix, i)
        qkv = normal(rng, (3 * width, width), width ** -0.5)
        qkv[: 2 * width] *= 2
        w[p + "attn.in_proj_weight"] = qkv
        w[p + "attn.in_proj_bias"] = normal(rng, (3 * width,), 0.2)
        w[p + "attn.out_proj.weight"] = normal(rng, (width, width), proj)
        w[p + "attn.out_proj.bias"] = normal(rng, (width,), 0.1)
        norm_weights(rng, w, p + "ln_1", width)
        w[p + "mlp.c_fc.weight"] = normal(rng, (mlp, width), 1.2 * width ** -0.5)
        w[p + "mlp.c_fc.bias"] = normal(rng, (mlp,), 0.3)
        w[p + "mlp.c_proj.weight"] = normal(rng, (width, mlp), proj)
        w[p + "mlp.c_proj.bias"] = normal(rng, (width,), 0.1)
        norm_weights(rng, w, p + "ln_2", width)


def norm_weights(rng, w, prefix, n):
    w[prefix + ".weight"] = np.exp(normal(rng, (n,), 0.3))
    w[prefix + ".bias"] = normal(rng, (n,), 0.1)


def normal(rng, shape, std):
    # one stream of float32 normals: numpy keeps it the same from 1.17 on
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(std)


def round_half(w):
    """The same weights, those that an archive holds in half precision rounded to it; all float32."""
    return {k: (a.astype(np.float16).astype(np.float32) if is_half(k) else a) for k, a in w.items()}
