package op

import (
	"fmt"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
)

// numbered returns a matrix with the values first, first+1, …
func numbered(rows, cols int, first float32, grad bool) *mat.Dense[float32] {
	x := mat.NewDense[float32](mat.WithShape(rows, cols), mat.WithGrad(grad))
	for i := range data(x) {
		data(x)[i] = first + float32(i)
	}
	return x
}

// mergeNaive is the specification of Merge: where each place of y comes from, as a flat index in x, then in
// line, then in between.
func mergeNaive(v Views, c int) []int {
	g, half := v.Grid, v.Grid/2
	lineAt := v.In() * c
	var y []int
	add := func(first, n int) {
		for i := range n {
			y = append(y, first+i)
		}
	}
	patch := func(view, row, col int) { add((view*(1+g*g)+1+row*g+col)*c, c) }
	picture := func(first, rows, cols int) {
		for r := range rows * half {
			for col := range cols * half {
				for dy := range 2 {
					for dx := range 2 {
						py, px := 2*r+dy, 2*col+dx
						patch(first+py/g*cols+px/g, py%g, px%g)
					}
				}
			}
			add(lineAt, 4*c)
		}
	}
	picture(0, 1, 1)
	add(lineAt+4*c, 4*c)
	picture(1, v.Rows, v.Cols)
	return y
}

// TestMerge compares values and gradients with the specification; nothing is rounded but sums of integers,
// which are exact.
func TestMerge(t *testing.T) {
	for _, v := range []Views{{1, 1, 2}, {1, 1, 4}, {2, 3, 2}, {3, 2, 4}, {1, 5, 6}, {5, 1, 2}, {2, 2, 8}} {
		for _, c := range []int{1, 3, 16} {
			t.Run(fmt.Sprintf("%+v,%d", v, c), func(t *testing.T) {
				from := mergeNaive(v, c)
				n := v.In() * c
				x, line, between := numbered(v.In(), c, 0, true), numbered(1, 4*c, float32(n), true), numbered(1, 4*c, float32(n+4*c), true)
				y := Merge(x, line, between, v)
				if rows, cols := dims(y); rows != v.Out() || cols != 4*c || len(from) != rows*cols {
					t.Fatalf("shape %v, want [%d,%d], %d elements", y.Shape(), v.Out(), 4*c, len(from))
				}
				for i, got := range data(y) {
					if int(got) != from[i] {
						t.Fatalf("element %d is that of %v, want %d", i, got, from[i])
					}
				}
				g := numbered(v.Out(), 4*c, 1, false)
				for i := range data(g) {
					data(g)[i] = float32(i*7919%251 - 125) // integers, of which float32 holds every sum here
				}
				want := make([]float32, n+8*c)
				for i, f := range from {
					want[f] += data(g)[i]
				}
				y.AccGrad(g)
				if err := ag.Backward(y); err != nil {
					t.Fatal(err)
				}
				got := append(append(append([]float32(nil), data(x.Grad())...), data(line.Grad())...), data(between.Grad())...)
				for i := range want {
					if got[i] != want[i] {
						t.Fatalf("gradient %d is %v, want %v", i, got[i], want[i])
					}
				}
			})
		}
	}
}

// TestMergeAlone: an operand that wants no gradient gets none, and without any there is no graph.
func TestMergeAlone(t *testing.T) {
	v := Views{1, 2, 2}
	for i := range 3 {
		xs := []*mat.Dense[float32]{numbered(v.In(), 2, 0, i == 0), numbered(1, 8, 0, i == 1), numbered(1, 8, 0, i == 2)}
		y := Merge(xs[0], xs[1], xs[2], v)
		y.AccGrad(numbered(v.Out(), 8, 1, false))
		if err := ag.Backward(y); err != nil {
			t.Fatal(err)
		}
		for j, x := range xs {
			if x.HasGrad() != (i == j) {
				t.Errorf("operand %d has a gradient: %v, want %v", j, x.HasGrad(), i == j)
			}
		}
	}
	x, line := numbered(v.In(), 2, 0, false), numbered(1, 8, 0, true)
	if Merge(x, numbered(1, 8, 0, false), numbered(1, 8, 0, false), v).RequiresGrad() {
		t.Error("a graph of operands that want no gradient")
	}
	if Merge(Detach(x), line, line, v).RequiresGrad() {
		t.Error("a graph of a detached operand")
	}
}

func TestMergeShapes(t *testing.T) {
	for _, c := range []struct {
		v                Views
		rows, line, glob int
	}{
		{Views{1, 1, 3}, 20, 8, 8}, {Views{0, 1, 2}, 10, 8, 8}, {Views{1, 0, 2}, 10, 8, 8}, {Views{1, 1, 0}, 2, 8, 8},
		{Views{1, 1, 2}, 9, 8, 8}, {Views{1, 1, 2}, 10, 2, 8}, {Views{1, 1, 2}, 10, 8, 2},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v: no panic", c)
				}
			}()
			Merge(numbered(c.rows, 2, 0, false), numbered(1, c.line, 0, false), numbered(1, c.glob, 0, false), c.v)
		}()
	}
}
