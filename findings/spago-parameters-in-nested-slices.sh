#!/usr/bin/env bash
# spago v1.1.0 (github.com/nlpodyssey/spago): nn.ForEachParam, nn.Parameters and nn.ZeroGrad find parameters in the fields of a
# model, in slices and in maps of them, but not in slices of slices. Such parameters take part in the forward pass, have
# gradients, and are neither trained nor cleared, without an error: their gradients add up from step to step.
#
# A grid of experts or of heads, [][]*linear.Model, is such a field. A named model around the inner slice mends it.
#
# Seen on 2026-11-30, linux/amd64, go 1.26: "flat 1, map 1, nested 0".
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
)

type flat struct {
	nn.Module
	Rows []*nn.Param
}

type named struct {
	nn.Module
	Rows map[string]*nn.Param
}

type nested struct {
	nn.Module
	Grid [][]*nn.Param
}

func count(m nn.Model) (n int) {
	nn.ForEachParam(m, func(*nn.Param) { n++ })
	return n
}

func main() {
	p := nn.NewParam(mat.NewDense[float32](mat.WithShape(2)))
	fmt.Printf("flat %d, map %d, nested %d\n", count(&flat{Rows: []*nn.Param{p}}), count(&named{Rows: map[string]*nn.Param{"p": p}}), count(&nested{Grid: [][]*nn.Param{{p}}}))
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/nlpodyssey/spago@v1.1.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
[ "$got" = "flat 1, map 1, nested 0" ] || { echo "got \"$got\": spago v1.1.0 walks in another way than was seen" >&2; exit 1; }
echo "as seen: $got"
