package kernel

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// Names of activations stand in saved models and configurations, so they stay; anything else is a mistake.
func TestActivations(t *testing.T) {
	if got, want := Activations(), []Activation{"quick_gelu", "gelu"}; !slices.Equal(got, want) {
		t.Errorf("activations are %q, want %q", got, want)
	}
	for f, want := range map[Activation]bool{QuickGELU: true, GELU: true, None: false, "relu": false, "GELU": false} {
		if got := f.Valid(); got != want {
			t.Errorf("%q is valid: got %v, want %v", f, got, want)
		}
	}
	x := []float32{-1, 0, 2}
	for f, want := range map[Activation][]float64{
		None:      {-1, 0, 2},
		QuickGELU: {-1 / (1 + math.Exp(1.702)), 0, 2 / (1 + math.Exp(-3.404))},
		GELU:      {-0.158655254, 0, 1.954499736},
	} {
		y := make([]float32, len(x))
		Activate(y, x, f)
		for i := range y {
			near(t, string(f), y[i], want[i], 1e-6)
		}
	}
	defer func() {
		if got := recover(); got == nil || !strings.Contains(got.(string), `activation is "relu", want one of ["quick_gelu" "gelu"]`) {
			t.Errorf("relu: got panic %v", got)
		}
	}()
	Activate(x, x, "relu")
}
