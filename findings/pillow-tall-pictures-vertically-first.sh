#!/usr/bin/env bash
# Pillow 13.0.0: resize and thumbnail filter a tall picture vertically first, where every version before filtered it
# horizontally first. Between the two passes pixels are rounded and limited to 0..255, so the order shows: a screenshot of a
# phone, 1080x2340, scaled to a shorter side of 224 is another picture than by Pillow 12.2.0. What was computed from tall
# pictures before (embeddings, perceptual hashes, thumbnails in a cache) does not match any more; no argument asks for the old order.
#
# Who gets the new order: a picture whose height shrinks by more than twice as many pixels as its width. At 1:2 and
# wider, and so at 3:2, 4:3 and 16:9 in either direction, the two versions are equal to the bit.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11: the lines in "want" below.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
cat >main.py <<'PY'
import random, sys

from PIL import Image

noise = random.Random(1)
with open(sys.argv[1], "wb") as out:
    for w, h in (1080, 1920), (1000, 2000), (1000, 2010), (1080, 2340), (2340, 1080):
        picture = Image.new("L", (w, h))
        for y in range(0, h, 20):  # black and white text, as it were
            for x in range(0, w, 10):
                picture.paste(noise.choice((0, 255)), (x, y, x + 7, y + 13))
        scale = 224 / min(w, h)
        out.write(picture.resize((round(w * scale), round(h * scale)), Image.Resampling.BICUBIC).tobytes())
PY
for version in 12.2.0 13.0.0; do
	venv/bin/pip install -q pillow==$version
	venv/bin/python main.py $version
done
cat >compare.py <<'PY'
a, b = open("12.2.0", "rb"), open("13.0.0", "rb")
for w, h in (1080, 1920), (1000, 2000), (1000, 2010), (1080, 2340), (2340, 1080):
    scale = 224 / min(w, h)
    n = round(w * scale) * round(h * scale)
    d = [abs(x - y) for x, y in zip(a.read(n), b.read(n), strict=True)]
    print(f"{w}x{h}: {sum(map(bool, d)) * 100 // n} % of the pixels differ, by up to {max(d)} levels")
PY
venv/bin/python compare.py >got

cat >want <<'TXT'
1080x1920: 0 % of the pixels differ, by up to 0 levels
1000x2000: 0 % of the pixels differ, by up to 0 levels
1000x2010: 26 % of the pixels differ, by up to 13 levels
1080x2340: 26 % of the pixels differ, by up to 12 levels
2340x1080: 0 % of the pixels differ, by up to 0 levels
TXT
diff want got || { echo "Pillow 12.2.0 and 13.0.0 differ in another way than was seen" >&2; exit 1; }
echo "as seen: Pillow 13.0.0 scales a tall picture to other pixels than 12.2.0"
