#!/bin/sh
# Shows that others load what "vitago encode --shards" writes: makes tars of pictures with captions, encodes them in every format, and loads
# these with NumPy, pandas, pyarrow, embedding-reader, autofaiss, DuckDB, polars, LanceDB and milvus-lite. Every value is compared with what
# "vitago encode" makes of the same pictures in one file. Postgres with pgvector is a test of search/pgvector.
# Needs Go and Python 3.11, and the network once. It is no part of go test.
set -eu
cd "$(dirname "$0")"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
venv=${VENV:-.venv/shards}
if [ ! -x "$venv/bin/python" ]; then
	"${PYTHON:-python3}" -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 embedding-reader==1.8.1 autofaiss==2.18.0 faiss-cpu==1.15.1 \
		numpy==1.26.4 pandas==2.3.3 pyarrow==25.0.1 duckdb==2.0.1 polars==2.1.0 lancedb==0.40.0 milvus-lite==3.2.2 pymilvus==3.0.2
fi
(cd ../.. && go build -o "$dir/vitago" ./cmd/vitago)
"$venv/bin/python" shards_readers.py make "$dir"
"$dir/vitago" encode --quiet --model builtin:demo --normalize -o "$dir/all.npy" "$dir/photos"
"$dir/vitago" encode --quiet --model builtin:demo --normalize --text-file "$dir/captions.txt" -o "$dir/captions.npy"
encode() { # OUT FLAG...
	out=$1
	shift
	"$dir/vitago" encode --quiet --shards --model builtin:demo --captions --max-errors 1 -o "$dir/$out" "$@" "$dir"/tars/*.tar
	"$dir/vitago" verify-shards "$dir/$out"
}
encode half
encode float --float32
for format in parquet csv jsonl; do encode "$format" --format "$format"; done
"$venv/bin/python" -W ignore shards_readers.py read "$dir" 2>"$dir/log" || { cat "$dir/log" >&2 && exit 1; }
