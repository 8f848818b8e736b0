"""Where CLIP looks: relevance, rollout and similarity of tiny models, by a CLIP of a few lines in float64, and autograd.

Writes tiny/explain_quickgelu.npz, tiny/explain_gelu.npz and, beside each, a .json with the configurations of both towers, whose
fields are those of clipvit.Config and cliptext.Config in JSON. In the .npz:

  picture [S,S,3]                  levels of an image that has the tower's size
  words [N,N0]                     the ids of captions, zeros after their end
  vision/NAME, text/NAME           the weights under the paths of packages clipvit and cliptext
  cosine [N]                       of the picture and each caption
  relevance/START [N,G*G]          of the logit of each caption, by the blocks from START on
  tokens/BLOCKS [N,N0]             the share of each token between the first and the last, by the last BLOCKS blocks of the text tower
  rollout/START [G*G]
  similarity [N,G*G]
  direction/FEATURES [D], direction_relevance/FEATURES/START [G*G]   of a scalar product with features

The towers are written out here, after openai/CLIP, clip/model.py, so that they share no code with transformers. With the same
weights CLIPModel of transformers, eager and in float32, must give the same relevance to 1e-4: its attention probabilities come out
with output_attentions and have their gradients from autograd.
"""

import json
import os

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel

import common
import towers

# T 82 is more than a tile has columns. W is a multiple of no 8, where a kernel could hope for one.
MODELS = {
    "quickgelu": dict(seed=61, activation="quick_gelu", P=4, G=5, C=24, H=3, F=44, L=4, E=10, V=11, N=9, W=20, TH=4, LT=3),
    "gelu": dict(seed=62, activation="gelu", P=3, G=9, C=28, H=2, F=60, L=3, E=14, V=13, N=8, W=27, TH=3, LT=4),
}
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


class Tower:
    """Blocks whose attention probabilities [H,T,T] are kept as nodes of the graph."""

    def __init__(self, w, prefix, layers, heads, activation, mask=None):
        self.w = {k[len(prefix):]: torch.tensor(a, dtype=torch.float64) for k, a in w.items() if k.startswith(prefix) and np.ndim(a)}
        self.layers, self.heads, self.mask = layers, heads, mask
        self.act = {"quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "gelu": F.gelu}[activation]

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-5)

    def linear(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def forward(self, x):
        """x [T,C] -> all hidden states, and all probabilities."""
        states, seen = [x], []
        t, c = x.shape
        for i in range(self.layers):
            p = "transformer.resblocks.%d." % i
            y = F.linear(self.norm(x, p + "ln_1"), self.w[p + "attn.in_proj_weight"], self.w[p + "attn.in_proj_bias"])
            q, k, v = y.reshape(t, 3, self.heads, c // self.heads).permute(1, 2, 0, 3)
            score = q @ k.transpose(1, 2) * (c // self.heads) ** -0.5
            if self.mask is not None:
                score = score + self.mask
            prob = score.softmax(-1)
            if not prob.requires_grad:
                prob.requires_grad_()
            seen.append(prob)
            x = x + self.linear((prob @ v).permute(1, 0, 2).reshape(t, c), p + "attn.out_proj")
            x = x + self.linear(self.act(self.linear(self.norm(x, p + "ln_2"), p + "mlp.c_fc")), p + "mlp.c_proj")
            states.append(x)
        return states, seen


def relevance(score, seen, start):
    """R [T,T]: from the identity on, block by block."""
    grads = torch.autograd.grad(score, seen[start:], retain_graph=True)
    r = torch.eye(seen[0].shape[-1], dtype=seen[0].dtype)
    for p, g in zip(seen[start:], grads):
        cam = (p * g).clamp(min=0)
        r = r + cam.reshape(-1, *r.shape).mean(0) @ r  # transformers' has a batch in front
    return r.detach()


def rollout(seen, start):
    r = torch.eye(seen[0].shape[-1], dtype=seen[0].dtype)
    for p in seen[start:]:
        a = p.mean(0) + torch.eye(len(r), dtype=r.dtype)
        r = a / a.sum(-1, keepdim=True) @ r
    return r.detach()


def shares(row, end):
    """Chefer's show_heatmap_on_text: what lies between begin and end of a text, as a part of the whole."""
    out = torch.zeros_like(row)
    out[1:end] = row[1:end] / row[1:end].sum()
    return out


def text_names(weights):
    """The text tower of a state dict with OpenAI's names -> the paths and shapes of package cliptext."""
    column = lambda a: a.reshape(-1, 1)
    out = {
        "Token": weights["token_embedding.weight"], "Position": weights["positional_embedding"], "Proj": weights["text_projection"].T,
        "FinalNorm.W": column(weights["ln_final.weight"]), "FinalNorm.B": column(weights["ln_final.bias"]),
        "LogitScale": np.reshape(weights["logit_scale"], (1, 1)),
    }
    modules = {"ln_1.": "Norm1.", "ln_2.": "Norm2.", "attn.in_proj_": "Attn.QKV.", "attn.out_proj.": "Attn.Out.", "mlp.c_fc.": "MLP.Up.", "mlp.c_proj.": "MLP.Down."}
    for k, a in weights.items():
        if k.startswith("transformer."):
            block, rest = k[len("transformer.resblocks."):].split(".", 1)
            theirs = next(m for m in modules if rest.startswith(m))
            kind = {"weight": "W", "bias": "B"}[rest[len(theirs):]]
            out["Blocks.%s.%s%s" % (block, modules[theirs], kind)] = a if a.ndim == 2 else column(a)
    return out


def captions(c, rng):
    rows = []
    for length in (1, 3, c["N"] - 2):
        ids = [c["V"] - 2, *rng.integers(0, c["V"] - 2, length), c["V"] - 1]
        rows.append(ids + [0] * (c["N"] - len(ids)))
    return np.array(rows, dtype=np.int64)


def check(weights, c, pixels, words, want):
    """transformers, eager and in float32."""
    tower = dict(hidden_act=c["activation"], layer_norm_eps=1e-5, projection_dim=c["E"])
    config = CLIPConfig(
        vision_config=towers.vision_config(c, c["activation"]).to_dict(), projection_dim=c["E"],
        text_config=dict(tower, hidden_size=c["W"], intermediate_size=4 * c["W"], num_hidden_layers=c["LT"], num_attention_heads=c["TH"], max_position_embeddings=c["N"],
                         vocab_size=c["V"], bos_token_id=c["V"] - 2, eos_token_id=c["V"] - 1, pad_token_id=0))
    config._attn_implementation = "eager"
    m = CLIPModel(config)
    m.load_state_dict(towers.hf_names(weights), strict=True)
    m.eval()
    for i, ids in enumerate(words):
        y = m(input_ids=torch.tensor(ids[None]), pixel_values=torch.tensor(pixels[None], dtype=torch.float32), output_attentions=True)
        ends = int(np.argmax(ids == c["V"] - 1))
        for name, out, layers, pick in (("relevance", y.vision_model_output, c["L"], lambda r: r[0, 1:]),
                                        ("tokens", y.text_model_output, c["LT"], lambda r: shares(r[ends], ends))):
            for start in range(layers):
                got = pick(relevance(y.logits_per_image[0, 0], out.attentions, start)).numpy()
                key = "%s/%d" % (name, start if name == "relevance" else layers - start)
                error = np.abs(got - want[key][i]).max() / np.abs(want[key][i]).max()
                assert error < 1e-4, (key, i, error)


def make(name, c):
    rng = np.random.Generator(np.random.PCG64(c["seed"]))
    weights = {**common.vision_weights(rng, c), **common.text_weights(rng, c)}
    s = c["G"] * c["P"]
    picture = rng.integers(0, 256, (s, s, 3), dtype=np.uint8)
    words = captions(c, rng)
    pixels = ((picture / 255 - MEAN) / STD).transpose(2, 0, 1)

    vision = Tower(weights, "visual.", c["L"], c["H"], c["activation"])
    w = vision.w
    x = torch.tensor(common.patches(pixels[None], c["P"])) @ w["conv1.weight"].reshape(c["C"], -1).T
    x = torch.cat([w["class_embedding"][None], x]) + w["positional_embedding"]
    states, seen = vision.forward(vision.norm(x, "ln_pre"))
    post = vision.norm(states[-1], "ln_post")
    embedded = F.normalize(post @ w["proj"], dim=-1)  # of every token

    mask = torch.full((c["N"], c["N"]), -torch.inf, dtype=torch.float64).triu(1)
    reader = Tower(weights, "", c["LT"], c["TH"], c["activation"], mask)
    scale = np.exp(float(weights["logit_scale"]))
    out = {"picture": picture, "words": words}
    rows = {}
    add = lambda key, row: rows.setdefault(key, []).append(row.detach().numpy())
    for ids in words:
        end = int(np.argmax(ids == c["V"] - 1))
        y, read = reader.forward(reader.w["token_embedding.weight"][ids] + reader.w["positional_embedding"])
        e = F.normalize(reader.norm(y[-1][end], "ln_final") @ reader.w["text_projection"], dim=-1)
        cosine = embedded[0] @ e
        add("cosine", cosine)
        add("similarity", embedded[1:] @ e)
        for start in range(c["L"]):
            add("relevance/%d" % start, relevance(scale * cosine, seen, start)[0, 1:])
        for start in range(c["LT"]):
            add("tokens/%d" % (c["LT"] - start), shares(relevance(scale * cosine, read, start)[end], end))
    out.update({k: np.stack(v) for k, v in rows.items()})
    for start in range(c["L"]):
        out["rollout/%d" % start] = rollout(seen, start)[0, 1:].numpy()
    for features, x in (("embedding", (post @ w["proj"])[0]), ("post_norm", post[0]), ("cls of layer -2", states[-2][0])):
        direction = rng.standard_normal(len(x), dtype=np.float32)
        out["direction/" + features] = direction
        blocks = c["L"] - features.endswith("-2")
        for start in range(blocks):
            r = relevance(x @ torch.tensor(direction, dtype=torch.float64), seen[:blocks], start)
            out["direction_relevance/%s/%d" % (features, start)] = r[0, 1:].numpy()
    check(weights, c, pixels, words, out)

    out.update({"vision/" + k: a for k, a in common.our_names(weights).items()})
    out.update({"text/" + k: a for k, a in text_names(weights).items()})
    out = {k: np.ascontiguousarray(a, dtype=a.dtype if k in ("picture", "words") else np.float32) for k, a in out.items()}
    for k, a in out.items():
        assert np.isfinite(a).all() and np.abs(a.astype(float)).max() > 1e-4, k
    common.savez(os.path.join(common.TINY, "explain_%s.npz" % name), out)
    vision = dict(image_size=s, patch_size=c["P"], width=c["C"], heads=c["H"], layers=c["L"], mlp_width=c["F"], embed_dim=c["E"],
                  activation=c["activation"], norm_eps=1e-5)
    reader = dict(vocab=c["V"], context=c["N"], width=c["W"], heads=c["TH"], layers=c["LT"], mlp_width=4 * c["W"], embed_dim=c["E"],
                  activation=c["activation"], norm_eps=1e-5, end=c["V"] - 1)
    with open(os.path.join(common.TINY, "explain_%s.json" % name), "w") as f:
        json.dump({"vision": vision, "text": reader}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    for name, c in MODELS.items():
        make(name, c)
