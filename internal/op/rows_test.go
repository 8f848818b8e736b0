package op

import (
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
)

func init() {
	cases = append(cases,
		caseOf{
			"PatchRows", [][2]int{{12, 5}},
			func(in []mat.Tensor) mat.Tensor { return PatchRows(in[0], 4) },
			func(in []mat.Tensor) mat.Tensor {
				rows := ag.RowViews(in[0])
				return ag.Stack(slices.Concat(rows[1:4], rows[5:8], rows[9:12])...)
			},
		},
		caseOf{
			"Gather", [][2]int{{6, 5}},
			func(in []mat.Tensor) mat.Tensor { return Gather(in[0], []int{4, 1, 4}) },
			func(in []mat.Tensor) mat.Tensor {
				rows := ag.RowViews(in[0])
				return ag.Stack(rows[4], rows[1], rows[4])
			},
		},
		caseOf{ // rows 3 and 0 of four
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
		},
	)
}

// TestGatherOr: rows come in the order that is asked for, some of them twice or never; sums of integers are exact.
func TestGatherOr(t *testing.T) {
	const n = 3
	x, line := numbered(4, n, 0, true), numbered(1, n, 100, true)
	rows := []int{2, -1, 0, 2, -1, 3}
	y := GatherOr(x, line, rows)
	if m, cols := dims(y); m != len(rows) || cols != n {
		t.Fatalf("shape %v", y.Shape())
	}
	g := numbered(len(rows), n, 1, false)
	want := make([]float32, 5*n) // of x, then of line
	for i, r := range rows {
		for j := range n {
			from := float32(100 + j)
			if r >= 0 {
				from = float32(r*n + j)
			}
			if got := data(y)[i*n+j]; got != from {
				t.Errorf("row %d is %v, want %v", i, got, from)
			}
			want[(r+5)%5*n+j] += data(g)[i*n+j]
		}
	}
	y.AccGrad(g)
	if err := ag.Backward(y); err != nil {
		t.Fatal(err)
	}
	got := append(append([]float32(nil), data(x.Grad())...), data(line.Grad())...)
	for i := range want { // row -1 came to (-1+5)%5 = 4, that of line
		if got[i] != want[i] {
			t.Errorf("gradient %d is %v, want %v", i, got[i], want[i])
		}
	}
	if GatherOr(numbered(4, n, 0, false), numbered(1, n, 0, false), rows).RequiresGrad() {
		t.Error("a graph of operands that want no gradient")
	}
	for _, bad := range [][]int{{4}, {-2}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v: no panic", bad)
				}
			}()
			GatherOr(x, line, bad)
		}()
	}
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
