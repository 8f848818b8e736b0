package compare

import (
	"math"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/kernel"
)

// moments are sums over pairs of elements from which all measures follow. Means and centred sums of
// squares are kept, not raw ones: the weights of a norm are near 1 and differ by hundredths.
type moments struct {
	n         int64 // pairs of finite elements
	different int64 // pairs that are not equal; not-a-number equals itself
	notFinite int64 // pairs with an element that is not finite; they are in no sum

	meanA, meanB          float64
	varA, varB, cov       float64 // Σ(a-ā)², Σ(b-b̄)², Σ(a-ā)(b-b̄)
	aa, bb, ab, dd, worst float64 // Σa², Σb², Σab, Σ(a-b)², max|a-b|
}

// momentsOf returns the moments of pairs. It may reorder x and y.
func momentsOf(x, y []float64) (m moments) {
	y = y[:len(x)]
	for i, a := range x {
		b := y[i]
		if a != b && (a == a || b == b) {
			m.different++
		}
		m.meanA += a
		m.meanB += b
	}
	if s := m.meanA + m.meanB; math.IsNaN(s) || math.IsInf(s, 0) {
		all := int64(len(x))
		x, y = finite(x, y)
		m = moments{different: m.different, notFinite: all - int64(len(x))}
		for i, a := range x {
			m.meanA += a
			m.meanB += y[i]
		}
	}
	if m.n = int64(len(x)); m.n == 0 {
		return m
	}
	m.meanA /= float64(m.n)
	m.meanB /= float64(m.n)
	var (
		y0                             = y[:len(x)]
		meanA, meanB                   = m.meanA, m.meanB
		varA, varB, cov                float64
		aa, bb, ab, dd, worst, d, u, v float64
	)
	for i, a := range x { // on variables, which the compiler keeps in registers
		b := y0[i]
		d, u, v = a-b, a-meanA, b-meanB
		if s := math.Abs(d); s > worst { // max would look for NaN as well
			worst = s
		}
		dd += d * d
		aa += a * a
		bb += b * b
		ab += a * b
		varA += u * u
		varB += v * v
		cov += u * v
	}
	m.varA, m.varB, m.cov = varA, varB, cov
	m.aa, m.bb, m.ab, m.dd, m.worst = aa, bb, ab, dd, worst
	return m
}

// merge returns the moments of both sets of pairs as of one.
//
// Source: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
// Variances", 1979.
func (m moments) merge(o moments) moments {
	if n := m.n + o.n; n > 0 {
		da, db := o.meanA-m.meanA, o.meanB-m.meanB
		w := float64(m.n) * float64(o.n) / float64(n)
		m.varA += da * da * w
		m.varB += db * db * w
		m.cov += da * db * w
		m.meanA += da * float64(o.n) / float64(n)
		m.meanB += db * float64(o.n) / float64(n)
	}
	return m.pool(o)
}

// pool adds the sums of other tensors, each centred on its own mean. The means themselves then mean
// nothing.
func (m moments) pool(o moments) moments {
	m.n += o.n
	m.different += o.different
	m.notFinite += o.notFinite
	m.aa += o.aa
	m.bb += o.bb
	m.ab += o.ab
	m.dd += o.dd
	m.varA += o.varA
	m.varB += o.varB
	m.cov += o.cov
	m.worst = max(m.worst, o.worst)
	return m
}

// relative returns |a-b| / |a|, NaN if a is zero and b is not.
func (m moments) relative() float64 {
	switch {
	case m.n == 0 || m.aa == 0 && m.bb > 0:
		return math.NaN()
	case m.dd == 0:
		return 0
	}
	return math.Sqrt(m.dd) / math.Sqrt(m.aa)
}

// cosine returns a·b / |a||b|, NaN if one is zero.
func (m moments) cosine() float64 { return m.angle(m.ab, m.aa, m.bb) }

// uniform is the standard deviation, relative to the root of the mean square, below which elements
// are all the same: one unit in the last place of one float32 among 10⁶ makes 6e-11, and the mean
// of a band in float64 is as far off at the worst.
const uniform = 1e-10

// correlation returns the cosine of the centred elements, NaN if one side is uniform.
func (m moments) correlation() float64 {
	if m.varA <= uniform*uniform*m.aa || m.varB <= uniform*uniform*m.bb {
		return math.NaN()
	}
	return m.angle(m.cov, m.varA, m.varB)
}

// angle returns xy/√(xx·yy), the cosine of an angle, and exactly 1 if all pairs are equal.
func (m moments) angle(xy, xx, yy float64) float64 {
	switch {
	case xx == 0 || yy == 0:
		return math.NaN()
	case m.dd == 0:
		return 1
	}
	return min(max(xy/(math.Sqrt(xx)*math.Sqrt(yy)), -1), 1)
}

// What tells tuned from unrelated is the correlation. The cosine would not do: weights of norms are near 1
// and biases have a common sign, so those of any two towers point the same way before their means
// are taken off.
//
// The correlation of n independent pairs is normal about 0 with deviation 1/√n: sixDeviations of
// that occur once in 10⁹ tensors, and a checkpoint has up to 10³. Elements of a tensor are not
// independent, though: at the worst all rows are one row, and n is the width. Hence leastCorrelation for
// all larger tensors, six deviations again with 900 columns, where the towers of CLIP have 768 to 1024;
// it asks that a twenty-fifth of B's variance comes from A. Tuning keeps far more: a change as long as
// the weights themselves leaves 0.7.
const (
	sixDeviations    = 6
	leastCorrelation = 0.2
)

// judge says whether pairs that are not equal are related.
func (m moments) judge() Verdict {
	least := max(leastCorrelation, sixDeviations/math.Sqrt(float64(m.n)))
	switch r := m.correlation(); {
	case m.n == 0 || math.IsNaN(r) || least >= 1:
		return Changed
	case r < least:
		return Unrelated
	}
	return Tuned
}

// drift returns the measures with a verdict.
func (m moments) drift(v Verdict) Drift {
	d := Drift{
		Verdict: v, Elements: m.n, NotFinite: m.notFinite, MaxAbs: Measure(m.worst),
		RelativeL2: Measure(m.relative()), Cosine: Measure(m.cosine()), Correlation: Measure(m.correlation()),
	}
	if m.n == 0 {
		d.MaxAbs = Measure(math.NaN())
	}
	return d
}

// finite moves the pairs of finite elements to the front and returns them.
func finite(x, y []float64) ([]float64, []float64) {
	n := 0
	for i, a := range x {
		if b := y[i]; a-a == 0 && b-b == 0 {
			x[n], y[n] = a, b
			n++
		}
	}
	return x[:n], y[:n]
}

// A rounding is a way in which one side may have been made from the other.
type rounding struct {
	to      checkpoint.DType
	verdict Verdict
	derived string // the side that is rounded: "A" or "B"
}

// roundingsBetween returns the roundings that would change something: to a type that does not hold
// all values of the one that is rounded. The finest come first: values that are the same after two
// roundings came by the finer.
func roundingsBetween(a, b checkpoint.DType) []rounding {
	var all []rounding
	for _, r := range []rounding{{checkpoint.F32, RoundedF32, ""}, {checkpoint.F16, RoundedF16, ""}, {checkpoint.BF16, RoundedBF16, ""}} {
		for _, side := range []struct {
			from    checkpoint.DType
			derived string
		}{{a, "B"}, {b, "A"}} {
			if side.from == r.to || side.from != checkpoint.F64 && r.to == checkpoint.F32 {
				continue
			}
			r.derived = side.derived
			all = append(all, r)
		}
	}
	return all
}

// holds says whether rounding explains all pairs. A float64 is rounded to half precision by way of
// float32, as torch and recode do it.
func (r rounding) holds(x, y []float64) bool {
	if r.derived == "A" {
		x, y = y, x
	}
	y = y[:len(x)]
	for i, v := range x {
		f := float32(v)
		switch r.to {
		case checkpoint.F16:
			f = kernel.FromHalf(kernel.ToHalf(f))
		case checkpoint.BF16:
			f = checkpoint.RoundBF16(f)
		}
		if w := float64(f); w != y[i] && (w == w || y[i] == y[i]) {
			return false
		}
	}
	return true
}
