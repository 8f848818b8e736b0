#!/bin/sh
# Makes the Python environments of the generators: .venv, and in it one for each old version of torch whose
# checkpoints are among the fixtures, and one for the newest libraries. Needs Python 3.13, 3.11, 3.9 and 3.8, and 26 GB.
#
#   setup.sh           all of them
#   setup.sh --main    .venv alone: enough for everything but checkpoints.py, demo.py, families_new.py, forms.py, containers.py and "fullsize.py archive"
#   setup.sh --newest  .venv/torch-2.15.0 alone, the newest libraries, after --main
set -eu
cd "$(dirname "$0")"

# The interpreter of a version: on the path, or else one of pyenv's.
python() {
	if "python$1" -c '' 2>/dev/null; then
		echo "python$1"
		return
	fi
	for p in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
		[ -x "$p" ] && echo "$p" && return
	done
	echo "setup.sh: no Python $1" >&2
	return 1
}

# venv FOLDER PYTHON-VERSION PIP-ARGUMENTS...
venv() {
	folder=$1 version=$2
	shift 2
	interpreter=$(python "$version")
	"$interpreter" -m venv "$folder"
	"$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
	"$folder/bin/python" -W ignore -c 'import torch; print("torch", torch.__version__)'
}

newest() { venv .venv/torch-2.15.0 3.13 -r requirements_new.txt; }

if [ "${1:-}" = --newest ]; then
	newest
	exit
fi
venv .venv 3.11 -r requirements.txt
[ "${1:-}" = --main ] && exit
venv .venv/torch-1.7.1 3.8 torch==1.7.1 numpy==1.24.4 # OpenAI's archives are of 1.7 or 1.8
venv .venv/torch-1.8.1 3.9 torch==1.8.1 numpy==1.26.4
venv .venv/torch-1.13.1 3.11 torch==1.13.1 numpy==1.26.4
venv .venv/torch-2.0.1 3.11 torch==2.0.1 numpy==1.26.4
newest
