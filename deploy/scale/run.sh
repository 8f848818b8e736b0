#!/usr/bin/env bash
# Measures what run.yaml has: encode --shards of 10,000 pictures, by two processes on one core each, and what predicts it.
#
#   deploy/scale/run.sh FOLDER [MODEL [FLAGS of encode...]]   # a folder of .jpg, which are taken by turns; the default model is builtin:demo
set -euo pipefail
cd "$(dirname "$0")/../.."
pictures=$(cd "$1" && pwd)
model=${2:-builtin:demo}
shift $(($# > 1 ? 2 : 1))
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/vitago" ./cmd/vitago

# tars NAME COUNT PER: COUNT tars of PER pictures
tars() {
	mkdir -p "$dir/$1" "$dir/links"
	local files=("$pictures"/*.jpg) n i k=0
	for ((n = 0; n < $2; n++)); do
		rm -f "$dir"/links/*
		for ((i = 0; i < $3; i++, k++)); do ln -s "${files[k % ${#files[@]}]}" "$dir/links/$(printf '%05d%04d.jpg' "$n" "$i")"; done
		tar --hard-dereference -chf "$dir/$1/$(printf '%05d.tar' "$n")" --sort=name -C "$dir/links" .
	done
}

# timed NAME COMMAND...: seconds
timed() {
	local name=$1 began=$EPOCHREALTIME
	shift
	"$@"
	echo "$name $(awk "BEGIN {printf \"%.2f\", $EPOCHREALTIME - $began}")"
}
encode() { "$dir/vitago" encode --quiet --threads 1 --model "$model" --shards --resume "${flags[@]}" -o "$dir/$1" "${@:3}" "$dir/$2"; }
both() { # two processes, of which each has what the other has not
	encode "$1" "$2" "${@:3}" &
	encode "$1" "$2" "${@:3}" &
	wait
}
parts() {
	encode "$1" "$2" --part 0/2 &
	encode "$1" "$2" --part 1/2 &
	wait
}

flags=("$@")
tars one 1 1
tars few 2 1000
tars many 20 100
tars all 100 100
timed "start" encode out-one one
# Rates are those of a process beside another, since cores share a memory.
beside() { # two processes, each with an output of its own
	encode "$1-a" "$2" &
	encode "$1-b" "$2" &
	wait
}
timed "2 shards of 1000, one process" encode out-few few
timed "2 shards of 1000, each of two processes" beside out-two few
timed "20 shards of 100, each of two processes" beside out-many many
timed "100 shards of 100, two processes that claim" both out-claims all --lease 3s
timed "100 shards of 100, two parts" parts out-parts all
