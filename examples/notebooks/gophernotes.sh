#!/usr/bin/env bash
# Builds a kernel of gophernotes that has package notebook in it, and installs it for Jupyter of this user.
#
#   gophernotes.sh                                                  # the newest gophernotes and gomacro, by the Go command
#   GOPHERNOTES=~/src/gophernotes GOMACRO=~/src/gomacro gophernotes.sh   # clones of them
#   gophernotes.sh --run                                            # runs the notebooks in it, too, and compares what they show
#
# GOPHERNOTES and GOMACRO are folders or versions. The kernel goes to $JUPYTER_DATA_DIR/kernels/gophernotes. Where a version cannot be had,
# it says which and ends with status 3.
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD root=$(cd ../.. && pwd)

gophernotes=${GOPHERNOTES:-master} gomacro=${GOMACRO:-}
tools=v0.49.0 # of golang.org/x/tools; those before v0.26.0 do not compile under Go 1.25 and later
case $(uname -s) in
Darwin) data=$HOME/Library/Jupyter ;;
*) data=${XDG_DATA_HOME:-$HOME/.local/share}/jupyter ;;
esac
kernel=${JUPYTER_DATA_DIR:-$data}/kernels/gophernotes

scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch" && rm -rf "$scratch"' EXIT
skip() {
	echo "gophernotes.sh: SKIPPED, no kernel was built: $*" >&2
	exit 3
}

# The kernel is built from its own source, with one file more.
if [ -d "$gophernotes" ]; then
	cp -R "$gophernotes" "$scratch/kernel"
else
	(cd "$scratch" && go mod init get >/dev/null 2>&1)
	from=$(cd "$scratch" && GOFLAGS=-mod=mod go mod download -json "github.com/gopherdata/gophernotes@$gophernotes" 2>"$scratch/why" | sed -n 's/.*"Dir": "\(.*\)",*/\1/p') || true
	[ -n "$from" ] || skip "github.com/gopherdata/gophernotes@$gophernotes cannot be had; clone it, and name the folder in GOPHERNOTES. $(tail -n 2 "$scratch/why")"
	cp -R "$from" "$scratch/kernel"
	chmod -R u+w "$scratch/kernel"
fi
cd "$scratch/kernel"
export GOFLAGS=-mod=mod GOWORK=off CGO_ENABLED=0
(cd "$root" && GOFLAGS= go run ./examples/notebooks -bindings "$scratch/kernel/vitago_notebook.go")
go mod edit -go=1.26.0 -require=github.com/vitago/vitago@v0.0.0 -replace="github.com/vitago/vitago=$root" -require="golang.org/x/tools@$tools"
if [ -d "$gomacro" ]; then
	go mod edit -replace="github.com/cosmos72/gomacro=$(cd "$here" && cd "$gomacro" && pwd)"
elif [ -n "$gomacro" ]; then
	go get "github.com/cosmos72/gomacro@$gomacro" 2>"$scratch/why" || skip "github.com/cosmos72/gomacro@$gomacro cannot be had; clone it, and name the folder in GOMACRO. $(tail -n 2 "$scratch/why")"
fi
# Before gomacro knew aliases of types it panicked at start where they are nodes of their own; Go 1.27 has no such switch any more.
case $(go env GOVERSION) in
go1.2[0-6]*) go mod edit -godebug=gotypesalias=0 ;;
esac
cat "$root/go.sum" >>go.sum
go mod tidy 2>"$scratch/why" || skip "the modules of gophernotes cannot be had; clone github.com/cosmos72/gomacro, and name the folder in GOMACRO. $(tail -n 2 "$scratch/why")"
go build -trimpath -ldflags=-w -o "$scratch/gophernotes" .

mkdir -p "$kernel"
mv "$scratch/gophernotes" "$kernel/gophernotes"
cat >"$kernel/kernel.json" <<END
{"argv": ["$kernel/gophernotes", "{connection_file}"], "display_name": "Go", "language": "go", "name": "gophernotes"}
END
echo "gophernotes $gophernotes, gomacro ${gomacro:-$(go list -m -f '{{.Version}}' github.com/cosmos72/gomacro)}, x/tools $(go list -m -f '{{.Version}}' golang.org/x/tools), $(go env GOVERSION): $kernel"

[ "${1:-}" = --run ] || exit 0
cd "$here"
unset GOFLAGS
${PYTHON:-python3} -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check nbclient==0.11.0 nbformat==5.11.1
mkdir "$scratch/tmp"
TMPDIR=$scratch/tmp "$scratch/venv/bin/python" run.py gophernotes "$scratch/run" gophernotes/*.ipynb
go run . -dir . -compare "$scratch/run" -kernel gophernotes
