package transformer

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
)

// Quantize rounds the weights of the frozen blocks' products to 8 bits, those to 16 bits that need it, and leaves those in
// float32 for which that is not enough. What a product needs is measured: tokens are what enters the blocks for a few
// inputs of t tokens each, made anew by every call, and head makes the embeddings [B,E] of what leaves them. Trained towers
// have channels far larger than the others, after their norms as within their MLPs; rounded with the others, these would
// leave nothing of them.
//
//  1. One pass in float32 shows the sizes of what enters each product. By them, and by the weights, up to 32 columns of a
//     product are kept apart in float32, or all columns get scales, whichever leaves the least error.
//  2. A pass with all weights rounded shows how far the embeddings turn. If that is little, it is all.
//  3. Otherwise each product is rounded alone. Those that turn the embeddings the most for their size get 16 bits or stay
//     float32, until all together turn them little. In most towers these are products of the first blocks, whose errors
//     the later blocks multiply.
//
// Sources: Dettmers et al., "LLM.int8()", arXiv 2208.07339; Xiao et al., "SmoothQuant", arXiv 2211.10438; Li et al.,
// "RepQ-ViT", arXiv 2212.08254; Sun et al., "Massive Activations in Large Language Models", arXiv 2402.17762.
func (m Blocks) Quantize(t int, tokens func() mat.Tensor, head func(x mat.Tensor) mat.Tensor) {
	if slices.ContainsFunc(m.Products(), op.Quantized) {
		return // by an earlier call
	}
	q := &quantizer{blocks: m, tokens: t, head: head, how: map[*nn.Param]kernel.Rounding{}, exact: map[*nn.Param]mat.Matrix{}}
	for _, p := range m.Products() {
		q.exact[p] = p.Matrix
	}
	x := tokens()
	for _, b := range m {
		x = op.Release(b.forward(x, t, func(w *nn.Param, x mat.Tensor) {
			q.how[w] = chooseRounding(w, op.CopyRows(x))
		}), x)
	}
	q.want = embeddings(head(x))
	for _, p := range m.Products() {
		q.set(p, 8)
	}
	if q.turn(0, tokens()) > wantedTurn {
		q.choose(tokens)
	}
	clear(q.exact)
	runtime.GC() // gives back what the blocks took before
}

// wantedTurn is how far the embeddings of the inputs to measure by may turn: 1 less their least cosine with those of float32.
// Other inputs turn up to twice as far, and some twenty times as far if products need float32.
const wantedTurn = 1.5e-4

// A quantizer rounds blocks and measures what that does.
type quantizer struct {
	blocks Blocks
	tokens int // of an input
	head   func(x mat.Tensor) mat.Tensor
	how    map[*nn.Param]kernel.Rounding
	exact  map[*nn.Param]mat.Matrix // the weights as they were
	want   *mat.Dense[float32]      // the embeddings [B,E] of float32
}

// set keeps the weights of a product in 8, 16 or 32 bits.
func (q *quantizer) set(p *nn.Param, bits int) {
	how := q.how[p]
	how.Words = bits == 16
	if w := op.Rounded(p); w != nil && bits < 32 && w.Words() == how.Words {
		return
	}
	p.Matrix = q.exact[p]
	if bits < 32 {
		op.Quantize(p, how)
	}
}

// turn measures how far the embeddings turn, given what enters a block, which it releases.
func (q *quantizer) turn(block int, x mat.Tensor) float64 {
	return 1 - leastCosine(q.want, embeddings(q.head(q.blocks[block:].Forward(x, q.tokens, false, Visit(nil)))))
}

// choose finds what each product is kept in.
func (q *quantizer) choose(tokens func() mat.Tensor) {
	for _, b := range q.blocks {
		b.mixed = true
	}
	turns := q.each(tokens)
	// What a product turns the embeddings by in 8 bits, for its size, decides; 16 bits turn them some 64 times less. Errors
	// are independent, so that their turns add up, as long as they are small.
	const words = 64
	bitsAt := func(p *nn.Param, limit float64) int {
		switch turn := turns[p] / float64(p.Size()); {
		case turn <= limit:
			return 8
		case turn <= words*limit:
			return 16
		}
		return 32
	}
	products := q.blocks.Products()
	expected := func(limit float64) (sum float64) {
		for _, p := range products { // not in a map's order, in which the sum would differ from run to run
			switch bitsAt(p, limit) {
			case 8:
				sum += turns[p]
			case 16:
				sum += turns[p] / words
			}
		}
		return sum
	}
	for wanted := 2 * wantedTurn; wanted > wantedTurn/10000; {
		lo, hi := -60.0, 0.0 // binary logarithms of a limit that is low enough and one that is too high
		for range 20 {
			if mid := (lo + hi) / 2; expected(math.Exp2(mid)) > wanted {
				hi = mid
			} else {
				lo = mid
			}
		}
		most := wantedTurn
		for _, p := range products {
			bits := bitsAt(p, math.Exp2(lo))
			q.set(p, bits)
			if bits == 32 {
				most = wantedTurn / 3 // how far such a tower turns differs more from input to input
			}
		}
		turn := q.turn(0, tokens())
		if !(turn > most) {
			return
		}
		wanted *= min(max(most/turn, 0.1), 0.7)
	}
	for _, p := range products {
		q.set(p, 32)
	}
}

// each measures how far the embeddings turn when one product alone is in 8 bits. It leaves all of them in float32.
func (q *quantizer) each(tokens func() mat.Tensor) map[*nn.Param]float64 {
	m, turns := q.blocks, map[*nn.Param]float64{}
	for _, p := range m.Products() {
		q.set(p, 32)
	}
	x := tokens()
	for i, b := range m {
		turn := func() float64 { return q.turn(i, op.Copy(x)) }
		// Of a block that hardly matters it is enough to know that.
		for _, p := range b.products() {
			q.set(p, 8)
		}
		all := turn()
		for _, p := range b.products() {
			q.set(p, 32)
		}
		for _, p := range b.products() {
			turns[p] = all / 4
			if all > wantedTurn/float64(4*len(m)) {
				q.set(p, 8)
				turns[p] = turn()
				q.set(p, 32)
			}
		}
		x = op.Release(b.Forward(x, q.tokens), x)
	}
	op.Release(q.want, x)
	return turns
}

// embeddings returns a copy of the rows [B,E].
func embeddings(x mat.Tensor) *mat.Dense[float32] {
	s := x.Shape()
	return mat.NewDense[float32](mat.WithShape(s[0], s[1]), mat.WithBacking(slices.Clone(x.Value().Data().F32())))
}

// leastCosine returns the least cosine of a row of x and that row of y, passing over rows of x that are 0 or not finite.
func leastCosine(x, y *mat.Dense[float32]) float64 {
	n, least := x.Shape()[1], 1.0
	for i := 0; i < x.Size(); i += n {
		var xx, xy, yy float64
		for j, v := range x.Data().F32()[i : i+n] {
			a, b := float64(v), float64(y.Data().F32()[i+j])
			xx, xy, yy = xx+a*a, xy+a*b, yy+b*b
		}
		switch {
		case xx == 0 || xx-xx != 0:
		case yy == 0 || yy-yy != 0:
			return -1
		default:
			least = min(least, xy/math.Sqrt(xx*yy))
		}
	}
	return least
}

// Precision says how the weights of the blocks' products are kept: "48 products in int8, 24 in int16", for example.
func (m Blocks) Precision() string {
	var names []string
	counts := map[string]int{}
	for _, p := range m.Products() {
		name := "float32"
		if op.RoundedBF16(p) {
			name = "bfloat16"
		} else if w := op.Rounded(p); w != nil {
			name = map[bool]string{false: "int8", true: "int16"}[w.Words()]
		}
		if counts[name]++; counts[name] == 1 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(counts[b], counts[a]) })
	for i, name := range names {
		names[i] = fmt.Sprintf("%d in %s", counts[name], name)
		if i == 0 {
			names[i] = fmt.Sprintf("%d products in %s", counts[name], name)
		}
	}
	return strings.Join(names, ", ")
}

// chooseRounding returns how to round weights W [out,in] so that products with the rows of x [m,in] change least. Where
// little can be gained it takes what computes faster.
func chooseRounding(w *nn.Param, x mat.Tensor) (best kernel.Rounding) {
	const (
		rows, outputs = 64, 128 // of x and W that are looked at
		enough        = 1.15    // a sixth more of the error's square is not seen
	)
	in := w.Shape()[1]
	sample := func(values []float32, most int) (some [][]float32) {
		n := len(values) / in
		for i := range min(n, most) {
			r := i * n / min(n, most)
			some = append(some, values[r*in:(r+1)*in])
		}
		return some
	}
	a := sample(x.Value().Data().F32(), rows)
	var b [][]float32
	op.UseWeights(w, func(values []float32) {
		for _, row := range sample(values, outputs) {
			b = append(b, slices.Clone(row))
		}
	})

	inA, inB := largest(sample(x.Value().Data().F32(), 16*rows), in), largest(b, in)
	order := make([]int, in) // of columns, the largest first
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(inA[j], inA[i]) })
	scales := make([]float32, in)
	for i := range scales {
		scales[i] = smoothing(inA[i], inB[i])
	}
	var options []kernel.Rounding
	for _, apart := range []int{0, 16, 32} {
		columns := slices.Sorted(slices.Values(order[:min(apart, in/8)]))
		options = append(options, kernel.Rounding{Apart: columns}, kernel.Rounding{Apart: columns, Scales: scales})
	}
	errors := make([]float64, len(options))
	for i, o := range options {
		errors[i] = roundingError(a, b, o)
	}
	for i, o := range options {
		if !(errors[i] > enough*slices.Min(errors)) { // NaN too: nothing helps
			return o
		}
	}
	return best
}

// largest returns the largest magnitude of each column.
func largest(rows [][]float32, n int) []float32 {
	y := make([]float32, n)
	for _, row := range rows {
		for i, v := range row {
			y[i] = max(y[i], v, -v)
		}
	}
	return y
}

// smoothing returns the scale of a column, given the largest magnitudes in A and in W: √(a/w), which makes them equal. It is
// a power of two, so that scaling rounds nothing.
func smoothing(a, w float32) float32 {
	s := math.Sqrt(float64(a) / float64(w))
	if !(s > 0x1p-30 && s < 0x1p30) {
		return 1
	}
	return float32(math.Exp2(math.Round(math.Log2(s))))
}

// roundingError returns 12 times the sum of the squares by which products of rows a and b change when both are rounded to 8
// bits, as expected of independent errors that are spread evenly over a step.
func roundingError(a, b [][]float32, o kernel.Rounding) float64 {
	n := len(a[0])
	factors := make([]float64, n)
	for i := range factors {
		factors[i] = 1
		if o.Scales != nil {
			factors[i] = 1 / float64(o.Scales[i])
		}
	}
	sums := func(rows [][]float32, of func(i int) float64, symmetric bool) (squares, steps float64) {
		for _, row := range rows {
			var lo, hi float64
			for i, v := range row {
				x := float64(v) * of(i)
				lo, hi, squares = min(lo, x), max(hi, x), squares+x*x
			}
			if symmetric {
				lo = min(lo, -hi)
				hi = -lo
			}
			step := (hi - lo) / 255
			steps += step * step
		}
		return squares, steps
	}
	for _, i := range o.Apart {
		factors[i] = 0
	}
	inverse := func(i int) float64 {
		if factors[i] == 0 {
			return 0
		}
		return 1 / factors[i]
	}
	aa, as := sums(a, func(i int) float64 { return factors[i] }, false)
	bb, bs := sums(b, inverse, true)
	return aa*bs + bb*as
}
