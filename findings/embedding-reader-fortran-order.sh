#!/usr/bin/env bash
# embedding-reader 1.8.1: vectors in a .npy whose array is in Fortran order are other vectors, without an error. The reader looks
# for 'shape' and 'descr' in the header, not for 'fortran_order', and takes the bytes for rows.
#
#   numpy.save(x)                       [[0 1 2] [3 4 5] [6 7 8] [9 10 11]]
#   numpy.save of the same array, .T    read as [[0 3 6] [9 1 4] [7 10 2] [5 8 11]]; numpy.load gives x
#
# numpy.save writes this order whenever an array has it: one that was transposed, and what DataFrame.to_numpy gives of a table that
# was made of columns. autofaiss and clip-retrieval read by this package, so an index is built of vectors that nobody computed,
# and of as many as there should be. numpy.ascontiguousarray before numpy.save helps.
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
import pandas as pd
from embedding_reader import EmbeddingReader

x = np.arange(12, dtype="float32").reshape(4, 3)
columns = np.ascontiguousarray(x.T)
for name, array in ("rows", x), ("transposed", columns.T), ("pandas", pd.DataFrame({"a": columns[0], "b": columns[1], "c": columns[2]}).to_numpy()):
    os.mkdir(name)
    np.save(f"{name}/0.npy", array)
    assert np.array_equal(np.load(f"{name}/0.npy"), x)
    ((vectors, _),) = EmbeddingReader(name, file_format="npy")(batch_size=4, show_progress=False)
    print(name, vectors.astype(int).tolist())
PY
venv/bin/python main.py >got 2>log || { cat log >&2; exit 1; }

cat >want <<'TXT'
rows [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
transposed [[0, 3, 6], [9, 1, 4], [7, 10, 2], [5, 8, 11]]
pandas [[0, 3, 6], [9, 1, 4], [7, 10, 2], [5, 8, 11]]
TXT
diff want got || { echo "embedding-reader 1.8.1 reads arrays in Fortran order in another way than was seen" >&2; exit 1; }
echo "as seen: embedding-reader 1.8.1 takes an array in Fortran order for rows"
