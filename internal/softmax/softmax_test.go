package softmax

import (
	"math"
	"testing"
)

// TestOf: odds are the exponentials of differences, whatever is added to all logits.
func TestOf(t *testing.T) {
	for _, shift := range []float64{0, 1000, -1000} {
		z := []float64{shift, shift + math.Log(2), shift + math.Log(5)}
		Of(z)
		for i, want := range []float64{0.125, 0.25, 0.625} {
			if math.Abs(z[i]-want) > 1e-12 {
				t.Errorf("shift %v: probability %d is %v, want %v", shift, i, z[i], want)
			}
		}
	}
	z := []float64{3, math.Inf(-1)}
	if Of(z); z[0] != 1 || z[1] != 0 {
		t.Errorf("got %v, want 1 and 0", z)
	}
	z = []float64{0, math.NaN()}
	if Of(z); !math.IsNaN(z[0]) || !math.IsNaN(z[1]) {
		t.Errorf("got %v, want NaN, which hides nothing", z)
	}
}
