package kernel

// tileGeneric is the definition of the tile: C (mr,nr) = or += Σₖ a[k]·b[k]ᵀ. A holds k columns of mr rows, and b
// holds k rows of nr columns. The rows of C lie ldc apart.
//
//	for i, j:  c[i·ldc+j] = (accumulate ? c[i·ldc+j] : 0) + Σₖ a[k·mr+i] · b[k·nr+j]
//
// The sum is made before it is added to C, so that it is the same where C is not in one piece.
func tileGeneric(c []float32, ldc int, a, b []float32, k, mr, nr int, accumulate bool) {
	var sums [maxColumns]float32
	sum := sums[:nr]
	for i := range mr {
		clear(sum)
		for p := range k {
			x := a[p*mr+i]
			for j, w := range b[p*nr : p*nr+nr] {
				sum[j] += x * w
			}
		}
		row := c[i*ldc : i*ldc+nr]
		if !accumulate {
			copy(row, sum)
			continue
		}
		for j, v := range sum {
			row[j] += v
		}
	}
}

// tileRowsGeneric is the definition of a product of panels: C (rows,cols) = or += A·B for panels [.,nr] of A, which
// lie apart and go along k, and panels [k,nr] of B, bApart from each other, which go along the columns. Of C it may
// write mr rows, and the columns of whole panels.
//
//	for r, j:  c[r·ldc+j] = … + Σₖ a[k/nr·apart+r·nr+k%nr] · b[j/nr·bApart+k·nr+j%nr]
func tileRowsGeneric(c []float32, ldc, rows int, a []float32, apart int, b []float32, bApart, cols, k int, accumulate bool) {
	mr, nr := tileShape()
	x := Get(mr * k) // [k,mr]
	defer Put(x)
	clear(x)
	for p := 0; p < k; p += nr {
		packTransposed(x[p*mr:], mr, a[p/nr*apart:], nr, rows, min(nr, k-p))
	}
	for j := 0; j < cols; j += nr {
		tile(c[j:], ldc, rows, x, b[j/nr*bApart:], k, accumulate, nil, 0)
	}
}

// tileTurnedGeneric is the definition of the product with a transpose, C (rows,cols) = Aᵀ·B for a panel A [k,nr] and
// panels of B as in tileRowsGeneric. Rows are those of C: nr at most. It writes no more than they and the columns.
//
//	for r, j:  c[r·ldc+j] = Σₖ a[k·nr+r] · b[j/nr·bApart+k·nr+j%nr]
func tileTurnedGeneric(c []float32, ldc, rows int, a, b []float32, bApart, cols, k int) {
	mr, nr := tileShape()
	x := Get(mr * k) // [k,mr]
	defer Put(x)
	for r := 0; r < rows; r += mr {
		n := min(mr, rows-r)
		clear(x)
		copyRows(x, mr, a[r:], nr, n, k)
		for j := 0; j < cols; j += nr {
			edgeTile(c[r*ldc+j:], ldc, x, b[j/nr*bApart:], n, min(nr, cols-j), k, false)
		}
	}
}

// packGeneric is the definition of packing by transposition: dst[p·stride+r] = src[r·ld+p] for rows r and columns p.
func packGeneric(dst []float32, stride int, src []float32, ld, rows, k int) {
	for r := range rows {
		for p, x := range src[r*ld : r*ld+k] {
			dst[p*stride+r] = x
		}
	}
}

// Transpose sets y [cols,rows] to the transpose of x, whose rows lie stride apart.
func Transpose(y, x []float32, stride, rows, cols int) {
	if rows > 0 && cols > 0 {
		_, _ = y[rows*cols-1], x[(rows-1)*stride+cols-1]
		packTransposed(y, rows, x, stride, rows, cols)
	}
}

// copyPanelsGeneric is the definition of packing what lies in the right order: dst[j·apart+p·w+i] = src[p·ld+j·w+i]
// for rows p and panels j of w columns.
func copyPanelsGeneric(dst []float32, w int, src []float32, ld, rows, panels, apart int) {
	for j := range panels {
		copyRows(dst[j*apart:], w, src[j*w:], ld, w, rows)
	}
}

// copyRows sets row p of dst to n elements of row p of src. Rows lie w apart in dst, and ld in src.
func copyRows(dst []float32, w int, src []float32, ld, n, rows int) {
	for p := range rows {
		d, s := dst[p*w:][:n], src[p*ld:][:n]
		// A copy of a length that the compiler knows is a move or two; of another, it is a call.
		for len(d) >= 4 {
			*(*[4]float32)(d) = *(*[4]float32)(s)
			d, s = d[4:], s[4:]
		}
		if len(d) >= 2 {
			*(*[2]float32)(d) = *(*[2]float32)(s)
			d, s = d[2:], s[2:]
		}
		if len(d) == 1 {
			d[0] = s[0]
		}
	}
}
