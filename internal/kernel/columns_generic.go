package kernel

import "math"

// The definitions of what goes down the columns of x [rows,nr], where nr is the tile's: softmax of
// scores that lie transposed.

// columnMaxGeneric sets m [nr] to the largest of each column; NaN does not count.
func columnMaxGeneric(m, x []float32) {
	nr := len(m)
	for j := range m {
		m[j] = float32(math.Inf(-1))
	}
	for i := 0; i < len(x); i += nr {
		for j, v := range x[i : i+nr] {
			if v > m[j] {
				m[j] = v
			}
		}
	}
}

// columnExpGeneric sets x to exp((x - peak)·scale), and total [nr] to the sums of its columns.
func columnExpGeneric(x, peak, total []float32, scale float32) {
	nr := len(total)
	clear(total)
	for i := 0; i < len(x); i += nr {
		for j := range x[i : i+nr] {
			e := exp((x[i+j] - peak[j]) * scale)
			x[i+j] = e
			total[j] += e
		}
	}
}

// scaleColumnsGeneric multiplies column j of x by s[j].
func scaleColumnsGeneric(x, s []float32) {
	for i := 0; i < len(x); i += len(s) {
		for j, f := range s {
			x[i+j] *= f
		}
	}
}
