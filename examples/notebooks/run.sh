#!/usr/bin/env bash
# Runs the notebooks in GoNB, without a browser, and compares what they show with what is committed.
#
#   run.sh           compare
#   run.sh --take    what they show becomes what is committed
#
# It wants Go and Python, or another Python in PYTHON. GoNB's version stands in kernel/go.mod; that of nbclient below.
set -euo pipefail
cd "$(dirname "$0")"

scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch" && rm -rf "$scratch"' EXIT

${PYTHON:-python3} -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check nbclient==0.11.0 nbformat==5.11.1
GOBIN=$scratch/bin CGO_ENABLED=0 go -C kernel install tool
mkdir "$scratch/tmp"
# The folders of GoNB, of Jupyter and of the notebooks' own files.
export PATH=$scratch/bin:$PATH JUPYTER_DATA_DIR=$scratch/jupyter JUPYTER_RUNTIME_DIR=$scratch/runtime TMPDIR=$scratch/tmp CGO_ENABLED=0
gonb --install --force_deps >/dev/null 2>&1 # without gopls, which only completes words
"$scratch/venv/bin/python" run.py gonb "$scratch/run" gonb/*.ipynb 2>"$scratch/log" || { tail -n 60 "$scratch/log" >&2; exit 1; }
if [ "${1:-}" = --take ]; then
	go run . -dir . -take "$scratch/run"
fi
go run . -dir . -compare "$scratch/run"
