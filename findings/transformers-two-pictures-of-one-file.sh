#!/usr/bin/env bash
# transformers 5.24.0: one image processor makes two pictures of one file. processor(images="photo.png") decodes with
# torchvision, processor(images=Image.open("photo.png")) gets what Pillow decodes, and the two agree in neither depth,
# transparency, orientation nor frames. No error, and no warning that says so (one says that torchvision is deprecated here).
#
#   16-bit PNG         by its path: values up to 970, since 65535 is divided by 255; by Image.open: nearly all white
#   transparent PNG    by its path: the colours under the transparency; by Image.open: on white
#   EXIF orientation   by its path: turned; by Image.open: not
#   GIF of two frames  by its path: two pictures; by Image.open: the first
#
# So a pipeline that gets paths and one that gets images (of datasets, or of a web form) have other embeddings of the same
# files, and the processor's values of a 16-bit file are no pixels at all.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11, torch 2.15.0, torchvision 0.29.2. The script installs torch, some GB.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export HF_HUB_OFFLINE=1

python3 -m venv venv
venv/bin/pip install -q torch==2.15.0 torchvision==0.29.2 transformers==5.24.0 pillow==13.0.0

cat >main.py <<'PY'
import numpy as np
from PIL import Image
from transformers import CLIPImageProcessor

grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
rgb = np.dstack([grey] * 3)
Image.fromarray(rgb).save("plain.png")
Image.fromarray(grey.astype(np.uint16) * 257).save("16-bit.png")
Image.fromarray(np.dstack([rgb, np.zeros_like(grey)])).save("transparent.png")
photo = Image.fromarray(rgb)
exif = photo.getexif()
exif[274] = 3  # orientation: upside down
photo.save("turned.png", exif=exif)
Image.fromarray(grey).save("frames.gif", save_all=True, append_images=[Image.fromarray(255 - grey)])

processor = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
for name in "plain.png", "16-bit.png", "transparent.png", "turned.png", "frames.gif":
    a = processor(images=name, return_tensors="np")["pixel_values"]
    with Image.open(name) as im:
        b = processor(images=im, return_tensors="np")["pixel_values"]
    same = "equal" if a.shape == b.shape and np.array_equal(a, b) else "turned" if a.shape == b.shape and np.allclose(a, b[:, :, ::-1, ::-1]) else "other"
    print(f"{name}: {len(a)} up to {a.max():.1f}, {len(b)} from {b.min():.1f} to {b.max():.1f}, {same}")
PY
venv/bin/python main.py >got

cat >want <<'TXT'
plain.png: 1 up to 2.1, 1 from -1.8 to 2.1, equal
16-bit.png: 1 up to 970.2, 1 from -1.8 to 2.1, other
transparent.png: 1 up to 2.1, 1 from 1.9 to 2.1, other
turned.png: 1 up to 2.1, 1 from -1.8 to 2.1, turned
frames.gif: 2 up to 2.1, 1 from -1.8 to 2.1, other
TXT
diff want got || { echo "transformers 5.24.0 reads these files in another way than was seen" >&2; exit 1; }
echo "as seen: by its path and by Image.open transformers 5.24.0 makes two pictures of one file, of 4 files of 5"
