package kernel

// tileGeneric is the definition of the tile: C (mr,nr) = or += Σₖ a[k]·b[k]ᵀ, where a holds k
// columns of mr rows, b holds k rows of nr columns, and the rows of c are ldc apart.
//
//	for i, j:  c[i·ldc+j] = (accumulate ? c[i·ldc+j] : 0) + Σₖ a[k·mr+i] · b[k·nr+j]
func tileGeneric(c []float32, ldc int, a, b []float32, k, mr, nr int, accumulate bool) {
	for i := range mr {
		row := c[i*ldc : i*ldc+nr]
		if !accumulate {
			clear(row)
		}
		for p := range k {
			x := a[p*mr+i]
			for j, w := range b[p*nr : p*nr+nr] {
				row[j] += x * w
			}
		}
	}
}

// packGeneric is the definition of packing by transposition: dst[p·stride+r] = src[r·ld+p] for
// rows rows r and k columns p.
func packGeneric(dst []float32, stride int, src []float32, ld, rows, k int) {
	for r := range rows {
		for p, x := range src[r*ld : r*ld+k] {
			dst[p*stride+r] = x
		}
	}
}
