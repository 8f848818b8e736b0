package op

import (
	"math"
	"testing"
)

func TestNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for want, x := range map[int][]float32{
		-1: {0, -0.5, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32},
		0:  {nan},
		1:  {0, inf, nan},
		2:  {0, 1, -inf, 2},
	} {
		if got := NotFinite(x); got != want {
			t.Errorf("%v: got %d, want %d", x, got, want)
		}
	}
	if got := NotFinite(nil); got != -1 {
		t.Errorf("of nothing: got %d, want -1", got)
	}
}
