package op

import (
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
)

// TestSecondGradient: what goes into two operators has the sum of their gradients, and the bits of that sum, whether
// the second is computed by itself or added while it is computed.
func TestSecondGradient(t *testing.T) {
	const m, n = 5, 7
	first, second, norm := NewLinear(n, n), NewLinear(n, n), NewLayerNorm(n, 1e-5)
	for i, p := range []mat.Tensor{first.W, second.W, norm.W} {
		for j := range data(p) {
			data(p)[j] = float32((i+3)*j%11)/4 - 1
		}
	}
	type branch struct {
		gy float32 // the first value of the result's gradient
		f  func(x mat.Tensor) mat.Tensor
	}
	product := branch{1, func(x mat.Tensor) mat.Tensor { return Linear(x, first) }}
	other := branch{2, func(x mat.Tensor) mat.Tensor { return Linear(x, second) }}
	normed := branch{3, func(x mat.Tensor) mat.Tensor { return LayerNorm(x, norm) }}
	residual := branch{4, func(x mat.Tensor) mat.Tensor { return LinearAdd(numbered(m, n, 2, false), first, x) }}
	gradient := func(branches ...branch) []float32 {
		in := numbered(m, n, 1, true)
		x := Gather(in, []int{0, 1, 2, 3, 4}) // a node, as between the operators of a block
		var all []mat.Tensor
		for _, b := range branches {
			y := b.f(x)
			y.AccGrad(numbered(m, n, b.gy, false))
			all = append(all, y)
		}
		if err := ag.Backward(all...); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(data(in.Grad()))
	}
	for name, pair := range map[string][2]branch{
		"two products": {product, other}, "one product twice": {product, product}, "a product and a norm": {other, normed},
		"two norms": {normed, normed}, "a residual and a norm": {residual, normed}, "a residual and a product": {residual, other},
	} {
		a, b, got := gradient(pair[0]), gradient(pair[1]), gradient(pair[:]...)
		for i := range got {
			if want := a[i] + b[i]; got[i] != want {
				t.Errorf("%s: element %d is %v, want %v", name, i, got[i], want)
				break
			}
		}
	}
}
