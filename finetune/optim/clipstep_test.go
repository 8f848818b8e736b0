package optim

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestClipStep: one call has the bits of scaling, clipping and the step, and leaves the gradients alone.
func TestClipStep(t *testing.T) {
	for name, newOptimizer := range map[string]func(groups []Group) (Optimizer, error){
		"AdamW": func(groups []Group) (Optimizer, error) { return NewAdamW(groups, DefaultAdamW) },
		"SGD":   func(groups []Group) (Optimizer, error) { return NewSGD(groups, SGDConfig{Momentum: 0.9}) },
	} {
		for _, scale := range []float64{1, 1. / 3} {
			for _, most := range []float64{0.5, 1e6, math.Inf(1)} {
				start := func() ([]Named, []Group, Optimizer) {
					ps := random(rand.New(rand.NewPCG(3, 4)), 1, 15, 4096, 4099, pieceLen+5000)
					groups := []Group{{Name: "all", Rate: 0.1, WeightDecay: 0.01, Params: ps}}
					o, err := newOptimizer(groups)
					if err != nil {
						t.Fatal(err)
					}
					return ps, groups, o
				}
				ps, groups, apart := start()
				qs, _, together := start()
				for range 2 {
					before := slices.Clone(qs[3].gradient())
					ScaleGradients(groups, scale)
					want := ClipGradNorm(groups, most)
					if err := apart.Step(0.5); err != nil {
						t.Fatal(err)
					}
					got, err := together.ClipStep(scale, most, 0.5)
					if err != nil {
						t.Fatal(err)
					}
					if got != want {
						t.Errorf("%s, scale %v, max %v: norm %v, want %v", name, scale, most, got, want)
					}
					for i, p := range ps {
						if !slices.Equal(p.values(), qs[i].values()) {
							t.Errorf("%s, scale %v, max %v: %s differs from the steps apart", name, scale, most, p.Path)
						}
					}
					if !slices.Equal(before, qs[3].gradient()) {
						t.Errorf("%s, scale %v, max %v: the gradient has changed", name, scale, most)
					}
					for i, p := range ps { // again with the same gradients
						copy(p.gradient(), qs[i].gradient())
					}
				}
				weights := slices.Clone(qs[4].values())
				qs[2].gradient()[7] = float32(math.NaN())
				_, err := together.ClipStep(scale, most, 0.5)
				var bad *NonFiniteError
				if !errors.As(err, &bad) || bad.Path != "P2" || bad.Step != 3 || !slices.Equal(weights, qs[4].values()) {
					t.Errorf("%s: error %v, want that the gradient of P2 is NaN in step 3, and no weight moved", name, err)
				}
				if _, err := together.ClipStep(scale, most, -1); err == nil {
					t.Errorf("%s: no error for a factor of -1", name)
				}
			}
		}
	}
}
