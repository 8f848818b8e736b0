package op

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
)

// unitRows composes the rows of x divided by their lengths.
func unitRows(x mat.Tensor) mat.Tensor {
	var rows []mat.Tensor
	for _, row := range columns(x) {
		rows = append(rows, ag.DivScalar(row, ag.Sqrt(ag.Dot(row, row))))
	}
	return ag.Stack(rows...)
}

// composedContrastive composes CLIP's loss, with the targets of texts of which some are one.
func composedContrastive(in []mat.Tensor, same []int) mat.Tensor {
	var total mat.Tensor
	for _, pair := range [][2]mat.Tensor{{in[0], in[1]}, {in[1], in[0]}} {
		logits := ag.ProdScalar(ag.Mul(pair[0], ag.T(pair[1])), ag.Exp(in[2]))
		y := mean(logits, func(r int, row mat.Tensor) mat.Tensor {
			t := make([]float64, len(same))
			equal := 0.0
			for _, s := range same {
				if s == same[r] {
					equal++
				}
			}
			for i, s := range same {
				if s == same[r] {
					t[i] = -1 / equal
				}
			}
			return ag.Dot(ag.Log(ag.Softmax(row)), mat.NewDense[float64](mat.WithBacking(t)))
		})
		if total == nil {
			total = y
		} else {
			total = ag.Add(total, y)
		}
	}
	return ag.ProdScalar(total, mat.Scalar(0.5))
}

func init() {
	shapes := [][2]int{{5, 4}, {5, 4}, {1, 1}}
	cases = append(cases,
		caseOf{
			"Normalize", [][2]int{{5, 7}},
			func(in []mat.Tensor) mat.Tensor { return Normalize(in[0]) },
			func(in []mat.Tensor) mat.Tensor { return unitRows(in[0]) },
		},
		caseOf{
			"Contrastive", shapes,
			func(in []mat.Tensor) mat.Tensor { return Contrastive(in[0], in[1], in[2], nil) },
			func(in []mat.Tensor) mat.Tensor { return composedContrastive(in, []int{0, 1, 2, 3, 4}) },
		},
		caseOf{
			"Contrastive, texts alike", shapes,
			func(in []mat.Tensor) mat.Tensor { return Contrastive(in[0], in[1], in[2], []int{7, 2, 7, 2, 7}) },
			func(in []mat.Tensor) mat.Tensor { return composedContrastive(in, []int{7, 2, 7, 2, 7}) },
		},
		caseOf{
			"Contrastive of normalized", shapes,
			func(in []mat.Tensor) mat.Tensor {
				return Contrastive(Normalize(in[0]), Normalize(in[1]), in[2], []int{0, 1, 2, 3, 0})
			},
			func(in []mat.Tensor) mat.Tensor {
				return composedContrastive([]mat.Tensor{unitRows(in[0]), unitRows(in[1]), in[2]}, []int{0, 1, 2, 3, 0})
			},
		},
	)
}

// TestNormalizeExtremes: rows of any length become 1 long, a row of zeros stays, and has a gradient that is a number.
func TestNormalizeExtremes(t *testing.T) {
	x := mat.NewDense[float32](mat.WithShape(4, 2), mat.WithBacking([]float32{3e30, -4e30, 3e-20, 4e-20, 0, 0, float32(math.NaN()), 1}), mat.WithGrad(true))
	y := Normalize(x)
	for i, want := range []float32{0.6, -0.8, 3e-8, 4e-8, 0, 0} { // the second is shorter than the least divisor
		if got := data(y)[i]; math.Abs(float64(got-want)) > 1e-7 {
			t.Errorf("element %d is %v, want %v", i, got, want)
		}
	}
	if v := data(y)[7]; v == v {
		t.Errorf("beside NaN stands %v", v)
	}
	backward(y, make([]float32, 8))
	for i, g := range data(x.Grad())[:6] {
		if g != 0 {
			t.Errorf("gradient %d is %v, want 0", i, g)
		}
	}
}

// TestContrastiveLarge: many pairs, on several processors, are to the last bit the same every time; the loss of
// embeddings that are all one is the logarithm of their number, and that of a pair alone 0.
func TestContrastiveLarge(t *testing.T) {
	const b, e = 300, 8
	in, _ := randomInputs(rand.New(rand.NewPCG(1, 2)), [][2]int{{b, e}, {b, e}})
	scale := mat.NewDense[float32](mat.WithShape(1, 1), mat.WithBacking([]float32{float32(math.Log(100))}), mat.WithGrad(true))
	var first [][]float32
	for range 3 {
		x, z := Normalize(in[0]), Normalize(in[1])
		for _, p := range append(in, scale) {
			p.ZeroGrad()
		}
		y := Contrastive(x, z, scale, nil)
		if err := ag.Backward(y); err != nil {
			t.Fatal(err)
		}
		got := [][]float32{data(y), data(in[0].Grad()), data(in[1].Grad()), data(scale.Grad())}
		for i := range first {
			for j, v := range first[i] {
				if got[i][j] != v {
					t.Fatalf("result %d differs at %d: %v and %v", i, j, v, got[i][j])
				}
			}
		}
		first = nil
		for _, g := range got {
			first = append(first, append([]float32(nil), g...))
		}
	}
	one := make([]float32, b*e)
	for r := range b {
		one[r*e] = 1
	}
	x := mat.NewDense[float32](mat.WithShape(b, e), mat.WithBacking(one))
	if got := Contrastive(x, x, scale, nil).Item().F64(); math.Abs(got-math.Log(b)) > 1e-6 {
		t.Errorf("loss of equal embeddings is %v, want %v", got, math.Log(b))
	}
	single := mat.NewDense[float32](mat.WithShape(1, 2), mat.WithBacking([]float32{1, 0}))
	if got := Contrastive(single, single, scale, nil).Item().F64(); got != 0 {
		t.Errorf("loss of a pair alone is %v, want 0", got)
	}
}

func TestRecalled(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		what            string
		images, texts   []float32 // [3,2]
		same            []int
		images1, texts1 int
	}{
		{"all", []float32{1, 0, 0, 1, -1, 0}, []float32{1, 0, 0, 1, -1, 0}, nil, 3, 3},
		{"two exchanged", []float32{1, 0, 0, 1, -1, 0}, []float32{0, 1, 1, 0, -1, 0}, nil, 1, 1},
		{"one direction", []float32{1, 0, 0.8, 0.6, -1, 0}, []float32{1, 0, 1, 0, -1, 0}, nil, 1, 2},
		{"texts that are one", []float32{1, 0, 0.8, 0.6, -1, 0}, []float32{1, 0, 1, 0, -1, 0}, []int{4, 4, 0}, 3, 3},
		{"all alike", []float32{1, 0, 1, 0, 1, 0}, []float32{1, 0, 1, 0, 1, 0}, nil, 0, 0},
		{"no number", []float32{nan, 0, 0, 1, -1, 0}, []float32{1, 0, 0, 1, -1, 0}, nil, 2, 0},
	} {
		m := func(x []float32) mat.Tensor { return mat.NewDense[float32](mat.WithShape(3, 2), mat.WithBacking(x)) }
		if i, s := Recalled(m(c.images), m(c.texts), c.same); i != c.images1 || s != c.texts1 {
			t.Errorf("%s: %d of images and %d of texts, want %d and %d", c.what, i, s, c.images1, c.texts1)
		}
	}
	// More than are compared at a time.
	x := mat.NewDense[float32](mat.WithShape(600, 600))
	for i := range 600 {
		x.Data().F32()[i*601] = 1
	}
	if i, s := Recalled(x, x, nil); i != 600 || s != 600 {
		t.Errorf("%d and %d of 600", i, s)
	}
}

func TestContrastiveShapes(t *testing.T) {
	x := func(r, c int) mat.Tensor { return mat.NewDense[float32](mat.WithShape(r, c)) }
	for name, f := range map[string]func(){
		"Contrastive texts": func() { Contrastive(x(2, 3), x(2, 4), x(1, 1), nil) },
		"Contrastive scale": func() { Contrastive(x(2, 3), x(2, 3), x(2, 1), nil) },
		"Contrastive":       func() { Contrastive(x(2, 3), x(2, 3), x(1, 1), []int{1}) },
		"Recalled":          func() { Recalled(x(2, 3), x(3, 3), nil) },
	} {
		func() {
			defer func() {
				var e *ShapeError
				if err, _ := recover().(error); !errors.As(err, &e) || e.Op != name || e.Error() == "" {
					t.Errorf("%s: panicked with %v, want a ShapeError of it", name, err)
				}
			}()
			f()
		}()
	}
}
