#!/usr/bin/env bash
# Makes the fixtures of shard/input with what writes such files: shard_inputs.sh [PYTHON], which is 3.11 if none is given. Needs 2 GB.
set -euo pipefail
cd "$(dirname "$0")"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${1:-python3.11}" -m venv "$dir"
"$dir/bin/pip" install -q --disable-pip-version-check img2dataset==1.47.0 datasets==4.4.1 pyarrow==26.0.1 "pandas<3"
NO_ALBUMENTATIONS_UPDATE=1 PYTHONDONTWRITEBYTECODE=1 "$dir/bin/python" shard_inputs.py
