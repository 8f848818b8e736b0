#!/bin/sh
# Makes the small model of package demo and its pictures from nothing: draws scenes, writes random towers, trains them in five stages, and
# puts what comes out, in half precision, into demo/. Less than two hours on two cores. The bits are those of VITAGO_KERNEL=avx512, on any number of
# cores.
#
#   testdata/gen/scenes/demo.sh [DIR]      DIR is for what lies between, 2 GB; a run that was stopped goes on
set -eu
cd "$(dirname "$0")/../../.."
dir=${1:-$(mktemp -d)}
export VITAGO_KERNEL=avx512 CGO_ENABLED=0
[ -f "$dir/scenes/val.csv" ] || go run ./testdata/gen/scenes draw "$dir/scenes"
[ -f "$dir/plain/val.csv" ] || go run ./testdata/gen/scenes draw -from 80000 -plain "$dir/plain"
[ -f "$dir/hued/val.csv" ] || go run ./testdata/gen/scenes draw -from 160000 -hued "$dir/hued"
[ -f "$dir/alike/val.csv" ] || go run ./testdata/gen/scenes draw -from 240000 -n 128000 -alike "$dir/alike"
[ -d "$dir/towers" ] || go run ./testdata/gen/scenes towers "$dir/towers"

# stage MODEL SCENES OUT [flags]: each ends before its rates have come to nothing, but for the first and the last. With --val it has the weights by
# which most captions found their scene, without it the last ones.
stage() {
	model=$1 scenes=$2 out=$3
	shift 3
	go run ./cmd/vitago finetune --model "$dir/$model" --data "$dir/$scenes/train.csv" --out "$dir/$out" --resume \
		--recipe contrastive --batch 128 --accumulate 1 --scale-rate 1e-3 --weight-decay 0.05 --checkpoint-every 250 "$@"
}
stage towers scenes run --val-every 250 --val "$dir/scenes/val.csv" --epochs 8 --rate 1.5e-3 --text-rate 1.5e-3 --warmup 0.05
stage run/model scenes run2 --val-every 250 --val "$dir/scenes/val.csv" --epochs 16 --steps 4250 --rate 1e-3 --text-rate 1e-3 --warmup 0.05 --seed 2
stage run2/model plain run3 --val-every 250 --val "$dir/scenes/val.csv" --epochs 10 --steps 5500 --rate 8e-4 --text-rate 8e-4 --warmup 0.03 --seed 3
stage run3/model hued run4 --split 0 --epochs 5 --steps 2500 --rate 8e-4 --text-rate 8e-4 --warmup 0.03 --seed 4
stage run4/model alike run5 --split 0 --epochs 2 --rate 7e-4 --text-rate 7e-4 --warmup 0.03 --seed 5

go run ./cmd/vitago convert --dtype f16 --overwrite "$dir/run5/model" demo/model
go run ./testdata/gen/scenes pictures demo/pictures
go run ./testdata/gen/scenes evaluate builtin:demo
