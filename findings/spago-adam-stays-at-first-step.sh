#!/usr/bin/env bash
# spago v1.1.0 (github.com/nlpodyssey/spago): Adam's correction of the bias never leaves the first step unless the caller
# counts steps. optimizers.Optimizer.Optimize does not do it, nor does OptimizeParams, and the type OptimizationStrategy, which
# the optimizer is given, has no method for it: adam.Adam.IncExample has to be called after every step, on the concrete
# type. The name is of another time, when it meant an example of a batch.
#
# Without it the rate is corrected by sqrt(1-beta2)/(1-beta1) = 0.316 for ever (betas 0.9 and 0.999): the second step is
# 1.34 times as large as it should be, and late ones are 0.316 of what they should be. No error and no sign tells.
#
# Seen on 2026-11-30, linux/amd64, go 1.26: the lines in "want" below, for a constant gradient of 1 and a rate of 0.1, where
# Kingma and Ba's algorithm moves by 0.1 in each step.
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
	"github.com/nlpodyssey/spago/optimizers/adam"
)

func main() {
	for _, counted := range []bool{false, true} {
		p := nn.NewParam(mat.NewDense[float64](mat.WithBacking([]float64{0})))
		a := adam.New(adam.NewConfig(0.1, 0.9, 0.999, 1e-8))
		for step := 1; step <= 20000; step++ {
			before := p.Value().Data().F64()[0]
			p.AccGrad(mat.NewDense[float64](mat.WithBacking([]float64{1})))
			if err := a.OptimizeParams(p); err != nil { // what optimizers.Optimizer calls for every parameter
				panic(err)
			}
			if counted {
				a.IncExample()
			}
			if step <= 3 || step == 20000 {
				fmt.Printf("counted %v, step %d: %.4f\n", counted, step, before-p.Value().Data().F64()[0])
			}
		}
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/nlpodyssey/spago@v1.1.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run . >got

cat >want <<'TXT'
counted false, step 1: 0.1000
counted false, step 2: 0.1344
counted false, step 3: 0.1565
counted false, step 20000: 0.0316
counted true, step 1: 0.1000
counted true, step 2: 0.1000
counted true, step 3: 0.1000
counted true, step 20000: 0.1000
TXT
diff want got || { echo "spago v1.1.0 steps in another way than was seen" >&2; exit 1; }
echo "as seen: without IncExample a late step of spago v1.1.0 moves by 0.316 of the rate"
