#!/usr/bin/env bash
# Pillow 13.0.0: compressed TIFF in big-endian byte order whose samples are signed integers of 16 or 32 bits, or floating
# point, opens without an error, and its samples have their bytes in reverse: 1 is 256, 1.0 is 4.6e-41. The same file without
# compression, in little-endian order, or with unsigned samples of 16 bits is right. Big-endian TIFF is what ImageJ and
# others write of measurements, and many a tool compresses it.
#
# Cause: libtiff hands compressed samples over in the order of the machine. TiffImagePlugin turns the raw mode "I;16B" into
# "I;16N" for that, and leaves "I;16BS", "I;32BS" and "F;32BF" as they are.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11. tifffile 2026.3.3, which writes the files, reads all of them back as 1 and 300.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install -q pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.3

cat >main.py <<'PY'
import io

import numpy as np
import tifffile
from PIL import Image

for order in "<>":
    for compression in None, "zlib":
        for kind in "u2", "i2", "i4", "f4":
            f = io.BytesIO()
            tifffile.imwrite(f, np.array([[1, 300]], kind), byteorder=order, compression=compression)
            assert tifffile.imread(io.BytesIO(f.getvalue())).tolist() == [[1, 300]]
            with Image.open(io.BytesIO(f.getvalue())) as im:
                print(order + kind, compression, im.mode, [float("%.3g" % v) for v in im.get_flattened_data()])
PY
venv/bin/python main.py >got

cat >want <<'TXT'
<u2 None I;16 [1.0, 300.0]
<i2 None I [1.0, 300.0]
<i4 None I [1.0, 300.0]
<f4 None F [1.0, 300.0]
<u2 zlib I;16 [1.0, 300.0]
<i2 zlib I [1.0, 300.0]
<i4 zlib I [1.0, 300.0]
<f4 zlib F [1.0, 300.0]
>u2 None I;16B [1.0, 300.0]
>i2 None I [1.0, 300.0]
>i4 None I [1.0, 300.0]
>f4 None F [1.0, 300.0]
>u2 zlib I;16B [1.0, 300.0]
>i2 zlib I [256.0, 11300.0]
>i4 zlib I [16800000.0, 738000000.0]
>f4 zlib F [4.6e-41, 5.39e-41]
TXT
diff want got || { echo "Pillow 13.0.0 reads these files in another way than was seen" >&2; exit 1; }
echo "as seen: Pillow 13.0.0 reads three of four kinds of compressed big-endian samples with their bytes in reverse"
