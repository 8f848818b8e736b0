package kernel

import (
	"math"
	"testing"
)

// TestActivateGradFlushes: where an activation is saturated, its gradient is 0 and not a number that makes products slow.
func TestActivateGradFlushes(t *testing.T) {
	eachImpl(t, testActivateGradFlushes)
}

func testActivateGradFlushes(t *testing.T) {
	const n = 3000
	x, gy, gx := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], gy[i] = float32(i-n+500)/50, 1e-6 // -50 to 10
	}
	for _, f := range []Activation{GELU, QuickGELU} {
		ActivateGrad(gx, gy, x, f)
		zeros := 0
		for i, v := range gx {
			if a := math.Abs(float64(v)); a != 0 && a < 0.999e-30 {
				t.Fatalf("activation %v: gradient at %v is %v", f, x[i], v)
			}
			if v == 0 {
				zeros++
			}
			if x[i] > -5 && x[i] < -3 && v == 0 {
				t.Errorf("activation %v: no gradient at %v", f, x[i])
			}
		}
		x[7], gy[8] = float32(math.NaN()), float32(math.NaN())
		ActivateGrad(gx, gy, x, f)
		if !math.IsNaN(float64(gx[7])) || !math.IsNaN(float64(gx[8])) {
			t.Errorf("activation %v: of NaN %v and %v", f, gx[7], gx[8])
		}
		x[7], gy[8] = x[6], gy[6]
		if zeros == 0 {
			t.Errorf("activation %v: nothing was so small", f)
		}
	}
}
