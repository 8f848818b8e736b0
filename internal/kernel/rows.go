package kernel

import "math"

// LayerNorm sets every row of Y [m,n] to (x-mean)/√(variance+eps)·w + b of that row of X [m,n],
// with w and b [n]. If stats is not nil it receives mean and 1/√(variance+eps) of each row, [m,2].
func LayerNorm(y, x, w, b, stats []float32, m, n int, eps float32) {
	if len(y) < m*n || len(x) < m*n || len(w) < n || len(b) < n || (stats != nil && len(stats) < 2*m) {
		panic("kernel: LayerNorm: slice shorter than its shape")
	}
	if n == 0 {
		return
	}
	parallelRows(m, n, func(from, to int) {
		for r := from; r < to; r++ {
			row := x[r*n : (r+1)*n]
			mean := sum(row) / float32(n)
			variance := sumSquares(row, mean) / float32(n)
			scale := float32(1 / math.Sqrt(float64(variance+eps)))
			normalize(y[r*n:(r+1)*n], row, w[:n], b[:n], mean, scale)
			if stats != nil {
				stats[2*r], stats[2*r+1] = mean, scale
			}
		}
	})
}

// Softmax sets every row of Y [m,n] to exp(x-max)/Σexp(x-max) of that row of X [m,n].
func Softmax(y, x []float32, m, n int) {
	if len(y) < m*n || len(x) < m*n {
		panic("kernel: Softmax: slice shorter than m·n")
	}
	parallelRows(m, n, func(from, to int) {
		for r := from; r < to; r++ {
			row := x[r*n : (r+1)*n]
			out := y[r*n : (r+1)*n]
			scale(out, 1/expSum(out, row, maxOf(row), 1))
		}
	})
}

// Activate sets Y = f(X), element by element.
func Activate(y, x []float32, f Activation) {
	if len(y) < len(x) {
		panic("kernel: Activate: y is shorter than x")
	}
	how := f.of()
	parallelRows((len(x)+ncMax-1)/ncMax, ncMax, func(from, to int) {
		for i := from * ncMax; i < min(to*ncMax, len(x)); i += ncMax {
			end := min(i+ncMax, len(x))
			if how == nil {
				copy(y[i:end], x[i:end])
			} else {
				how.bias(y[i:end], x[i:end], zeros[:end-i])
			}
		}
	})
}

// Add sets Y = X + Z, element by element. Y may be X.
func Add(y, x, z []float32) {
	if len(y) < len(x) || len(z) < len(x) {
		panic("kernel: Add: y or z is shorter than x")
	}
	parallelRows((len(x)+ncMax-1)/ncMax, ncMax, func(from, to int) {
		i, end := from*ncMax, min(to*ncMax, len(x))
		if &y[i] != &x[i] {
			copy(y[i:end], x[i:end])
		}
		addBias(y[i:end], z[i:end])
	})
}
