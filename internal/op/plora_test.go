package op

import (
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
)

func init() {
	cases = append(cases, caseOf{ // rows 3 and 0 of four
		"ScatterAdd", [][2]int{{4, 5}, {2, 5}},
		func(in []mat.Tensor) mat.Tensor {
			y := fresh(dims(in[0]))
			copy(data(y), data(in[0])) // ScatterAdd writes to its operand, and the test reads it again
			return ScatterAdd(keeps{in[0], y}, in[1], []int{3, 0}, 0.75)
		},
		func(in []mat.Tensor) mat.Tensor {
			y, x := ag.RowViews(in[0]), ag.RowViews(ag.ProdScalar(in[1], mat.Scalar(0.75)))
			return ag.Stack(ag.Add(y[0], x[1]), y[1], y[2], ag.Add(y[3], x[0]))
		},
	})
}

func TestBadScatterAdd(t *testing.T) {
	x := func(r, c int) mat.Tensor { return mat.NewDense[float32](mat.WithShape(r, c)) }
	for name, f := range map[string]func(){
		"columns": func() { ScatterAdd(x(4, 5), x(2, 4), []int{0, 1}, 1) },
		"number":  func() { ScatterAdd(x(4, 5), x(2, 5), []int{0}, 1) },
		"no row":  func() { ScatterAdd(x(4, 5), x(2, 5), []int{0, 4}, 1) },
		"twice":   func() { ScatterAdd(x(4, 5), x(2, 5), []int{1, 1}, 1) },
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
