"""Makes the fixtures of shard/input: what img2dataset, Hugging Face's datasets and pyarrow write.

Pictures come from a server on 127.0.0.1; nothing else is asked.

    python shard_inputs.py [FOLDER]    shard/input/testdata if none is given
"""

import http.server
import io
import shutil
import sys
import threading
from pathlib import Path

# Needs what shard_inputs.sh installs.
import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from img2dataset import download
from PIL import Image

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 200), "white": (240, 240, 240)}


def picture(colour, form="PNG"):
    out = io.BytesIO()
    Image.new("RGB", (8, 6), COLOURS[colour]).save(out, form)
    return out.getvalue()


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/").removesuffix(".png")
        if name == "text":
            body, status = b"no picture", 200
        elif name in COLOURS:
            body, status = picture(name), 200
        else:
            body, status = b"", 404
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def img2dataset(out):
    """Seven rows in two shards: of the first one is not there and one is no picture."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 18097), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{server.server_port}/"
    names = ["red", "missing", "green", "text", "blue", "white", "red"]
    urls = out / "urls.parquet"
    table = pa.table({
        "url": [at + n + ".png" for n in names],
        "text": ["a " + n if n != "blue" else None for n in names],
        "similarity": pa.array([0.25 * i for i in range(len(names))], pa.float64()),
        "punsafe": pa.array([None if n == "green" else 0.5 for n in names], pa.float32()),
        "NSFW": [n == "text" for n in names],
    })
    pq.write_table(table, urls)
    for form in ["webdataset", "files", "parquet"]:
        download(
            url_list=str(urls), output_folder=str(out / form), output_format=form, input_format="parquet", url_col="url", caption_col="text",
            save_additional_columns=["similarity", "punsafe", "NSFW"], number_sample_per_shard=5, processes_count=1, thread_count=1, image_size=8,
            encode_format="png", encode_quality=1, compute_hash="sha256", retries=0, timeout=5,
        )
        for f in (out / form).glob("*_stats.json"):
            f.write_text("{}")  # it has times
    server.shutdown()
    urls.unlink()


def huggingface(out):
    """As datasets writes a dataset with a column of pictures, in groups of two rows."""
    rows = {"image": [{"bytes": picture(c), "path": c + ".png"} for c in COLOURS] + [{"bytes": None, "path": "elsewhere.png"}, None],
            "text": ["a " + c for c in COLOURS] + ["", None], "label": [0, 1, 2, 3, 0, 1]}
    features = datasets.Features({"image": datasets.Image(decode=False), "text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(COLOURS))})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(out / "hf.parquet"), batch_size=2)


def binary(out):
    """Columns of every type, in forms that pyarrow has: dictionaries, pages of both versions, compression."""
    n = 10
    colours = [list(COLOURS)[i % 4] for i in range(n)]
    pictures = [picture(c) for c in colours]
    pictures[7] = None
    table = pa.table({
        "id": [f"k{i}" for i in range(n)],
        "content": pa.array(pictures, pa.binary()),
        "caption": pa.array(colours, pa.dictionary(pa.int8(), pa.string())),
        "n8": pa.array(range(n), pa.int8()), "u32": pa.array([2**32 - 1 - i for i in range(n)], pa.uint32()), "n64": pa.array([None, *range(1, n)], pa.int64()),
        "f32": pa.array([i / 4 for i in range(n)], pa.float32()), "f64": pa.array([i / 8 for i in range(n)], pa.float64()),
        "flag": pa.array([i % 2 == 0 for i in range(n)]), "day": pa.array(range(20000, 20000 + n), pa.date32()),
        "at": pa.array([1_700_000_000_000_123 + i for i in range(n)], pa.timestamp("us", "UTC")), "nothing": pa.nulls(n), "sha256": ["s"] * n,
        "list": [[i] for i in range(n)], "half": pa.array([1.5] * n, pa.float16()), "large": pa.array(colours, pa.large_string()),
        "nested": [{"a": i} for i in range(n)],
    })
    for name, options in {
        "snappy": {"compression": "snappy"}, "zstd": {"compression": "zstd", "data_page_version": "2.0"}, "plain": {"compression": "none", "use_dictionary": False, "write_page_index": True},
        "small": {"compression": "gzip", "row_group_size": 3, "data_page_size": 64, "write_page_checksum": True},
    }.items():
        pq.write_table(table, out / f"{name}.parquet", **options)


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "shard" / "input" / "testdata"
    for name in ["webdataset", "files", "parquet"]:
        shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    img2dataset(out)
    huggingface(out)
    binary(out)


if __name__ == "__main__":
    main()
