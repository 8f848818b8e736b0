package op

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/golden"
)

// TestWeightedLosses: losses with class weights, and their gradients, are torch's.
func TestWeightedLosses(t *testing.T) {
	text, err := os.ReadFile(golden.Path(t, "testdata/tiny/losses.json"))
	if err != nil {
		t.Fatal(err)
	}
	type c struct {
		Logits, Targets, Gradient [][]float64
		Labels                    []int
		Weight                    []float64
		PosWeight                 []float64 `json:"pos_weight"`
		Smoothing, Loss           float64
	}
	var all struct {
		CrossEntropy []c `json:"cross_entropy"`
		BCE          []c `json:"bce"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	flat := func(rows [][]float64) (x []float32) {
		for _, v := range slices.Concat(rows...) {
			x = append(x, float32(v))
		}
		return x
	}
	check := func(name string, c c, loss func(x mat.Tensor) mat.Tensor) {
		t.Helper()
		x := nn.NewParam(mat.NewDense[float32](mat.WithShape(len(c.Logits), len(c.Logits[0])), mat.WithBacking(flat(c.Logits))))
		y := loss(x)
		if got := y.Value().Item().F64(); math.Abs(got-c.Loss) > 1e-6*max(1, c.Loss) {
			t.Errorf("%s: loss is %v, want %v", name, got, c.Loss)
		}
		if err := ag.Backward(y); err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, name, x.Grad().Data().F32(), flat(c.Gradient), 1e-6)
	}
	for _, c := range all.CrossEntropy {
		check("cross-entropy", c, func(x mat.Tensor) mat.Tensor { return WeightedCrossEntropy(x, c.Labels, c.Smoothing, c.Weight) })
	}
	for _, c := range all.BCE {
		check("binary", c, func(x mat.Tensor) mat.Tensor { return BinaryCrossEntropy(x, flat(c.Targets), c.PosWeight) })
	}
	// Weights that are all alike change nothing.
	x := mat.NewDense[float32](mat.WithShape(2, 3), mat.WithBacking([]float32{1, -2, 0.5, 0, 3, 1}))
	if a, b := CrossEntropy(x, []int{2, 0}, 0.1).Item().F64(), WeightedCrossEntropy(x, []int{2, 0}, 0.1, []float64{3, 3, 3}).Item().F64(); math.Abs(a-b) > 1e-7 {
		t.Errorf("with like weights %v, want %v", b, a)
	}
	for _, z := range []float32{float32(math.Inf(1)), 3e38, 1000} { // which have a loss, but where they are wrong and infinite
		x := mat.NewDense[float32](mat.WithShape(1, 2), mat.WithBacking([]float32{z, -z}))
		if got := BinaryCrossEntropy(x, []float32{1, 0}, nil).Item().F64(); got != 0 {
			t.Errorf("logits of %v: loss %v, want 0", z, got)
		}
	}
}
