#!/usr/bin/env bash
# The clients of other services get from our server what encode computes, to the bit. It wants Python 3.13, Node and Go, and 400 MB.
#
#   run.sh [FOLDER]     installs into FOLDER, by default a temporary one
set -euo pipefail
cd "$(dirname "$0")"
clients=$PWD
dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
trap '[ -z "${server:-}" ] || kill "$server"; [ -n "${1:-}" ] || rm -rf "$dir"' EXIT
pictures=$clients/../../../../demo/pictures

go build -o "$dir/vitago" ../../../../cmd/vitago
(cd golang && go build -o "$dir/golang" .)
"${PYTHON:-python3.13}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps clip-retrieval==2.45.0
cp package.json clients.mjs "$dir"
(cd "$dir" && npm install --silent --no-audit --no-fund)

"$dir/vitago" index --index "$dir/index" --model builtin:demo "$pictures" 2>/dev/null
"$dir/vitago" serve --model demo,ViT-B-32__openai=builtin:demo --model found=builtin:demo --index "found=$dir/index" --listen 127.0.0.1:0 2>"$dir/log" &
server=$!
for _ in $(seq 100); do
	grep -q '^serving ' "$dir/log" && break
	sleep 0.1
done
address=$(sed -n 's/^serving \(http[^ ]*\).*/\1/p' "$dir/log")

INDEX=found "$dir/venv/bin/python" -W ignore clients.py "$address" "$dir/vitago" "$pictures"
"$dir/vitago" encode --model builtin:demo --normalize "$pictures/red-circle.png" >"$dir/vectors"
"$dir/vitago" encode --model builtin:demo --normalize --text "a red circle" >>"$dir/vectors"
"$dir/golang" "$address" "$dir/vectors" "$pictures/red-circle.png"
node "$dir/clients.mjs" "$address" "$dir/vectors" "$pictures/red-circle.png"
(cd ../../../../examples/openai && go run . "$address/v1" "a red circle" "a blue square") | tee "$dir/openai"
[ "$(grep -c ': 64 values' "$dir/openai")" = 2 ]
