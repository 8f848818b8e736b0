#!/usr/bin/env bash
# embedding-reader 1.8.1, file_format="parquet_npy": behind a shard of 0 rows every vector comes with the metadata of the shard
# before its own. Whoever reads all from the beginning gets an error of shapes; a read that
# starts behind the empty shard, as workers that share a folder by ranges make it, gets no error.
#
#   shards of 2, 0, 2, 2 rows, start=4     vectors of shard 3 with the paths of shard 2
#
# Cause: empty files are dropped from the list of .npy, and the rest is zipped with the list of .parquet, which still has all.
#
# A shard is empty when none of its pictures could be read; numpy.save and pyarrow write such files, and both read them. Captions,
# paths and ids of all later vectors are then another picture's. Write no empty shard, or remove both of its files.
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
import pyarrow as pa
import pyarrow.parquet as pq
from embedding_reader import EmbeddingReader

for counts in (2, 2, 2), (2, 0, 2, 2):
    name = "-".join(map(str, counts))
    os.makedirs(f"{name}/img_emb")
    os.makedirs(f"{name}/metadata")
    for i, n in enumerate(counts):
        np.save(f"{name}/img_emb/{i}.npy", np.full((n, 4), i, "float16"))
        pq.write_table(pa.table({"path": pa.array([f"{i}/{j}.jpg" for j in range(n)], pa.string())}), f"{name}/metadata/{i}.parquet")
    reader = EmbeddingReader(f"{name}/img_emb", file_format="parquet_npy", metadata_folder=f"{name}/metadata", meta_columns=["path"])
    for start, end in (0, 6), (4, 6):
        try:
            for vectors, metadata in reader(batch_size=2, start=start, end=end, show_progress=False):
                print(f"shards of {name}, {start} to {end}: vectors of shard", int(vectors[0, 0]), "with", metadata["path"].tolist())
        except ValueError as e:
            print(f"shards of {name}, {start} to {end}: error:", e)
PY
venv/bin/python main.py >got 2>log || { cat log >&2; exit 1; }

cat >want <<'TXT'
shards of 2-2-2, 0 to 6: vectors of shard 0 with ['0/0.jpg', '0/1.jpg']
shards of 2-2-2, 0 to 6: vectors of shard 1 with ['1/0.jpg', '1/1.jpg']
shards of 2-2-2, 0 to 6: vectors of shard 2 with ['2/0.jpg', '2/1.jpg']
shards of 2-2-2, 4 to 6: vectors of shard 2 with ['2/0.jpg', '2/1.jpg']
shards of 2-0-2-2, 0 to 6: vectors of shard 0 with ['0/0.jpg', '0/1.jpg']
shards of 2-0-2-2, 0 to 6: error: could not broadcast input array from shape (0,1) into shape (2,1)
shards of 2-0-2-2, 4 to 6: vectors of shard 3 with ['2/0.jpg', '2/1.jpg']
TXT
diff want got || { echo "embedding-reader 1.8.1 pairs vectors and metadata in another way than was seen" >&2; exit 1; }
echo "as seen: embedding-reader 1.8.1 pairs vectors behind an empty shard with the metadata of the shard before"
