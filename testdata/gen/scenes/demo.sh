#!/bin/sh
# Makes the small model of package demo and its pictures from nothing: draws scenes, writes random towers, trains them, and puts what
# comes out, in half precision, into demo/. About half an hour on two cores. The bits are those of VITAGO_KERNEL=avx512, on any number of cores.
#
#   testdata/gen/scenes/demo.sh [DIR]      DIR is for what lies between, 0.5 GB; a run that was stopped goes on
set -eu
cd "$(dirname "$0")/../../.."
dir=${1:-$(mktemp -d)}
export VITAGO_KERNEL=avx512 CGO_ENABLED=0
[ -f "$dir/scenes/val.csv" ] || go run ./testdata/gen/scenes draw "$dir/scenes"
[ -d "$dir/towers" ] || go run ./testdata/gen/scenes towers "$dir/towers"
go run ./cmd/vitago finetune --model "$dir/towers" --data "$dir/scenes/train.csv" --val "$dir/scenes/val.csv" --out "$dir/run" --resume \
	--recipe contrastive --batch 128 --accumulate 1 --epochs 8 --rate 1.5e-3 --text-rate 1.5e-3 --scale-rate 1e-3 --weight-decay 0.05 --warmup 0.05 \
	--val-every 250 --checkpoint-every 250
go run ./cmd/vitago convert --dtype f16 --overwrite "$dir/run/model" demo/model
go run ./testdata/gen/scenes pictures demo/pictures
go run ./testdata/gen/scenes evaluate builtin:demo
