//go:build !purego

package kernel

import "unsafe"

// useNEON is true: every arm64 processor has NEON. Tests turn it off.
var useNEON = true

func init() { register("neon", &useNEON) }

func tileShape() (mr, nr int) {
	if useNEON {
		return 12, 8
	}
	return genericMR, genericNR
}

// tile computes the first rows of a tile of C; it may write all mr. It prefetches from next on, step bytes for every
// second k.
func tile(c []float32, ldc, rows int, a, b []float32, k int, accumulate bool, next *byte, step int) {
	mr, nr := tileShape()
	_, _ = c[(mr-1)*ldc+nr-1], c[nr-1]
	if k == 0 || !useNEON {
		tileGeneric(c, ldc, a, b, k, mr, nr, accumulate)
		return
	}
	_, _ = a[mr*k-1], b[nr*k-1] // the assembly checks nothing
	if next == nil {
		next = (*byte)(unsafe.Pointer(&a[0])) // an address that is not mapped would cost a walk through the page table
	}
	switch {
	case rows <= 4:
		tile4OfNEON(&c[0], ldc, &a[0], &b[0], k, accumulate, next, step)
	case rows <= 8:
		tile8OfNEON(&c[0], ldc, &a[0], &b[0], k, accumulate, next, step)
	default:
		tileNEON(&c[0], ldc, &a[0], &b[0], k, accumulate, next, step)
	}
}

// widen sets dst to the halves src, as many, exactly.
func widen(dst []float32, src []uint16) {
	n := vectorLen(len(src), 8)
	if n > 0 {
		_ = dst[n-1]
		widenNEON(&dst[0], &src[0], n)
	}
	widenGeneric(dst[n:], src[n:])
}

// narrow sets dst to the halves nearest to src, and reports whether they equal src.
func narrow(dst []uint16, src []float32) bool {
	n := vectorLen(len(src), 8)
	exact := true
	if n > 0 {
		_ = dst[n-1]
		exact = narrowNEON(&dst[0], &src[0], n)
	}
	return narrowGeneric(dst[n:], src[n:]) && exact
}

func copyPanels(dst []float32, w int, src []float32, ld, rows, panels, apart int) {
	copyPanelsGeneric(dst, w, src, ld, rows, panels, apart)
}

func pause() {}

// packTransposed is packGeneric. It covers the rows with groups of eight and four, which may overlap. The assembly
// takes the depths that are a multiple of 4, and Go the rest. It takes 64 depths at a time: a line of dst is then
// still in the first-level cache when the next group writes to it.
func packTransposed(dst []float32, stride int, src []float32, ld, rows, k int) {
	done := 0
	if useNEON && rows >= 4 && k >= 4 {
		done = k &^ 3
		_, _ = dst[(done-1)*stride+rows-1], src[(rows-1)*ld+done-1]
		const step = 64
		for p := 0; p < done; p += step {
			packGroups(dst[p*stride:], stride, src[p:], ld, rows, min(step, done-p))
		}
	}
	if done < k {
		packGeneric(dst[done*stride:], stride, src[done:], ld, rows, k-done)
	}
}

// vectorLen returns how many of n elements the assembly takes, in steps of 4 or 8; Go takes the rest.
func vectorLen(n, step int) int {
	if useNEON {
		return n / step * step
	}
	return 0
}

func sum(x []float32) (s float32) {
	n := vectorLen(len(x), 8)
	if n > 0 {
		s = sumNEON(&x[0], n)
	}
	return s + sumGeneric(x[n:])
}

func sumSquares(x []float32, mean float32) (s float32) {
	n := vectorLen(len(x), 8)
	if n > 0 {
		s = sumSquaresNEON(&x[0], n, mean)
	}
	return s + sumSquaresGeneric(x[n:], mean)
}

func normalize(y, x, w, b []float32, mean, s float32) {
	n := vectorLen(len(x), 4)
	if n > 0 {
		_, _, _ = y[n-1], w[n-1], b[n-1]
		normalizeNEON(&y[0], &x[0], &w[0], &b[0], n, mean, s)
	}
	normalizeGeneric(y[n:], x[n:], w[n:], b[n:], mean, s)
}

func maxOf(x []float32) float32 {
	n := vectorLen(len(x), 4)
	m := maxGeneric(x[n:])
	if n > 0 {
		return max(m, maxNEON(&x[0], n))
	}
	return m
}

func expSum(y, x []float32, shift, s float32) (total float32) {
	n := vectorLen(len(x), 4)
	if n > 0 {
		_ = y[n-1]
		total = expSumNEON(&y[0], &x[0], n, shift, s)
	}
	return total + expSumGeneric(y[n:], x[n:], shift, s)
}

func scale(y []float32, s float32) {
	n := vectorLen(len(y), 4)
	if n > 0 {
		scaleNEON(&y[0], n, s)
	}
	scaleGeneric(y[n:], s)
}

func columnMax(m, x []float32) {
	if rows := len(x) / len(m); rows > 0 && useNEON {
		columnMaxNEON(&m[0], &x[0], rows)
	} else {
		columnMaxGeneric(m, x)
	}
}

func columnExp(x, peak, total []float32, scale float32) {
	if rows := len(x) / len(total); rows > 0 && useNEON {
		columnExpNEON(&x[0], &peak[0], &total[0], rows, scale)
	} else {
		columnExpGeneric(x, peak, total, scale)
	}
}

func scaleColumns(x, s []float32) {
	if rows := len(x) / len(s); rows > 0 && useNEON {
		scaleColumnsNEON(&x[0], &s[0], rows)
	} else {
		scaleColumnsGeneric(x, s)
	}
}

// columnSum adds up 64 rows at a time, which rounds less than one sum would.
func columnSum(total, x []float32) {
	if !useNEON || len(x) < len(total) {
		columnSumGeneric(total, x)
		return
	}
	inParts(total, x, func(part *float32, x []float32, rows int) { columnSumNEON(part, &x[0], rows) })
}

func columnSquares(total, x, mean []float32) {
	if !useNEON || len(x) < len(total) {
		columnSquaresGeneric(total, x, mean)
		return
	}
	inParts(total, x, func(part *float32, x []float32, rows int) { columnSquaresNEON(part, &x[0], &mean[0], rows) })
}

// inParts sets total to the sum of what f returns for 64 rows of x at a time.
func inParts(total, x []float32, f func(part *float32, x []float32, rows int)) {
	nr := len(total)
	clear(total)
	for ; len(x) >= nr; x = x[min(64*nr, len(x)):] {
		var part [maxColumns]float32
		f(&part[0], x, min(64, len(x)/nr))
		addBias(total, part[:nr])
	}
}

func columnNormalize(y, x, mean, scale, w, b []float32) {
	rows := len(w)
	if rows == 0 || !useNEON {
		columnNormalizeGeneric(y, x, mean, scale, w, b)
		return
	}
	n := rows * len(mean)
	_, _, _ = y[n-1], x[n-1], b[rows-1]
	columnNormalizeNEON(&y[0], &x[0], &mean[0], &scale[0], &w[0], &b[0], rows)
}

func addBias(y, b []float32) {
	n := vectorLen(len(b), 4)
	if n > 0 {
		_ = y[n-1]
		addBiasNEON(&y[0], &b[0], n)
	}
	addBiasGeneric(y[n:], b[n:])
}

func addBias2(y, b, r []float32) {
	n := vectorLen(len(b), 4)
	if n > 0 {
		_, _ = y[n-1], r[n-1]
		addBias2NEON(&y[0], &b[0], &r[0], n)
	}
	addBias2Generic(y[n:], b[n:], r[n:])
}

func quickGELUBias(y, x, b []float32) {
	n := vectorLen(len(b), 4)
	if n > 0 {
		_, _ = y[n-1], x[n-1]
		quickGELUNEON(&y[0], &x[0], &b[0], n)
	}
	switch rest := len(b) - n; {
	case rest == 0:
	case vectorLen(4, 4) == 0:
		quickGELUGeneric(y[n:], x[n:], b[n:])
	default: // by the same instructions, so that the bits of a value do not depend on where it stands
		var py, px, pb [4]float32
		copy(px[:], x[n:len(b)])
		copy(pb[:], b[n:])
		quickGELUNEON(&py[0], &px[0], &pb[0], 4)
		copy(y[n:len(b)], py[:])
	}
}

func geluBias(y, x, b []float32) {
	n := vectorLen(len(b), 4)
	if n > 0 {
		_, _ = y[n-1], x[n-1]
		geluNEON(&y[0], &x[0], &b[0], n)
	}
	switch rest := len(b) - n; {
	case rest == 0:
	case vectorLen(4, 4) == 0:
		geluGeneric(y[n:], x[n:], b[n:])
	default: // by the same instructions, so that the bits of a value do not depend on where it stands
		var py, px, pb [4]float32
		copy(px[:], x[n:len(b)])
		copy(pb[:], b[n:])
		geluNEON(&py[0], &px[0], &pb[0], 4)
		copy(y[n:len(b)], py[:])
	}
}

func fmas(n int) (flops int) {
	if useNEON {
		fmasNEON(n)
		return n * 24 * 4 * 2
	}
	return fmasGeneric(n)
}
