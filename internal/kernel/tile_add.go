//go:build !amd64 || purego

package kernel

// tileAdd is tile; it adds nothing.
func tileAdd(c []float32, ldc, rows int, a, b []float32, k int, accumulate bool, next *byte, step int, bias, residual, biasColumn []float32) bool {
	tile(c, ldc, rows, a, b, k, accumulate, next, step)
	return false
}

// smallNStride says that there is no smallN.
func smallNStride() int { return 0 }

func smallN(y, w, x []float32, ldx, columns, k int) { panic("kernel: smallN: no such routine") }
