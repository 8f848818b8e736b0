package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A value of an activation has the same bits wherever it stands: products are cut into blocks by the number of threads.
func TestActivationAnywhere(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		x, b := make([]float32, 64), make([]float32, 64)
		for i := range x {
			x[i], b[i] = 8*rng.Float32()-4, rng.Float32()-0.5
		}
		for _, f := range activations {
			want := make([]float32, len(x))
			f.bias(want, x, b)
			for from := range 20 {
				for to := from + 1; to <= len(x); to++ {
					y := newGuarded(to - from)
					f.bias(y.data, x[from:to], b[from:to])
					y.check(t, string(f.name))
					for i, v := range y.data {
						if math.Float32bits(v) != math.Float32bits(want[from+i]) {
							t.Fatalf("%s: value %d of %d to %d is %v, want %v", f.name, from+i, from, to, v, want[from+i])
						}
					}
				}
			}
		}
	})
}
