#!/usr/bin/env bash
# Measures every tower beside its peers, and writes docs/speed.md and docs/speed.svg of what it measured.
#
#   bench/all.sh DIR [TOWER]...    towers are those of -config, and grid, files; all if none is named
#
# DIR keeps models (25 GB of all towers) and figures: a tower that is measured again replaces its figures, and the page has all that
# are there. PYTHON names the interpreter with the peers, bench/.venv's if it does not. RUN is put before each measurement, such as a
# command that waits until nobody else computes; none takes more than a few minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mkdir -p "$1" && cd "$1" && pwd)
shift
python=${PYTHON:-bench/.venv/bin/python}
[ $# -gt 0 ] || set -- vit-b-32 vit-b-16 vit-l-14 vit-l-14-336 vit-h-14 text-b text-l text-h grid files

go build -o "$dir/bench" ./bench
go build -o "$dir/vitago" ./cmd/vitago
most=$(nproc)

for tower; do
	case $tower in
	grid)
		mkdir -p "$dir/vit-b-32"
		${RUN:-} "$dir/bench" scale -config vit-b-32 -dir "$dir/vit-b-32" -only tokens -quick -threads "$most" -json "$dir/grid.json" -o /dev/null
		continue
		;;
	files)
		"$dir/bench" -config vit-b-32 -dir "$dir/vit-b-32" -python "$python" -only export
		${RUN:-} "$dir/bench" files -dir "$dir/vit-b-32" -python "$python" -vitago "$dir/vitago" -rounds 2 -json "$dir/files.json" -o /dev/null
		continue
		;;
	vit-l-14-336 | vit-h-14) rounds=3 batches=1,8 ;;
	vit-l-14 | text-h) rounds=3 batches=1,8,32 ;;
	*) rounds=4 batches=1,8,32,128 ;;
	esac
	"$dir/bench" -config "$tower" -dir "$dir/$tower" -python "$python" -only export
	for threads in $(printf '1\n%s\n' "$most" | uniq); do
		${RUN:-} "$dir/bench" -config "$tower" -dir "$dir/$tower" -python "$python" -only encode -threads "$threads" -batch "$batches" -rounds "$rounds" \
			-contenders "best,int8,bf16,torch-frozen,ort,openvino" -json "$dir/$tower-$threads.json" -o /dev/null
	done
done

shopt -s nullglob
"$dir/bench" page -o docs/speed.md -plot docs/speed.svg "$dir"/*.json
