"""What shards_readers.sh does in Python: tars to encode, and reading the datasets with every reader that installs."""

import glob
import io
import json
import os
import sys
import tarfile
from importlib.metadata import version

import numpy as np

WORDS = "red green blue yellow".split(), "circle square triangle".split()


def make(folder):
    """Four tars: of 40 pictures, of 80 and one that is none, of none that is one, of 60."""
    from PIL import Image

    rng = np.random.default_rng(1)
    os.makedirs(f"{folder}/tars")
    os.makedirs(f"{folder}/photos")
    captions = set()
    for n, (good, bad) in enumerate([(40, 0), (80, 1), (0, 5), (60, 0)]):
        with tarfile.open(f"{folder}/tars/{n:05d}.tar", "w") as tar:
            for i in range(good + bad):
                key = f"{n:05d}{i:04d}"
                png = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((64 + i % 3, 64)).save(png, "png")
                caption = f"a {WORDS[0][i % 4]} {WORDS[1][i % 3]}"
                about = json.dumps({"n": i, "note": ['"', "a,b", "two\nlines", "\\.", "日本", ""][i % 6]}, ensure_ascii=i % 2 == 0)
                for kind, data in ("png", png.getvalue() if i < good else b"no picture"), ("txt", caption.encode()), ("json", about.encode()):
                    info = tarfile.TarInfo(f"{key}.{kind}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
                if i < good:
                    with open(f"{folder}/photos/{key}.png", "wb") as f:
                        f.write(png.getvalue())
                    captions.add(caption)
    with open(f"{folder}/captions.txt", "w") as f:
        f.write("".join(c + "\n" for c in sorted(captions)))


class Want:
    """What the rows have to be, by key."""

    def __init__(self, folder):
        names = [json.loads(line) for line in open(f"{folder}/all.npy.names.jsonl")]
        self.image = {os.path.basename(n)[: -len(".png")]: v for n, v in zip(names, np.load(f"{folder}/all.npy"))}
        texts = [json.loads(line) for line in open(f"{folder}/captions.npy.names.jsonl")]
        self.text = dict(zip(texts, np.load(f"{folder}/captions.npy")))
        self.about = {}
        for path in sorted(glob.glob(f"{folder}/tars/*.tar")):
            with tarfile.open(path) as tar:
                for m in tar:
                    key, kind = m.name.split(".")
                    self.about.setdefault(key, {})[kind] = tar.extractfile(m).read()
        self.keys = sorted(self.image)
        assert len(self.keys) == 180
        self.dim = len(self.image[self.keys[0]])

    def check(self, reader, rows, kind="float32"):
        """rows are key, image, text, caption, metadata; image, text, caption or metadata are None if the reader has none."""
        seen = []
        for key, image, text, caption, metadata in rows:
            seen.append(key)
            png, txt, about = self.about[key]["png"], self.about[key]["txt"].decode(), self.about[key]["json"].decode()
            for got, want in (image, self.image[key]), (text, self.text[txt]):
                if got is not None:
                    got = np.asarray(got, kind)
                    assert got.shape == (self.dim,) and np.array_equal(got, want.astype(kind)), (reader, key)
            assert caption is None or caption == txt, (reader, key, caption)
            assert metadata is None or metadata == about, (reader, key, metadata)
        assert sorted(seen) == self.keys, (reader, len(seen))
        print(f"{reader}: {len(seen)} rows, every value as vitago encode's")


def numpy_pandas(want, folder):
    import pandas as pd

    for out, kind in ("half", "float16"), ("float", "float32"):
        images, texts, tables = (sorted(glob.glob(f"{folder}/{out}/{p}")) for p in ("img_emb/*.npy", "text_emb/*.npy", "metadata/*.parquet"))
        assert [os.path.basename(p) for p in images] == ["img_emb_0.npy", "img_emb_1.npy", "img_emb_3.npy"], images  # no empty one
        rows = []
        for i, t, m in zip(images, texts, tables, strict=True):
            m = pd.read_parquet(m)
            assert list(m.columns[:6]) == ["image_path", "caption", "key", "width", "height", "sha256"] and m["width"].dtype == "int64"
            i, t = np.load(i), np.load(t)
            assert i.dtype == t.dtype == kind and len(i) == len(t) == len(m)
            rows += zip(m["key"], i, t, m["caption"], m["metadata"])
        want.check(f"numpy {np.__version__}, pandas {pd.__version__}, npy {kind}", rows, kind)
    table = pd.read_parquet(f"{folder}/parquet/parquet")
    want.check(f"pandas {pd.__version__}, parquet", table[COLUMNS].itertuples(index=False))
    table = pd.concat(pd.read_json(p, lines=True, dtype={"key": str}, convert_dates=False) for p in sorted(glob.glob(f"{folder}/jsonl/jsonl/*")))
    want.check(f"pandas {pd.__version__}, jsonl", table[COLUMNS].itertuples(index=False))
    failed = [json.loads(line) for p in glob.glob(f"{folder}/half/vitago/errors/*") for line in open(p)]
    assert sorted(f["key"] for f in failed) == ["000010080"] + [f"00002{i:04d}" for i in range(5)], failed


COLUMNS = ["key", "embedding", "text_embedding", "caption", "metadata"]


def embedding_reader(want, folder):
    from embedding_reader import EmbeddingReader

    for out, kind in ("half", "float16"), ("float", "float32"):
        for name in "img_emb", "text_emb":
            reader = EmbeddingReader(f"{folder}/{out}/{name}", file_format="parquet_npy", metadata_folder=f"{folder}/{out}/metadata", meta_columns=["key", "caption", "metadata"])
            assert reader.count == 180 and reader.dimension == want.dim
            rows = []
            for start, end in (0, 50), (50, 130), (130, 180):  # as workers share a folder
                for vectors, m in reader(batch_size=17, start=start, end=end, show_progress=False):
                    for v, k, c, j in zip(vectors, m["key"], m["caption"], m["metadata"]):
                        rows.append((k, v, None, c, j) if name == "img_emb" else (k, None, v, c, j))
            want.check(f"embedding-reader {version('embedding-reader')}, {name} {kind}", rows, kind)
    reader = EmbeddingReader(f"{folder}/parquet/parquet", file_format="parquet", embedding_column="embedding", meta_columns=["key", "caption", "metadata"])
    rows = [(k, v, None, c, j) for vectors, m in reader(batch_size=17, show_progress=False) for v, k, c, j in zip(vectors, m["key"], m["caption"], m["metadata"])]
    want.check(f"embedding-reader {version('embedding-reader')}, parquet", rows)


def autofaiss(want, folder):
    import faiss
    import pandas as pd
    from autofaiss import build_index

    build_index(f"{folder}/half/img_emb", index_path=f"{folder}/knn.index", index_infos_path=f"{folder}/infos.json", metric_type="ip", verbose=40)
    index = faiss.read_index(f"{folder}/knn.index")
    keys = [k for p in sorted(glob.glob(f"{folder}/half/metadata/*.parquet")) for k in pd.read_parquet(p)["key"]]
    found = sum(keys[index.search(want.image[k][None], 1)[1][0, 0]] == k for k in keys)
    assert index.ntotal == len(keys) == found == 180, found
    print(f"autofaiss {version('autofaiss')}: {index.ntotal} rows; of {found} the nearest is itself")


def pyarrow(want, folder):
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.dataset as ds

    table = ds.dataset(f"{folder}/parquet/parquet").to_table()
    assert pa.types.is_list(table.schema.field("embedding").type) and table.schema.field("embedding").type.value_type == pa.float32()
    want.check(f"pyarrow {pa.__version__}, parquet", zip(*(table[c].to_pylist() for c in COLUMNS)))


def duckdb(want, folder):
    import duckdb

    db = duckdb.connect()
    names = ", ".join(f"'{n}'" for n in CSV_COLUMNS)
    for kind, source in (
        ("parquet", f"'{folder}/parquet/parquet/*.parquet'"),
        ("jsonl", f"read_json('{folder}/jsonl/jsonl/*.jsonl', columns={{key: 'VARCHAR', embedding: 'FLOAT[]', text_embedding: 'FLOAT[]', caption: 'VARCHAR', metadata: 'VARCHAR'}})"),
        ("csv", f"read_csv('{folder}/csv/csv/*.csv', header=false, names=[{names}], all_varchar=true)"),
    ):
        rows = db.sql(f"SELECT key, embedding::FLOAT[], text_embedding::FLOAT[], caption, metadata FROM {source}").fetchall()
        want.check(f"DuckDB {duckdb.__version__}, {kind}", rows)
    db.sql(f"CREATE TABLE pictures AS SELECT key, embedding::FLOAT[{want.dim}] AS embedding FROM '{folder}/parquet/parquet/*.parquet'")
    for k in want.keys[::20]:
        nearest = db.execute(f"SELECT key FROM pictures ORDER BY array_cosine_distance(embedding, ?::FLOAT[{want.dim}]) LIMIT 1", [want.image[k].tolist()]).fetchone()
        assert nearest == (k,), nearest


CSV_COLUMNS = ["image_path", "caption", "key", "width", "height", "sha256", "metadata", "embedding", "text_embedding"]


def polars(want, folder):
    import polars as pl

    table = pl.read_parquet(f"{folder}/parquet/parquet/*.parquet")
    assert table.schema["embedding"] == pl.List(pl.Float32)
    want.check(f"polars {pl.__version__}, parquet", table.select(COLUMNS).iter_rows())


def lancedb(want, folder):
    import lancedb
    import pyarrow as pa
    import pyarrow.dataset as ds

    source = ds.dataset(f"{folder}/parquet/parquet").to_table()
    fixed = pa.list_(pa.float32(), want.dim)  # what an index of LanceDB wants
    for c in "embedding", "text_embedding":
        source = source.set_column(source.schema.get_field_index(c), c, source[c].cast(fixed))
    table = lancedb.connect(f"{folder}/lance").create_table("pictures", source)
    want.check(f"LanceDB {version('lancedb')}", zip(*(table.to_arrow()[c].to_pylist() for c in COLUMNS)))
    for k in want.keys[::20]:
        nearest = table.search(want.image[k], vector_column_name="embedding").metric("cosine").limit(1).to_list()
        assert nearest[0]["key"] == k, nearest


def milvus(want, folder):
    import pandas as pd
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(f"{folder}/milvus.db")
    schema = client.create_schema(auto_id=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=want.dim)
    for name in "caption", "metadata":
        schema.add_field(name, DataType.VARCHAR, max_length=1024)
    params = client.prepare_index_params()
    params.add_index("embedding", index_type="FLAT", metric_type="COSINE")
    client.create_collection("pictures", schema=schema, index_params=params)
    for p in sorted(glob.glob(f"{folder}/parquet/parquet/*.parquet")):
        client.insert("pictures", pd.read_parquet(p, columns=["key", "embedding", "caption", "metadata"]).to_dict("records"))
    client.load_collection("pictures")
    rows = client.query("pictures", filter='key >= ""', output_fields=["key", "embedding", "caption", "metadata"], limit=1000)
    want.check(f"milvus-lite {version('milvus-lite')}, pymilvus {version('pymilvus')}", [(r["key"], r["embedding"], None, r["caption"], r["metadata"]) for r in rows])
    for k in want.keys[::20]:
        nearest = client.search("pictures", [want.image[k].tolist()], limit=1)[0][0]
        assert nearest["key"] == k, nearest


def read(folder):
    want = Want(folder)
    for reader in numpy_pandas, pyarrow, polars, duckdb, embedding_reader, autofaiss, lancedb, milvus:
        reader(want, folder)


{"make": make, "read": read}[sys.argv[1]](sys.argv[2])
