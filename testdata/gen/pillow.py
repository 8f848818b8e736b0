"""Makes testdata/pillow: small picture files and what Pillow 13.0.0 makes of them.

  files.zip     the picture files
  pixels.zip    per JPEG and WebP file, the raw samples after load(); per mode, the raw sources of the operations
  table.json    modes, sizes and checksums of all of that, and of the results of resize, crop, convert and of
                torchvision's Resize + CenterCrop + convert("RGB")

Run it from testdata/gen in the environment that setup.sh makes. It adds checksums of the photographs in --photos,
which are not part of the repository; those of the last run stay if that folder is not there.
"""

import argparse
import binascii
import io
import json
import os
import random
import shutil
import struct
import subprocess
import zipfile
import zlib

import numpy as np
import PIL
import torchvision.transforms as T
from PIL import Image

assert PIL.__version__ == "13.0.0", PIL.__version__
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pillow")
rng = np.random.default_rng(336)
files = {}


def drawing(w, h, bands):
    """Gradients, an edge and some noise, in bytes."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    a = np.zeros((h, w, bands))
    for b in range(bands):
        a[..., b] = 128 + 90 * np.sin(x / (3 + b) + b) * np.cos(y / (5 - b)) + 30 * ((x + 2 * y + 7 * b) % 17 < 6)
        a[..., b] += rng.normal(0, 12, (h, w))
    return np.clip(a, 0, 255).astype(np.uint8)


def picture(mode, w, h):
    """A picture of any mode."""
    if mode == "1":
        return Image.fromarray(drawing(w, h, 1)[..., 0]).convert("1")
    if mode in ("L", "P"):
        m = Image.fromarray(drawing(w, h, 1)[..., 0])
        if mode == "P":
            m = Image.frombytes("P", (w, h), m.tobytes())
            m.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
        return m
    if mode in ("LA", "La"):
        a = drawing(w, h, 2)
        a[: h // 3, : w // 3, 1] = 0
        a[h // 2 :, w // 2 :, 1] = 255
        if mode == "La":
            a[..., 0] = np.minimum(a[..., 0], a[..., 1])
        return Image.frombytes(mode, (w, h), a.tobytes())
    if mode == "RGB":
        return Image.fromarray(drawing(w, h, 3))
    if mode in ("RGBA", "RGBa", "CMYK"):
        a = drawing(w, h, 4)
        a[: h // 3, : w // 3, 3] = 0
        a[h // 2 :, w // 2 :, 3] = 255
        return Image.frombytes(mode, (w, h), a.tobytes())
    if mode in ("I;16", "I;16B"):
        a = rng.integers(0, 1 << 16, (h, w)).astype("<u2" if mode == "I;16" else ">u2")
        a[: h // 2] >>= 7
        return Image.frombytes(mode, (w, h), a.tobytes())
    if mode == "I":
        a = rng.integers(-(1 << 31), 1 << 31, (h, w)).astype("<i4")
        a[: h // 2] >>= 21
        return Image.frombytes(mode, (w, h), a.tobytes())
    if mode == "F":
        a = rng.normal(100, 120, (h, w)).astype("<f4")
        return Image.frombytes(mode, (w, h), a.tobytes())
    raise ValueError(mode)


def save(name, m, **kw):
    f = io.BytesIO()
    m.save(f, **kw)
    files[name] = f.getvalue()


# ---------------------------------------------------------------- JPEG

ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8)))


def huffman_everything():
    """A table in which each byte but one has an 8-bit code, so no statistics are needed."""
    counts = [0] * 16
    counts[7], counts[8] = 254, 2
    values = [v for v in range(256)]
    codes, code = {}, 0
    for i, v in enumerate(values):
        n = 8 if i < 254 else 9
        if i == 254:
            code <<= 1
        codes[v] = (code, n)
        code += 1
    return bytes(counts) + bytes(values), codes


def jpeg(planes, factors, w, h, ids=(1, 2, 3, 4), adobe=None, jfif=False, interleaved=True, restart=0, q=3, wide=False):
    """A baseline JPEG of the given planes (each of its true size) with any sampling factors."""
    hmax, vmax = max(f[0] for f in factors), max(f[1] for f in factors)
    dct = np.array([[(0.5 if u else 0.5 / 2**0.5) * np.cos((2 * x + 1) * u * np.pi / 16) for x in range(8)] for u in range(8)])
    quant = np.array([[q + (u + v) // 2 for u in range(8)] for v in range(8)])
    ac_table, ac_codes = huffman_everything()
    dc_counts = [0] * 16
    dc_counts[3], dc_counts[4] = 11, 1
    dc_codes = {v: (v, 4) if v < 11 else (22, 5) for v in range(12)}
    out = b"\xff\xd8"
    seg = lambda m, b: bytes([0xFF, m]) + struct.pack(">H", len(b) + 2) + b
    if jfif:
        out += seg(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
    if adobe is not None:
        out += seg(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe]))
    qz = [int(quant.flat[i]) for i in ZIGZAG]
    out += seg(0xDB, (b"\x10" + struct.pack(">64H", *qz)) if wide else (b"\0" + bytes(qz)))
    out += seg(0xC0, struct.pack(">BHHB", 8, h, w, len(planes)) + b"".join(bytes([ids[i], f[0] << 4 | f[1], 0]) for i, f in enumerate(factors)))
    out += seg(0xC4, b"\0" + bytes(dc_counts) + bytes(range(12))) + seg(0xC4, b"\x10" + ac_table)
    if restart:
        out += seg(0xDD, struct.pack(">H", restart))
    mw, mh = -(-w // (8 * hmax)), -(-h // (8 * vmax))
    padded = []
    for p, f in zip(planes, factors):
        pw, ph = mw * f[0] * 8, mh * f[1] * 8
        padded.append(np.pad(p, ((0, ph - p.shape[0]), (0, pw - p.shape[1])), mode="edge").astype(float) - 128)

    def magnitude(v):
        n = int(abs(v)).bit_length()
        return n, (v if v >= 0 else v + (1 << n) - 1)

    def scan(members):
        bits, data, pred = [], bytearray(), {i: 0 for i in members}

        def flush():
            while len(bits) % 8:
                bits.append(1)
            for i in range(0, len(bits), 8):
                b = int("".join(map(str, bits[i : i + 8])), 2)
                data.append(b)
                if b == 255:
                    data.append(0)
            bits.clear()

        def put(v, n):
            bits.extend((v >> (n - 1 - i)) & 1 for i in range(n))

        def block(i, bx, by):
            c = dct @ padded[i][by * 8 : by * 8 + 8, bx * 8 : bx * 8 + 8] @ dct.T
            z = [int(round(c.flat[k] / quant.flat[k])) for k in ZIGZAG]
            n, v = magnitude(z[0] - pred[i])
            pred[i] = z[0]
            put(*dc_codes[n])
            put(v, n)
            run = 0
            for k in range(1, 64):
                if z[k] == 0:
                    run += 1
                    continue
                while run > 15:
                    put(*ac_codes[0xF0])
                    run -= 16
                n, v = magnitude(z[k])
                put(*ac_codes[run << 4 | n])
                put(v, n)
                run = 0
            if run:
                put(*ac_codes[0])

        if len(members) == 1:
            i = members[0]
            f = factors[i]
            bw, bh = -(-(-(-w * f[0] // hmax)) // 8), -(-(-(-h * f[1] // vmax)) // 8)
            units = [[(i, x, y)] for y in range(bh) for x in range(bw)]
        else:
            units = [
                [(i, x * factors[i][0] + a, y * factors[i][1] + b) for i in members for b in range(factors[i][1]) for a in range(factors[i][0])]
                for y in range(mh)
                for x in range(mw)
            ]
        for n, unit in enumerate(units):
            if restart and n and n % restart == 0:
                flush()
                data.extend([0xFF, 0xD0 + (n // restart - 1) % 8])
                for i in pred:
                    pred[i] = 0
            for u in unit:
                block(*u)
        flush()
        return seg(0xDA, bytes([len(members)]) + b"".join(bytes([ids[i], 0]) for i in members) + b"\0\x3f\0") + bytes(data)

    everyone = list(range(len(planes)))
    for members in [everyone] if interleaved else [[i] for i in everyone]:
        out += scan(members)
    return out + b"\xff\xd9"


def planes(w, h, factors):
    hmax, vmax = max(f[0] for f in factors), max(f[1] for f in factors)
    return [drawing(-(-w * f[0] // hmax), -(-h * f[1] // vmax), 1)[..., 0] for f in factors]


def jpegs():
    rgb = picture("RGB", 37, 29)
    for sub, name in ((0, "444"), (1, "422"), (2, "420")):
        save(f"{name}.jpg", rgb, format="JPEG", quality=80, subsampling=sub)
        save(f"{name}-progressive.jpg", rgb, format="JPEG", quality=80, subsampling=sub, progressive=True)
    save("q3.jpg", rgb, format="JPEG", quality=3)
    save("q100.jpg", rgb, format="JPEG", quality=100, subsampling=2)
    save("optimized.jpg", rgb, format="JPEG", quality=60, optimize=True)
    save("restart.jpg", rgb, format="JPEG", quality=80, restart_marker_blocks=2)
    save("restart-progressive.jpg", rgb, format="JPEG", quality=80, progressive=True, restart_marker_rows=1)
    save("rgb.jpg", rgb, format="JPEG", quality=80, keep_rgb=True)
    save("grey.jpg", picture("L", 37, 29), format="JPEG", quality=80)
    save("grey-progressive.jpg", picture("L", 37, 29), format="JPEG", quality=80, progressive=True)
    save("cmyk.jpg", picture("CMYK", 21, 19), format="JPEG", quality=80)
    exif = Image.Exif()
    exif[274] = 6
    save("exif-orientation.jpg", picture("RGB", 20, 12), format="JPEG", exif=exif)
    for w, h in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (1, 5), (8, 8), (16, 16), (17, 17), (33, 2), (6, 40)):
        save(f"420-{w}x{h}.jpg", picture("RGB", w, h), format="JPEG", quality=90, subsampling=2)
    for w, h in ((1, 1), (3, 2), (4, 3), (5, 5)):
        save(f"422-{w}x{h}.jpg", picture("RGB", w, h), format="JPEG", quality=90, subsampling=1)
    w, h = 37, 29
    for name, f in {
        "440": ((1, 2), (1, 1), (1, 1)),
        "411": ((4, 1), (1, 1), (1, 1)),
        "410": ((4, 2), (1, 1), (1, 1)),
        "441": ((1, 4), (1, 1), (1, 1)),
        "mixed": ((2, 2), (1, 2), (2, 1)),
        "luma-half": ((1, 1), (2, 2), (2, 2)),
        "all-2x2": ((2, 2), (2, 2), (2, 2)),
        "311": ((3, 1), (1, 1), (1, 1)),
        "3x3": ((3, 3), (1, 1), (1, 1)),
    }.items():
        files[f"{name}.jpg"] = jpeg(planes(w, h, f), f, w, h)
        if name in ("440", "mixed"):
            files[f"{name}-scans.jpg"] = jpeg(planes(w, h, f), f, w, h, interleaved=False)
    f = ((1, 2), (1, 1), (1, 1))
    for w, h in ((1, 1), (2, 3), (3, 2)):
        files[f"440-{w}x{h}.jpg"] = jpeg(planes(w, h, f), f, w, h)
    w, h, f = 27, 22, ((2, 2), (1, 1), (1, 1), (2, 2))
    files["ycck.jpg"] = jpeg(planes(w, h, f), f, w, h, adobe=2)
    files["cmyk-adobe0.jpg"] = jpeg(planes(w, h, f), f, w, h, adobe=0)
    f = ((1, 1),) * 3
    files["ids-rgb.jpg"] = jpeg(planes(w, h, f), f, w, h, ids=b"RGB")
    files["ids-rgb-jfif.jpg"] = jpeg(planes(w, h, f), f, w, h, ids=b"RGB", jfif=True)
    files["adobe1.jpg"] = jpeg(planes(w, h, f), f, w, h, ids=b"RGB", adobe=1)
    files["adobe0.jpg"] = jpeg(planes(w, h, f), f, w, h, adobe=0)
    files["wide-tables.jpg"] = jpeg(planes(w, h, f), f, w, h, wide=True, q=20)
    files["grey-2x2.jpg"] = jpeg(planes(w, h, f[:1]), ((2, 2),), w, h)
    f = ((2, 2), (1, 1), (1, 1))
    whole = jpeg(planes(w, h, f), f, w, h, restart=1)
    files["restart-each.jpg"] = whole
    # An end marker too early: what is missing is grey. A lost restart segment: libjpeg waits for the next.
    files["early-end.jpg"] = files["420.jpg"][: len(files["420.jpg"]) * 2 // 3] + b"\xff\xd9"
    files["early-end-progressive.jpg"] = files["420-progressive.jpg"][: len(files["420-progressive.jpg"]) * 9 // 10] + b"\xff\xd9"
    at = [i for i in range(len(whole) - 1) if whole[i] == 255 and 0xD0 <= whole[i + 1] <= 0xD7]
    files["restart-lost.jpg"] = whole[: at[0]] + whole[at[1] :]
    files["garbage-between.jpg"] = b"\xff\xd8" + b"\xff\xfe\0\x06hey!" + b"\x12\x34\xff\xff" + whole[2:]
    # A bit turned over amid the data.
    for k, cut in enumerate((0.55, 0.7, 0.85)):
        for name in ("420", "420-progressive", "restart"):
            b = bytearray(files[name + ".jpg"])
            i = int(len(b) * cut)
            while b[i] == 255 or b[i - 1] == 255 or b[i] ^ 0x10 == 255:
                i += 1
            b[i] ^= 0x10
            files[f"flipped{k}-{name}.jpg"] = bytes(b)


# ---------------------------------------------------------------- PNG

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png(w, h, depth, colour, interlace=0, palette=None, trns=None):
    """A PNG of random samples in any form."""
    chunk = lambda t, b: struct.pack(">I", len(b)) + t + b + struct.pack(">I", binascii.crc32(t + b))
    top = len(palette) // 3 if palette else 1 << depth
    samples = rng.integers(0, top, (h, w, CHANNELS[colour]))
    if trns and colour != 3:
        samples[::3] = np.array(trns)
    raw = b""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)] if interlace else [(0, 0, 1, 1)]
    for x0, y0, dx, dy in passes:
        sub = samples[y0::dy, x0::dx]
        if sub.size == 0:
            continue
        for row in sub:
            if depth == 16:
                b = row.astype(">u2").tobytes()
            else:
                bits = "".join(format(int(v), f"0{depth}b") for v in row.flat)
                bits += "0" * (-len(bits) % 8)
                b = int(bits, 2).to_bytes(len(bits) // 8, "big")
            raw += b"\0" + b
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlace))
    if palette:
        out += chunk(b"PLTE", bytes(palette))
    if trns:
        out += chunk(b"tRNS", bytes(trns) if colour == 3 else struct.pack(f">{len(trns)}H", *trns))
    return out + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def pngs():
    for depth, colour in [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3), (4, 3), (8, 3), (8, 4), (16, 4), (8, 6), (16, 6)]:
        palette = list(rng.integers(0, 256, 3 * min(1 << depth, 200))) if colour == 3 else None
        palette = [int(v) for v in palette] if palette else None
        for interlace in (0, 1):
            files[f"d{depth}c{colour}i{interlace}.png"] = png(13, 11, depth, colour, interlace, palette)
        trns = {0: [1], 2: [7, 8, 9], 3: [0, 128, 255]}.get(colour)
        if trns:
            files[f"d{depth}c{colour}t.png"] = png(13, 11, depth, colour, 0, palette, trns[: len(palette) // 3] if palette else trns)
    files["1x1.png"] = png(1, 1, 8, 2)
    files["1x9i.png"] = png(1, 9, 8, 6, 1)
    save("filters.png", picture("RGB", 40, 31), format="PNG", optimize=True)
    save("filters-rgba.png", picture("RGBA", 40, 31), format="PNG")
    save("animated.png", picture("RGB", 9, 8), format="PNG", save_all=True, append_images=[picture("RGB", 9, 8)])


def odd_pngs():
    """PNGs that are wrong somewhere, or unusual, most of which Pillow reads."""
    r = random.Random(14936)
    z, sig = zlib.compress, b"\x89PNG\r\n\x1a\n"
    chunk = lambda t, b=b"", crc=None: struct.pack(">I", len(b)) + t + b + struct.pack(">I", zlib.crc32(t + b) if crc is None else crc)
    ihdr = lambda depth=8, colour=2, interlace=0, w=9, h=7, method=0, kind=0: chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, method, kind, interlace))
    rows = lambda bits=24, n=7: b"".join(bytes([r.randrange(5)]) + r.randbytes((9 * bits + 7) // 8) for _ in range(n))
    end, text = chunk(b"IEND"), chunk(b"tEXt", b"a\0b")
    idat = lambda b, **kw: chunk(b"IDAT", b, **kw)
    plte = lambda n: chunk(b"PLTE", r.randbytes(3 * n))
    put = lambda name, *parts: files.__setitem__(f"odd-{name}.png", sig + b"".join(parts))
    grey, colour = z(rows(8)), z(rows())

    put("idat-crc", ihdr(), idat(colour, crc=1), end)
    put("later-crc", ihdr(), idat(colour), chunk(b"tEXt", b"a\0b", 1), chunk(b"IEND", b"", 1))
    put("ihdr-crc", ihdr()[:-4] + b"abcd", idat(colour), end)
    put("plte-crc", ihdr(8, 3), plte(9)[:-4] + b"abcd", idat(grey), end)
    put("text-crc", ihdr(), chunk(b"tEXt", b"a\0b", 1), idat(colour), end)
    put("unknown-crc", ihdr(), chunk(b"abCd", b"xyz", 1), idat(colour), end)
    put("unknown-critical", ihdr(), chunk(b"ABCD", b"xyz"), idat(colour), chunk(b"EFGH"), end)
    put("bad-name", ihdr(), chunk(b"ab d", b"xyz"), idat(colour), end)
    put("bad-name-later", ihdr(), idat(colour), chunk(b"ab d", b"xyz"), text, end)
    put("byte-more", ihdr(), idat(z(rows() + b"\1")), end)
    put("rows-more", ihdr(), idat(z(rows(n=11))), end)
    put("rows-fewer", ihdr(), idat(z(rows(n=5))), end)
    put("rows-fewer-interlaced", ihdr(8, 0, 1), idat(z(b"".join(bytes([2]) + r.randbytes(k) for k in (2, 1, 3)))), end)
    put("no-rows", ihdr(), idat(z(b"")), end)
    put("half-a-row", ihdr(), idat(z(rows()[:100])), end)
    put("adler", ihdr(), idat(colour[:-4] + b"abcd"), end)
    put("adler-in-next", ihdr(), idat(colour[:-4]), idat(b"abcd"), end)
    put("adler-after-more", ihdr(), idat(z(rows(n=9))[:-4] + b"abcd"), end)
    put("no-adler", ihdr(), idat(colour[:-4]), end)
    put("zlib-header", ihdr(), idat(b"\x79" + colour[1:]), end)
    put("zlib-window", ihdr(), idat(b"\x08\x1d" + colour[2:]), end)
    put("filter-5", ihdr(), idat(z(b"\5" + rows()[1:])), end)
    put("empty-idats", ihdr(), idat(b""), idat(colour[:9]), idat(b""), idat(b""), idat(colour[9:]), idat(b""), end)
    put("idat-bytes", ihdr(), b"".join(idat(colour[i : i + 1], crc=i % 2 or None) for i in range(len(colour))), end)
    put("idat-apart", ihdr(), idat(colour[:50]), text, idat(colour[50:]), end)
    put("ddat", ihdr(), idat(colour[:50]), chunk(b"DDAT", colour[50:]), end)
    put("idat-first", idat(b"abc"), ihdr(), idat(colour), end)
    put("idat-long", ihdr(), struct.pack(">I", 9999) + b"IDAT" + colour)
    put("no-end", ihdr(), idat(colour))
    put("no-end-no-crc", ihdr(), idat(colour)[:-3])
    put("end-first", ihdr(), end, idat(colour))
    put("garbage-after", ihdr(), idat(colour), end, b"garbage behind the end")
    put("garbage-for-end", ihdr(), idat(colour), b"\0\0\0")
    put("text-cut", ihdr(), idat(colour), text[:9])
    put("two-headers", ihdr(8, 0), ihdr(), idat(colour), end)
    put("two-headers-one-unknown", ihdr(), ihdr(5, 5), idat(colour), end)
    put("header-long", chunk(b"IHDR", ihdr()[8:-4] + b"more"), idat(colour), end)
    put("header-short", chunk(b"IHDR", ihdr()[8:-5]), idat(colour), end)
    put("header-second", text, ihdr(), idat(colour), end)
    put("header-late", ihdr(), idat(colour), ihdr(w=100), end)
    put("depth-unknown", ihdr(4, 2), idat(colour), end)
    put("method", ihdr(method=7), idat(colour), end)
    put("filter-method", ihdr(kind=1), idat(colour), end)
    put("interlace-7", ihdr(8, 0, 7), idat(z(b"".join(bytes([f]) + r.randbytes(k) for f, k in [(1, 2), (2, 1), (3, 3), (4, 2), (1, 2), (2, 5), (3, 5)] + [(4, 4)] * 4 + [(1, 9)] * 3))), end)
    for bits, n in ((1, 16), (2, 16), (4, 64), (8, 256), (8, 257)):
        put(f"palette-{bits}-{n}", ihdr(bits, 3), plte(n), idat(z(rows(bits))), end)
    put("palette-short", ihdr(8, 3), plte(3), idat(grey), end)
    put("palette-odd", ihdr(8, 3), chunk(b"PLTE", r.randbytes(3 * 256 + 2)), idat(grey), end)
    put("palette-none", ihdr(8, 3), idat(grey), end)
    put("palette-late", ihdr(8, 3), idat(grey), plte(256), end)
    put("palette-early", plte(256), ihdr(8, 3), idat(grey), end)
    put("palette-twice", ihdr(8, 3), plte(256), plte(16), idat(grey), end)
    put("palette-grey", ihdr(8, 0), plte(16), idat(grey), end)
    put("palette-colour", ihdr(), plte(300), idat(colour), end)
    for name, depth, kind, n in (("grey", 8, 0, 1), ("grey2", 8, 0, 2), ("colour5", 8, 2, 5), ("colour6", 8, 2, 6), ("alpha", 8, 6, 1), ("palette0", 8, 3, 0), ("palette300", 8, 3, 300)):
        bits = depth * CHANNELS[kind]
        put(f"trns-{name}", ihdr(depth, kind), plte(256) if kind == 3 else b"", chunk(b"tRNS", r.randbytes(n)), idat(z(rows(bits))), end)
    for name, body in {"gAMA": b"abc", "cHRM": b"abc", "sRGB": b"", "pHYs": b"12345678", "tEXt": b"", "zTXt": b"", "iTXt": b"", "eXIf": b"", "bKGD": b"", "tIME": b"", "iCCP": b"", "acTL": b"1234567"}.items():
        put(f"short-{name}", ihdr(), chunk(name.encode(), body), idat(colour), end)
        put(f"short-{name}-later", ihdr(), idat(colour), chunk(name.encode(), body), end)
    for name, body in {"iCCP": b"name\0\0not zlib", "iCCP-method": b"name\0\1" + z(b"profile"), "zTXt": b"name\0\0not zlib", "zTXt-method": b"name\0\1" + z(b"text"), "iTXt": b"name\0\1\0\0\0not zlib", "iCCP-large": b"name\0\0" + z(bytes(1 << 21), 9)}.items():
        put(f"broken-{name}", ihdr(), chunk(name[:4].encode(), body), idat(colour), end)
    actl = lambda n: chunk(b"acTL", struct.pack(">II", n, 0))
    fctl = lambda seq, w=9, h=7, x=0, y=0: chunk(b"fcTL", struct.pack(">IIIIIHHBB", seq, w, h, x, y, 1, 10, 0, 0))
    fdat = lambda seq, b: chunk(b"fdAT", struct.pack(">I", seq) + b)
    part = z(b"".join(bytes([r.randrange(5)]) + r.randbytes(12) for _ in range(3)))
    put("frame-window", ihdr(), actl(2), fctl(0, 4, 3, 2, 1), idat(part), fctl(1), fdat(2, colour), end)
    put("frame-window-alone", ihdr(), fctl(0, 4, 3, 2, 1), idat(part), end)
    put("frame-window-interlaced", ihdr(8, 0, 1), actl(2), fctl(0, 2, 1, 3, 2), idat(z(b"\0a\0b")), end)
    put("frame-beyond", ihdr(), actl(1), fctl(0, 9, 7, 1, 0), idat(colour), end)
    put("frame-empty", ihdr(), actl(1), fctl(0, 0, 3), idat(colour), end)
    put("frame-none", ihdr(), actl(1), idat(colour), fctl(0), fdat(1, colour), end)
    put("frame-without-picture", ihdr(), actl(2), fctl(0), fdat(1, colour[:40]), fdat(2, colour[40:]), fctl(3), fdat(4, colour), end)
    put("frame-number", ihdr(), actl(2), fctl(1), idat(colour), end)
    put("frame-number-later", ihdr(), actl(2), fctl(0), idat(colour), fctl(7), end)
    put("frame-number-of-one", ihdr(), actl(1), fctl(0), idat(colour), fctl(7), end)
    put("frame-fdat-alone", ihdr(), fdat(0, colour), end)


def segments(b):
    """Where the markers of a JPEG begin and their segments end: (begin, marker, end)."""
    out, i = [], 2
    while i < len(b) - 1:
        if b[i] != 255 or b[i + 1] in (0, 255):
            i += 1
        elif b[i + 1] == 0xD9 or 0xD0 <= b[i + 1] <= 0xD7:
            out.append((i, b[i + 1], i + 2))
            i += 2
        else:
            end = i + 2 + struct.unpack(">H", b[i + 2 : i + 4])[0]
            out.append((i, b[i + 1], end))
            i = end
    return out


def odd_jpegs():
    """JPEGs that lack something, have it twice or in the wrong place, and arithmetic-coded ones."""
    state = rng.bit_generator.state
    y, x = np.mgrid[0:31, 0:45].astype(float)
    a = np.stack([128 + 90 * np.sin(x / (4 + b) + b) * np.cos(y / (6 - b)) + 9 * ((x * 7 + y * 3 + b) % 5) for b in range(3)], -1)
    m = Image.fromarray(np.clip(a, 0, 255).astype(np.uint8))
    put = lambda name, b: files.__setitem__(f"odd-{name}.jpg", bytes(b))

    def coded(**kw):
        f = io.BytesIO()
        m.save(f, format="JPEG", **kw)
        return f.getvalue()

    plain, restart, progressive = coded(quality=80), coded(quality=80, subsampling=0, restart_marker_blocks=2), coded(quality=80, progressive=True)
    for name, b in (("plain", plain), ("restart", restart), ("progressive", progressive)):
        tables = [t for t in segments(b) if t[1] == 0xC4]
        c = b
        for i, _, e in reversed(tables):
            c = c[:i] + c[e:]
        put(f"no-huffman-{name}", c)
        i, _, e = tables[1]
        put(f"one-huffman-less-{name}", b[:i] + b[e:])
    seg = segments(restart)
    marks = [t for t in seg if 0xD0 <= t[1] <= 0xD7]
    for k in (0, 3, 6):
        (i, n, e), after = marks[k], marks[min(k + 1, len(marks) - 1)][0]
        put(f"restart-gone-{k}", restart[:i] + restart[e:])
        put(f"restart-twice-{k}", restart[:e] + restart[i:])
        put(f"restart-lost-{k}", restart[:i] + restart[after:])
        put(f"restart-doubled-{k}", restart[:after] + restart[i:after] + restart[after:])
        put(f"restart-empty-{k}", restart[:e] + restart[after:])
        put(f"restart-lost-many-{k}", restart[:i] + restart[marks[min(k + 4, len(marks) - 1)][0] :])
        for number in (n + 1, n + 2, n + 4, n - 1, n - 2):
            put(f"restart-{k}-is-{(number - n) % 8}-ahead", restart[: i + 1] + bytes([0xD0 + number % 8]) + restart[e:])
        put(f"restart-{k}-garbage", restart[:i] + b"\x12\x34\x56" + restart[i:])
        put(f"restart-{k}-fill", restart[:i] + b"\xff\xff\xff" + restart[i:])
        put(f"restart-{k}-comment", restart[:i] + b"\xff\xfe\0\4ab" + restart[i:])
    first = next(t for t in seg if t[1] == 0xDA)[0]
    put("restart-interval-other", restart[:first] + b"\xff\xdd\0\4\0\3" + restart[first:])
    put("restart-interval-none", restart[:first] + b"\xff\xdd\0\4\0\0" + restart[first:])
    scans = [t[0] for t in segments(progressive) if t[1] == 0xDA] + [len(progressive) - 2]
    for k in range(len(scans) - 1):
        put(f"scans-up-to-{k}", progressive[: scans[k + 1]] + b"\xff\xd9")
        put(f"scans-without-{k}", progressive[: scans[k]] + progressive[scans[k + 1] :])
        put(f"scans-half-{k}", progressive[: (scans[k] + scans[k + 1]) // 2] + b"\xff\xd9")
    seg = segments(plain)
    sof = next(t for t in seg if t[1] == 0xC0)
    scan = next(t for t in seg if t[1] == 0xDA)
    app0 = seg[0]
    for k, (i, _, _) in enumerate(seg[:-1]):
        put(f"junk-before-{k}", plain[:i] + b"junk" + plain[i:])
        put(f"fill-before-{k}", plain[:i] + b"\xff\xff" + plain[i:])
        put(f"stuffing-before-{k}", plain[:i] + b"\xff\0" + plain[i:])
    for name, b in {"tem": b"\xff\1", "rst": b"\xff\xd3", "soi": b"\xff\xd8", "reserved": b"\xff\2\0\4ab", "dnl": b"\xff\xdc\0\4\0\x1f", "dhp": b"\xff\xde\0\2", "jpg0": b"\xff\xf0\0\4ab", "com-0": b"\xff\xfe\0\0", "app-1": b"\xff\xe5\0\1", "dac": b"\xff\xcc\0\4\0\x51"}.items():
        put(f"marker-{name}", plain[: scan[0]] + b + plain[scan[0] :])
        put(f"marker-{name}-later", plain[:-2] + b + plain[-2:])
    for k in range(4):
        put(f"adobe-{k}", plain[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([k]) + plain[app0[2] :])
    put("jfif-short", plain[:2] + b"\xff\xe0\0\x0eJFIF\0\1\1\0\0\1\0\1" + plain[app0[2] :])
    put("no-jfif", plain[:2] + plain[app0[2] :])
    put("height-0", plain[: sof[0] + 5] + b"\0\0" + plain[sof[0] + 7 :])
    put("frame-twice", plain[: sof[2]] + plain[sof[0] :])
    put("scan-twice", plain[:-2] + plain[scan[0] :])
    put("garbage-after", plain + b"garbage behind the end")
    put("end-inside", plain[: scan[2] + 60] + b"\xff\xd9" + plain[scan[2] + 60 :])
    put("tables-first", plain[:2] + plain[seg[1][0] : sof[0]] + b"\xff\xd9\xff\xd8" + plain[sof[0] :])
    w, h, f = 27, 22, ((1, 1),) * 3
    put("ids-same", jpeg(planes(w, h, f), f, w, h, ids=(7, 7, 7)))
    f = ((1, 1),) * 4
    for k in (1, 3):
        put(f"cmyk-adobe-{k}", jpeg(planes(w, h, f), f, w, h, adobe=k))
    f = ((2, 2), (1, 1), (1, 1))
    whole = jpeg(planes(w, h, f), f, w, h, interleaved=False)
    at = [t[0] for t in segments(whole) if t[1] == 0xDA]
    put("component-missing", whole[: at[1]] + b"\xff\xd9")
    # Bits turned over in the codes themselves, which makes numbers that no picture has.
    for k in range(12):
        b = bytearray(plain if k % 2 else restart)
        i = scan[2] + 8 + k * 37 % (len(plain) - scan[2] - 20)
        while b[i] == 255 or b[i - 1] == 255 or b[i] ^ 0x40 == 255:
            i += 1
        b[i] ^= 0x40
        put(f"flipped-{k}", b)
    # Without an end marker Pillow has the last unit if libjpeg's buffer happens to hold its bits.
    kept = {True: 0, False: 0}
    for k in range(300):
        f = io.BytesIO()
        m.crop((0, 0, 9 + k % 30, 8 + k // 10)).convert("L" if k % 3 == 0 else "RGB").save(f, format="JPEG", quality=50 + k % 45, **({"restart_marker_blocks": 3} if k % 7 == 0 else {}))
        b = f.getvalue()[:-2]
        try:
            Image.open(io.BytesIO(b)).load()
            loads = True
        except OSError:
            loads = False
        if kept[loads] < (9 if loads else 3):
            kept[loads] += 1
            put(f"no-end-{k}", b)
    # Arithmetic-coded ones are libjpeg-turbo's own. Without its cjpeg those of the last run stay.
    old = os.path.join(OUT, "files.zip")
    last = zipfile.ZipFile(old) if os.path.exists(old) else None
    for name, options in {"": [], "-progressive": ["-progressive"], "-restart": ["-restart", "3B"], "-420": ["-sample", "2x2"], "-grey": ["-grayscale"]}.items():
        if shutil.which("cjpeg"):
            ppm = io.BytesIO()
            m.save(ppm, format="PPM")
            b = subprocess.run(["cjpeg", "-quality", "80", "-arithmetic", *options], input=ppm.getvalue(), capture_output=True, check=True).stdout
        else:
            b = last.read(f"odd-arithmetic{name}.jpg")
        put(f"arithmetic{name}", b)
    b = files["odd-arithmetic.jpg"]
    i = next(t for t in segments(b) if t[1] == 0xDA)
    put("arithmetic-end-inside", b[: (i[2] + len(b)) // 2] + b"\xff\xd9")
    put("arithmetic-conditioning", b[: i[0]] + b"\xff\xcc\0\6\0\x31\x10\7" + b[i[0] :])
    rng.bit_generator.state = state  # what follows does not depend on these


# ---------------------------------------------------------------- GIF


def lzw(data, bits):
    """GIF's compression with a full table: codes grow, and the table is never cleared but at the start."""
    clear = 1 << bits
    table = {bytes([i]): i for i in range(clear)}
    size, nxt, out, acc, n = bits + 1, clear + 2, bytearray(), 0, 0

    def put(code):
        nonlocal acc, n
        acc |= code << n
        n += size
        while n >= 8:
            out.append(acc & 255)
            acc >>= 8
            n -= 8

    put(clear)
    w = b""
    for v in data:
        if w + bytes([v]) in table:
            w += bytes([v])
            continue
        put(table[w])
        if nxt < 4096:
            table[w + bytes([v])] = nxt
            if nxt == 1 << size and size < 12:
                size += 1
            nxt += 1
        w = bytes([v])
    put(table[w])
    put(clear + 1)
    if n:
        out.append(acc & 255)
    return bytes([bits]) + b"".join(bytes([len(out[i : i + 255])]) + bytes(out[i : i + 255]) for i in range(0, len(out), 255)) + b"\0"


def gif(canvas, frame, colours, palette=None, local=None, transparent=None, interlaced=False, background=0):
    """A GIF of one frame of random indices at frame = x, y, w, h. Palettes have `colours` entries."""
    n = colours.bit_length() - 2  # 2^(n+1) colours
    x, y, w, h = frame
    out = b"GIF89a" + struct.pack("<HHBBB", *canvas, (0x80 | n) if palette else 0, background, 0) + bytes(palette or [])
    if transparent is not None:
        out += b"!\xf9\x04" + bytes([1 | 2 << 2, 5, 0, transparent]) + b"\0"
    out += b"!\xfe\x03hey\0"
    out += b"," + struct.pack("<HHHHB", x, y, w, h, ((0x80 | n) if local else 0) | (0x40 if interlaced else 0)) + bytes(local or [])
    pixels = rng.integers(0, colours, w * h).astype(np.uint8)
    pixels[w * h // 2 :] = pixels[w * h // 2]
    return out + lzw(pixels.tobytes(), max(2, n + 1)) + b";"


def gifs():
    colour = lambda n: [int(v) for v in rng.integers(0, 256, 3 * n)]
    grey = lambda n: [v for i in range(n) for v in (i, i, i)]
    files["global.gif"] = gif((13, 11), (0, 0, 13, 11), 16, colour(16))
    files["256.gif"] = gif((70, 61), (0, 0, 70, 61), 256, colour(256))
    files["interlaced.gif"] = gif((13, 21), (0, 0, 13, 21), 16, colour(16), interlaced=True)
    files["interlaced-1.gif"] = gif((13, 1), (0, 0, 13, 1), 16, colour(16), interlaced=True)
    files["local.gif"] = gif((13, 11), (0, 0, 13, 11), 8, colour(8), colour(8))
    files["offset.gif"] = gif((13, 11), (3, 2, 7, 6), 8, colour(8), background=3)
    files["offset-transparent.gif"] = gif((13, 11), (3, 2, 7, 6), 8, colour(8), transparent=5)
    files["beyond.gif"] = gif((5, 4), (3, 2, 7, 6), 8, colour(8))
    files["grey-global.gif"] = gif((13, 11), (0, 0, 13, 11), 16, grey(16))
    files["grey-local.gif"] = gif((13, 11), (0, 0, 13, 11), 16, colour(16), grey(16))
    files["colour-local.gif"] = gif((13, 11), (0, 0, 13, 11), 16, grey(16), colour(16))
    files["no-palette.gif"] = gif((13, 11), (0, 0, 13, 11), 16)
    files["grey-transparent.gif"] = gif((13, 11), (3, 2, 7, 6), 16, grey(16), transparent=9)
    files["2-colours.gif"] = gif((13, 11), (0, 0, 13, 11), 2, colour(2))
    save("pillow.gif", picture("RGB", 40, 31), format="GIF")
    save("animated.gif", picture("P", 19, 15), format="GIF", save_all=True, append_images=[picture("P", 19, 15)])


# ---------------------------------------------------------------- WebP


def webps():
    for w, h in ((37, 29), (36, 28), (1, 1), (2, 1), (1, 2), (3, 3), (16, 17), (70, 5)):
        save(f"lossy-{w}x{h}.webp", picture("RGB", w, h), format="WEBP", quality=70)
    save("lossy-q1.webp", picture("RGB", 37, 29), format="WEBP", quality=1)
    save("lossy-q100.webp", picture("RGB", 37, 29), format="WEBP", quality=100, method=6)
    for w, h in ((37, 29), (3, 4), (1, 1)):
        save(f"alpha-{w}x{h}.webp", picture("RGBA", w, h), format="WEBP", quality=70)
    save("alpha-q20.webp", picture("RGBA", 37, 29), format="WEBP", quality=70, alpha_quality=20)
    save("alpha-exact.webp", picture("RGBA", 37, 29), format="WEBP", quality=70, exact=True)
    save("lossless.webp", picture("RGB", 37, 29), format="WEBP", lossless=True)
    save("lossless-alpha.webp", picture("RGBA", 37, 29), format="WEBP", lossless=True, exact=True)
    save("lossless-few.webp", picture("P", 37, 29).convert("RGB").quantize(5).convert("RGB"), format="WEBP", lossless=True)
    save("metadata.webp", picture("RGB", 20, 20), format="WEBP", exif=b"Exif\0\0x", icc_profile=b"not a profile")
    frames = [picture("RGB", 24, 18), picture("RGB", 24, 18)]
    save("animated.webp", frames[0], format="WEBP", save_all=True, append_images=frames[1:])
    frames = [picture("RGBA", 24, 18), picture("RGBA", 24, 18)]
    save("animated-alpha.webp", frames[0], format="WEBP", save_all=True, append_images=frames[1:])
    small = Image.new("RGBA", (24, 18))
    small.paste(picture("RGBA", 9, 8), (6, 4))
    save("animated-offset.webp", small, format="WEBP", save_all=True, append_images=frames, minimize_size=True, lossless=True)


# ---------------------------------------------------------------- BMP


def bmp(w, h, bits, data, compression=0, palette=None, header=40, masks=b"", down=False):
    entries = bytes(palette or [])
    if header == 12:
        head = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", 40, w, -h if down else h, 1, bits, compression, len(data), 2835, 2835, 0, 0)
        head = struct.pack("<I", header) + head[4:] + masks[: max(0, header - 40)] + b"\0" * max(0, header - 40 - len(masks))
        if header == 40:
            entries = masks + entries
    start = 14 + len(head) + len(entries)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + entries + data


def bmps():
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        save(f"pillow-{mode}.bmp", picture(mode, 13, 11), format="BMP")
    w, h = 13, 11
    noise = lambda bits, w=w, h=h: rng.integers(0, 256, h * ((w * bits + 31) // 32 * 4)).astype(np.uint8).tobytes()
    colour = lambda n, k=4: [int(v) for v in rng.integers(0, 256, k * n)]
    files["1.bmp"] = bmp(w, h, 1, noise(1), palette=colour(2))
    files["1-white-first.bmp"] = bmp(w, h, 1, noise(1), palette=[255, 255, 255, 0, 0, 0, 0, 0])
    files["4.bmp"] = bmp(w, h, 4, noise(4), palette=colour(16))
    files["4-down.bmp"] = bmp(w, h, 4, noise(4), palette=colour(16), down=True)
    files["8.bmp"] = bmp(w, h, 8, noise(8), palette=colour(256))
    files["os2.bmp"] = bmp(w, h, 8, noise(8), palette=colour(256, 3), header=12)
    files["os2-24.bmp"] = bmp(w, h, 24, noise(24), header=12)
    files["16.bmp"] = bmp(w, h, 16, noise(16))
    files["24-down.bmp"] = bmp(w, h, 24, noise(24), down=True)
    files["32.bmp"] = bmp(w, h, 32, noise(32))
    files["32-v5.bmp"] = bmp(w, h, 32, noise(32), header=124)
    m = lambda *v: struct.pack("<" + "I" * len(v), *v)
    files["565.bmp"] = bmp(w, h, 16, noise(16), 3, masks=m(0xF800, 0x7E0, 0x1F))
    files["555.bmp"] = bmp(w, h, 16, noise(16), 3, masks=m(0x7C00, 0x3E0, 0x1F))
    files["24-masks.bmp"] = bmp(w, h, 24, noise(24), 3, masks=m(0xFF0000, 0xFF00, 0xFF))
    files["32-masks.bmp"] = bmp(w, h, 32, noise(32), 3, masks=m(0xFF000000, 0xFF0000, 0xFF00))
    for i, v in enumerate([(0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF000000, 0xFF00, 0xFF, 0xFF0000), (0, 0, 0, 0)]):
        files[f"32-v5-masks{i}.bmp"] = bmp(w, h, 32, noise(32), 3, masks=m(*v), header=124)
    files["32-v2-masks.bmp"] = bmp(w, h, 32, noise(32), 3, masks=m(0xFF0000, 0xFF00, 0xFF), header=52)
    rle8 = b""
    for y in range(h):
        rle8 += bytes([5, y, 0, 3, 9, 8, 7, 0, 4, 200 - y, 0, 0]) if y % 3 else bytes([0, 4, 1, 2, 3, 4, 20, 77, 0, 0])
    files["rle8.bmp"] = bmp(w, h, 8, rle8 + b"\0\1", 1, palette=colour(256))
    files["rle8-jump.bmp"] = bmp(w, h, 8, b"\x03\x05\0\2\2\3\x04\x09\0\0\x06\x07\0\1", 1, palette=colour(256))
    files["rle8-short.bmp"] = bmp(w, h, 8, rle8[:60], 1, palette=colour(256))
    rle4 = b""
    for y in range(h):
        rle4 += bytes([5, 0x3A, 0, 3, 0x9B, 0x70, 4, 0x12, 0, 0]) if y % 3 else bytes([0, 5, 0x12, 0x34, 0x50, 0, 7, 0xCD, 0, 0])
    files["rle4.bmp"] = bmp(w, h, 4, rle4 + b"\0\1", 2, palette=colour(16))
    files["rle4-down.bmp"] = bmp(w, h, 4, rle4 + b"\0\1", 2, palette=colour(16), down=True)


# ---------------------------------------------------------------- TIFF


def tiff(w, h, order, bits, photometric, data, extra=None, orientation=None, palette=None):
    """An uncompressed TIFF of one strip."""
    e = ">" if order == "MM" else "<"
    tags = [(256, 4, [w]), (257, 4, [h]), (258, 3, bits), (259, 3, [1]), (262, 3, [photometric]), (273, 4, [0]), (277, 3, [len(bits)]), (278, 4, [h]), (279, 4, [len(data)])]
    if orientation:
        tags.append((274, 3, [orientation]))
    if palette:
        tags.append((320, 3, palette))
    if extra is not None:
        tags.append((338, 3, [extra]))
    tags.sort()
    after = 8 + 2 + 12 * len(tags) + 4
    heap, ifd = b"", struct.pack(e + "H", len(tags))
    sizes = {3: 2, 4: 4}
    for tag, kind, values in tags:
        total = sizes[kind] * len(values)
        packed = struct.pack(e + {3: "H", 4: "I"}[kind] * len(values), *values)
        if total > 4:
            where = after + len(heap)
            heap += packed + b"\0" * (len(packed) % 2)
            packed = struct.pack(e + "I", where)
        ifd += struct.pack(e + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
        if tag == 273:
            strip = len(ifd) - 4
    ifd += b"\0\0\0\0"
    ifd = ifd[:strip] + struct.pack(e + "I", after + len(heap)) + ifd[strip + 4 :]
    return order.encode() + struct.pack(e + "HI", 42, 8) + ifd + heap + data


def tiffs():
    for mode in ("1", "L", "P", "RGB", "RGBA", "I;16"):
        name = mode.replace(";", "")
        save(f"{name}.tif", picture(mode, 21, 17), format="TIFF")
        for c in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
            save(f"{name}-{c}.tif", picture(mode, 21, 17), format="TIFF", compression=c)
    save("1-group3.tif", picture("1", 21, 17), format="TIFF", compression="group3")
    save("1-group4.tif", picture("1", 21, 17), format="TIFF", compression="group4")
    for g in (3, 4):
        entry = struct.pack("<HHI", 262, 3, 1)
        white = files[f"1-group{g}.tif"].replace(entry + b"\1", entry + b"\0")
        assert white != files[f"1-group{g}.tif"]
        files[f"1-group{g}-white.tif"] = white
    save("predictor.tif", picture("RGB", 21, 17), format="TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    w, h = 7, 5
    for order in ("II", "MM"):
        noise = lambda n: rng.integers(0, 256, n).astype(np.uint8).tobytes()
        files[f"{order}-white.tif"] = tiff(w, h, order, [8], 0, noise(w * h))
        files[f"{order}-16.tif"] = tiff(w, h, order, [16], 1, noise(2 * w * h))
        files[f"{order}-rgb16.tif"] = tiff(w, h, order, [16] * 3, 2, noise(6 * w * h))
        files[f"{order}-rgba16.tif"] = tiff(w, h, order, [16] * 4, 2, noise(8 * w * h), extra=2)
        files[f"{order}-pre16.tif"] = tiff(w, h, order, [16] * 4, 2, noise(8 * w * h), extra=1)
        files[f"{order}-pre8.tif"] = tiff(w, h, order, [8] * 4, 2, b"\1\2\3\0" + noise(4 * w * h - 4), extra=1)
        files[f"{order}-palette.tif"] = tiff(w, h, order, [8], 3, noise(w * h), palette=[int(v) for v in rng.integers(0, 1 << 16, 768)])
        files[f"{order}-bits-white.tif"] = tiff(w, h, order, [1], 0, noise(h))
    files["II-16-white.tif"] = tiff(w, h, "II", [16], 0, noise(2 * w * h))
    for o in range(1, 9):
        files[f"orientation{o}.tif"] = tiff(w, h, "II", [8] * 3, 2, noise(3 * w * h), orientation=o)


def pieces(tags, parts, order="II", big=False, tiled=False):
    """A TIFF or BigTIFF of any tags, {number: (type, values)}, and strips or tiles."""
    e, kinds, inline, entry = "<" if order == "II" else ">", {1: "B", 3: "H", 4: "I", 16: "Q"}, 8 if big else 4, 20 if big else 12
    where = (324, 325) if tiled else (273, 279)
    tags = {**tags, where[0]: (16 if big else 4, [0] * len(parts)), where[1]: (16 if big else 4, [len(p) for p in parts])}
    start, heap = (16 + 8 if big else 8 + 2) + entry * len(tags) + inline, b""

    def place(b):
        nonlocal heap
        heap += b"\0" * (len(heap) % 2)
        heap += b
        return start + len(heap) - len(b)

    tags[where[0]] = (tags[where[0]][0], [place(p) for p in parts])
    ifd = struct.pack(e + ("Q" if big else "H"), len(tags))
    for number, (kind, values) in sorted(tags.items()):
        b = struct.pack(e + kinds[kind] * len(values), *values)
        if len(b) > inline:
            b = struct.pack(e + ("Q" if big else "I"), place(b))
        ifd += struct.pack(e + "HH" + ("Q" if big else "I"), number, kind, len(values)) + b.ljust(inline, b"\0")
    head = struct.pack(e + "HHHQ", 43, 8, 0, 16) if big else struct.pack(e + "HI", 42, 8)
    return order.encode() + head + ifd + b"\0" * inline + heap


def odd_tiffs():
    """TIFFs of every layout that Pillow has a mode for, and compressions with their variants."""
    r = random.Random(65000)
    w, h = 21, 13
    short = lambda *v: (3, list(v))
    raw = lambda bits, samples, rows=h, columns=w: r.randbytes(rows * ((columns * bits * samples + 7) // 8))

    def put(name, bits, photometric, samples=1, more=None, parts=None, **kw):
        tags = {256: short(w), 257: short(h), 258: short(*[bits] * samples), 259: short(1), 262: short(photometric), 277: short(samples), 278: short(h), **(more or {})}
        if photometric == 3:
            tags[320] = (3, [r.randrange(65536) for _ in range(3 << min(bits, 8))])
        files[f"odd-{name}.tif"] = pieces(tags, parts or [raw(bits, samples)], **kw)

    for order in ("II", "MM"):
        for bits in (2, 4):
            for photometric in (0, 1, 3):
                put(f"{order}-{bits}-{photometric}", bits, photometric, order=order)
        put(f"{order}-cmyk", 8, 5, 4, order=order)
        put(f"{order}-cmyk-extra", 8, 5, 5, {338: short(0)}, order=order)
        put(f"{order}-cmyk16", 16, 5, 4, order=order)
        put(f"{order}-signed8", 8, 1, 1, {339: short(2)}, order=order)
        put(f"{order}-signed16", 16, 1, 1, {339: short(2)}, order=order)
        put(f"{order}-signed32", 32, 1, 1, {339: short(2)}, order=order)
        put(f"{order}-float", 32, 1, 1, {339: short(3)}, [struct.pack(("<" if order == "II" else ">") + f"{w * h}f", *[r.uniform(-50, 300) for _ in range(w * h)])], order=order)
        put(f"{order}-float-zip", 32, 1, 1, {339: short(3), 259: short(8)}, [zlib.compress(struct.pack(("<" if order == "II" else ">") + f"{w * h}f", *[r.uniform(-50, 300) for _ in range(w * h)]))], order=order)
        put(f"{order}-16-zip", 16, 1, 1, {259: short(8)}, [zlib.compress(raw(16, 1))], order=order)
        put(f"{order}-rgb16-zip-predictor", 16, 2, 3, {259: short(8), 317: short(2)}, [zlib.compress(raw(16, 3))], order=order)
        for k in (0, 1, 2):
            put(f"{order}-grey-extra{k}", 8, 1, 2, {338: short(k)}, order=order)
        for k in ([0], [1], [2], [999], [0, 0], [1, 0], [2, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0]):
            put(f"{order}-rgb-extra{'-'.join(map(str, k))}", 8, 2, 3 + len(k), {338: short(*k)}, order=order)
        put(f"{order}-rgba-unsaid", 8, 2, 4, order=order)
        put(f"{order}-palette-extra", 8, 3, 2, {338: short(0)}, order=order)
        put(f"{order}-planes", 8, 2, 3, {284: short(2), 278: short(5)}, [raw(8, 1, n) for _ in range(3) for n in (5, 5, 3)], order=order)
        put(f"{order}-planes-cmyk", 8, 5, 4, {284: short(2)}, [raw(8, 1) for _ in range(4)], order=order)
        put(f"{order}-planes16-zip", 16, 2, 3, {284: short(2), 259: short(8)}, [zlib.compress(raw(16, 1)) for _ in range(3)], order=order)
        put(f"{order}-planes-rgba-zip", 8, 2, 4, {284: short(2), 259: short(8), 338: short(2)}, [zlib.compress(raw(8, 1)) for _ in range(4)], order=order)
        put(f"{order}-planes-premultiplied-zip", 8, 2, 4, {284: short(2), 259: short(8), 338: short(1)}, [zlib.compress(raw(8, 1)) for _ in range(4)], order=order)
        put(f"{order}-plane-of-one", 8, 0, 1, {284: short(2)}, order=order)
        put(f"{order}-tiles", 8, 2, 3, {322: short(16), 323: short(16)}, [raw(8, 3, 16, 16) for _ in range(2)], order=order, tiled=True)
        put(f"{order}-tiles-zip", 8, 2, 3, {322: short(16), 323: short(16), 259: short(8), 317: short(2)}, [zlib.compress(raw(8, 3, 16, 16)) for _ in range(2)], order=order, tiled=True)
        put(f"{order}-tiles-4-bits", 4, 1, 1, {322: short(16), 323: short(16)}, [raw(4, 1, 16, 16) for _ in range(2)], order=order, tiled=True)
        put(f"{order}-strips", 8, 2, 3, {278: short(4)}, [raw(8, 3, n) for n in (4, 4, 4, 1)], order=order)
        put(f"{order}-strips-missing", 8, 2, 3, {278: short(4)}, [raw(8, 3, 4) for _ in range(2)], order=order)
        for photometric in (0, 1):
            put(f"{order}-reversed-1-{photometric}", 1, photometric, 1, {266: short(2)}, order=order)
            put(f"{order}-reversed-8-{photometric}", 8, photometric, 1, {266: short(2)}, order=order)
        put(f"{order}-reversed-rgb", 8, 2, 3, {266: short(2)}, order=order)
        put(f"{order}-reversed-zip", 8, 2, 3, {266: short(2), 259: short(8)}, [bytes(int(f"{b:08b}"[::-1], 2) for b in zlib.compress(raw(8, 3)))], order=order)
    put("12", 12, 1)
    put("32", 32, 1)
    put("float-predictor", 32, 1, 1, {339: short(3), 259: short(8), 317: short(3)}, [zlib.compress(raw(32, 1))])
    put("big", 8, 2, 3, big=True)
    put("big-strips-zip", 8, 2, 3, {278: short(4), 259: short(8)}, [zlib.compress(raw(8, 3, n)) for n in (4, 4, 4, 1)], big=True)
    put("big-tiles", 8, 2, 3, {322: short(16), 323: short(16)}, [raw(8, 3, 16, 16) for _ in range(2)], big=True, tiled=True)
    put("zip-cut", 8, 2, 3, {259: short(8)}, [zlib.compress(raw(8, 3))[:-99]])
    put("packbits-cut", 8, 1, 1, {259: short(32773)}, [b"\7abcdefgh"])
    put("unknown-compression", 8, 1, 1, {259: short(4711)})
    y, x = np.mgrid[0:h, 0:w].astype(float)
    a = np.clip(np.stack([128 + 90 * np.sin(x / (4 + b) + b) * np.cos(y / (6 - b)) for b in range(4)], -1), 0, 255).astype(np.uint8)

    def coded(mode, first=0, last=h, columns=w, **kw):
        part = np.pad(a[first:last, :, : len(mode)], ((0, 0), (0, columns - w), (0, 0)), mode="edge")
        f = io.BytesIO()
        Image.frombytes(mode, part.shape[1::-1], part.tobytes()).save(f, format="JPEG", quality=85, **kw)
        return f.getvalue()

    tables = lambda b: b"".join(b[i:e] for i, m, e in segments(b) if m in (0xC4, 0xDB))
    bare = lambda b: b[:2] + b"".join(b[i:e] for i, m, e in segments(b) if m not in (0xC4, 0xDB, 0xE0, 0xEE, 0xD9)) + b[next(e for _, m, e in segments(b) if m == 0xDA) :]
    for sub, k in ((0, (1, 1)), (1, (2, 1)), (2, (2, 2))):
        put(f"jpeg-ycc-{k[0]}{k[1]}", 8, 6, 3, {259: short(7), 530: short(*k)}, [coded("RGB", subsampling=sub)])
    strips = [coded("RGB", i, min(i + 8, h), subsampling=2) for i in (0, 8)]
    put("jpeg-strips", 8, 6, 3, {259: short(7), 530: short(2, 2), 278: short(8), 347: (1, list(b"\xff\xd8" + tables(strips[0]) + b"\xff\xd9"))}, [bare(b) for b in strips])
    put("jpeg-tiles", 8, 6, 3, {259: short(7), 530: short(2, 2), 322: short(32), 323: short(16)}, [coded("RGB", 0, h, 32, subsampling=2)], tiled=True)
    put("jpeg-rgb", 8, 2, 3, {259: short(7)}, [coded("RGB", keep_rgb=True)])
    put("jpeg-rgb-ycc-inside", 8, 2, 3, {259: short(7)}, [coded("RGB", subsampling=0)])
    put("jpeg-grey", 8, 1, 1, {259: short(7)}, [coded("L")])
    put("jpeg-grey-white", 8, 0, 1, {259: short(7)}, [coded("L")])
    put("jpeg-cmyk", 8, 5, 4, {259: short(7)}, [coded("CMYK")])
    put("jpeg-planes", 8, 2, 3, {259: short(7), 284: short(2)}, [coded("L") for _ in range(3)])
    put("jpeg-no-end", 8, 6, 3, {259: short(7), 530: short(2, 2)}, [coded("RGB", subsampling=2)[:-2]])
    put("jpeg-cut", 8, 6, 3, {259: short(7), 530: short(2, 2)}, [coded("RGB", subsampling=2)[:-90]])


def others():
    """Icons, Netpbm's formats and QOI."""
    r = random.Random(43382)

    def dib(w, h, bits, colours=0, mask=True):
        palette = r.randbytes(4 * (colours or 1 << bits)) if bits <= 8 else b""
        head = struct.pack("<IiiHHIIiiII", 40, w, 2 * h, 1, bits, 0, 0, 0, 0, colours, 0)
        return head + palette + r.randbytes((w * bits + 31) // 32 * 4 * h) + (r.randbytes((w + 31) // 32 * 4 * h) if mask else b"")

    def icon(*entries):
        out, at, body = struct.pack("<HHH", 0, 1, len(entries)), 6 + 16 * len(entries), b""
        for w, h, colours, bits, b in entries:
            out += struct.pack("<BBBBHHII", w & 255, h & 255, colours, 0, 1, bits, len(b), at + len(body))
            body += b
        return out + body

    def coded(mode, w, h, **kw):
        f = io.BytesIO()
        Image.frombytes(mode, (w, h), r.randbytes(w * h * len(mode))).save(f, **kw)
        return f.getvalue()

    for bits in (1, 4, 8, 16, 24, 32):
        for w, h in ((16, 16), (13, 9)):
            files[f"{bits}-{w}.ico"] = icon((w, h, 0, bits, dib(w, h, bits)))
    files["24-no-mask.ico"] = icon((9, 9, 0, 24, dib(9, 9, 24, mask=False)))
    files["32-no-mask.ico"] = icon((9, 9, 0, 32, dib(9, 9, 32, mask=False)))
    files["32-said-to-be-24.ico"] = icon((9, 9, 0, 24, dib(9, 9, 32)))
    files["8-few-colours.ico"] = icon((9, 9, 16, 8, dib(9, 9, 8, colours=16)))
    files["several.ico"] = icon((8, 8, 0, 32, dib(8, 8, 32)), (16, 16, 0, 32, dib(16, 16, 32)), (16, 16, 16, 0, dib(16, 16, 4)), (16, 16, 0, 8, dib(16, 16, 8)))
    files["png.ico"] = icon((8, 8, 0, 32, dib(8, 8, 32)), (16, 16, 0, 32, coded("RGBA", 16, 16, format="PNG")))
    files["png-grey.ico"] = icon((16, 16, 0, 32, coded("L", 16, 16, format="PNG")))
    files["empty.ico"] = icon()
    for k, most in ((1, 1), (2, 255), (2, 15), (2, 1000), (3, 255), (3, 9), (4, 1), (5, 255), (5, 100), (5, 300), (5, 65535), (6, 255), (6, 31), (6, 4095), (6, 65535), (5, 0), (5, 65536)):
        w, h = 11, 7
        n, top = w * h * (3 if k in (3, 6) else 1), max(1, min(most, 65535))
        head = f"P{k}\n# a comment\n{w} {h}\n" + ("" if k in (1, 4) else f"{most}\n")
        if k == 1:
            body = "".join(r.choice(["0", "1", "0 ", "1\n", "# 01\n1"]) for _ in range(n)).encode()
        elif k < 4:
            body = "".join(f"{r.randrange(top + 1)}{r.choice([' ', chr(10), ' # 9' + chr(10)])}" for _ in range(n)).encode()
        elif k == 4:
            body = r.randbytes((w + 7) // 8 * h)
        else:
            body = b"".join(bytes([r.randrange(top + 1)]) if most < 256 else struct.pack(">H", r.randrange(top + 1)) for _ in range(n))
        files[f"p{k}-{most}.{'pbm' if k in (1, 4) else 'ppm' if k in (3, 6) else 'pgm'}"] = head.encode() + body
    for e, scale in (("<", "-1.0"), (">", "2.5")):
        files[f"float{scale}.pfm"] = f"Pf\n11 7\n{scale}\n".encode() + struct.pack(f"{e}77f", *[r.uniform(-20, 300) for _ in range(77)])
    files["p6-cut.ppm"] = files["p6-255.ppm"][:-1]
    files["p2-too-large.pgm"] = b"P2 2 1 9 4 10"
    for mode in ("RGB", "RGBA"):
        y, x = np.mgrid[0:15, 0:21]
        a = np.stack([(x * (3 + b) + y * 5) // 7 * (40 if b == 3 else 6) % 256 for b in range(len(mode))], -1).astype(np.uint8)
        f = io.BytesIO()
        Image.frombytes(mode, (21, 15), a.tobytes()).save(f, format="QOI")
        files[f"{mode}.qoi"] = f.getvalue()
        files[f"{mode}-noise.qoi"] = coded(mode, 9, 8, format="QOI")
    files["random.qoi"] = b"qoif" + struct.pack(">II", 30, 20) + b"\4\0" + r.randbytes(2000)


# ---------------------------------------------------------------- results


def crc(m):
    return binascii.crc32(raw(m))


def raw(m):
    return m.tobytes("raw", "L") if m.mode == "1" else m.tobytes()


def describe(m):
    d = {"mode": m.mode, "size": list(m.size), "crc": crc(m)}
    if m.mode == "P":
        d["rgb"] = crc(m.convert("RGB"))
    return d


FILTERS = {"nearest": 0, "box": 4, "bilinear": 2, "bicubic": 3}


def clip(m, size):
    return T.Compose([T.Resize(size, interpolation=T.InterpolationMode.BICUBIC), T.CenterCrop(size)])(m).convert("RGB")


def formula(w, h, bands):
    """A picture that the Go test computes too."""
    y, x, b = np.mgrid[0:h, 0:w, 0:bands]
    a = ((x * 7 + y * 13 + b * 29 + x * x // 16 + x * y) % 256).astype(np.uint8)
    return Image.fromarray(a if bands > 1 else a[..., 0])


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--photos", default=os.path.join(OUT, "..", "..", "..", "shared", "data", "images"))
    args = args.parse_args()
    for make in (jpegs, pngs, gifs, webps, bmps, tiffs, odd_pngs, odd_jpegs, odd_tiffs, others):
        make()
    pixels, table = {}, {"files": {}, "resize": [], "clip": [], "crop": [], "rgb": [], "formula": [], "photos": {}, "refused": {}}
    for name in sorted(files):
        try:
            m = Image.open(io.BytesIO(files[name]))
            m.load()
        except Exception as e:
            table["refused"][name] = str(e).split(" <")[0]  # without an address
            continue
        table["files"][name] = describe(m)
        if name.endswith((".jpg", ".webp")) and "lossless" not in name and "flipped" not in name and not name.startswith("odd-"):  # where a difference may be small
            pixels[name] = raw(m)
    w, h = 23, 17
    for mode in ("1", "L", "La", "LA", "P", "RGB", "RGBa", "RGBA", "CMYK", "I;16", "I;16B", "I", "F"):
        m = picture(mode, w, h)
        pixels["mode " + mode] = raw(m)
        if mode == "P":
            pixels["palette"] = m.palette.tobytes()
        for size in ((w, h), (46, 34), (11, 8), (7, 40), (40, 5), (1, 1), (w, 5), (9, h), (100, 3), (24, 18)):
            for name, f in FILTERS.items():
                r = m.resize(size, f)
                table["resize"].append([mode, name, *size, crc(r)])
        for box in ((2, 3, 9, 8), (-3, -2, 10, 9), (15, 10, 30, 20), (40, 40, 45, 45), (5, 5, 5, 9)):
            table["crop"].append([mode, *box, crc(m.crop(box))])
        if mode not in ("La",):  # Pillow has no conversion
            table["rgb"].append([mode, crc(m.convert("RGB"))])
            for size in (8, 16, 17, 31):
                table["clip"].append([mode, size, crc(clip(m, size))])
    for w, h, bands, size in ((20000, 10, 3, 64), (10, 20000, 3, 64), (3, 500, 1, 24), (500, 3, 3, 24), (1, 1, 3, 30), (640, 481, 3, 96), (333, 1000, 3, 77), (301, 200, 1, 223), (225, 224, 3, 224), (224, 226, 3, 224), (224, 227, 3, 224)):
        m = formula(w, h, bands)
        table["formula"].append([w, h, bands, size, crc(clip(m, size))])
    old = os.path.join(OUT, "table.json")
    if not os.path.isdir(args.photos):
        table["photos"] = json.load(open(old))["photos"] if os.path.exists(old) else {}
    else:
        for name in sorted(os.listdir(args.photos)):
            m = Image.open(os.path.join(args.photos, name))
            m.load()
            c = clip(m, 336)
            table["photos"][name] = {"mode": m.mode, "size": list(m.size), "crc": crc(m), "clip": crc(c)}
    os.makedirs(OUT, exist_ok=True)
    for name, content in (("files.zip", files), ("pixels.zip", pixels)):
        with zipfile.ZipFile(os.path.join(OUT, name), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
            for k in sorted(content):
                z.writestr(zipfile.ZipInfo(k, (1980, 1, 1, 0, 0, 0)), content[k], zipfile.ZIP_DEFLATED, 9)
    with open(os.path.join(OUT, "table.json"), "w") as f:
        lines = []
        for k, v in table.items():
            items = [json.dumps(i) for i in v] if isinstance(v, list) else [json.dumps(n) + ": " + json.dumps(d) for n, d in v.items()]
            o, c = ("[", "]") if isinstance(v, list) else ("{", "}")
            lines.append(json.dumps(k) + ": " + o + "\n" + ",\n".join(items) + "\n" + c)
        f.write("{\n" + ",\n".join(lines) + "\n}\n")


main()
