"""Odd texts, and the words that OpenAI's, OpenCLIP's and transformers' tokenizers make of them; directories with odd tokenizers.

Writes cliptext/testdata/texts.json.gz: "texts", "openai", "open_clip", "transformers": the numbers for each, without those that begin and
end a text; null where they are those of "openai". "directories": the files of each but for CLIP's vocabulary, the numbers
that begin and end a text, and what it makes of the texts in "of".

    python texts.py openai         in .venv (openai-clip 1.0.1, ftfy 6.3.1, regex 2026.11.19): the texts, and OpenAI's numbers
    python texts.py others         with the newest libraries: open_clip_torch 3.3.0, transformers 5.24.0, tokenizers 0.23.3
    python texts.py check          with any transformers: how many texts have other numbers there (4.57.3: none)
"""

import gzip
import json
import os
import random
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "..", "cliptext", "testdata", "texts.json.gz")
LIST = os.path.join(HERE, "..", "..", "cliptext", "bpe_simple_vocab_16e6.txt.gz")

WORDS = "a photo of the cat dog children's toy café naïve Straße Übergröße façade 日本語 中文 한국어 русский ελληνικά עברית العربية हिन्दी ไทย ქართული".split()
ODD = [
    # contractions, quotes, apostrophes
    "don't", "DON'T", "Don’t", "children’s toy", "rock'n'roll", "’s", "'S 'T 'RE 'VE 'M 'LL 'D", "it'ſ", "x'ſ y'ſt", "“quoted”", "‘single’", "„low“", "«guillemets»", "'''", "''s", "'s's", "o'clock", "'sa", "''ll",
    # entities
    "AT&amp;T", "AT&amp;amp;T", "AT&T", "&lt;b&gt;", "&eacute;t&eacute;", "&EACUTE;", "P&EACUTE;REZ", "&nbsp;", "x&nbsp;y", "&#39;", "&#x27;", "&#65", "&#0;", "&#128;", "&#150;", "&#xFFFF;", "&#1114112;", "&#55296;", "&#xD800;", "&copy", "&copy;", "&COPY;",
    "&hearts;", "&rarr;", "&NotEqualTilde;", "&nGt;", "&fjlig;", "&unknown;", "&;", "&", "&#;", "&#x;", "fish &amp chips", "&notit;", "&szlig;", "&SZLIG;", "a &lt; b", "<b>&amp;</b>", "<&amp;", "&#28;", "&Tab;", "&NewLine;", "&zwj;", "&shy;",
    # controls and spaces
    "tab\tx", "cr\rx", "crlf\r\nx", "vt\x0bx", "ff\x0cx", "fs\x1cx", "us\x1fx", "nul\x00x", "bel\x07", "del\x7f", "c1\x80\x85\x9f", "nel\u0085x", "nbsp\u00a0x", "ogham\u1680x", "en\u2002x", "zwsp\u200bx", "zwnj\u200cx", "zwj\u200dx", "lrm\u200ex", "rlm\u200fx", "ls\u2028x", "ps\u2029x",
    "nnbsp\u202fx", "mmsp\u205fx", "wj\u2060x", "ideo\u3000x", "bom\ufeffx", "\ufeffstart", "soft\u00adhyphen", "mvs\u180ex", "\u202aembed\u202c", "\u2066iso\u2069", "\x1b[31mred\x1b[0m", "  many   spaces  ", "\n\n", " ", "", "\u3164filler", "\u115f\u1160",
    # mojibake
    "cafÃ©", "â€œquotedâ€\x9d", "donâ€™t", "Ã¼ber", "schÃ¶n", "â‚¬100", "naÃ¯ve", "Â£5", "Ã\xa0 la carte", "ÐŸÑ€Ð¸Ð²ÐµÑ‚", "æ—¥æœ¬èªž", "ðŸ˜€", "Ã¢â‚¬â„¢", "l’humanitÃ©", "voilÃ le travail", "Ã‰TÃ‰", "\x93smart\x94", "ÃƒÂ©", "âœ” No problems",
    # forms
    "ｆｕｌｌｗｉｄｔｈ", "ＦＵＬＬ　ＷＩＤＴＨ", "ｶﾀｶﾅ", "ﾊﾟﾋﾟ", "ﬁne ﬂow ﬀ ﬃ ﬅ ﬆ", "Ĳssel ĳs", "Ǆ ǅ ǆ Ǳ ǲ", "ŉ", "ﷺ", "㎏", "①②③", "½ ¼ ¾", "x² y³", "Ⅷ ⅷ", "𝓯𝓪𝓷𝓬𝔂", "𝟙𝟚𝟛", "🅰🅱", "ⒶⒷ ⓐⓑ", "Å Ω K", "ª º", "™ ® ©", "№ ℃",
    # combining
    "cafe\u0301", "e\u0301\u0302\u0327", "a\u0328\u0301", "\u0344", "α\u0345", "\u0345", "ᾳ", "ΑΙ ᾼ", "Z\u0351\u036b\u0343\u034a\u0321a\u0316l\u033bg\u0345o", "e" + "\u0301" * 40, "a" + "\u0327\u0301" * 20, "각", "\u1100\u1161\u11a8", "\u1100\u1161", "क्षि", "ক্ষ", "ம்", "กำ", "น้ำ", "한\u302e", "x\u0338= y",
    "\u0041\u030a", "\u212b", "\u1e9b\u0323", "q\u0307\u0323", "\u0d4a", "\u0d46\u0d3e",
    # case
    "İstanbul", "ISPARTA ılık", "ΟΔΥΣΣΕΥΣ", "ΣΑΣ Σ ΑΣ. ΑΣΑ", "ΑΣ'", "ΑΣ\u0301", "ſ", "ẞ ß", "ǅ", "ᲀ Ა ა", "Ꭰ ꭰ Ᏸ ᏸ", "ᏴᏵ", "Ω ω", "K k", "Å å", "Ⴀ ⴀ", "𐐀 𐐨", "Ⅿ", "Ϗ ϴ", "ŸŻ", "ÀÉÎÕÜ",
    # emoji
    "😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "I ❤️ 🐱s", "☕︎ ☕️", "🏴󠁧󠁢󠁷󠁬󠁳󠁿", "1️⃣ #️⃣", "🦄🦄🦄", "🫠🪿🫨", "\U0001fae9", "😀a", "a😀", "🤦🏼‍♂️",
    # look-alikes of the ends of a text
    "<|startoftext|>", "<|endoftext|>", "a <|endoftext|> b", "<|ENDOFTEXT|>", "<|EndOfText|>x", "<|startoftext|>a photo<|endoftext|>", "<start_of_text>", "<end_of_text>", "a <end_of_text> b", "<END_OF_TEXT>", "<|ſtartoftext|>", "<ſtart_of_text>", "<|endoftext|", "|endoftext|>", "<|endoftext|>!", "!<|endoftext|>",
    "<|startoftext|>!", "!<|ENDOFTEXT|>!", "<|end\u00adoftext|>", "</w>", "a</w>b", "&lt;|endoftext|&gt;", "< |endoftext| >", "<|endoftext|><|endoftext|>", "x<|endoftext|>'s",
    # numbers, signs, code
    "3.14159", "1,000,000", "10^9", "0x1F", "a1b2c3", "42nd", "٣٤٥", "४५", "五", "৳১০", "𞤀𞤢", "१२३", "!!!???", "...", "…", "—–-", "a--b", "snake_case", "C++ C#", "http://example.com/a?b=c&d=e#f", "user@example.com", "#hashtag @me", "$100 €50 £3 ¥9", "(a) [b] {c} <d>", "\\ / | ~ ` ^ _ = + * &", "100%", "_", "__init__", "\u203f\u2040",
    # scripts, right to left, new letters
    "שָׁלוֹם עולם", "مرحبا بالعالم", "العَرَبِيَّة", "ไทยภาษาไทย", "ภาษา ไทย", "tiếng Việt", "Việt Nam", "ភាសាខ្មែរ", "မြန်မာ", "ትግርኛ", "ગુજરાતી", "தமிழ்", "తెలుగు", "ಕನ್ನಡ", "සිංහල", "བོད་སྐད", "ᠮᠣᠩᠭᠣᠯ", "ⵜⴰⵎⴰⵣⵉⵖⵜ", "Ꮳ", "𐎀𐎁", "𒀀𒀁", "𓀀𓀁", "𠀀𠀁𠀂", "\U0002ebf0", "\U000323b0", "\ua7cb \ua7cc \ua7da", "\u1c89\u1c8a",
    "\U00010d50\U00010d70", "\U000105c0", "\U00016100", "\U00013460", "\U0001ccf0", "\U00011bc0", "\U00010d40", "\u0897", "\u0378", "\uffff", "\ue000", "\U000f0000", "\U0010ffff", "\ufffd", "\u0e01\u0e33", "ⷠ",
]
RANGES = [(0x20, 0x7e), (0x20, 0x7e), (0xa0, 0x17f), (0x80, 0x9f), (0x180, 0x24f), (0x250, 0x2ff), (0x300, 0x36f), (0x370, 0x3ff), (0x400, 0x52f), (0x531, 0x58f), (0x5b0, 0x5f4), (0x600, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f), (0x10a0, 0x10ff), (0x1100, 0x11ff),
          (0x13a0, 0x13fd), (0x1c80, 0x1cbf), (0x1e00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x209f), (0x20a0, 0x20cf), (0x2100, 0x218f), (0x2460, 0x24ff), (0x2600, 0x27bf), (0x2c00, 0x2dff), (0x3000, 0x30ff), (0x3130, 0x318f), (0x4e00, 0x4eff), (0xa640, 0xa69f), (0xa720, 0xa7ff),
          (0xab30, 0xabff), (0xac00, 0xacff), (0xfb00, 0xfb4f), (0xfe00, 0xfe0f), (0xff00, 0xffef), (0x10400, 0x1044f), (0x1d400, 0x1d7ff), (0x1f300, 0x1f64f), (0x1f1e6, 0x1f1ff), (0x10d40, 0x10d8f)]

# What a directory may say of its tokenizer, and texts that tell.
TOKEN = lambda text, **with_: {"content": text, "lstrip": False, "rstrip": False, "normalized": True, "single_word": False, "special": False, **with_}
TYPED = lambda text, **with_: {"__type": "AddedToken", **{k: v for k, v in TOKEN(text, **with_).items() if k != "special"}}
ENDS = lambda normalized: [{"id": 49406, **TOKEN("<|startoftext|>", special=True, normalized=normalized)}, {"id": 49407, **TOKEN("<|endoftext|>", special=True, normalized=normalized)}]
CUT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
SET = lambda added, cut, **level: {  # a tokenizer.json but for words and merges
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, {"type": "Lowercase"}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": cut}, "behavior": "Removed", "invert": True}, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, **level}]},
    "post_processor": {"type": "RobertaProcessing", "sep": ["<|endoftext|>", 49407], "cls": ["<|startoftext|>", 49406], "trim_offsets": False, "add_prefix_space": False},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, **level},
    "model": {"type": "BPE", "dropout": None, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "", "end_of_word_suffix": "</w>", "fuse_unk": False, **({"byte_fallback": False, "ignore_merges": False} if level else {})}}
FILLED = {"truncation": {"direction": "Right", "max_length": 77, "strategy": "LongestFirst", "stride": 0},
          "padding": {"strategy": {"Fixed": 77}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 49407, "pad_type_id": 0, "pad_token": "<|endoftext|>"},
          "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|startoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}],
                             "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                             "special_tokens": {"<|startoftext|>": {"id": "<|startoftext|>", "ids": [49406], "tokens": ["<|startoftext|>"]}, "<|endoftext|>": {"id": "<|endoftext|>", "ids": [49407], "tokens": ["<|endoftext|>"]}}}}
DIRECTORIES = {
    "tokenizer.json of transformers 5": {"tokenizer.json": SET(ENDS(False), r"<\|startoftext\|>|<\|endoftext\|>|" + CUT, use_regex=True), "tokenizer_config.json": {"backend": "tokenizers", "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "is_local": True, "model_max_length": 10**30, "pad_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer", "unk_token": "<|endoftext|>"}},
    "tokenizer.json of the hub": {"tokenizer.json": SET(ENDS(True), CUT), "tokenizer_config.json": {"bos_token": TYPED("<|startoftext|>"), "do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}},
    "tokenizer.json with padding and words": {"tokenizer.json": {**SET(ENDS(True) + [{"id": 49408, **TOKEN("<my-cat>", rstrip=True)}], CUT, use_regex=True), **FILLED}},
    "plain": {},
    "stable diffusion 2": {"tokenizer_config.json": {"bos_token": TYPED("<|startoftext|>"), "eos_token": TYPED("<|endoftext|>"), "unk_token": TYPED("<|endoftext|>"), "pad_token": "!", "do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"},
                           "special_tokens_map.json": {"bos_token": TOKEN("<|startoftext|>"), "eos_token": TOKEN("<|endoftext|>"), "pad_token": "!", "unk_token": TOKEN("<|endoftext|>")}},
    "added": {"added_tokens.json": {"<my-cat>": 49408, "<My-Dog>": 49409}},
    "special among the added": {"added_tokens.json": {"<my-cat>": 49408, "[MASK]": 49409}, "special_tokens_map.json": {"mask_token": "[MASK]", "additional_special_tokens": ["<my-cat>"]}},
    "decoder": {"tokenizer_config.json": {"added_tokens_decoder": {"49406": TOKEN("<|startoftext|>", special=True), "49407": TOKEN("<|endoftext|>", special=True, normalized=False), "1481": TOKEN("cat", single_word=True), "49408": TOKEN("<my-cat>", lstrip=True, rstrip=True),
                                                                    "49409": TOKEN("<My-Dog>", normalized=False), "49410": TOKEN("<my-cat>s"), "49411": TOKEN(" of ")}}},
    "decoder before the others": {"tokenizer_config.json": {"added_tokens_decoder": {"49408": TOKEN("<my-cat>", special=True)}}, "added_tokens.json": {"<x>": 49408}, "special_tokens_map.json": {"pad_token": "!"}},
    "words of the vocabulary": {"special_tokens_map.json": {"sep_token": "cat</w>", "cls_token": "?"}},
    "named": {"tokenizer_config.json": {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "[PAD]", "my_token": "<mine>", "a_token": "<x>", "extra_special_tokens": ["<b>", "<a>"]}},
    "extra by name": {"tokenizer_config.json": {"extra_special_tokens": {"z": "<z>", "y": "<y>"}, "pad_token": None}},
    "named in the map": {"special_tokens_map.json": {"my_token": "<mine>", "additional_special_tokens": ["<b>", "<My-Dog>"], "pad_token": {"content": "[PAD]", "lstrip": False, "rstrip": True, "single_word": False, "normalized": True}}, "added_tokens.json": {"<|endoftext|>": 49407, "<my-cat>": 49408}},
    "another end": {"tokenizer_config.json": {"eos_token": "!", "bos_token": "a</w>"}},
}
OF = ["hello!", "a photo of a <my-cat>", "<my-cat>s and <MY-CAT> s", "x<my-cat>y", "a  <my-cat>  b", "cat Cat cats CAT. 'cat' <cat>", "<My-Dog> <my-dog> <MY-DOG>", "[MASK] [mask] [PAD] [pad]", "<|startoftext|>a<|endoftext|>b", "<|STARTOFTEXT|>!<|ENDOFTEXT|>!", "one of two OF three of", "cat</w> what? ing",
      "<mine><a><b><z><y>", "<x>", "e\u0301<my-cat>\u0301", "é <my-cat>\u00a0é", "İ<my-cat>ſ", "<my-<my-cat>cat>", "<my-cat><my-cat>s<My-Dog>", "_cat_ cat_ éCat cat\u0301"]


def texts():
    rng = random.Random(20261130)
    all = ODD + ["a photo of %s." % t for t in ODD if t.strip()]
    for _ in range(700):  # odd pieces together
        all.append("".join(rng.choice(["", " ", " ", "-", "'", "\n"]) + rng.choice(ODD + WORDS) for _ in range(rng.randint(2, 5))))
    for _ in range(700):  # letters of some ranges
        picks = [rng.choice(RANGES) for _ in range(3)]
        all.append("".join(chr(rng.randint(*rng.choice(picks))) for _ in range(rng.randint(3, 18))))
    for _ in range(250):  # what was decoded by the wrong table
        text = " ".join(rng.choice(WORDS + ["“a” ’s…", "100 €", "é à ü ß ñ", "😀 👍🏽"]) for _ in range(rng.randint(1, 4)))
        all.append(text.encode().decode(rng.choice(["latin-1", "cp1252", "cp1251", "macroman", "cp437"]), "replace"))
    seen = []
    for t in all:
        if t not in seen:
            seen.append(t)
    return seen


def read():
    with gzip.open(OUT) as f:
        return json.load(f)


def write(o):
    with open(OUT, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as f:
        f.write(json.dumps(o, ensure_ascii=True, separators=(",", ":")).encode())


def directory(files):
    bs = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in bs]
    letters = [chr(b) for b in bs] + [chr(256 + i) for i in range(len(rest))]
    with gzip.open(LIST) as f:
        merges = f.read().decode().split("\n")[1:48895]
    words = letters + [l + "</w>" for l in letters] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    d = tempfile.mkdtemp()
    vocab = {w: i for i, w in enumerate(words)}
    for name, what in {"vocab.json": vocab, "config.json": {"model_type": "clip"}, **files}.items():
        if name == "tokenizer.json":
            what = {**what, "model": {**what["model"], "vocab": vocab, "merges": merges if "byte_fallback" not in what["model"] else [m.split() for m in merges]}}
        with open(os.path.join(d, name), "w") as f:
            json.dump(what, f)
    with open(os.path.join(d, "merges.txt"), "w") as f:
        f.write("#version: 0.2\n" + "\n".join(merges) + "\n")
    return d


# What Tokenizer.Files writes of the ends of a text.
OURS = {"tokenizer_config.json": {"added_tokens_decoder": {"49406": TOKEN("<|startoftext|>", special=True), "49407": TOKEN("<|endoftext|>", special=True)}}}


def transformers(files, of):
    from transformers import AutoTokenizer
    t = AutoTokenizer.from_pretrained(directory(files))
    ids = [t(s).input_ids for s in of]
    assert all(i[0] == t.bos_token_id and i[-1] == t.eos_token_id for i in ids)
    return t, [i[1:-1] for i in ids]


if __name__ == "__main__":
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    if sys.argv[1] == "openai":
        from clip.simple_tokenizer import SimpleTokenizer
        all, t = texts(), SimpleTokenizer()
        write({"texts": all, "openai": [t.encode(s) for s in all]})
        print(len(all), "texts")
    if sys.argv[1] == "others":
        import open_clip
        o = read()
        t = open_clip.tokenizer.SimpleTokenizer()
        other = lambda ids: [None if a == b else a for a, b in zip(ids, o["openai"])]
        o["open_clip"] = other([t.encode(s) for s in o["texts"]])
        o["transformers"] = other(transformers(OURS, o["texts"])[1])
        o["of"], o["directories"] = OF, []
        for name, files in DIRECTORIES.items():
            t, ids = transformers(files, OF)
            o["directories"].append({"name": name, "files": files, "start": t.bos_token_id, "end": t.eos_token_id, "size": len(t), "ids": ids})
        write(o)
        print(*(sum(x is not None for x in o[k]) for k in ("open_clip", "transformers")), "have other numbers in open_clip and transformers")
    if sys.argv[1] == "check":
        import transformers as library
        o = read()
        want = [b if a is None else a for a, b in zip(o["transformers"], o["openai"])]
        print(library.__version__, sum(a != b for a, b in zip(transformers(OURS, o["texts"])[1], want)), "texts differ")
        for d in o["directories"]:
            try:
                print(d["name"], sum(a != b for a, b in zip(transformers(d["files"], OF)[1], d["ids"])), "differ")
            except Exception as e:
                print(d["name"], type(e).__name__, e)
