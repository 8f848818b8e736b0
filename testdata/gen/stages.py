"""Tiny vision towers: every intermediate and every gradient, computed by transformers in float64.

Writes tiny/stages_quickgelu.npz, tiny/stages_gelu.npz and, beside each, a .json with its configuration, whose
fields are those of clipvit.Config in JSON. In the .npz:

  pixels [B,3,S,S]        normalised images; patches [B*G*G,3*P*P] are the same values
  param/NAME              the weights under the paths of package clipvit
  embed, pre_norm, block00 ... [B*T,C], post_norm [B,C], embedding [B,E]
  hidden_states           [L+1,B*T,C], as transformers returns them
  grad_embedding          [B,E]: the loss is sum(embedding * grad_embedding)
  grad/NAME, grad/patches its gradients
  grad_features           [B*T,C]: another loss is sum(hidden_states[-2] * grad_features)
  features_grad/NAME      its gradients, for the parameters that it has
"""

import json
import os

import numpy as np
import torch

import common
import towers

# No size is a multiple of 8 where a kernel could hope for one: what does not fill a register is where mistakes are.
TOWERS = {
    "quickgelu": dict(seed=1, activation="quick_gelu", B=2, P=3, G=6, C=20, H=4, F=52, L=3, E=10),  # D 5, T 37, 3P² 27
    "gelu": dict(seed=2, activation="gelu", B=3, P=4, G=3, C=27, H=3, F=45, L=2, E=14),  # D 9, T 10, 3P² 48
}


def run(weights, c, pixels, dtype):
    """Every stage by name, with gradients attached, and the leaves: the parameters (OpenAI's names) and the pixels."""
    m = towers.hf_vision(weights, c, c["activation"], dtype)
    x = torch.tensor(pixels, dtype=dtype, requires_grad=True)
    stages = {}
    keep = lambda name: lambda _, __, y: stages.__setitem__(name, y[0] if isinstance(y, tuple) else y)
    v = m.vision_model
    hooks = [(v.embeddings, "embed"), (v.pre_layrnorm, "pre_norm")]
    hooks += [(layer, "block%02d" % i) for i, layer in enumerate(v.encoder.layers)]
    hooks += [(v.post_layernorm, "post_norm"), (m.visual_projection, "embedding")]
    for module, name in hooks:
        module.register_forward_hook(keep(name))
    out = m(pixel_values=x, output_hidden_states=True)
    assert torch.equal(out.image_embeds, stages["embedding"])
    for state, name in zip(out.hidden_states, ["pre_norm"] + ["block%02d" % i for i in range(c["L"])]):
        assert torch.equal(state, stages[name]), name
    return m, x, stages, out.hidden_states


def gradients(m, x, loss):
    """The gradients of loss under OpenAI's names, and that of the pixels; a parameter without one is left out."""
    m.zero_grad()
    x.grad = None
    loss.backward(retain_graph=True)
    g = {k: p.grad for k, p in m.named_parameters() if p.grad is not None}
    return g, x.grad.numpy()


def ours(params):
    """Hugging Face's names -> the paths of package clipvit."""
    back = {}
    col = lambda a: a.reshape(-1, 1)
    n = lambda a: a.detach().numpy()
    for name, a in params.items():
        a = n(a)
        if name.startswith("vision_model.encoder.layers."):
            i, rest = name[len("vision_model.encoder.layers."):].split(".", 1)
            module, kind = rest.rsplit(".", 1)
            kind = {"weight": "W", "bias": "B"}[kind]
            if module.endswith(("q_proj", "k_proj", "v_proj")):
                back.setdefault("Blocks.%s.Attn.QKV.%s" % (i, kind), {})[module[-6]] = a
                continue
            module = {"layer_norm1": "Norm1", "layer_norm2": "Norm2", "self_attn.out_proj": "Attn.Out", "mlp.fc1": "MLP.Up",
                      "mlp.fc2": "MLP.Down"}[module]
            back["Blocks.%s.%s.%s" % (i, module, kind)] = a if a.ndim == 2 else col(a)
        else:
            ours, shape = {
                "vision_model.embeddings.class_embedding": ("Embed.Class", (1, -1)),
                "vision_model.embeddings.patch_embedding.weight": ("Embed.Patch", (len(a), -1)),
                "vision_model.embeddings.position_embedding.weight": ("Embed.Position", a.shape),
                "vision_model.pre_layrnorm.weight": ("PreNorm.W", (-1, 1)),
                "vision_model.pre_layrnorm.bias": ("PreNorm.B", (-1, 1)),
                "vision_model.post_layernorm.weight": ("PostNorm.W", (-1, 1)),
                "vision_model.post_layernorm.bias": ("PostNorm.B", (-1, 1)),
                "visual_projection.weight": ("Proj", a.shape),
            }[name]
            back[ours] = a.reshape(shape)
    for name, a in back.items():
        if isinstance(a, dict):  # queries, keys and values, one below the other
            a = np.concatenate([a[k] for k in "qkv"])
            back[name] = a if a.ndim == 2 else col(a)
    return back


def make(name, c):
    rng = np.random.Generator(np.random.PCG64(c["seed"]))
    weights = common.vision_weights(rng, c)
    s, t = c["G"] * c["P"], 1 + c["G"] ** 2
    pixels = rng.uniform(-1.8, 2.1, (c["B"], 3, s, s)).astype(np.float32)  # the range of normalised pixels

    m, x, stages, hidden = run(weights, c, pixels, torch.float64)
    single = run(weights, c, pixels, torch.float32)[2]
    grad_embedding = rng.standard_normal((c["B"], c["E"]), dtype=np.float32)
    grad_features = rng.standard_normal((c["B"] * t, c["C"]), dtype=np.float32) / np.float32(np.sqrt(t))
    flat = lambda y: y.detach().numpy().reshape(-1, y.shape[-1])

    out = {"pixels": pixels, "patches": common.patches(pixels, c["P"])}
    params = ours(dict(m.named_parameters()))
    mine = common.our_names(weights)
    assert params.keys() == mine.keys()
    for k in mine:
        assert np.array_equal(params[k], mine[k]), k
        out["param/" + k] = mine[k]
    for k, y in stages.items():
        out[k] = flat(y)
    out["hidden_states"] = np.stack([flat(h) for h in hidden])
    out["grad_embedding"] = grad_embedding
    g, gx = gradients(m, x, (stages["embedding"] * torch.tensor(grad_embedding)).sum())
    g = ours(g)
    assert g.keys() == mine.keys()
    out.update({"grad/" + k: g[k] for k in mine})
    out["grad/patches"] = common.patches(gx, c["P"])
    out["grad_features"] = grad_features
    g, gx = gradients(m, x, (hidden[-2].reshape(-1, c["C"]) * torch.tensor(grad_features)).sum())
    g = ours(g)
    out.update({"features_grad/" + k: g[k] for k in mine if k in g})
    out["features_grad/patches"] = common.patches(gx, c["P"])

    out = {k: np.ascontiguousarray(a, dtype=np.float32) for k, a in out.items()}
    for k, a in out.items():
        assert np.isfinite(a).all() and np.abs(a).max() > 1e-3, k
    common.savez(os.path.join(common.TINY, "stages_%s.npz" % name), out)

    # What PyTorch itself loses in float32 is the measure for a tolerance.
    error = {k: float("%.1e" % ((y.detach().double() - stages[k].detach()).abs().max() / stages[k].detach().abs().max())) for k, y in single.items()}
    config = dict(image_size=s, patch_size=c["P"], width=c["C"], heads=c["H"], layers=c["L"], mlp_width=c["F"], embed_dim=c["E"],
                  activation=c["activation"], norm_eps=1e-5)
    with open(os.path.join(common.TINY, "stages_%s.json" % name), "w") as f:
        json.dump({**config, "Batch": c["B"], "PyTorchFloat32Error": error}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    for name, c in TOWERS.items():
        make(name, c)
