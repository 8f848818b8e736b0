"""What ftfy makes of texts, for package internal/ftfy.

Writes tiny/ftfy.json.gz:

  python, unicode, ftfy   versions
  texts                   pairs: a text, and what ftfy.fix_text makes of it; null if it stays
  references              pairs: a text, and what html.unescape makes of it; null if it stays
  names                   every name of html.entities.html5: what it stands for
  capitals                names in capitals that ftfy adds to these

With arguments N SEED FILE it writes another N texts to FILE, for `VITAGO_FTFY=FILE go test ./internal/ftfy`.
"""

import gzip
import html
import html.entities
import json
import os
import random
import re
import sys
import unicodedata

import ftfy
from ftfy import badness, chardata
from ftfy.bad_codecs import utf8_variants

import common

SANE = """a photo of a cat in the garden, 8 o'clock|The quick brown fox jumps over the lazy dog — twice!|naïve café, façade, über-cool résumé
“Curly quotes,” she said, ‘are nice’ … don’t you think?|50 € or £40 · 20 °C · ½ cup · 3×4 · §5 ¶2 © 2024 ® ™
L’été, l’élève mange une crêpe à la crème près de l’hôtel.|À quel point ? Ça va très bien, à la mode, à côté|Où est le garçon ? Noël, maïs, œuvre, cœur, Œdipe
Der Bär läuft über die Straße; schöne Grüße aus Köln|Él comió una piña mañana, ¿verdad? ¡Sí, señor!|O avião às três, àquela hora; coração, pão, São Paulo
Perché l’università è così lontana? È là.|Björn åt smörgås på ön i Malmö|Blåbærsyltetøy på Å i Lofoten, Ærlig talt|Þetta er íslenska, ágæti maður; ðögð
Příliš žluťoučký kůň úpěl ďábelské ódy|Zażółć gęślą jaźń, proszę pana|Árvíztűrő tükörfúrógép|Ștefan și Țară, mâine în București, ăsta|Ljubičasta džungla, šećer, đak
Šī ir latviešu valoda: ģimene, ķirsis, ņemt|Įdomi ąžuolų šaknis, ėjimas ūkyje|Õun, ööbik, šokolaad|Günaydın, İstanbul’da ışık çok güzel; ağaç
Быстрая коричневая лиса|Привет, мир! Ёжик в тумане|Українська їжа, ґанок, єдність|Бърза кафява лисица|Љубав и Џеп, Ђорђе, ћевап
Η γρήγορη καφέ αλεπού|Καλημέρα κόσμε, ΰπνος Ώρα ϊδιος|שלום עולם, חתול בגינה|صورة قطة في الحديقة|یک گربه در باغ، ۱۲۳|बगीचे में एक बिल्ली|தோட்டத்தில் பூனை|తోటలో పిల్లి
รูปถ่ายแมวในสวน|Một bức ảnh con mèo trong vườn|საქართველო, კატა ბაღში|Կատու պարտեզում|庭の猫の写真です。カタカナ|花园里的猫，照片。|정원에 있는 고양이 사진|𝒥ohn ℋancock 𝔘𝔫𝔦
😀 a photo of a 🐕!|👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 🏴󠁧󠁢󠁷󠁬󠁳󠁿|I ❤️ 🐱s ✨☕️|ʕ•ᴥ•ʔ (ง'⌣')ง ಠ_ಠ ¯\\_(ツ)_/¯|├──┤ ═══ █▓▒░|∑√∞ ≈ ≠ ∫ x² ± 2 µm|№ 5 «цитата» „Zitat“ ‚so‘|ÅÄÖ åäö|Ø|à|Ã|Â© Ltd|x÷y × z""".replace("\n", "|").split("|")

# Texts and mojibake that are told of: in the documentation and the tests of ftfy, and on the web.
KNOWN = """âœ” No problems|&macr;\\_(ã\x83\x84)_/&macr;|Broken text&hellip; it&#x2019;s ﬂubberiﬁc!|ＬＯＵＤ　ＮＯＩＳＥＳ|schÃ¶n|sÃ³|voilÃ le travail|Ã la mode|Ã  la mode|fÃ cil
The Mona Lisa doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t have eyebrows.|l’humanitÃ©|Ã perturber la rÃ©flexion des thÃ©ologiens jusqu'Ã nos jours|â€œ like this â€�|â€¢ item|itâ€™s|itâ€™s Â£5|Â£5|Â°C|caf&eacute; Ã©tÃ©
P&EACUTE;REZ|&ATILDE;&SUP3;|ÃŽÂ±|Р±Р°Р»|РџСЂРёРІРµС‚|Ð¿Ñ€Ð¸Ð²ÐµÑ‚|Ã¤Ã¶Ã¼ÃŸ|ÐŸÐ¾Ð»ÑŒ|Ï€|â‚¬100|HÃ´tel de Police|naÃ¯ve|São Paulo Ã¨|√â√∂√º|â|ã�‚|æ—¥æœ¬èªž|í\xa0½í²©|À\x80 x Ã©
âˆš|Â|Â |Ã|Ã |Ã\xa0|à¸\x81|à¸£à¸¹à¸›|ðŸ˜€|ðŸ˜Š ok|ð\x9f\x90\xb1|PÃ¡gina|pÃƒÂ¡gina|Ã¢â‚¬â„¢|вЂ™|вЂњтествЂќ|Γ©|ΓΓ|ÎºÎ±Î»|Ø¹Ø±Ø¨ÙŠ|×¢×‘×¨×™×ª|‚Äôs|‚Äú‚Äù|Γö£|â”œ|ÔÇÖ|Ã¯Â¿Â½|ï»¿text|Äs|â€|ā€™|Ķ|β€™
Ã\u00adndice|\x85 and \x93quotes\x94 and \x96|only \x80|Ãœber Ã\x9c|fianc\u00c3\u00a9 na\u00efve|Ã©À\nnext|Ã©À|í\xa0½í²\n|&#195;&#169;|&Atilde;&copy;|a&nbsp;b|&lt;p&gt;caf&eacute;&lt;/p&gt;|<p>caf&eacute; Ã©</p>|it is Ã la mode|well.Â Then|x\n<b>&amp;\n&amp;|&amp;\n<b>&amp;""".replace("|Ã©À\nnext|", "|Ã©À\x00|").replace("\\n", "\n").replace("\n", "|").replace("Ã©À\x00", "Ã©À\nnext").split("|")

DAMAGED = ["&nbsp;", "&lt;", "&amp;", "&eacute;", "&Eacute;", "&EACUTE;", "&SZLIG;", "&NTILDE;", "&nTILDE;", "&#39;", "&#x2019;", "&#150;", "&#0;", "&#13;", "&#59;", "&semi;", "&fjlig;", "&nGt;", "&nLt;", "&amp;amp;lt;", "&#38;#38;", "&am&amp;p;",
           "&copy", "&notit;", "&notin;", "&#x110000;", "&#xFFFE;", "&#27;", "&CounterClockwiseContourIntegral;", "&hellip;", "&Atilde;&copy;", "&acirc;&euro;&trade;", "&#195;&#169;", "&#00000000000000000065;", "&#4294967361;", "&#x80;", "&#129;"]
FORMS = list("ﬁﬂﬀﬃﬄﬅﬆĲĳŉǱǲǳǄǅǆǇǈǉǊǋǌ") + list("ＡＺａｚ０９！～｟｠｡｢ｱﾝﾞﾟﾡￜ￠￦￩￭　＜＆；") + list("‘’‚‛“”„‟ʼ′″")
CONTROLS = ["\x00", "\x07", "\x0b", "\x1a", "\x1b", "\x1f", "\x7f", "\x80", "\x81", "\x85", "\x92", "\x9d", "\x9f", "\u206a", "\ufeff", "\ufff9", "\ufffc", "\ufffd", "\u200b", "\u200d", "\u2060", "\xad",
            "\x1b[31m", "\x1b[0;1m", "\x1b[", "\x1b［４m", "\x1b[٣m", "\x1b[;;K", "\x1b[m\x1b[m"]
BREAKS = ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\n\r", "\r\r\n", "\x0c", "\t", "\n\n"]
MARKS = [chr(c) for c in range(0x300, 0x370)] + list("\u0591\u05b8\u064b\u0651\u093c\u094d\u0e38\u302a\u3099\u1dce\u20d2\u0323\u0331")


def classes():
    """Every character that encodings have, by the classes of ftfy."""
    out = []
    for ranges in list(badness.MOJIBAKE_CATEGORIES.values()) + list(chardata.UTF8_CLUES.values()):
        c = re.compile("[%s]" % ranges)
        out.append([chr(i) for i in range(0xffff) if not 0xd800 <= i < 0xe000 and c.match(chr(i))])
    return out


CLASSES = classes()
NEAR = list("aAzZ09_ .,!? \xa0\n-'\"àÀÃÂ×√≈вЂГўВβ€āœ") + ["\u3042", "中"]


def sample(r, parsed):
    """Something that a parsed regular expression of ftfy matches, as far as its parts go that look around."""
    out = ""
    for op, arg in parsed:
        op = str(op)
        if op == "LITERAL":
            out += chr(arg)
        elif op == "NOT_LITERAL" or op == "ANY":
            out += r.choice(NEAR)
        elif op == "IN":
            kind, value = r.choice(arg)
            kind = str(kind)
            if kind == "LITERAL":
                out += chr(value)
            elif kind == "RANGE":
                out += chr(r.randrange(value[0], value[1] + 1))
            else:  # a category, or all but
                out += r.choice(NEAR)
        elif op == "BRANCH":
            out += sample(r, r.choice(arg[1]))
        elif op == "SUBPATTERN":
            out += sample(r, arg[3])
        elif op == "MAX_REPEAT":
            out += "".join(sample(r, arg[2]) for _ in range(r.randrange(arg[0], min(arg[1], arg[0] + 3) + 1)))
        else:
            assert op in ("AT", "ASSERT_NOT"), op
    return out


PARSED = [re._parser.parse(p.pattern, p.flags) for p in (badness.BADNESS_RE, badness.BADNESS_RE, badness.BADNESS_RE, chardata.UTF8_DETECTOR_RE)]
BYTES = [re._parser.parse(p.pattern, p.flags) for p in (chardata.ALTERED_UTF8_RE, chardata.LOSSY_UTF8_RE, utf8_variants.SPECIAL_BYTES_RE)]


def matching(r):
    """What a rule of ftfy looks for, as characters or as bytes that an encoding decoded."""
    if r.random() < 0.6:
        return sample(r, r.choice(PARSED))
    encoding = r.choice(chardata.CHARMAP_ENCODINGS[:7])
    return "Ã©".encode(chardata.CHARMAP_ENCODINGS[1]).decode(encoding) * r.randrange(2) + sample(r, r.choice(BYTES)).encode("latin-1").decode(encoding)


def cesu(s):
    """UTF-8 of UTF-16: characters beyond the BMP are two surrogates."""
    u = s.encode("utf-16-be")
    return "".join(chr(u[i] << 8 | u[i + 1]) for i in range(0, len(u), 2)).encode("utf-8", "surrogatepass")


def mojibake(r, s):
    for _ in range(r.choice((1, 1, 1, 1, 2, 2, 3))):
        encoding = r.choice(chardata.CHARMAP_ENCODINGS)
        if r.random() < 0.5:
            encoding = r.choice(chardata.CHARMAP_ENCODINGS[:2])
        kind = r.random()
        b = cesu(s) if kind < 0.05 else s.encode()
        if 0.05 < kind < 0.07:
            b = b.replace(b" ", b"\xc0\x80")
        if encoding.startswith("sloppy-") and r.random() < 0.3:
            s = b.decode(encoding[len("sloppy-"):], "replace")
        else:
            s = b.decode(encoding)
        if r.random() < 0.2:
            s = s.replace("\xa0", " ")
    return s


def damage(r, s):
    kind = r.randrange(15)
    at = r.randrange(len(s) + 1)
    if kind == 0:
        return s.replace("\xa0", " ")
    if kind == 1:
        return s.replace("\ufffd", "?")
    if kind == 2:
        return s.replace("’", "'").replace("“", '"').replace("”", '"').replace("‘", "'")
    if kind == 3:
        return s[:at] + s[at + 1:]
    if kind == 4:
        return s[:at]
    if kind == 5:
        return s.lower()
    if kind == 6:
        return s.upper()
    if kind == 7:
        return s[:at] + r.choice(SANE) + s[at:]
    if kind == 8:
        return html.escape(s)
    if kind == 9:
        return "".join("&%s;" % html.entities.codepoint2name[ord(c)] if ord(c) in html.entities.codepoint2name else c for c in s)
    if kind == 10:
        return unicodedata.normalize(r.choice(("NFD", "NFC", "NFKC")), s)
    if kind == 11:
        return s[:at] + r.choice(CONTROLS) + s[at:]
    if kind == 12:
        return s[:at] + r.choice(r.choice((DAMAGED, FORMS, CONTROLS, BREAKS, MARKS))) + s[at:]
    if kind == 13:
        return s + r.choice(BREAKS) + mojibake(r, r.choice(SANE))
    return s[:at] + mojibake(r, r.choice(SANE)) + s[at:]


def piece(r, s):
    """A word or two of a text."""
    at = r.randrange(len(s) + 1)
    return s[at:at + r.randrange(1, 9)]


def text(r):
    kind = r.randrange(12)
    if kind > 9:  # what the rules look for, and what is near
        return "".join(matching(r) if r.random() < 0.6 else r.choice(NEAR + ["\n", "Ã©", "&#195;"]) for _ in range(r.randrange(1, 5)))
    if kind < 4:  # a text in a wrong encoding, damaged further
        s = mojibake(r, r.choice(SANE) if r.random() < 0.3 else piece(r, r.choice(SANE)))
        for _ in range(r.randrange(3)):
            s = damage(r, s)
        return s
    if kind == 4:  # pieces, each in its own encoding
        return "".join(mojibake(r, piece(r, r.choice(SANE))) if r.random() < 0.5 else piece(r, r.choice(SANE)) for _ in range(r.randrange(2, 6)))
    if kind < 7:  # characters of the classes
        return "".join(r.choice(NEAR) if r.random() < 0.3 else r.choice(r.choice(CLASSES)) for _ in range(r.randrange(1, 9)))
    if kind == 7:  # all that is not an encoding
        return "".join(r.choice(r.choice((DAMAGED, FORMS, CONTROLS, BREAKS, MARKS, SANE[:3], NEAR))) for _ in range(r.randrange(1, 9)))
    if kind == 8:
        return reference(r)
    lo = r.choice((0x20, 0xa0, 0x300, 0x370, 0x400, 0x590, 0x900, 0x1100, 0x1e00, 0x2000, 0x2190, 0x3000, 0xac00, 0xf900, 0xff00, 0x1d100, 0x1f300))
    s = "".join(chr(lo + r.randrange(0x100)) if r.random() < 0.8 else r.choice(MARKS) for _ in range(r.randrange(1, 12)))
    if r.random() < 0.02:
        s += "".join(r.choice(MARKS) for _ in range(r.randrange(25, 70)))
    return s


NAMES = sorted(html.entities.html5)


def reference(r):
    out = ""
    for _ in range(r.randrange(1, 4)):
        kind = r.randrange(7)
        name = r.choice(NAMES)
        if kind == 1:
            name = name.rstrip(";")
        elif kind == 2:
            name = name.upper()
        elif kind == 3:
            name = name[:r.randrange(len(name) + 1)] + r.choice(("", ";", "x;", "é", " ", "&", "#", "1", "a" * 30))
        elif kind == 4:
            name = "#%d" % (r.randrange(0x110) if r.random() < 0.8 else r.randrange(1 << r.randrange(1, 40))) + r.choice((";", "", "a", ";;"))
        elif kind == 5:
            name = r.choice(("#x%x", "#X%X")) % (r.randrange(0x110) if r.random() < 0.5 else r.randrange(1 << r.randrange(1, 40))) + r.choice((";", "", "g", "&"))
        elif kind == 6:
            name = r.choice(("#", "#x", "#;", "#x;", "", ";", "amp;amp;", "amp;#38;", "AMP;lt;", "#xg;", "#٣;"))
        out += r.choice(("", "", "a", "é", "<", "Ã")) + "&" + name
    return out


def pairs(texts, f):
    out = []
    for t in dict.fromkeys(texts):
        t = t.encode("utf-8", "replace").decode()
        fixed = f(t)
        out.append([t, None if fixed == t else fixed])
    return out


def write(path, value):
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, 0) as z:
        z.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    print("%s: %d bytes" % (os.path.basename(path), os.path.getsize(path)))


def main():
    if len(sys.argv) == 4:
        r = random.Random(int(sys.argv[2]))
        write(sys.argv[3], dict(texts=pairs((text(r) for _ in range(int(sys.argv[1]))), ftfy.fix_text), references=pairs((reference(r) for _ in range(int(sys.argv[1]) // 10)), html.unescape)))
        return
    r = random.Random(34)
    texts = SANE + KNOWN + DAMAGED + [mojibake_by(e, s, n) for s in SANE for e in chardata.CHARMAP_ENCODINGS[:] for n in (1,)] + [text(r) for _ in range(5000)]
    texts += ["".join(r.choice(MARKS) for _ in range(n)) for n in (30, 31, 45, 80)] + ["e" + "\u0301" * 40, "\u1100" + "\u0300" * 33 + "\u1161", "Ã©" + "\u0315\u0300" * 20]
    texts += ["&" + "amp;" * n + "lt;" for n in (2, 30, 100)] + ["x" * 70 + "\n" + "Ã© &lt;b&gt;\n<i>\n&lt; Ã©"]
    done = pairs(texts, ftfy.fix_text)
    names = html.entities.html5
    capitals = {k: v for k, v in chardata.HTML_ENTITIES.items() if k[1:] not in names}
    write(os.path.join(common.TINY, "ftfy.json.gz"), dict(python=sys.version.split()[0], unicode=unicodedata.unidata_version, ftfy=ftfy.__version__, texts=done,
                                                          references=pairs((reference(r) for _ in range(1500)), html.unescape), names=names, capitals=capitals))
    print("%d texts, %d of them change" % (len(done), sum(f is not None for _, f in done)))


def mojibake_by(encoding, s, n):
    for _ in range(n):
        s = s.encode().decode(encoding)
    return s


if __name__ == "__main__":
    main()
