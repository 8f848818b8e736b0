package kernel

import "math"

// SumSquares returns Σ x² in float32, on one processor. A caller with many numbers should add them up in parts.
func SumSquares(x []float32) float32 { return sumSquares(x, 0) }

// An AdamWStep is what one step of AdamW does to every weight w with gradient g and moments m and v:
//
//	m = m + New1·(g-m)    v = Old2·v + New2·g²    w = Keep·w - Size·m/(√v + Eps)
type AdamWStep struct{ Keep, Size, Eps, New1, Old2, New2 float32 }

// Apply makes the step, on one processor.
func (s AdamWStep) Apply(w, g, m, v []float32) {
	if n := len(w); len(g) < n || len(m) < n || len(v) < n {
		panic("kernel: AdamWStep: slice shorter than the weights")
	}
	adamW(w, g, m, v, s)
}

// adamWGeneric is the definition of adamW.
func adamWGeneric(w, g, m, v []float32, s AdamWStep) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)] // so that the compiler need not check below
	for i, x := range w {
		d := g[i]
		a := m[i] + float32((d-m[i])*s.New1)
		b := float32(v[i]*s.Old2) + float32(d*d*s.New2)
		m[i], v[i] = a, b
		w[i] = float32(x*s.Keep) - s.Size*a/(float32(math.Sqrt(float64(b)))+s.Eps)
	}
}

// Scale multiplies every x by s, on one processor.
func Scale(x []float32, s float32) { scale(x, s) }
