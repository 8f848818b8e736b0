"""Makes testdata/pillow/transforms.zip and transforms.json: small picture files, and what libraries make of them before
they normalise: open_clip 3.3.0 (image_transform), transformers 5.24.0 (CLIPImageProcessorPil, and its other classes by
their configurations), transformers' rules before 5.21, immich and LLaVA (their few calls of Pillow), and Pillow 13.0.0's exif_transpose, Lanczos and Hamming filters.

Run it from testdata/gen with the newest libraries: torch 2.15.0, torchvision 0.29.2, transformers 5.24.0,
open_clip_torch 3.3.0, pillow 13.0.0.
"""

import binascii
import io
import json
import os
import tempfile
import zipfile

import numpy as np
import open_clip
import PIL
import torch
import transformers
from open_clip.transform import image_transform
from PIL import Image, ImageOps, PngImagePlugin
from torchvision.transforms import Normalize
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

assert (PIL.__version__, transformers.__version__, open_clip.__version__) == ("13.0.0", "5.24.0", "3.3.0")
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pillow")
rng = np.random.default_rng(13)
files = {}


def drawing(w, h, bands):
    """Gradients, an edge and some noise, in bytes."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    a = np.zeros((h, w, bands))
    for b in range(bands):
        a[..., b] = 128 + 90 * np.sin(x / (3 + b) + b) * np.cos(y / (5 - b)) + 30 * ((x + 2 * y + 7 * b) % 17 < 6)
        a[..., b] += rng.normal(0, 12, (h, w))
    a = np.clip(a, 0, 255).astype(np.uint8)
    if bands in (2, 4):
        a[: h // 3, : w // 3, -1] = 0
        a[h // 2 :, w // 2 :, -1] = 255
    return a


def save(name, m, **kw):
    f = io.BytesIO()
    m.save(f, **kw)
    files[name] = f.getvalue()


SHAPES = [(57, 41), (41, 57), (101, 33), (33, 101), (60, 60), (31, 90), (24, 24), (25, 24), (24, 27), (9, 5), (3, 7), (180, 29), (29, 181)]


def pictures():
    for w, h in SHAPES:
        save(f"rgb-{w}x{h}.png", Image.fromarray(drawing(w, h, 3)), format="PNG")
    for w, h in SHAPES[:4]:
        rgb, grey = Image.fromarray(drawing(w, h, 3)), Image.fromarray(drawing(w, h, 1)[..., 0])
        size = f"{w}x{h}"
        save(f"rgba-{size}.png", Image.fromarray(drawing(w, h, 4)), format="PNG")
        save(f"rgba-{size}.webp", Image.fromarray(drawing(w, h, 4)), format="WEBP", lossless=True, exact=True)
        save(f"la-{size}.png", Image.fromarray(drawing(w, h, 2), "LA"), format="PNG")
        save(f"l-{size}.png", grey, format="PNG")
        save(f"l-key-{size}.png", grey.point(lambda v: v & 0xF0), format="PNG", transparency=0x80)
        keyed = np.array(rgb)
        keyed[::3, 1::2] = (7, 8, 9)
        save(f"rgb-key-{size}.png", Image.fromarray(keyed), format="PNG", transparency=(7, 8, 9))
        save(f"1-{size}.png", grey.convert("1"), format="PNG")
        save(f"1-key-{size}.png", grey.convert("1"), format="PNG", transparency=0)
        save(f"1-key-on-{size}.png", grey.convert("1"), format="PNG", transparency=1)
        p = rgb.quantize(50)
        save(f"p-{size}.png", p, format="PNG")
        save(f"p-key-{size}.png", p, format="PNG", transparency=3)
        save(f"p-alphas-{size}.png", p, format="PNG", transparency=bytes(rng.integers(0, 256, 50).tolist()))
        save(f"p-{size}.gif", p, format="GIF")
        save(f"p-key-{size}.gif", p, format="GIF", transparency=5)
        save(f"l-key-{size}.gif", grey.point(lambda v: v & 0xF0), format="GIF", transparency=0x80)
        save(f"cmyk-{size}.jpg", Image.frombytes("CMYK", (w, h), drawing(w, h, 4).tobytes()), format="JPEG", quality=90)
        save(f"i16-{size}.png", Image.frombytes("I;16", (w, h), rng.integers(0, 512, (h, w)).astype("<u2").tobytes()), format="PNG")


FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]  # Image.Resampling
LEVELS = dict(do_rescale=False, do_normalize=False)


def crc(pixels):
    a = np.ascontiguousarray(pixels)
    assert a.dtype == np.uint8, a.dtype
    return binascii.crc32(a.tobytes())


def of_openclip(m, size, fit, name, fill):
    t = image_transform(size, False, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=fit, interpolation=name, fill_color=fill)
    x = (t(m).numpy() * 255).transpose(1, 2, 0)
    assert np.abs(x - np.rint(x)).max() < 1e-3
    return crc(np.rint(x).astype(np.uint8))


def of_transformers(m, **k):
    return crc(CLIPImageProcessorPil(**k, **LEVELS)(m)["pixel_values"][0].transpose(1, 2, 0))


def of_immich(m, size, fit, name):
    m, f = m.convert("RGB"), Image.Resampling[name.upper()]
    if fit == "squash":
        return crc(m.resize((size, size), f))
    w, h = (size, int(m.height / m.width * size)) if m.width < m.height else (int(m.width / m.height * size), size)
    m = m.resize((w, h), f)
    x, y = int(w / 2 - size / 2), int(h / 2 - size / 2)
    return crc(m.crop((x, y, x + size, y + size)))


def of_llava(m, size, name, fill):
    m = m.convert("RGB")
    side = max(m.size)
    square = Image.new("RGB", (side, side), fill)
    square.paste(m, ((side - m.width) // 2, (side - m.height) // 2))
    return crc(square.resize((size, size), Image.Resampling[name.upper()]))


def transforms():
    """Rows: file, the fields of clipvit.Transform, size, checksum of the RGB pixels (None: the library raises)."""
    rows = []

    def row(file, size, want, **t):
        try:
            rows.append([file, t, size, want()])
        except (ValueError, ZeroDivisionError) as e:
            print(file, t, size, e)
            rows.append([file, t, size, None])

    white, before = dict(rounding="transformers", alpha="white"), dict(rounding="transformers", alpha="drop-first")
    immich = dict(rounding="immich", alpha="drop-first")
    for file in sorted(files):
        m = Image.open(io.BytesIO(files[file]))
        m.load()
        rgb = Image.fromarray(np.array(m.convert("RGB")))  # which forgets what was transparent
        plain = file.startswith("rgb-") and "key" not in file
        for size in (24, 35) if plain else (24,):
            for fit in ("shortest", "squash", "longest"):
                for name in ("bicubic", "bilinear"):
                    fills = (0, 37) if fit == "longest" else (0,)
                    for fill in fills:
                        more = dict(fill=[fill] * 3) if fill else {}
                        row(file, size, lambda: of_openclip(m, size, fit, name, fill), fit=fit, filter=name, **more)
            for number, name in enumerate(FILTERS):
                if not plain and name not in ("bicubic", "lanczos", "nearest"):
                    continue
                crop = dict(resample=number, crop_size=dict(height=size, width=size))
                edge = dict(size=dict(shortest_edge=size), **crop)
                row(file, size, lambda: of_transformers(m, **edge), filter=name, **white)
                row(file, size, lambda: of_transformers(rgb, **edge), filter=name, **before)
                bigger = dict(size=dict(shortest_edge=size + 5), **crop)
                row(file, size, lambda: of_transformers(m, **bigger), filter=name, resize=size + 5, **white)
                square = dict(size=dict(height=size, width=size), resample=number, do_center_crop=False)
                row(file, size, lambda: of_transformers(m, **square), fit="squash", filter=name, **white)
                bigger = dict(size=dict(height=size + 5, width=size + 5), **crop)
                row(file, size, lambda: of_transformers(m, **bigger), fit="squash", filter=name, resize=size + 5, **white)
                for fit in ("shortest", "squash"):
                    row(file, size, lambda: of_immich(m, size, fit, name), fit=fit, filter=name, **immich)
            for fill in ((0, 0, 0), (122, 116, 104)):
                row(file, size, lambda: of_llava(m, size, "bicubic", fill), fit="pad", fill=list(fill), alpha="drop-first")
    return rows


def orientations():
    """Rows: file, orientation, size and checksum after exif_transpose, in RGB."""
    w, h = 23, 14
    m = Image.fromarray(drawing(w, h, 3))
    kept = dict(files)
    files.clear()
    xmp = lambda n: (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>' % n)
    for n in range(10):
        exif = Image.Exif()
        exif[271] = "Maker"
        exif[274] = n
        save(f"exif{n}.jpg", m, format="JPEG", quality=92, exif=exif)
        save(f"exif{n}.png", m, format="PNG", exif=exif)
        save(f"exif{n}.webp", m, format="WEBP", lossless=True, exif=exif)
        save(f"exif{n}.tif", m, format="TIFF", exif=exif)
    big = Image.Exif()
    big.endian = ">"
    big[274] = 6
    save("big-endian.jpg", m, format="JPEG", quality=92, exif=big.tobytes())
    save("long.jpg", m, format="JPEG", quality=92, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0")
    save("two-values.jpg", m, format="JPEG", quality=92, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x02\0\0\0\x06\0\x06\0\0\0\0\0")
    save("no-tiff.jpg", m, format="JPEG", quality=92, exif=b"Exif\0\0rubbish")
    save("xmp.jpg", m, format="JPEG", quality=92, xmp=xmp(6))
    save("xmp-element.jpg", m, format="JPEG", quality=92, xmp=b"<x><tiff:Orientation>5</tiff:Orientation></x>")
    save("xmp.webp", m, format="WEBP", lossless=True, xmp=xmp(8))
    exif = Image.Exif()
    exif[274] = 3
    save("exif-and-xmp.jpg", m, format="JPEG", quality=92, exif=exif, xmp=xmp(6))
    for name, compressed in (("xmp.png", False), ("xmp-compressed.png", True)):
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp(7).decode(), zip=compressed)
        save(name, m, format="PNG", pnginfo=info)
    raw = exif.tobytes()
    for name, compressed in (("raw-profile.png", False), ("raw-profile-compressed.png", True)):
        info = PngImagePlugin.PngInfo()
        info.add_text("Raw profile type exif", f"\nexif\n{len(raw):8}\n{raw.hex()}\n", zip=compressed)
        save(name, m, format="PNG", pnginfo=info)
    save("palette.png", m.quantize(40), format="PNG", exif=exif)
    save("grey.png", m.convert("L"), format="PNG", exif=exif)
    rows = []
    for name in sorted(files):
        m = Image.open(io.BytesIO(files[name]))
        try:
            n = m.getexif().get(274, 0)
            m = ImageOps.exif_transpose(m)
        except SyntaxError:  # data that are not EXIF's
            n = 0
        rows.append([name, list(m.size), crc(m.convert("RGB"))])
    kept.update({"orientation/" + k: v for k, v in files.items()})
    files.clear()
    files.update(kept)
    return rows


def resizes():
    """Rows: mode, size, filter, checksum, of the sources of pillow.py, 23×17."""
    rows = []
    with zipfile.ZipFile(os.path.join(OUT, "pixels.zip")) as z:
        for name in sorted(n for n in z.namelist() if n.startswith("mode ")):
            mode = name[5:]
            if mode in ("La", "RGBa"):
                continue
            m = Image.frombytes("L" if mode == "1" else mode, (23, 17), z.read(name)).convert(mode)
            for f in ("lanczos", "hamming"):
                for w, h in ((7, 5), (5, 16), (16, 5), (40, 31), (23, 9), (9, 17), (1, 1), (3, 50), (100, 2), (22, 16), (2, 17)):
                    r = m.resize((w, h), Image.Resampling[f.upper()])
                    rows.append([mode, w, h, f, binascii.crc32((r.convert("L") if mode == "1" else r).tobytes())])
    return rows


def processors():
    """Rows: preprocessor_config.json, file, size, checksum: AutoImageProcessor on Pillow, without normalisation."""
    from transformers import AutoImageProcessor

    n = 24
    square, edge = dict(height=n, width=n), dict(shortest_edge=n)
    both = dict(size=edge, crop_size=square)
    bigger = dict(size=dict(shortest_edge=30), crop_size=square)
    configs = [
        dict(image_processor_type="CLIPImageProcessor", **both),
        dict(image_processor_type="CLIPImageProcessorFast", **bigger, resample=2),
        dict(image_processor_type="CLIPImageProcessorPil", size=n, crop_size=n, resample=1),
        dict(feature_extractor_type="CLIPFeatureExtractor", size=n, crop_size=n),
        dict(image_processor_type="CLIPImageProcessor", feature_extractor_type="CLIPFeatureExtractor", size=square, do_center_crop=False),
        dict(image_processor_type="CLIPImageProcessor", size=square, crop_size=square),
        dict(image_processor_type="CLIPImageProcessor", size=dict(height=30, width=30), crop_size=square, do_pad=True, pad_size=square),
        dict(image_processor_type="CLIPImageProcessor", size=[n, n], do_center_crop=False, default_to_square=False),
        dict(image_processor_type="CLIPImageProcessor", size=n, do_center_crop=False, default_to_square=True),
        dict(image_processor_type="CLIPImageProcessor", **both, use_square_size=False, image_seq_length=7, disable_grouping=True, data_format="channels_first"),
        dict(image_processor_type="CLIPImageProcessor", size=square, crop_size=square, do_center_crop=None, do_pad=None),
        dict(image_processor_type="BitImageProcessor", **bigger),
        dict(image_processor_type="SiglipImageProcessor", size=square),
        dict(image_processor_type="SiglipImageProcessorFast", size=dict(height=30, width=30), do_center_crop=True, crop_size=square),
        dict(image_processor_type="ViTImageProcessor", size=n, do_convert_rgb=True),
        dict(feature_extractor_type="ViTFeatureExtractor", size=n, resample=3, do_convert_rgb=True),
        dict(image_processor_type="DeiTImageProcessor", size=30, crop_size=n, do_convert_rgb=True),
        dict(image_processor_type="ConvNextImageProcessor", size=edge, do_convert_rgb=True),
        dict(image_processor_type="ConvNextImageProcessor", size=edge, crop_pct=0.7, do_convert_rgb=True),
        dict(image_processor_type="LlavaImageProcessor", **both, do_pad=True),
        dict(image_processor_type="LlavaImageProcessor", **bigger, do_pad=True, image_mean=[0.5, 0.25, 0.125]),
    ]
    rows = []
    for c in configs:
        with tempfile.TemporaryDirectory() as d:
            with open(os.path.join(d, "preprocessor_config.json"), "w") as f:
                json.dump(c, f)
            p = AutoImageProcessor.from_pretrained(d, backend="pil")
            assert type(p).__name__.endswith("Pil"), type(p)
            for file in ("rgb-57x41.png", "rgb-41x57.png", "rgba-101x33.png"):
                m = Image.open(io.BytesIO(files[file]))
                rows.append([c, file, n, crc(p(m, **LEVELS)["pixel_values"][0].transpose(1, 2, 0))])
    return rows


def levels():
    """What torchvision makes of 0 to 255 by other means."""
    out = []
    x = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256).float().div(255)
    for mean, std in (((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0, 0, 0), (1, 1, 1)), ((0.1, -0.2, 0.3), (-0.5, 2, 0.25))):
        out.append([mean, std, Normalize(mean, std)(x)[:, 0].double().tolist()])
    return out


pictures()
table = {"transforms": transforms(), "orientations": orientations(), "resizes": resizes(), "levels": levels(), "processors": processors()}
with zipfile.ZipFile(os.path.join(OUT, "transforms.zip"), "w", zipfile.ZIP_DEFLATED) as z:
    for name in sorted(files):
        z.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)
with open(os.path.join(OUT, "transforms.json"), "w") as f:
    f.write("{\n" + ",\n".join(json.dumps(k) + ": [\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in v) + "\n]" for k, v in table.items()) + "\n}\n")
print({k: len(v) for k, v in table.items()}, len(files), "files")
