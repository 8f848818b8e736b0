package kernel

import "math"

// These are the definitions of what goes down the columns of x [rows,nr], where the tile has nr: softmax of
// scores that lie transposed, and norms of tokens that do.

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

// columnSumGeneric sets total [nr] to the sums of the columns of x.
func columnSumGeneric(total, x []float32) {
	sumColumns(total, x, func(sum, row []float32) {
		for j, v := range row {
			sum[j] += v
		}
	})
}

// columnSquaresGeneric sets total [nr] to the sums of (x-mean)² of each column.
func columnSquaresGeneric(total, x, mean []float32) {
	sumColumns(total, x, func(sum, row []float32) {
		for j, v := range row {
			sum[j] += (v - mean[j]) * (v - mean[j])
		}
	})
}

// sumColumns adds up what add adds of each row of x, 32 rows at a time, which rounds less than one sum would.
func sumColumns(total, x []float32, add func(sum, row []float32)) {
	nr := len(total)
	const rows = 32
	clear(total)
	for ; len(x) > 0; x = x[min(len(x), rows*nr):] {
		var part [maxColumns]float32
		for i := 0; i < min(len(x), rows*nr); i += nr {
			add(part[:nr], x[i:i+nr])
		}
		for j := range total {
			total[j] += part[j]
		}
	}
}

// columnNormalizeGeneric sets y = (x-mean)·scale·w + b, with mean and scale [nr] of each column, and w and b of each
// row.
func columnNormalizeGeneric(y, x, mean, scale, w, b []float32) {
	nr := len(mean)
	for i := range w {
		for j, v := range x[i*nr : (i+1)*nr] {
			y[i*nr+j] = (v-mean[j])*scale[j]*w[i] + b[i]
		}
	}
}
