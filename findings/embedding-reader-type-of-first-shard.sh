#!/usr/bin/env bash
# embedding-reader 1.8.1: all shards of a folder are read as if they had the type of the first. Float32 behind float16 becomes other
# numbers, the halves of its words, of half of the rows. There are as many vectors as there should be, and there is no error.
# (float16 behind float32 is one, since the shard has fewer bytes than are wanted.)
#
#   0.npy  float16  [[1 2] [3 4] [5 6]]    read as such
#   1.npy  float32  the same               read as [[0 1.875] [0 2] [0 2.125]]
#
# Cause: the header of each file is parsed, and the first one's type and bytes of a row are used for all of them.
#
# clip-retrieval writes float16. Whoever adds a shard that numpy or torch wrote, which is float32 unless one says otherwise,
# has such a folder; autofaiss builds an index of it without a word.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install -q embedding-reader==1.8.1 numpy==1.26.4 pandas==2.3.3 pyarrow==25.0.1

cat >main.py <<'PY'
import os

import numpy as np
from embedding_reader import EmbeddingReader

x = np.array([[1, 2], [3, 4], [5, 6]], "float32")
for types in ("float32", "float32"), ("float16", "float32"), ("float32", "float16"):
    folder = "-".join(types)
    os.mkdir(folder)
    for i, t in enumerate(types):
        np.save(f"{folder}/{i}.npy", x.astype(t))
    reader = EmbeddingReader(folder, file_format="npy")
    try:
        ((vectors, _),) = reader(batch_size=6, show_progress=False)
        print(folder, reader.count, "rows, of the second shard", vectors[3:].tolist())
    except ValueError as e:
        print(folder, "error:", str(e).split()[0])
PY
venv/bin/python main.py >got 2>log || { cat log >&2; exit 1; }

cat >want <<'TXT'
float32-float32 6 rows, of the second shard [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
float16-float32 6 rows, of the second shard [[0.0, 1.875], [0.0, 2.0], [0.0, 2.125]]
float32-float16 error: failed
TXT
diff want got || { echo "embedding-reader 1.8.1 reads shards of two types in another way than was seen" >&2; exit 1; }
echo "as seen: embedding-reader 1.8.1 reads float32 behind float16 as float16"
