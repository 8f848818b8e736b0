package op

import (
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

func init() {
	cases = append(cases, caseOf{ // two corrections, of different ranks, with a column between them
		"LowRank of two", [][2]int{{5, 9}, {5, 7}, {2, 7}, {3, 2}, {1, 7}, {4, 1}},
		func(in []mat.Tensor) mat.Tensor {
			y := fresh(dims(in[0]))
			copy(data(y), data(in[0]))
			return LowRank(keeps{in[0], y}, in[1], Correction{param(in[2]), param(in[3]), 0.5, 5}, Correction{param(in[4]), param(in[5]), 2, 0})
		},
		func(in []mat.Tensor) mat.Tensor {
			change := func(a, b mat.Tensor, scale float32) mat.Tensor {
				return ag.ProdScalar(ag.Mul(ag.Mul(in[1], ag.T(a)), ag.T(b)), mat.Scalar(scale))
			}
			d, e := change(in[2], in[3], 0.5), change(in[4], in[5], 2) // [5,3], [5,4]
			var rows []mat.Tensor
			for r, y := range ag.RowViews(in[0]) {
				part := func(lo, hi int) mat.Tensor { return ag.T(ag.Slice(y, 0, lo, 1, hi)) }
				rows = append(rows, ag.Concat(ag.Add(part(0, 4), ag.T(ag.RowView(e, r))), part(4, 5), ag.Add(part(5, 8), ag.T(ag.RowView(d, r))), part(8, 9)))
			}
			return ag.Stack(rows...)
		},
	}, caseOf{ // the correction of rows 3 to 5 of the weights
		"LowRank", [][2]int{{5, 9}, {5, 7}, {2, 7}, {3, 2}},
		func(in []mat.Tensor) mat.Tensor {
			y := fresh(dims(in[0]))
			copy(data(y), data(in[0])) // LowRank writes to its operand, and the test reads it again
			return LowRank(keeps{in[0], y}, in[1], Correction{param(in[2]), param(in[3]), 0.5, 3})
		},
		func(in []mat.Tensor) mat.Tensor {
			d := ag.ProdScalar(ag.Mul(ag.Mul(in[1], ag.T(in[2])), ag.T(in[3])), mat.Scalar(0.5)) // [5,3]
			var rows []mat.Tensor
			for r, y := range ag.RowViews(in[0]) {
				part := func(lo, hi int) mat.Tensor { return ag.T(ag.Slice(y, 0, lo, 1, hi)) }
				rows = append(rows, ag.Concat(part(0, 3), ag.Add(part(3, 6), ag.T(ag.RowView(d, r))), part(6, 9)))
			}
			return ag.Stack(rows...)
		},
	})
}

// keeps is a tensor with the value of another.
type keeps struct {
	mat.Tensor
	value mat.Tensor
}

func (k keeps) Value() mat.Tensor { return k.value }

// TestLowRankGivesBack: what is corrected hands its gradient on to its residual, and keeps none.
func TestLowRankGivesBack(t *testing.T) {
	ones := func(r, c int) *mat.Dense[float32] {
		return mat.NewDense[float32](mat.WithShape(r, c), mat.WithBacking(mat.CreateInitializedSlice[float32](r*c, 1)), mat.WithGrad(true))
	}
	a, b := NewParam(2, 7), NewParam(9, 2)
	x, residual, m := ones(5, 7), ones(5, 9), NewLinear(7, 9)
	y := LinearAdd(x, m, residual)
	z := LowRank(y, x, Correction{a, b, 1, 0})
	out := Release(Activate(z, kernel.QuickGELU), z)
	out.AccGrad(ones(5, 9))
	if err := ag.Backward(out); err != nil {
		t.Fatal(err)
	}
	if y.HasGrad() || z.HasGrad() {
		t.Errorf("after the gradients, what is corrected has its own: %v, the result: %v", y.HasGrad(), z.HasGrad())
	}
	want := make([]float32, 5*9)
	kernel.ActivateGrad(want, data(ones(5, 9)), data(ones(5, 9)), kernel.QuickGELU) // the weights are 0: z is the residual
	if got := data(residual.Grad()); !slices.Equal(got, want) {
		t.Errorf("gradient of the residual is %v, want %v", got, want)
	}
}

func TestBadLowRank(t *testing.T) {
	x := func(r, c int) mat.Tensor { return mat.NewDense[float32](mat.WithShape(r, c)) }
	for name, f := range map[string]func(){
		"rows":    func() { LowRank(x(2, 4), x(2, 3), Correction{NewParam(1, 3), NewParam(3, 1), 1, 2}) },
		"rank":    func() { LowRank(x(2, 4), x(2, 3), Correction{NewParam(1, 3), NewParam(3, 2), 1, 0}) },
		"columns": func() { LowRank(x(2, 4), x(2, 3), Correction{NewParam(1, 2), NewParam(3, 1), 1, 0}) },
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
