//go:build (amd64 || arm64) && !purego

package kernel

// packGroups is packTransposed for at least 4 rows and a whole number of groups of depths.
func packGroups(dst []float32, stride int, src []float32, ld, rows, k int) {
	for r := 0; r < rows; {
		if rows-r >= 8 || rows >= 8 && rows-r > 4 {
			r = min(r, rows-8)
			pack8(&dst[r], stride, &src[r*ld], ld, k)
			r += 8
		} else {
			r = min(r, rows-4)
			pack4(&dst[r], stride, &src[r*ld], ld, k)
			r += 4
		}
	}
}
