package probe

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// The sweep fits what scikit-learn's fits, and chooses what a search over its scores chooses.
func TestSweep(t *testing.T) {
	f := golden.Load(t, "testdata/tiny/probe.npz")
	train, validation := goldenSet(f, "sweep/x", "sweep/y"), goldenSet(f, "sweep/x_validation", "sweep/y_validation")
	grid, accuracy, loss := f.Float64("sweep/exponent"), f.Float64("sweep/accuracy"), f.Float64("sweep/loss")
	var seen []float64
	best, all, err := Sweep(t.Context(), train, validation, func(tr Trial) { seen = append(seen, math.Log10(tr.Lambda)) })
	if err != nil {
		t.Fatal(err)
	}
	for i, tr := range all {
		at := slices.IndexFunc(grid, func(e float64) bool { return math.Abs(e-seen[i]) < 1e-9 })
		if at < 0 {
			t.Fatalf("λ = %v is not of the grid", tr.Lambda)
		}
		if !tr.Converged {
			t.Errorf("λ=%g: a gradient of %g remained after %d iterations", tr.Lambda, tr.Gradient, tr.Iterations)
		}
		if got := tr.Validation.Accuracy(); got != accuracy[at] {
			t.Errorf("λ=%g: accuracy %v, want %v", tr.Lambda, got, accuracy[at])
		}
		near(t, "loss", []float64{tr.Validation.Loss}, loss[at:at+1], 1e-5)
	}
	want := slices.Sorted(slices.Values(f.Float64("sweep/tried")))
	got := slices.Sorted(slices.Values(seen))
	near(t, "values of λ", got, want, 1e-9)
	near(t, "the best", []float64{math.Log10(best.Lambda)}, f.Float64("sweep/best"), 1e-9)
}

// Every fit of a sweep is what it would be by itself.
func TestSweepWarmStart(t *testing.T) {
	f := golden.Load(t, "testdata/tiny/probe.npz")
	s := goldenSet(f, "three/x", "three/y")
	_, all, err := Sweep(t.Context(), s, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range all {
		cold, err := Regress(t.Context(), s, tr.Lambda)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "W", tr.W, cold.W, 1e-4)
		near(t, "B", tr.B, cold.B, 1e-4)
	}
}

// Where features say nothing, the strongest penalty is as good as any and stays the best, and the
// search does not leave the grid.
func TestSweepEdge(t *testing.T) {
	s := &Set{X: make([]float32, 6), Dim: 1, Labels: []int{0, 1, 0, 1, 0, 0}, Classes: []string{"a", "b"}}
	best, all, err := Sweep(t.Context(), s, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if best.Lambda != 1e6 || len(all) != 7+4 || best.Validation.Right != 4 {
		t.Errorf("λ = %g of %d, %d right, want 1e6 of 11, 4 right", best.Lambda, len(all), best.Validation.Right)
	}
	// The bias is the logarithm of the shares.
	near(t, "B", []float64{best.B[0] - best.B[1]}, []float64{math.Log(2)}, 1e-5)
	for _, tr := range all {
		if tr.Lambda > 1e6 {
			t.Errorf("λ = %g is beyond the grid", tr.Lambda)
		}
	}
}

func TestSetErrors(t *testing.T) {
	good := func() *Set {
		return &Set{X: []float32{0, 1, 2, 3, 4, 5}, Dim: 2, Labels: []int{0, 1, 0}, Classes: []string{"a", "b"}}
	}
	for _, c := range []struct {
		name   string
		change func(*Set)
		want   string
	}{
		{"nothing", func(s *Set) { s.X, s.Labels = nil, nil }, "no pictures"},
		{"short", func(s *Set) { s.X = s.X[:5] }, "5 features, want 3 pictures of 2"},
		{"one class", func(s *Set) { s.Classes = s.Classes[:1] }, "1 classes, want at least 2"},
		{"label", func(s *Set) { s.Labels[2] = 2 }, "picture 2 has label 2, want 0 to 1"},
		{"unlabelled", func(s *Set) { s.Labels[0] = -1 }, "picture 0 has label -1"},
		{"NaN", func(s *Set) { s.X[3] = float32(math.NaN()) }, "feature 1 of picture 1 is NaN"},
		{"empty class", func(s *Set) { s.Classes = append(s.Classes, "c") }, `class "c" has no pictures`},
	} {
		s := good()
		c.change(s)
		if _, err := Regress(t.Context(), s, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
		if c.name == "empty class" { // which a validation set may have
			continue
		}
		if _, _, err := Sweep(t.Context(), good(), s, nil); err == nil || !strings.HasPrefix(err.Error(), "probe: validation: ") {
			t.Errorf("%s: validation error %v", c.name, err)
		}
	}
	for _, lambda := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := Regress(t.Context(), good(), lambda); err == nil || !strings.Contains(err.Error(), "λ is") {
			t.Errorf("λ %v: error %v", lambda, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := Regress(ctx, good(), 1); !errors.Is(err, stop) {
		t.Errorf("cancelled: error %v, want %v", err, stop)
	}
}
