"""What index_readers.sh does in Python: pictures to index, and reading the index by the block of Python of docs/search.md, which takes
embedding-reader and autofaiss."""

import json
import os
import sys

import numpy as np

import pages


def pictures(folder):
    from PIL import Image

    rng = np.random.default_rng(1)
    for n in (40, 80, 120):
        os.makedirs(f"{folder}/{n}")
        for i in range(n):
            Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((64, 64)).save(f"{folder}/{n}/{i}.png")


def read(index, encoded):
    import faiss
    import importlib.metadata as metadata
    import pandas

    encoded = os.path.abspath(encoded)
    want = dict(zip(map(json.loads, open(encoded + ".names.jsonl")), np.load(encoded)))
    index = os.path.abspath(index)
    os.chdir(os.path.dirname(index))
    if not os.path.islink("photos.index"):
        os.symlink(index, "photos.index")
    (code,) = pages.python("docs/search.md")
    reader = pages.run("docs/search.md", code)["reader"]
    print(f"embedding-reader {metadata.version('embedding-reader')}: {reader.count} rows of {reader.dimension} values")
    assert reader.count == len(want)
    rows = {}
    for vectors, meta in reader(batch_size=17):
        for v, (_, m) in zip(vectors, meta.iterrows()):
            rows[m["image_path"]] = v
    metadata_files = f"{index}/dataset/metadata"
    for name in sorted(os.listdir(metadata_files)):
        for _, m in pandas.read_parquet(f"{metadata_files}/{name}").iterrows():
            assert m["width"] == 64 and m["height"] == 64 and len(m["sha256"]) == 64
    assert rows.keys() == {os.path.abspath(p) for p in want}
    worst = max(np.abs(rows[os.path.abspath(p)].astype(np.float32) - v).max() for p, v in want.items())
    print(f"largest difference to encode's float32: {worst:.2e}")
    assert worst < 2**-11
    paths = [m for _, meta in reader(batch_size=1000) for m in meta["image_path"]]
    knn = faiss.read_index("knn.index")
    found = 0
    for p, v in want.items():
        _, ids = knn.search(v[None], 1)
        found += paths[ids[0, 0]] == os.path.abspath(p)
    print(f"autofaiss {metadata.version('autofaiss')}: {knn.ntotal} rows; itself is the nearest of {found} of {len(want)}")
    assert knn.ntotal == len(want) and found == len(want)


{"pictures": pictures, "read": read}[sys.argv[1]](*sys.argv[2:])
