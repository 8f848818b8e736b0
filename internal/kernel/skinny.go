package kernel

// A skinny product has few columns, as those of LoRA have. Its large matrix A is read as it lies, once.

const (
	skinnyCols = 16 // of a tile
	skinnyMaxN = 64 // columns of a product for which packing A does not pay
	// skinnyDepth is how many rows of a transposed A are taken at a time, and skinnySpan how many of its columns. These
	// 14 KB are copied, since a tile reads only a part of a line. Lines of rows that lie a power of two apart would evict
	// each other from the first-level cache.
	skinnyDepth, skinnySpan = 32, 112
)

// matMulSkinny computes C [m,n] = or += A·B if n is small, and reports whether it did.
func matMulSkinny(c, a, b Strided, m, n, k int, add bool) bool {
	rows := skinnyRows()
	if rows == 0 || n > skinnyMaxN || m < rows || k == 0 {
		return false
	}
	groups := (n + skinnyCols - 1) / skinnyCols
	packed := Get(groups * k * skinnyCols) // [groups][k][16]
	defer Put(packed)
	matrix{b.Data, b.Stride, !b.Transposed}.pack(packed, 0, n, 0, k, skinnyCols)
	rowStride, colStride, depth := a.Stride, 1, k
	if a.Transposed {
		rowStride, colStride, depth = 1, a.Stride, min(k, skinnyDepth)
	}
	span := max(skinnySpan/rows, 1) * rows
	parallel((m+span-1)/span, func(item int) {
		from, to := item*span, min(m, (item+1)*span)
		tiles := (to - from + rows - 1) / rows
		tile := rows * skinnyCols
		out := Get(tiles * groups * tile)
		defer Put(out)
		at := func(i int) int { return min(from+i*rows, m-rows) } // the last tile may repeat rows
		first := at(0)
		var part []float32 // of Aᵀ
		if a.Transposed {
			part = Get(depth * (to - first))
			defer Put(part)
		}
		for k0 := 0; k0 < k; k0 += depth {
			d := min(depth, k-k0)
			x, colStride := a.Data[first*rowStride+k0*colStride:], colStride
			if a.Transposed {
				colStride = to - first
				for p := range d {
					copy(part[p*colStride:(p+1)*colStride], x[p*a.Stride:])
				}
				x = part
			}
			for i := range tiles {
				for g := range groups {
					skinny(out[(i*groups+g)*tile:], x[(at(i)-first)*rowStride:], rowStride, colStride, packed[(g*k+k0)*skinnyCols:], d, k0 > 0)
				}
			}
		}
		for r := from; r < to; r++ {
			i := (r - from) / rows
			for g := range groups {
				src := out[(i*groups+g)*tile+(r-at(i))*skinnyCols:][:min(skinnyCols, n-g*skinnyCols)]
				dst := c.Data[r*c.Stride+g*skinnyCols:][:len(src)]
				if add {
					addBias(dst, src)
				} else {
					copy(dst, src)
				}
			}
		}
	})
	return true
}
