#!/usr/bin/env bash
# spago v1.1.0 (github.com/nlpodyssey/spago): a parameter stops learning when its value is replaced. nn.Param embeds the matrix,
# the flag that a gradient is wanted is the matrix's, and ReplaceValue, which is how pretrained weights get into a model,
# takes that of the new matrix, where it is false by default. ag.Backward then gives the parameter no gradient, the
# optimizer passes over it, and training goes on with what is left, without an error.
#
# p.SetRequiresGrad(true) after ReplaceValue, or a matrix made with mat.WithGrad(true), mends it. nn.NewParam sets the flag by
# itself, which is why the difference is easily missed.
#
# Seen on 2026-11-30, linux/amd64, go 1.26: "new true true, replaced false false, set again true true"
# (whether a gradient is wanted; whether there is one after Backward).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
)

func learns(p *nn.Param) string {
	other := nn.NewParam(mat.NewDense[float32](mat.WithBacking([]float32{5}))) // so that there is a graph at all
	if err := ag.Backward(ag.Prod(p, other)); err != nil {
		panic(err)
	}
	return fmt.Sprint(p.RequiresGrad(), " ", p.HasGrad())
}

func main() {
	p := nn.NewParam(mat.NewDense[float32](mat.WithBacking([]float32{1})))
	fmt.Print("new ", learns(p))
	p.ReplaceValue(mat.NewDense[float32](mat.WithBacking([]float32{2})))
	fmt.Print(", replaced ", learns(p))
	p.SetRequiresGrad(true)
	fmt.Println(", set again", learns(p))
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/nlpodyssey/spago@v1.1.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
[ "$got" = "new true true, replaced false false, set again true true" ] || { echo "got \"$got\": spago v1.1.0 behaves in another way than was seen" >&2; exit 1; }
echo "as seen: $got"
