//go:build !amd64 || purego

package kernel

// tileAdd is tile, which leaves bias and residual to the caller.
func tileAdd(c []float32, ldc, rows int, a, b []float32, k int, accumulate bool, next *byte, step int, bias, residual []float32) bool {
	tile(c, ldc, rows, a, b, k, accumulate, next, step)
	return false
}
