//go:build poison

package op

import (
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// TestReleasePoisons: who reads what was released gets NaN, at once or, in a graph, when its gradients are computed.
func TestReleasePoisons(t *testing.T) {
	isNaN := func(when string, x []float32) {
		t.Helper()
		for i, v := range x {
			if v == v {
				t.Fatalf("%s: element %d is %v, want NaN", when, i, v)
			}
		}
	}
	x := Activate(numbered(4, 5, 1, false), kernel.GELU)
	values := data(x)
	Release(Activate(x, kernel.GELU), x)
	isNaN("without a graph", values)

	p := ToPanels(Activate(numbered(4, 5, 1, false), kernel.GELU), 2).(*panels)
	FromPanels(p)
	isNaN("panels", p.values)

	w := numbered(4, 5, 1, true)
	h := ag.Add(w, w) // spago's own, so that it is no node of ours
	n := Normalize(h)
	y := Normalize(n)
	values = data(n)
	y = Release(y, n)
	before := values[0]
	if before != before {
		t.Fatal("released before its gradients were computed")
	}
	y.AccGrad(mat.NewDense[float32](mat.WithShape(4, 5), mat.WithBacking(make([]float32, 20))))
	if err := ag.Backward(y); err != nil {
		t.Fatal(err)
	}
	isNaN("after Backward", values)
}
