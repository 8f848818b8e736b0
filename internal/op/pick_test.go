package op

import (
	"testing"

	"github.com/nlpodyssey/spago/ag"
)

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
