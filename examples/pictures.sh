#!/usr/bin/env bash
# Draws the pictures of the examples' index, of what they print here and now: pictures/NAME.svg. Examples that want other models than
# builtin:demo run on the small ones under testdata.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$dir"' EXIT
mkdir -p examples/pictures
GOBIN=$dir/bin CGO_ENABLED=0 go install ./examples/... ./cmd/vitago
go build -o "$dir/picture" examples/picture.go
cp -r demo/pictures "$dir/pictures"
cp demo/pictures/{circle-left-of-cross,red-circle,blue-square}.png "$dir"
cp "$root/demo/pictures/red-circle.png" "$dir/photo.png"
for family in xcomposer2-vl hf5-clip; do ln -s "$root/testdata/families/$family" "$dir/$family"; done
ln -s "$root/testdata/tiny/huggingface" "$dir/tiny"
cp -r "$root/tasks/testdata" "$dir/models"
cd "$dir"

# show NAME COMMAND: draws what comes in as what COMMAND prints.
show() { sed "s#$dir/##g; s#127.0.0.1:[0-9]*#localhost:8080#g" | "$dir/picture" "$root/examples/pictures/$1.svg" "$2"; }

# draw NAME ARGUMENTS...: runs it and draws its output, with what it says on standard error.
draw() {
	local name=$1
	shift
	local words
	words=$(for w in "$@"; do case $w in *[\ ,]*) printf ' "%s"' "$w" ;; *) printf ' %s' "$w" ;; esac; done)
	"$dir/bin/$name" "$@" >"$dir/out" 2>&1
	show "$name" "$(sed "s#$dir#.#g; s#127.0.0.1:[0-9]*#localhost:8080#" <<<"go run ./examples/$name$words")" <"$dir/out"
}

# answer CURL...: what a server says that has just been started.
answer() { curl -s --retry 20 --retry-connrefused --retry-delay 1 "$@"; }

"$dir/bin/shapes" -n 40 -test 10 shapes
"$dir/picture" "$root/examples/pictures/shapes.jpg" shapes/train/*/00000.png
draw encode builtin:demo photo.png
draw similarity builtin:demo photo.png red-circle.png blue-square.png
draw folder builtin:demo pictures photos.npy
draw bucket vectors pictures
draw search pictures photos.index "a red circle"
draw zeroshot builtin:demo "red circle,blue square,green star" pictures/red-circle.png pictures/blue-square.png
draw explain circle-left-of-cross.png "a blue cross" map.png
cp map.png "$root/examples/pictures/map.png"
draw tune builtin:demo shapes/train shapes/test tuned
draw classify tuned shapes/test
printf 'path,caption\npictures/red-circle.png,a cat\npictures/blue-square.png,a hat\npictures/yellow-circle.png,a photo\npictures/three-stars.png,a photo of a cat\n' >captions.csv
draw contrastive hf5-clip captions.csv contrastive
draw customhead builtin:demo shapes/train head shapes/test/ring/00040.png shapes/test/star/00041.png
draw finetune -learns last -epochs 5 tiny shapes/train own
draw lora builtin:demo shapes/train shapes/test lora
draw projector xcomposer2-vl pictures projector
draw convert builtin:demo small exported
draw tokens xcomposer2-vl tokens.safetensors photo.png
draw text builtin:demo "a red circle" "a blue circle" "a star"
draw task -models "$dir" -model hf5-clip photo.png
draw bert -models models -model bert "hello"
"$dir/bin/embedserver" 127.0.0.1:0 >"$dir/address" 2>/dev/null &
for _ in $(seq 100); do [ -s "$dir/address" ] && break; sleep 0.1; done
address=$(cat "$dir/address")
draw client "$address" "a red circle" red-circle.png
answer "$address/hello" | show embedserver "curl localhost:8080/hello"
go -C "$root/examples/openai" run . "http://$address/v1" "a red circle" "a blue square" | show openai 'go -C examples/openai run . http://localhost:8080/v1 "a red circle" "a blue square"'
"$dir/bin/serve" tuned 127.0.0.1:18765 2>/dev/null &
answer --data-binary @shapes/test/ring/00040.png 127.0.0.1:18765/classify | show serve "curl --data-binary @shapes/test/ring/00040.png localhost:8080/classify"
"$dir/bin/cybertronserver" builtin:demo 127.0.0.1:18766 2>/dev/null &
answer -d '{"input": "a red circle"}' 127.0.0.1:18766/v1/encode | show cybertronserver "curl -d '{\"input\": \"a red circle\"}' localhost:8080/v1/encode"
go -C "$root/examples/owntask" run . ../../demo/pictures/red-circle.png | show owntask "go -C examples/owntask run . ../../demo/pictures/red-circle.png"
ls "$root/examples/pictures"
