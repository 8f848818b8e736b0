package probe

import (
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

func goldenSet(f *golden.File, x, y string) *Set {
	s := &Set{X: f.Float32(x), Dim: f.Shape(x)[1]}
	k := 0
	for _, l := range f.Int64(y) {
		s.Labels = append(s.Labels, int(l))
		k = max(k, int(l)+1)
	}
	for i := range k {
		s.Classes = append(s.Classes, strconv.Itoa(i))
	}
	return s
}

// near fails the test if an element is further than tol from what it should be, relative to the
// largest of them or to 1: all of the features have that size.
func near(t *testing.T, name string, got, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	scale, worst := 1.0, 0.0
	at := 0
	for i, w := range want {
		scale = max(scale, math.Abs(w))
		if d := math.Abs(got[i] - w); !(d <= worst) {
			worst, at = d, i
		}
	}
	if !(worst <= tol*scale) {
		t.Errorf("%s: [%d] is %v, want %v, within %g of %g", name, at, got[at], want[at], tol, scale)
	}
}

func TestRegress(t *testing.T) {
	f := golden.Load(t, "testdata/tiny/probe.npz")
	for _, name := range []string{"three", "two", "skewed"} {
		s := goldenSet(f, name+"/x", name+"/y")
		k, d := len(s.Classes), s.Dim
		for i, lambda := range f.Float64(name + "/lambda") {
			fit, err := Regress(t.Context(), s, lambda)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s λ=%g: %d iterations, gradient %.3g", name, lambda, fit.Iterations, fit.Gradient)
			label := fmt.Sprintf("%s λ=%g", name, lambda)
			if !fit.Converged {
				t.Errorf("%s: a gradient of %g remained after %d iterations", label, fit.Gradient, fit.Iterations)
			}
			w, b := fit.W, fit.B
			rows := f.Shape(name + "/coef")[1]
			if rows == 1 {
				w, b = make([]float64, d), []float64{fit.B[1] - fit.B[0]}
				for j := range d {
					w[j] = fit.W[d+j] - fit.W[j]
				}
			}
			near(t, label+": W", w, f.Float64(name + "/coef")[i*rows*d:(i+1)*rows*d], 1e-5)
			near(t, label+": B", b, f.Float64(name + "/intercept")[i*rows:(i+1)*rows], 1e-5)
			p := newProblem(s)
			loss := p.forward(fit.W, fit.B).Loss
			near(t, label+": loss", []float64{loss / float64(s.Len())}, f.Float64(name + "/loss")[i:i+1], 1e-6)
			probabilities := make([]float32, s.Len()*k)
			for j, v := range p.logits.Data {
				probabilities[j] = float32(v)
			}
			golden.Compare(t, label+": probabilities", probabilities, f.Float32(name + "/probabilities")[i*s.Len()*k:(i+1)*s.Len()*k], 1e-5)
		}
	}
}
