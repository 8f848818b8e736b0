package kernel

// Products with few columns: those of LoRA. The large matrix is A, and it is read as it lies.

const (
	thinColumns = 16 // of a tile
	thinMax     = 64 // columns of a product for which packing A does not pay
	// thinDepth is how many rows of Aᵀ are taken at a time, and thinSpan how many of its columns. They are
	// copied, 14 KB, since a tile reads part of a line only, and lines of rows that lie a power of two apart
	// push each other out of the first-level cache.
	thinDepth, thinSpan = 32, 112
)

// matMulThin computes C [m,n] = or += A·B, if n is small, and reports whether it did.
func matMulThin(c, a, b Strided, m, n, k int, add bool) bool {
	rows := thinRows()
	if rows == 0 || n > thinMax || m < rows || k == 0 {
		return false
	}
	groups := (n + thinColumns - 1) / thinColumns
	packed := Get(groups * k * thinColumns) // [groups][k][16]
	defer Put(packed)
	operand{b.Data, b.Stride, !b.Transposed}.pack(packed, 0, n, 0, k, thinColumns)
	across, along, depth := a.Stride, 1, k
	if a.Transposed {
		across, along, depth = 1, a.Stride, min(k, thinDepth)
	}
	span := max(thinSpan/rows, 1) * rows
	parallel((m+span-1)/span, func(item int) {
		from, to := item*span, min(m, (item+1)*span)
		tiles := (to - from + rows - 1) / rows
		tile := rows * thinColumns
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
			x, along := a.Data[first*across+k0*along:], along
			if a.Transposed {
				along = to - first
				for p := range d {
					copy(part[p*along:(p+1)*along], x[p*a.Stride:])
				}
				x = part
			}
			for i := range tiles {
				for g := range groups {
					thin(out[(i*groups+g)*tile:], x[(at(i)-first)*across:], across, along, packed[(g*k+k0)*thinColumns:], d, k0 > 0)
				}
			}
		}
		for r := from; r < to; r++ {
			i := (r - from) / rows
			for g := range groups {
				src := out[(i*groups+g)*tile+(r-at(i))*thinColumns:][:min(thinColumns, n-g*thinColumns)]
				dst := c.Data[r*c.Stride+g*thinColumns:][:len(src)]
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
