#!/usr/bin/env bash
# Starts Milvus Lite 3.2.2 for the tests of this folder, from PyPI: a server in Python that speaks Milvus' protocol. It listens on a port
# of the loopback interface, 19533 or PORT.
#
#   export VITAGO_MILVUS=$(search/milvus/server.sh DIR)    # what to connect to
#   search/milvus/server.sh stop DIR
set -euo pipefail
stop=${2:+$1}
dir=${2:-$1}
if [ "$stop" = stop ]; then
	kill "$(cat "$dir/pid")"
	exit
fi
mkdir -p "$dir"
if [ ! -e "$dir/venv/bin/milvus-lite" ]; then
	"${PYTHON:-python3}" -m venv "$dir/venv" # Python 3.10 or later
	"$dir/venv/bin/pip" install --quiet --disable-pip-version-check milvus-lite==3.2.2 pymilvus==3.0.2 >&2
fi
address=127.0.0.1:${PORT:-19533}
"$dir/venv/bin/milvus-lite" server --data-dir "$dir/data" --host 127.0.0.1 --port "${PORT:-19533}" >"$dir/log" 2>&1 </dev/null &
echo $! >"$dir/pid"
for _ in $(seq 120); do
	grep -q listening "$dir/log" && break
	kill -0 "$(cat "$dir/pid")" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
	sleep 0.5
done
echo "$address"
