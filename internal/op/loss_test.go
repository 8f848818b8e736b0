package op

import (
	"math"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
)

// What the rows of the losses' cases are compared with.
var (
	lossLabels = []int{2, 0, 3, 2, 1}
	lossTarget = []float32{ // [5,4]
		1, -0.5, 2, 0.25, -1, 0.5, 0.75, -2, 3, 1, -1, 0.125,
		0.5, 0.5, -0.5, 1.5, -0.25, 2, 1, -1,
	}
)

// targetRow returns a row of lossTarget as spago's column, in float64.
func targetRow(r int) mat.Tensor {
	v := make([]float64, 4)
	for i := range v {
		v[i] = float64(lossTarget[4*r+i])
	}
	return mat.NewDense[float64](mat.WithBacking(v))
}

// mean composes the mean over rows of f.
func mean(x mat.Tensor, f func(r int, row mat.Tensor) mat.Tensor) mat.Tensor {
	var total mat.Tensor
	rows := columns(x)
	for r, row := range rows {
		if y := f(r, row); total == nil {
			total = y
		} else {
			total = ag.Add(total, y)
		}
	}
	return ag.ProdScalar(total, mat.Scalar(1/float64(len(rows))))
}

func crossEntropy(smoothing float64) func(in []mat.Tensor) mat.Tensor {
	return func(in []mat.Tensor) mat.Tensor {
		return mean(in[0], func(r int, row mat.Tensor) mat.Tensor {
			t := make([]float64, 4)
			for i := range t {
				t[i] = -smoothing / 4
			}
			t[lossLabels[r]] -= 1 - smoothing
			return ag.Dot(ag.Log(ag.Softmax(row)), mat.NewDense[float64](mat.WithBacking(t)))
		})
	}
}

func init() {
	shapes := [][2]int{{5, 4}}
	cases = append(cases, []caseOf{
		{
			"CrossEntropy", shapes,
			func(in []mat.Tensor) mat.Tensor { return CrossEntropy(in[0], lossLabels, 0) },
			crossEntropy(0),
		},
		{
			"CrossEntropy, smoothed", shapes,
			func(in []mat.Tensor) mat.Tensor { return CrossEntropy(in[0], lossLabels, 0.2) },
			crossEntropy(0.2),
		},
		{
			"MSE", shapes,
			func(in []mat.Tensor) mat.Tensor { return MSE(in[0], lossTarget) },
			func(in []mat.Tensor) mat.Tensor {
				return mean(in[0], func(r int, row mat.Tensor) mat.Tensor {
					d := ag.Sub(row, targetRow(r))
					return ag.ProdScalar(ag.Dot(d, d), mat.Scalar(0.25))
				})
			},
		},
		{
			"Cosine", shapes,
			func(in []mat.Tensor) mat.Tensor { return Cosine(in[0], lossTarget) },
			func(in []mat.Tensor) mat.Tensor {
				return mean(in[0], func(r int, row mat.Tensor) mat.Tensor {
					t := targetRow(r)
					norm := ag.Sqrt(ag.Prod(ag.Dot(row, row), ag.Dot(t, t)))
					return ag.Neg(ag.AddScalar(ag.Div(ag.Dot(row, t), norm), mat.Scalar(-1.0)))
				})
			},
		},
	}...)
}

// TestExtremeLogits: logits of any size have a loss, and no number has none.
func TestExtremeLogits(t *testing.T) {
	for _, c := range []struct {
		logits    []float32
		smoothing float64
		want      float64
	}{
		{[]float32{1000, 0}, 0, 0},
		{[]float32{0, 1000}, 0, 1000},
		{[]float32{-3e38, -3e38}, 0, math.Ln2},
		{[]float32{-3e38, -3e38}, 0.5, math.Ln2},
		{[]float32{0, float32(math.Inf(-1))}, 0, 0}, // a class that cannot be
		{[]float32{0, 0}, 1, math.Ln2},
		{[]float32{0, float32(math.NaN())}, 0, math.NaN()},
		{[]float32{0, float32(math.Inf(1))}, 0, math.NaN()},
	} {
		x := mat.NewDense[float32](mat.WithShape(1, 2), mat.WithBacking(c.logits))
		got := CrossEntropy(x, []int{0}, c.smoothing).Item().F64()
		if !(math.Abs(got-c.want) <= 1e-6*max(1, c.want)) && !(got != got && c.want != c.want) {
			t.Errorf("logits %v, smoothing %v: got %v, want %v", c.logits, c.smoothing, got, c.want)
		}
	}
	zero := mat.NewDense[float32](mat.WithShape(1, 2), mat.WithGrad(true)) // has no direction
	y := Cosine(zero, []float32{1, 0})
	if err := ag.Backward(y); err != nil {
		t.Fatal(err)
	}
	if g := data(zero.Grad()); y.Item().F64() != 1 || math.IsNaN(float64(g[0])) {
		t.Errorf("a vector of zeros: loss %v, gradient %v", y.Item(), g)
	}
}

func TestBadTargets(t *testing.T) {
	x := func(r, c int) mat.Tensor { return mat.NewDense[float32](mat.WithShape(r, c)) }
	for name, f := range map[string]func(){
		"too few labels":   func() { CrossEntropy(x(2, 3), []int{1}, 0) },
		"no labels":        func() { CrossEntropy(x(0, 3), nil, 0) },
		"no such label":    func() { CrossEntropy(x(2, 3), []int{1, 3}, 0) },
		"too little MSE":   func() { MSE(x(2, 3), make([]float32, 5)) },
		"too large Cosine": func() { Cosine(x(2, 3), make([]float32, 7)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			f()
		}()
	}
}
