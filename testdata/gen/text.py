"""Tiny text towers and CLIP's tokenizer, by transformers and by OpenAI's code.

Writes tiny/text_quickgelu.npz, tiny/text_gelu.npz and, beside each, a .json with its configuration, whose fields are
those of cliptext.Config in JSON. In the .npz, computed by transformers in float64:

  words [B,N]                the texts, zeros after their end
  param/NAME                 the weights under the paths of package cliptext
  embed, block00 ... [B*N,C], final_norm, embedding [B,...]   final_norm is of the end of each text
  grad_embedding             [B,E]: the loss is sum(embedding * grad_embedding)
  grad/NAME                  its gradients

Writes tiny/bpe.json: "merges", a small vocabulary, and "texts" with what OpenAI's SimpleTokenizer makes of each: by the
small vocabulary ("small"), by CLIP's own ("clip"), and, if it is too long for a context of 77, what clip.tokenize cuts it to ("cut").
"""

import collections
import gzip
import json
import os
import tempfile

import clip
import numpy as np
import torch
from clip.model import CLIP
from clip.simple_tokenizer import SimpleTokenizer, basic_clean, bytes_to_unicode, whitespace_clean
from transformers import CLIPTextConfig, CLIPTextModelWithProjection
from transformers.models.clip import modeling_clip

import common
import stages
import towers

# N 70 is more than the rows of scores that a gradient takes at a time, and than a tile has columns.
TOWERS = {
    "quickgelu": dict(seed=31, activation="quick_gelu", B=3, V=37, N=11, W=20, H=4, LT=3, E=10),
    "gelu": dict(seed=32, activation="gelu", B=2, V=29, N=70, W=27, H=3, LT=2, E=14),
}


def causal(shape, dtype, device):
    """transformers' own mask has the least float64, which torch refuses to convert."""
    return torch.full((1, 1, shape[1], shape[1]), -torch.inf, dtype=dtype, device=device).triu(1)


modeling_clip._create_4d_causal_attention_mask = causal


def hf_text(weights, c, dtype):
    config = CLIPTextConfig(vocab_size=c["V"], hidden_size=c["W"], intermediate_size=4 * c["W"], projection_dim=c["E"], num_hidden_layers=c["LT"],
                            num_attention_heads=c["H"], max_position_embeddings=c["N"], hidden_act=c["activation"], layer_norm_eps=1e-5,
                            bos_token_id=c["V"] - 2, eos_token_id=c["V"] - 1, pad_token_id=0)
    config._attn_implementation = "sdpa"  # whose softmax is in float64, unlike eager's
    m = CLIPTextModelWithProjection(config)
    m.load_state_dict({k: v for k, v in towers.hf_names(weights).items() if k.startswith("text_")}, strict=True)
    return m.to(dtype).eval()


def ours(named):
    """Hugging Face's names -> the paths of package cliptext."""
    out = {}
    layers = {}
    n = lambda a: a.detach().numpy()
    for k, a in named.items():
        if k.startswith("text_model.encoder.layers."):
            layers["vision" + k[len("text"):]] = a
        else:
            out[{"text_model.embeddings.token_embedding.weight": "Token", "text_model.embeddings.position_embedding.weight": "Position",
                 "text_model.final_layer_norm.weight": "FinalNorm.W", "text_model.final_layer_norm.bias": "FinalNorm.B",
                 "text_projection.weight": "Proj"}[k]] = n(a) if a.ndim == 2 else n(a).reshape(-1, 1)
    out.update(stages.ours(layers))
    return out


def run(weights, c, words, dtype):
    m = hf_text(weights, c, dtype)
    seen = {}
    keep = lambda name: lambda _, __, y: seen.__setitem__(name, y[0] if isinstance(y, tuple) else y)
    hooks = [(m.text_model.embeddings, "embed"), (m.text_model.final_layer_norm, "final_norm"), (m.text_projection, "embedding")]
    hooks += [(layer, "block%02d" % i) for i, layer in enumerate(m.text_model.encoder.layers)]
    for module, name in hooks:
        module.register_forward_hook(keep(name))
    out = m(input_ids=torch.tensor(words))
    assert torch.equal(out.text_embeds, seen["embedding"])
    ends = torch.tensor(words).argmax(1)
    seen["final_norm"] = seen["final_norm"][torch.arange(len(words)), ends]
    return m, seen


def tower(name, c):
    rng = np.random.Generator(np.random.PCG64(c["seed"]))
    weights = common.text_weights(rng, c)
    words = rng.integers(1, c["V"] - 2, (c["B"], c["N"]))
    words[:, 0] = c["V"] - 2
    for row, end in zip(words, (5, c["N"] - 1, 1)):
        row[end:] = 0
        row[end] = c["V"] - 1
    m, seen = run(weights, c, words, torch.float64)
    single = run(weights, c, words, torch.float32)[1]
    if c["activation"] == "quick_gelu" and c["W"] % c["H"] == 0:  # OpenAI's code must agree
        o = CLIP(c["E"], 8, 1, 64, 4, c["N"], c["V"], c["W"], c["H"], c["LT"]).float().eval()
        o.load_state_dict({k: torch.tensor(a) for k, a in weights.items()}, strict=False)
        with torch.no_grad():
            e = o.encode_text(torch.tensor(words))
        assert (e - seen["embedding"]).abs().max() < 2e-6 * e.abs().max()
    g = rng.standard_normal((c["B"], c["E"]), dtype=np.float32)
    (seen["embedding"] * torch.tensor(g)).sum().backward()
    named = dict(m.named_parameters())
    out = {"param/" + k: a for k, a in ours(named).items()}
    out["param/LogitScale"] = np.float32(weights["logit_scale"]).reshape(1, 1)
    out.update({k: y.detach().numpy().reshape(-1, y.shape[-1]) for k, y in seen.items()})
    out["grad_embedding"] = g
    out.update({"grad/" + k: a for k, a in ours({k: p.grad for k, p in named.items()}).items()})
    out = {k: np.ascontiguousarray(a, dtype=np.float32) for k, a in out.items()}
    for k, a in out.items():
        assert np.isfinite(a).all() and np.abs(a).max() > 1e-3, k
    out["words"] = words.astype(np.int64)
    common.savez(os.path.join(common.TINY, "text_%s.npz" % name), out)
    error = {k: float("%.1e" % ((y.detach().double() - seen[k].detach()).abs().max() / seen[k].detach().abs().max())) for k, y in single.items()}
    config = dict(vocab=c["V"], context=c["N"], width=c["W"], heads=c["H"], layers=c["LT"], mlp_width=4 * c["W"], embed_dim=c["E"],
                  activation=c["activation"], norm_eps=1e-5, end=c["V"] - 1)
    with open(os.path.join(common.TINY, "text_%s.json" % name), "w") as f:
        json.dump({**config, "Batch": c["B"], "PyTorchFloat32Error": error}, f, indent=1)
        f.write("\n")


THINGS = """tabby cat|golden retriever|goldfish|great white shark|hammerhead|electric ray|bald eagle|fire salamander|axolotl|American bullfrog
wolf spider|black swan|koala|jellyfish|king crab|white stork|king penguin|grey whale|Chihuahua|Japanese Chin|Shih Tzu|Rhodesian Ridgeback|St. Bernard
Siberian husky|red panda|aircraft carrier|analog clock|apron|ATM|assault rifle|backpack|balance beam|Band-Aid|baseball|bassoon|beaker|bow tie|CD player
church|cliff dwelling|combination lock|desktop computer|digital watch|espresso machine|fire truck|four-poster bed|French horn|guacamole|hot dog|ice cream|jack-o'-lantern
jigsaw puzzle|laptop computer|Loafer|mashed potatoes|minivan|parking meter|pay phone|pirate ship|Polaroid camera|rocking chair|rugby ball|school bus|ski|soap dispenser
T-shirt|teddy bear|traffic light|trilobite|umbrella|vending machine|wall clock|wine bottle|yurt|zebra"""

TEMPLATES = ["a photo of a {}.", "a bad photo of the {}!", "itap of my {}", "a {} in a video game", "art of the {}, 8k, octane render", "DSC_0042 {} (1).JPG"]

PLAIN = ["", " ", "a", "A", "the the the", "Hello, world!", "hello   world\n\tagain", "don't can't we'll they've I'm you're he'd it's", "DON'T STOP", "'s 't 're 've 'm 'll 'd",
         "rock'n'roll o'clock 'quoted' ''double''", "x'S y'LL", "3.14159 2024 1,000,000 0x1F 10^9", "a1b2c3", "42nd 1st 2ND", "½ ⅓ ² ³ Ⅷ ① ٣ ४ 五", "C++ C# F# .NET node.js",
         "http://example.com/a?b=c&d=e#f", "user@example.com", "#hashtag @mention $100 €50 £3 ¥9 100%", "(a) [b] {c} <d>", "a--b---c – — … ...", "!!!???", "snake_case camelCase kebab-case",
         "<|startoftext|>", "<|endoftext|>", "a <|endoftext|> b", "<|ENDOFTEXT|>x", "<|startoftext|>a photo<|endoftext|>", "</w>", "a</w>b", "supercalifragilisticexpialidocious",
         "pneumonoultramicroscopicsilicovolcanoconiosis", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ab" * 40, "zzzzzzzz qqqq", "\\ / | ~ ` ^ _ = + * &", "tab\tnew\r\nline\rend\fform"]

HTML = ["AT&amp;T", "AT&amp;amp;T", "&lt;b&gt;bold&lt;/b&gt;", "&eacute;t&eacute;", "P&EACUTE;REZ", "&nbsp;x&nbsp;", "&#39;s &#x27;s &#65 &#x41;", "&notit; &not &amp", "a < b &amp; c", "<p>caf&eacute;</p>\nx &lt; y",
        "&#0; &#128; &#x80; &#150; &#1; &#31; &#xFFFF; &#1114112; &#55296;", "&copy; &COPY; &hearts; &rarr; &NotEqualTilde; &fjlig;", "&amp;#38;#38;lt;", "&semi;&#59;", "&unknown; &;& & &#; &#x;", "fish &amp chips", "&AMP;&LT;&szlig;&SZLIG;"]

UNICODE = ["café", "cafe\u0301", "naïve façade über Straße ẞ", "ÀÉÎÕÜ ñ Ñ", "İstanbul ISPARTA ılık", "ΟΔΥΣΣΕΥΣ ΣΑΣ Σ ΑΣ. ΑΣΑ", "Привет, мир! ЁЖИК", "日本語のテキスト", "中文 繁體 한국어 ㅋㅋ", "العربية عربي ١٢٣", "עברית שָׁלוֹם",
           "हिन्दी देवनागरी", "ไทย ภาษา", "tiếng Việt", "ქართული Ქ", "Ꭰꭰ Ꮳ", "ﬁ ﬂ ﬃ ﬆ Ĳssel ǆ ŉ", "ＦＵＬＬ　ｗｉｄｔｈ！ ｶﾀｶﾅ ﾊﾟ", "“curly” ‘quotes’ ‚low‛ „low‟ ʼ", "𝓯𝓪𝓷𝓬𝔂 𝟙𝟚𝟛", "ſ'ſ Kelvin K Å",
           "a\u00a0b\u2003c\u2009d\u202fe\u205ff\u3000g", "zero\u200bwidth\u200djoin\ufeff\u2060", "\u202aembed\u202c", "line\u2028sep\u2029para\u0085nel", "\x1b[31mred\x1b[0m", "nul\x00 bell\x07 del\x7f", "\u206a\ufff9x\ufffb\ufffc \ufffd",
           "😀", "👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷", "I ❤️ 🐱s", "a photo of a 🐕", "🦄🦄🦄 ✨", "☕︎ ☕️ ™ ® ©", "🏴󠁧󠁢󠁷󠁬󠁳󠁿", "e\u0301\u0302\u0327 a\u0328\u0301", "각 \u1100\u1161\u11a8", "\u0344 \u212b \u2126 \u1e9b\u0323", "Å ㎏ ﷺ", "x\u0338= y"]

LONG = [" ".join("a photo of a %s and" % t for t in ("cat", "dog", "bird", "fish")) + " more" * 80, "1234567890 " * 12, "the " * 75, "the " * 76, "日本" * 60]


def texts():
    rng = np.random.Generator(np.random.PCG64(33))
    things = [t for line in THINGS.split("\n") for t in line.split("|")]
    all = [TEMPLATES[i % len(TEMPLATES)].format(t) for i, t in enumerate(things)] + PLAIN + HTML + UNICODE + LONG
    ranges = [(0x20, 0x7f), (0xa0, 0x17f), (0x370, 0x3ff), (0x400, 0x4ff), (0x5d0, 0x5ea), (0x620, 0x669), (0x3040, 0x30ff), (0x4e00, 0x4eff), (0xac00, 0xacff),
              (0x1e00, 0x1fff), (0x2000, 0x206f), (0x2100, 0x21ff), (0x2600, 0x26ff), (0xff00, 0xffef), (0x1f300, 0x1f64f), (0x300, 0x36f)]
    for _ in range(120):
        picks = [ranges[i] for i in rng.integers(0, len(ranges), 3)] + [(0x20, 0x7f)]
        all.append("".join(chr(rng.integers(lo, hi)) for lo, hi in (picks[i] for i in rng.integers(0, len(picks), 18))))
    return all


def small_merges(pieces, n):
    """The merges of most frequent pairs, one after the other."""
    words = collections.Counter(tuple(p[:-1]) + (p[-1] + "</w>",) for p in pieces)
    merges = []
    while len(merges) < n:
        pairs = collections.Counter()
        for w, k in words.items():
            for pair in zip(w, w[1:]):
                pairs[pair] += k
        best = max(sorted(pairs), key=lambda p: pairs[p])
        merges.append(" ".join(best))
        merged = collections.Counter()
        for w, k in words.items():
            out = []
            for s in w:
                if out and (out[-1], s) == best:
                    out[-1] += s
                else:
                    out.append(s)
            merged[tuple(out)] += k
        words = merged
    return merges


def tokenizer():
    full = SimpleTokenizer()
    all = texts()
    letters = bytes_to_unicode()
    pieces = ["".join(letters[b] for b in p.encode()) for t in all[:120] for p in full.pat.findall(whitespace_clean(basic_clean(t)).lower())]
    merges = small_merges(pieces, 250)
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "bpe.txt.gz")
        with gzip.open(path, "wb") as f:
            f.write(("#version: 0.2\n" + "\n".join(merges)).encode())  # as many as there are: the list is sliced
        small = SimpleTokenizer(path)
    assert len(small.encoder) == 512 + len(merges) + 2
    rows = []
    for t in all:
        row = {"text": t, "small": small.encode(t), "clip": full.encode(t)}
        if len(row["clip"]) > 75:
            row["cut"] = clip.tokenize(t, truncate=True)[0].tolist()
        rows.append(row)
    with open(os.path.join(common.TINY, "bpe.json"), "w") as f:
        f.write('{"merges": %s,\n "texts": [\n' % json.dumps(merges))
        f.write(",\n".join(json.dumps(r, separators=(",", ":")) for r in rows))
        f.write("\n]}\n")


if __name__ == "__main__":
    for name, c in TOWERS.items():
        tower(name, c)
    tokenizer()
