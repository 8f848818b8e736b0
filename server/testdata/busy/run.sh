#!/usr/bin/env bash
# The official clients of OpenAI, and httpx by HTTP/1.1 and HTTP/2, see the 429 of a server that is busy, whatever they are still sending: 20 MB
# here, and no reset connection. It wants Python 3.13, Node and openssl, and 100 MB.
#
#   run.sh [FOLDER]     installs into FOLDER, by default a temporary one
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
trap '[ -z "${servers:-}" ] || kill $servers; [ -n "${1:-}" ] || rm -rf "$dir"' EXIT

go build -o "$dir/vitago" ../../../cmd/vitago
[ -x "$dir/venv/bin/python" ] || "${PYTHON:-python3.13}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0 'httpx[http2]==0.28.1'
cp package.json busy.mjs "$dir"
(cd "$dir" && npm install --silent --no-audit --no-fund)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
	-keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null

# serve NAME FLAG...: one that has room for 30 MiB; its address stands in $dir/NAME.
serve() {
	local name=$1
	shift
	"$dir/vitago" serve --model demo=builtin:demo --listen 127.0.0.1:0 --max-body 30 --queue-bytes 30 --stall 5m --log-level error "$@" 2>"$dir/$name.log" &
	servers="${servers:-} $!"
	for _ in $(seq 100); do
		address=$(sed -n 's/^serving \(http[^ ]*\) .*/\1/p' "$dir/$name.log")
		[ -z "$address" ] || break
		sleep 0.1
	done
	echo "$address" >"$dir/$name"
}
serve plain
serve tls --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem"
"$dir/venv/bin/python" "$here/busy.py" "$(cat "$dir/plain")" "$(cat "$dir/tls")" "$dir/cert.pem" node "$dir/busy.mjs"
