#!/bin/sh
# Installs the peers that bench measures into .venv beside this script, 6 GB with PyTorch as PyPI has it. A peer
# that does not install is named here, and in the tables of the benchmark.
#
#   setup.sh [PYTHON]    the interpreter to make .venv with, 3.11 or later; python3 if none is given
set -eu
cd "$(dirname "$0")"

"${1:-python3}" -m venv .venv
missing=
while IFS= read -r line; do
	package=${line%%[ #]*}
	[ -z "$package" ] || .venv/bin/pip install --quiet --disable-pip-version-check "$package" || missing="$missing $package"
done <requirements.txt
[ -z "$missing" ] || { echo "setup.sh: not installed:$missing" >&2; exit 1; }
