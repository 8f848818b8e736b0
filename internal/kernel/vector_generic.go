package kernel

import "math"

// The row-wise loops. Each has an assembly version of the same name; see dispatch_amd64.go and
// dispatch_arm64.go.

func sumGeneric(x []float32) (s float32) {
	var a, b, c, d float32 // four sums, as a vector would have: less rounding than one
	for ; len(x) >= 4; x = x[4:] {
		a, b, c, d = a+x[0], b+x[1], c+x[2], d+x[3]
	}
	for _, v := range x {
		a += v
	}
	return (a + b) + (c + d)
}

func sumSquaresGeneric(x []float32, mean float32) (s float32) {
	var a, b, c, d float32
	for ; len(x) >= 4; x = x[4:] {
		p, q, r, t := x[0]-mean, x[1]-mean, x[2]-mean, x[3]-mean
		a, b, c, d = a+p*p, b+q*q, c+r*r, d+t*t
	}
	for _, v := range x {
		a += (v - mean) * (v - mean)
	}
	return (a + b) + (c + d)
}

// normalizeGeneric sets y = (x-mean)·scale·w + b.
func normalizeGeneric(y, x, w, b []float32, mean, scale float32) {
	for i, v := range x {
		y[i] = (v-mean)*scale*w[i] + b[i]
	}
}

// maxGeneric returns the largest of x, -Inf if there is none; NaNs are passed over.
func maxGeneric(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

// expSumGeneric sets y = exp((x-shift)·scale) and returns the sum of y.
func expSumGeneric(y, x []float32, shift, scale float32) (s float32) {
	for i, v := range x {
		e := exp((v - shift) * scale)
		y[i] = e
		s += e
	}
	return s
}

func scaleGeneric(y []float32, s float32) {
	for i := range y {
		y[i] *= s
	}
}

// addBiasGeneric sets y += b.
func addBiasGeneric(y, b []float32) {
	for i, v := range b {
		y[i] += v
	}
}

// addBias2Generic sets y = (y+b) + r.
func addBias2Generic(y, b, r []float32) {
	for i, v := range b {
		y[i] = (y[i] + v) + r[i]
	}
}

// quickGELUGeneric sets y = quickGELU(x+b).
func quickGELUGeneric(y, x, b []float32) {
	for i, v := range b {
		y[i] = quickGELU(x[i] + v)
	}
}

// geluGeneric sets y = gelu(x+b).
func geluGeneric(y, x, b []float32) {
	for i, v := range b {
		y[i] = gelu(x[i] + v)
	}
}

// The constants of exp: Cephes, expf (Moshier); ln 2 in two parts so that n·ln2Hi is exact.
const (
	log2e  = 1.44269504088896341
	ln2Hi  = 0.693359375
	ln2Lo  = -2.12194440e-4
	expCap = 174 // |x|·log2e < 252: both halves of the scaling stay normal numbers
	exp5   = 1.9875691500e-4
	exp4   = 1.3981999507e-3
	exp3   = 8.3334519073e-3
	exp2   = 4.1665795894e-2
	exp1   = 1.6666665459e-1
	exp0   = 5.0000001201e-1
)

// exp returns e^x within 2 units in the last place; infinities and NaN as in math.Exp.
func exp(x float32) float32 {
	if x != x {
		return x
	}
	x = min(max(x, -expCap), expCap)
	n := float32(math.RoundToEven(float64(x * log2e)))
	r := x - n*ln2Hi - n*ln2Lo
	p := float32(exp5)
	for _, c := range [...]float32{exp4, exp3, exp2, exp1, exp0} {
		p = p*r + c
	}
	p = p*r*r + r + 1
	// 2ⁿ in two factors: the result may overflow or be subnormal, the factors may not.
	half := int32(n) >> 1
	rest := int32(n) - half
	return p * math.Float32frombits(uint32(half+127)<<23) * math.Float32frombits(uint32(rest+127)<<23)
}

// quickGELUSlope is the 1.702 of QuickGELU. Source: openai/CLIP, clip/model.py, class QuickGELU.
const quickGELUSlope = 1.702

// quickGELU returns x·σ(1.702·x).
func quickGELU(x float32) float32 { return x / (1 + exp(-quickGELUSlope*x)) }

// The rational approximation of erf on [-4,4], beyond which it is ±1 in float32.
// Source: Eigen, Eigen/src/Core/MathFunctionsImpl.h, generic_fast_erf_float (and XLA's ErfImpl32).
var (
	erfP = [...]float32{-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02}
	erfQ = [...]float32{-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02}
)

// erf returns the error function, within 4 units in the last place.
func erf(x float32) float32 {
	if x != x {
		return x
	}
	x = min(max(x, -4), 4)
	x2 := x * x
	p, q := erfP[0], erfQ[0]
	for _, c := range erfP[1:] {
		p = p*x2 + c
	}
	for _, c := range erfQ[1:] {
		q = q*x2 + c
	}
	return x * p / q
}

// gelu returns x·Φ(x) = x/2·(1+erf(x/√2)).
func gelu(x float32) float32 { return 0.5 * x * (1 + erf(x*float32(1/math.Sqrt2))) }
