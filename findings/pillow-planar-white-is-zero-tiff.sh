#!/usr/bin/env bash
# Pillow 13.0.0: a grey TIFF whose PhotometricInterpretation is 0 (white is zero, as scanners and faxes write it) opens as its
# own negative if its PlanarConfiguration is 2 (separate planes). With one sample a pixel the two configurations hold the same
# bytes, and with 1 Pillow inverts the samples as it should. There is no error. libtiff's tiffcp -p separate writes such files.
#
#   samples 0 64 128 255, white is zero    configuration 1: 255 191 127 0    configuration 2: 0 64 128 255
#
# Cause: for separate planes without compression TiffImagePlugin gives each plane the first letter of the raw mode alone, and
# "L;I", the inverted one, becomes "L".
#
# Seen on 2026-11-30, linux/amd64, Python 3.11.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install -q pillow==13.0.0

cat >main.py <<'PY'
import io
import struct

from PIL import Image

SHORT, LONG = 3, 4


def tiff(photometric, planar):
    samples = bytes([0, 64, 128, 255])
    tags = {256: (LONG, 4), 257: (LONG, 1), 258: (SHORT, 8), 259: (SHORT, 1), 262: (SHORT, photometric), 273: (LONG, 0),
            277: (SHORT, 1), 278: (LONG, 1), 279: (LONG, len(samples)), 284: (SHORT, planar)}
    after = 8 + 2 + 12 * len(tags) + 4  # where the samples begin
    tags[273] = LONG, after
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 0) + samples


for photometric, meaning in (1, "black is zero"), (0, "white is zero"):
    for planar in 1, 2:
        with Image.open(io.BytesIO(tiff(photometric, planar))) as im:
            print(f"{meaning}, configuration {planar}: {im.mode} {list(im.get_flattened_data())}")
PY
venv/bin/python main.py >got

cat >want <<'TXT'
black is zero, configuration 1: L [0, 64, 128, 255]
black is zero, configuration 2: L [0, 64, 128, 255]
white is zero, configuration 1: L [255, 191, 127, 0]
white is zero, configuration 2: L [0, 64, 128, 255]
TXT
diff want got || { echo "Pillow 13.0.0 reads these files in another way than was seen" >&2; exit 1; }
echo "as seen: Pillow 13.0.0 does not invert a white-is-zero TIFF of one sample whose planes are separate"
