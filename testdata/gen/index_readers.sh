#!/bin/sh
# Shows that embedding-reader and autofaiss read what "vitago index" writes: makes pictures, an index of three shards, and loads it.
# Needs Go and Python 3.10 to 3.12, and the network once. It is no part of go test.
set -eu
cd "$(dirname "$0")"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
venv=${VENV:-.venv/index}
if [ ! -x "$venv/bin/python" ]; then
	"${PYTHON:-python3}" -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 embedding-reader==1.8.1 autofaiss==2.18.0 \
		faiss-cpu==1.15.1 numpy==1.26.4 pandas==2.3.3 pyarrow==25.0.1
fi
(cd ../.. && go build -o "$dir/vitago" ./cmd/vitago)
"$venv/bin/python" index_readers.py pictures "$dir/photos"
for n in 40 80 120; do # a shard each
	"$dir/vitago" index --index "$dir/index" --model builtin:demo "$dir/photos/$n"
done
"$dir/vitago" encode --model builtin:demo --normalize -o "$dir/all.npy" "$dir/photos"
"$venv/bin/python" index_readers.py read "$dir/index" "$dir/all.npy"
rm -r "$dir/photos/40" && mkdir "$dir/photos/40" && mv "$dir/photos/80/0.png" "$dir/photos/120/moved.png"
"$dir/vitago" index --index "$dir/index" "$dir/photos/80" "$dir/photos/120"
"$dir/vitago" index --index "$dir/index" --forget "$dir/photos/40" --compact
"$dir/vitago" encode --model builtin:demo --normalize --overwrite -o "$dir/all.npy" "$dir/photos"
"$venv/bin/python" index_readers.py read "$dir/index" "$dir/all.npy"
