package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRounding: with columns apart, scales and words, an element of the product is off by what the roundings of its
// factors allow, a row has the same bits alone as among others, and what is apart is not rounded.
func TestRounding(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		mr := int8Best().mr
		for _, m := range []int{1, 5, 9, 11, mr + 1} {
			for _, n := range []int{1, 33, 130}[:shorter(3, 2)] {
				if 1 < m && m < mr && n != 33 { // these have tiles of their own, which are seen by one
					continue
				}
				for _, k := range []int{1, 2, 36, 7, 101}[:shorter(5, 3)] {
					for _, how := range []Rounding{{}, {Apart: []int{k / 2}}, {Scales: scalesOf(rng, k)}, {Apart: []int{0, k - 1}[:min(k, 2)], Scales: scalesOf(rng, k)}} {
						for _, how.Words = range []bool{false, true} {
							checkRounding(t, rng, m, n, k, how)
						}
					}
				}
			}
		}
	})
}

func scalesOf(rng *rand.Rand, k int) []float32 {
	s := make([]float32, k)
	for i := range s {
		s[i] = float32(math.Exp(rng.NormFloat64()))
	}
	return s
}

func checkRounding(t *testing.T, rng *rand.Rand, m, n, k int, how Rounding) {
	t.Helper()
	what := fmt.Sprintf("m=%d n=%d k=%d apart %v, scales %t, words %t", m, n, k, how.Apart, how.Scales != nil, how.Words)
	a, w := random(rng, m*k).data, random(rng, n*k).data
	for _, p := range how.Apart {
		for i := range m {
			a[i*k+p] *= 1000
		}
	}
	e := Epilogue{Bias: random(rng, n).data, Residual: random(rng, m*n).data}
	q := PackRounded(w, n, k, how)
	c := newGuarded(m * n)
	MatMulInt8(c.data, a, q, m, e)
	c.check(t, what)

	isApart := func(p int) bool { return slices.Contains(how.Apart, p) }
	scale := func(p int) float64 {
		if how.Scales == nil {
			return 1
		}
		return float64(how.Scales[p])
	}
	step := func(x func(p int) float64, weight bool) float64 { // the distance of two neighbours
		var lo, hi, squares float64
		for p := range k {
			if !isApart(p) {
				lo, hi, squares = min(lo, x(p)), max(hi, x(p)), squares+x(p)*x(p)
			}
		}
		switch {
		case how.Words:
			return max(math.Sqrt(squares)/wordNorm, hi/32767, -lo/32767)
		case weight:
			return max(hi, -lo) / float64(q.tile.maxWeight)
		}
		return (hi - lo) / 255
	}
	unpacked := make([]float32, n*k)
	q.Unpack(unpacked)
	for i := range m {
		row := a[i*k : (i+1)*k]
		x := func(p int) float64 { return float64(row[p]) / scale(p) }
		sa := step(x, false) * 1.001
		for j := range n {
			y := func(p int) float64 { return float64(w[j*k+p]) * scale(p) }
			sw := step(y, true) * 1.001
			want := float64(e.Bias[j]) + float64(e.Residual[i*n+j])
			tol := 1e-5
			for p := range k {
				want += x(p) * y(p)
				if isApart(p) {
					tol += 4 * unit * math.Abs(x(p)*y(p))
					if u := unpacked[j*k+p]; u != w[j*k+p] {
						t.Fatalf("%s: unpacked, W[%d,%d] is %v, want %v", what, j, p, u, w[j*k+p])
					}
					continue
				}
				tol += math.Abs(x(p))*sw/2 + math.Abs(y(p))*sa/2 + sa*sw/4
				near(t, what+" unpacked", unpacked[j*k+p], float64(w[j*k+p]), sw/2/scale(p)*1.001+4*unit*math.Abs(float64(w[j*k+p])))
			}
			near(t, fmt.Sprintf("%s c[%d,%d]", what, i, j), c.data[i*n+j], want, tol)
		}
	}
	alone := make([]float32, n)
	i := m / 2
	MatMulInt8(alone, a[i*k:], q, 1, Epilogue{Bias: e.Bias, Residual: e.Residual[i*n:]})
	sameBits(t, what+", a row alone", alone, c.data[i*n:(i+1)*n])
}

// TestWordSums: the largest sums of words stay within 32 bits, whatever the shape of the rows.
func TestWordSums(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 12))
		for _, k := range []int{1, 2, 3, 64, 1024, 4099} {
			a, w := make([]float32, 4*k), make([]float32, 4*k)
			for p := range k {
				a[p], a[k+p], a[2*k+p], a[3*k+p] = 1, float32(p%2*2-1), float32(rng.NormFloat64()), 0
			}
			a[3*k] = 1e15
			copy(w, a)
			for i := range w[:k] {
				w[i] = -1 // the sum is as low as it can be
			}
			q := PackRounded(w, 4, k, Rounding{Words: true})
			c := make([]float32, 4*4)
			MatMulInt8(c, a, q, 4, Epilogue{})
			for i := range 4 {
				for j := range 4 {
					var want, aa, ww float64
					for p := range k {
						want += float64(a[i*k+p]) * float64(w[j*k+p])
						aa += float64(a[i*k+p]) * float64(a[i*k+p])
						ww += float64(w[j*k+p]) * float64(w[j*k+p])
					}
					near(t, fmt.Sprintf("k=%d c[%d,%d]", k, i, j), c[i*4+j], want, 0.002*math.Sqrt(aa*ww))
				}
			}
		}
	})
}

// TestRoundingSpecial: a NaN or an infinity spoils its row and no other, in a column apart too; large and small numbers keep
// their size as words.
func TestRoundingSpecial(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		const m, n, k = 17, 35, 53
		rng := rand.New(rand.NewPCG(1, 1))
		for _, special := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
			for _, words := range []bool{false, true} {
				for _, at := range []int{0, 20, k - 1} {
					a, w := random(rng, m*k).data, random(rng, n*k).data
					a[5*k+at] = special
					c := make([]float32, m*n)
					MatMulInt8(c, a, PackRounded(w, n, k, Rounding{Apart: []int{20}, Words: words}), m, Epilogue{})
					for i, v := range c {
						if finite(v) == (i/n == 5) {
							t.Fatalf("%v in column %d, words %t: c[%d,%d] is %v", special, at, words, i/n, i%n, v)
						}
					}
				}
			}
		}
		for _, size := range []float32{0, 1e-45, 1e-39, 1e-36, 1e-30, 1e-12, 1e12, 1e30, 1e36, 1e38} {
			a, w := make([]float32, k), make([]float32, k)
			for p := range k {
				a[p], w[p] = size, 1.0/k
			}
			c := make([]float32, 1)
			MatMulInt8(c, a, PackRounded(w, 1, k, Rounding{Words: true}), 1, Epilogue{})
			tol := 0.001 * float64(size)
			if size < 46200*0x1p-126 {
				tol = float64(size) // may count as 0
			}
			near(t, fmt.Sprint(size), c[0], float64(size), tol)
		}
	})
}
