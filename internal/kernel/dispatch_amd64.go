//go:build !purego

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// Permission for AMX makes a process's signal frames longer; Go's stacks have room for them. The program does not ask for
// it if [Env] names another implementation.
var (
	useAMX    = useAVX512 && cpu.X86.HasAVX512BW && cpu.X86.HasAMXTile && cpu.X86.HasAMXBF16 && permitted("amx") && allowAMX()
	useAVX512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX2 && cpu.X86.HasFMA
	useAVX2   = cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C
)

func init() {
	register("amx", &useAMX)
	register("avx512", &useAVX512)
	register("avx2", &useAVX2)
}

func tileShape() (mr, nr int) {
	if useAVX512 {
		return 14, 32
	}
	return genericMR, genericNR
}

// tile computes the first rows of a tile of C; it may write all mr. It prefetches from next on, step bytes for every
// second k.
func tile(c []float32, ldc, rows int, a, b []float32, k int, accumulate bool, next *byte, step int) {
	tileAdd(c, ldc, rows, a, b, k, accumulate, next, step, nil, nil, nil)
}

// tileAdd is tile, and adds what is not nil: bias to every row of the tile, biasColumn to every column, and residual,
// whose rows lie as far apart as C's. It reports whether it added them; the generic tile leaves that to the caller.
func tileAdd(c []float32, ldc, rows int, a, b []float32, k int, accumulate bool, next *byte, step int, bias, residual, biasColumn []float32) bool {
	mr, nr := tileShape()
	if k == 0 || !useAVX2 && !useAVX512 {
		_, _ = c[(mr-1)*ldc+nr-1], c[nr-1]
		tileGeneric(c, ldc, a, b, k, mr, nr, accumulate)
		return false
	}
	at := tilePointers(c, ldc, rows, a, b, k, next, bias, residual, biasColumn)
	switch {
	case !useAVX512:
		tileAVX2(&c[0], ldc, &a[0], &b[0], k, accumulate, at.next, step, at.bias, at.residual, at.biasColumn)
	case rows <= 4:
		tile4OfAVX512(&c[0], ldc, &a[0], &b[0], k, accumulate, at.next, step, at.bias, at.residual, at.biasColumn)
	case rows <= 8:
		tile8OfAVX512(&c[0], ldc, &a[0], &b[0], k, accumulate, at.next, step, at.bias, at.residual, at.biasColumn)
	default:
		tileAVX512(&c[0], ldc, &a[0], &b[0], k, accumulate, at.next, step, at.bias, at.residual, at.biasColumn)
	}
	return true
}

// tileWidening is tileAdd of all rows without a bias for every row, and sets wide [k,mr] to halves meanwhile. Where
// canWiden says that there is such a routine, k must be at least 2.
func tileWidening(c []float32, ldc int, a, b []float32, k int, accumulate bool, next *byte, step int, residual, biasColumn, wide []float32, halves []uint16) {
	mr, _ := tileShape()
	at := tilePointers(c, ldc, mr, a, b, k, next, nil, residual, biasColumn)
	to, from := &wide[: mr*k : mr*k][0], &halves[:mr*k][0]
	if useAVX512 {
		tileWideningAVX512(&c[0], ldc, &a[0], &b[0], k, accumulate, at.next, step, nil, at.residual, at.biasColumn, to, from)
	} else {
		tileWideningAVX2(&c[0], ldc, &a[0], &b[0], k, accumulate, at.next, step, nil, at.residual, at.biasColumn, to, from)
	}
}

// canWiden reports whether there is tileWidening for a depth of k.
func canWiden(k int) bool { return (useAVX512 || useAVX2) && k >= 2 }

// A tileOperands has what a tile may do without: nil, or where it lies.
type tileOperands struct {
	next                       *byte
	bias, residual, biasColumn *float32
}

// tilePointers checks the operands of a tile, since the assembly checks nothing.
func tilePointers(c []float32, ldc, rows int, a, b []float32, k int, next *byte, bias, residual, biasColumn []float32) (at tileOperands) {
	mr, nr := tileShape()
	_, _ = c[(mr-1)*ldc+nr-1], c[nr-1]
	if bias != nil {
		at.bias = &bias[:nr][0]
	}
	if residual != nil {
		at.residual = &residual[:(min(rows, mr)-1)*ldc+nr][0]
	}
	if biasColumn != nil {
		at.biasColumn = &biasColumn[:min(rows, mr)][0]
	}
	_, _ = a[mr*k-1], b[nr*k-1]
	if at.next = next; next == nil {
		at.next = (*byte)(unsafe.Pointer(&a[0])) // an address that is not mapped would cost a walk through the page table
	}
	return at
}

// tileStrip computes C [panels·mr,nr/2] = or += A·B for panels [k,mr] of A, one or two of them, and a strip B [k,nr/2].
// Every element has the bits that the tile gives it. It prefetches from next on, step bytes for every second k.
func tileStrip(c, a, b []float32, panels, k int, accumulate bool, next *byte, step int) {
	mr, nr := tileShape()
	_, _, _ = c[panels*mr*nr/2-1], a[panels*mr*k-1], b[nr/2*k-1]
	if next == nil {
		next = (*byte)(unsafe.Pointer(&a[0])) // as in tilePointers
	}
	switch {
	case useAVX512 && panels == 2:
		tileStrip2AVX512(&c[0], &a[0], &b[0], k, accumulate, next, step)
	case useAVX512:
		tileStrip1AVX512(&c[0], &a[0], &b[0], k, accumulate, next, step)
	case panels == 2:
		tileStrip2AVX2(&c[0], &a[0], &b[0], k, accumulate, next, step)
	default:
		tileStrip1AVX2(&c[0], &a[0], &b[0], k, accumulate, next, step)
	}
}

// leastOfStrip returns from how many columns on tileStrip takes less time than few, or 0 if there is no such routine.
func leastOfStrip() int {
	switch {
	case useAVX512:
		return 14 // of 16
	case useAVX2:
		return 6 // of 8
	}
	return 0
}

// A panelTile has the routines of tileRows and tileTurned for a number of rows: for all columns of a panel, and for half
// of them.
type panelTile struct {
	rows   int
	across acrossRoutines
	turned turnedRoutines
}

type (
	acrossRoutines = [2]func(c *float32, ldc int, a *float32, apart int, b *float32, k int, accumulate bool)
	turnedRoutines = [2]func(c *float32, ldc int, a, b *float32, k int)
)

// These go from many rows to few.
var (
	panelTilesAVX512 = []panelTile{
		{14, acrossRoutines{tileRows14x32AVX512, tileRows14x16AVX512}, turnedRoutines{tileTurned14x32AVX512, tileTurned14x16AVX512}},
		{8, acrossRoutines{tileRows8x32AVX512, tileRows8x16AVX512}, turnedRoutines{tileTurned8x32AVX512, tileTurned8x16AVX512}},
		{4, acrossRoutines{tileRows4x32AVX512, tileRows4x16AVX512}, turnedRoutines{tileTurned4x32AVX512, tileTurned4x16AVX512}},
	}
	panelTilesAVX2 = []panelTile{
		{6, acrossRoutines{tileRows6x16AVX2, tileRows6x8AVX2}, turnedRoutines{tileTurned6x16AVX2, tileTurned6x8AVX2}},
		{4, acrossRoutines{tileRows4x16AVX2, tileRows4x8AVX2}, turnedRoutines{tileTurned4x16AVX2, tileTurned4x8AVX2}},
	}
)

// choosePanelTile returns the smallest of the tiles that has some rows, or the largest.
func choosePanelTile(rows int) *panelTile {
	tiles := panelTilesAVX2
	if useAVX512 {
		tiles = panelTilesAVX512
	}
	i := 0
	for i+1 < len(tiles) && rows <= tiles[i+1].rows {
		i++
	}
	return &tiles[i]
}

// tileRows is tileRowsGeneric for at most mr rows. It may read as many of A.
func tileRows(c []float32, ldc, rows int, a []float32, apart int, b []float32, bApart, cols, k int, accumulate bool) {
	if k == 0 || !useAVX2 && !useAVX512 {
		tileRowsGeneric(c, ldc, rows, a, apart, b, bApart, cols, k, accumulate)
		return
	}
	_, nr := tileShape()
	t := choosePanelTile(rows)
	_ = a[(k-1)/nr*apart+(t.rows-1)*nr+(k-1)%nr]
	for j := 0; j < cols; j += nr {
		width, f := nr, t.across[0]
		if cols-j <= nr/2 {
			width, f = nr/2, t.across[1]
		}
		c, b := c[j:], b[j/nr*bApart:]
		_, _ = c[(t.rows-1)*ldc+width-1], b[k*nr-1]
		f(&c[0], ldc, &a[0], apart, &b[0], k, accumulate)
	}
}

// readsPanels reports whether tileRows and tileTurned read panels as they lie.
func readsPanels() bool { return useAVX512 || useAVX2 }

// tileTurned is tileTurnedGeneric.
func tileTurned(c []float32, ldc, rows int, a, b []float32, bApart, cols, k int) {
	if k == 0 || !useAVX2 && !useAVX512 {
		tileTurnedGeneric(c, ldc, rows, a, b, bApart, cols, k)
		return
	}
	_, nr := tileShape()
	for r := 0; r < rows; {
		t := choosePanelTile(rows - r)
		_ = a[(k-1)*nr+r+t.rows-1]
		for j := 0; j < cols; j += nr {
			width, f := nr, t.turned[0]
			if cols-j <= nr/2 {
				width, f = nr/2, t.turned[1]
			}
			n, w := min(t.rows, rows-r), min(width, cols-j)
			c, ldc, b := c[r*ldc+j:], ldc, b[j/nr*bApart:]
			_, _ = c[(n-1)*ldc+w-1], b[k*nr-1]
			if n == t.rows && w == width {
				f(&c[0], ldc, &a[r], &b[0], k)
				continue
			}
			whole := Get(maxTile)
			f(&whole[0], nr, &a[r], &b[0], k)
			copyColumns(c, ldc, whole, nr, w, n)
			Put(whole)
		}
		r += t.rows
	}
}

// widen sets dst to the halves src, as many, exactly.
func widen(dst []float32, src []uint16) {
	n := vectorLen(len(src))
	if n > 0 {
		_ = dst[n-1]
		if useAVX512 {
			widenAVX512(&dst[0], &src[0], n)
		} else {
			widenAVX2(&dst[0], &src[0], n)
		}
	}
	widenGeneric(dst[n:], src[n:])
}

// narrow sets dst to the halves nearest to src, and reports whether they equal src.
func narrow(dst []uint16, src []float32) bool {
	n := vectorLen(len(src))
	exact := true
	if n > 0 {
		_ = dst[n-1]
		if useAVX512 {
			exact = narrowAVX512(&dst[0], &src[0], n)
		} else {
			exact = narrowAVX2(&dst[0], &src[0], n)
		}
	}
	return narrowGeneric(dst[n:], src[n:]) && exact
}

// packTransposed is packGeneric. It covers the rows with groups of eight and four, which may overlap, and so may the last
// eight depths. It takes 64 depths at a time: a line of dst is then still in the first-level cache when the next group
// writes to it.
func packTransposed(dst []float32, stride int, src []float32, ld, rows, k int) {
	done := 0
	if (useAVX2 || useAVX512) && rows >= 4 && k >= 8 {
		done = k &^ 7
		_, _ = dst[(k-1)*stride+rows-1], src[(rows-1)*ld+k-1]
		const step = 64
		for p := 0; p < done; p += step {
			packGroups(dst[p*stride:], stride, src[p:], ld, rows, min(step, done-p))
		}
	}
	switch {
	case done == k:
	case done > 0:
		packGroups(dst[(k-8)*stride:], stride, src[k-8:], ld, rows, 8)
	default:
		packGeneric(dst, stride, src, ld, rows, k)
	}
}

// copyPanels leaves the last row to Go: the assembly writes whole registers, beyond a panel's row, and the next row
// overwrites that.
func copyPanels(dst []float32, w int, src []float32, ld, rows, panels, apart int) {
	var assembly func(dst *float32, apart int, src *float32, ld, rows, panels int)
	switch mr, nr := tileShape(); {
	case w == nr && useAVX512:
		assembly = copyPanelsBAVX512
	case w == mr && useAVX512:
		assembly = copyPanelsAAVX512
	case w == nr && useAVX2:
		assembly = copyPanelsBAVX2
	case w == mr && useAVX2:
		assembly = copyPanelsAAVX2
	}
	done := 0
	if assembly != nil && rows > 1 {
		done = rows - 1
		_, _ = dst[(panels-1)*apart+done*w+w-1], src[done*ld+panels*w-1]
		assembly(&dst[0], apart, &src[0], ld, done, panels)
	}
	copyPanelsGeneric(dst[done*w:], w, src[done*ld:], ld, rows-done, panels, apart)
}

// skinnyRows returns how many rows skinny computes, or 0 if there is no such routine.
func skinnyRows() int {
	if useAVX512 || useAVX2 {
		mr, _ := tileShape()
		return mr
	}
	return 0
}

// skinny computes C [skinnyRows,16] = or += A·B. The rows of A lie rowStride apart, and its columns colStride; B is
// [k,16].
func skinny(c, a []float32, rowStride, colStride int, b []float32, k int, add bool) {
	rows := skinnyRows()
	_, _, _ = c[16*rows-1], a[(rows-1)*rowStride+(k-1)*colStride], b[16*k-1]
	if useAVX512 {
		skinnyAVX512(&c[0], &a[0], rowStride, colStride, &b[0], k, add)
	} else {
		skinnyAVX2(&c[0], &a[0], rowStride, colStride, &b[0], k, add)
	}
}

// A fewRoutine computes what few does for a number of columns, atOnce panels of weights at a time.
type fewRoutine struct {
	atOnce int
	f      func(y *float32, ldy int, w *byte, panels, rowsOfLast int, x *float32, ldx, k int, accumulate bool, next *byte, step int)
}

// These are for 1 column and more.
var (
	fewAVX512 = []fewRoutine{
		{8, few1AVX512}, {8, few2AVX512}, {6, few3AVX512}, {6, few4AVX512}, {5, few5AVX512}, {4, few6AVX512},
	}
	fewHalfAVX512 = []fewRoutine{
		{8, few1HalfAVX512}, {8, few2HalfAVX512}, {6, few3HalfAVX512}, {6, few4HalfAVX512},
		{5, few5HalfAVX512}, {4, few6HalfAVX512}, {2, few7HalfAVX512}, {2, few8HalfAVX512},
		{2, few9HalfAVX512}, {2, few10HalfAVX512}, {2, few11HalfAVX512}, {2, few12HalfAVX512},
	}
	fewAVX2 = []fewRoutine{
		{6, few1AVX2}, {4, few2AVX2}, {3, few3AVX2}, {2, few4AVX2}, {2, few5AVX2},
	}
	fewHalfAVX2 = []fewRoutine{
		{6, few1HalfAVX2}, {4, few2HalfAVX2}, {3, few3HalfAVX2}, {2, few4HalfAVX2}, {2, few5HalfAVX2}, {2, few6HalfAVX2},
	}
)

// few computes C = or += X·Wᵀ for X [columns,k], whose rows lie ldx apart, and panels [k,mr] of W, whose last has
// rowsOfLast. The rows of C, which are y, lie ldy apart. The weights are w, or halves. Every element has the bits that
// the tile gives it. few prefetches ahead, as much of it as there is time for.
func few(y []float32, ldy int, w []float32, halves []uint16, panels, rowsOfLast int, x []float32, ldx, columns, k int, accumulate bool, ahead span) {
	mr, _ := tileShape()
	_, _ = y[(columns-1)*ldy+(panels-1)*mr+rowsOfLast-1], x[(columns-1)*ldx+k-1]
	routines, from := fewAVX2, unsafe.Pointer(nil)
	switch {
	case halves != nil && useAVX512:
		routines, from = fewHalfAVX512, unsafe.Pointer(&halves[:panels*mr*k][0])
	case halves != nil:
		routines, from = fewHalfAVX2, unsafe.Pointer(&halves[:panels*mr*k][0])
	case useAVX512:
		routines, from = fewAVX512, unsafe.Pointer(&w[:panels*mr*k][0])
	default:
		from = unsafe.Pointer(&w[:panels*mr*k][0])
	}
	for columns > 0 {
		passes := (columns + len(routines) - 1) / len(routines)
		now := (columns + passes - 1) / passes // passes of as many columns each read W least often
		r := routines[now-1]
		const lines = 2 * 64 // a call prefetches for every k of some panels
		turns := (panels + r.atOnce - 1) / r.atOnce * k
		next, step := (*byte)(from), 0
		if share := ahead.size / passes; share > 0 {
			step = min((share+turns-1)/turns, lines)
			next = ahead.cut(min(step*turns, ahead.size)).at
		}
		r.f(&y[0], ldy, (*byte)(from), panels, rowsOfLast, &x[0], ldx, k, accumulate, next, step)
		if columns -= now; columns > 0 {
			y, x = y[now*ldy:], x[now*ldx:]
		}
	}
}

// hasFew reports whether there is few.
func hasFew() bool { return useAVX512 || useAVX2 }

// fewReadsHalves reports whether few computes from halves.
func fewReadsHalves() bool { return useAVX512 || useAVX2 }

// copyColumns is copyRows of columns of panels: at most as many as the tile has.
func copyColumns(dst []float32, ldd int, src []float32, lds, columns, rows int) {
	_, _ = dst[(rows-1)*ldd+columns-1], src[(rows-1)*lds+columns-1]
	switch {
	case useAVX512:
		copyColumnsAVX512(&dst[0], ldd, &src[0], lds, columns, rows)
	case useAVX2:
		copyColumnsAVX2(&dst[0], ldd, &src[0], lds, columns, rows)
	default:
		copyRows(dst, ldd, src, lds, columns, rows)
	}
}

// vectorLen returns how many of n elements the assembly takes; Go takes the rest.
func vectorLen(n int) int {
	switch {
	case useAVX512:
		return n &^ 15
	case useAVX2:
		return n &^ 7
	}
	return 0
}

func sum(x []float32) (s float32) {
	n := vectorLen(len(x))
	if n > 0 {
		if useAVX512 {
			s = sumAVX512(&x[0], n)
		} else {
			s = sumAVX2(&x[0], n)
		}
	}
	return s + sumGeneric(x[n:])
}

func sumSquares(x []float32, mean float32) (s float32) {
	n := vectorLen(len(x))
	if n > 0 {
		if useAVX512 {
			s = sumSquaresAVX512(&x[0], n, mean)
		} else {
			s = sumSquaresAVX2(&x[0], n, mean)
		}
	}
	return s + sumSquaresGeneric(x[n:], mean)
}

func normalize(y, x, w, b []float32, mean, s float32) {
	n := vectorLen(len(x))
	if n > 0 {
		_, _, _ = y[n-1], w[n-1], b[n-1]
		if useAVX512 {
			normalizeAVX512(&y[0], &x[0], &w[0], &b[0], n, mean, s)
		} else {
			normalizeAVX2(&y[0], &x[0], &w[0], &b[0], n, mean, s)
		}
	}
	normalizeGeneric(y[n:], x[n:], w[n:], b[n:], mean, s)
}

func maxOf(x []float32) float32 {
	n := vectorLen(len(x))
	m := maxGeneric(x[n:])
	if n > 0 {
		if useAVX512 {
			return max(m, maxAVX512(&x[0], n))
		}
		return max(m, maxAVX2(&x[0], n))
	}
	return m
}

func expSum(y, x []float32, shift, s float32) (total float32) {
	n := vectorLen(len(x))
	if n > 0 {
		_ = y[n-1]
		if useAVX512 {
			total = expSumAVX512(&y[0], &x[0], n, shift, s)
		} else {
			total = expSumAVX2(&y[0], &x[0], n, shift, s)
		}
	}
	return total + expSumGeneric(y[n:], x[n:], shift, s)
}

func scale(y []float32, s float32) {
	n := vectorLen(len(y))
	if n > 0 {
		if useAVX512 {
			scaleAVX512(&y[0], n, s)
		} else {
			scaleAVX2(&y[0], n, s)
		}
	}
	scaleGeneric(y[n:], s)
}

func columnMax(m, x []float32) {
	rows := len(x) / len(m)
	switch {
	case rows == 0 || !useAVX2 && !useAVX512:
		columnMaxGeneric(m, x)
	case useAVX512:
		columnMaxAVX512(&m[0], &x[0], rows)
	default:
		columnMaxAVX2(&m[0], &x[0], rows)
	}
}

func columnExp(x, peak, total []float32, scale float32) {
	rows := len(x) / len(total)
	switch {
	case rows == 0 || !useAVX2 && !useAVX512:
		columnExpGeneric(x, peak, total, scale)
	case useAVX512:
		columnExpAVX512(&x[0], &peak[0], &total[0], rows, scale)
	default:
		columnExpAVX2(&x[0], &peak[0], &total[0], rows, scale)
	}
}

func scaleColumns(x, s []float32) {
	rows := len(x) / len(s)
	switch {
	case rows == 0 || !useAVX2 && !useAVX512:
		scaleColumnsGeneric(x, s)
	case useAVX512:
		scaleColumnsAVX512(&x[0], &s[0], rows)
	default:
		scaleColumnsAVX2(&x[0], &s[0], rows)
	}
}

func columnSum(total, x []float32) {
	rows := len(x) / len(total)
	switch {
	case rows == 0 || !useAVX2 && !useAVX512:
		columnSumGeneric(total, x)
	case useAVX512:
		columnSumAVX512(&total[0], &x[0], rows)
	default:
		columnSumAVX2(&total[0], &x[0], rows)
	}
}

func columnSquares(total, x, mean []float32) {
	rows := len(x) / len(total)
	switch {
	case rows == 0 || !useAVX2 && !useAVX512:
		columnSquaresGeneric(total, x, mean)
	case useAVX512:
		columnSquaresAVX512(&total[0], &x[0], &mean[0], rows)
	default:
		columnSquaresAVX2(&total[0], &x[0], &mean[0], rows)
	}
}

func columnNormalize(y, x, mean, scale, w, b []float32) {
	rows := len(w)
	if rows == 0 || !useAVX2 && !useAVX512 {
		columnNormalizeGeneric(y, x, mean, scale, w, b)
		return
	}
	n := rows * len(mean)
	_, _, _ = y[n-1], x[n-1], b[rows-1]
	if useAVX512 {
		columnNormalizeAVX512(&y[0], &x[0], &mean[0], &scale[0], &w[0], &b[0], rows)
	} else {
		columnNormalizeAVX2(&y[0], &x[0], &mean[0], &scale[0], &w[0], &b[0], rows)
	}
}

func scoreGrad(p, gs, stats []float32, scale float32) {
	_, nr := tileShape()
	rows := len(stats) / 3
	if rows == 0 {
		return
	}
	_, _ = p[rows*nr-1], gs[rows*nr-1]
	switch {
	case useAVX512:
		scoreGradAVX512(&p[0], &gs[0], &stats[0], rows, scale)
	case useAVX2:
		scoreGradAVX2(&p[0], &gs[0], &stats[0], rows, scale)
	default:
		scoreGradGeneric(p, gs, stats, nr, scale)
	}
}

func normSums(g, w, x []float32, mean, scale float32) (sg, sgx float32) {
	n := vectorLen(len(x))
	var sums [2]float32
	if n > 0 {
		_, _ = g[n-1], w[n-1]
		if useAVX512 {
			normSumsAVX512(&sums[0], &g[0], &w[0], &x[0], n, mean, scale)
		} else {
			normSumsAVX2(&sums[0], &g[0], &w[0], &x[0], n, mean, scale)
		}
	}
	sg, sgx = normSumsGeneric(g[n:], w[n:], x[n:], mean, scale)
	return sg + sums[0], sgx + sums[1]
}

func normGrad(gx, g, w, x []float32, mean, scale, mg, mgx float32) {
	n := vectorLen(len(x))
	if n > 0 {
		_, _, _ = gx[n-1], g[n-1], w[n-1]
		if useAVX512 {
			normGradAVX512(&gx[0], &g[0], &w[0], &x[0], n, mean, scale, mg, mgx)
		} else {
			normGradAVX2(&gx[0], &g[0], &w[0], &x[0], n, mean, scale, mg, mgx)
		}
	}
	normGradGeneric(gx[n:], g[n:], w[n:], x[n:], mean, scale, mg, mgx)
}

func normWeights(gw, gb, g, x []float32, mean, scale float32) {
	n := vectorLen(len(x))
	if n > 0 {
		_, _, _ = gw[n-1], gb[n-1], g[n-1]
		if useAVX512 {
			normWeightsAVX512(&gw[0], &gb[0], &g[0], &x[0], n, mean, scale)
		} else {
			normWeightsAVX2(&gw[0], &gb[0], &g[0], &x[0], n, mean, scale)
		}
	}
	normWeightsGeneric(gw[n:], gb[n:], g[n:], x[n:], mean, scale)
}

func quickGELUGrad(gx, gy, x []float32) {
	n := vectorLen(len(x))
	if n > 0 {
		_, _ = gx[n-1], gy[n-1]
		if useAVX512 {
			quickGELUGradAVX512(&gx[0], &gy[0], &x[0], n)
		} else {
			quickGELUGradAVX2(&gx[0], &gy[0], &x[0], n)
		}
	}
	quickGELUGradGeneric(gx[n:], gy[n:], x[n:])
}

func geluGrad(gx, gy, x []float32) {
	n := vectorLen(len(x))
	if n > 0 {
		_, _ = gx[n-1], gy[n-1]
		if useAVX512 {
			geluGradAVX512(&gx[0], &gy[0], &x[0], n)
		} else {
			geluGradAVX2(&gx[0], &gy[0], &x[0], n)
		}
	}
	geluGradGeneric(gx[n:], gy[n:], x[n:])
}

func adamW(w, g, m, v []float32, s AdamWStep) {
	n := vectorLen(len(w))
	if n > 0 {
		_, _, _ = g[n-1], m[n-1], v[n-1]
		if useAVX512 {
			adamWAVX512(&w[0], &g[0], &m[0], &v[0], n, s.Keep, s.Size, s.Eps, s.New1, s.Old2, s.New2)
		} else {
			adamWAVX2(&w[0], &g[0], &m[0], &v[0], n, s.Keep, s.Size, s.Eps, s.New1, s.Old2, s.New2)
		}
	}
	adamWGeneric(w[n:], g[n:], m[n:], v[n:], s)
}

func addBias(y, b []float32) {
	n := vectorLen(len(b))
	if n > 0 {
		_ = y[n-1]
		if useAVX512 {
			addBiasAVX512(&y[0], &b[0], n)
		} else {
			addBiasAVX2(&y[0], &b[0], n)
		}
	}
	addBiasGeneric(y[n:], b[n:])
}

func addBias2(y, b, r []float32) {
	n := vectorLen(len(b))
	if n > 0 {
		_, _ = y[n-1], r[n-1]
		if useAVX512 {
			addBias2AVX512(&y[0], &b[0], &r[0], n)
		} else {
			addBias2AVX2(&y[0], &b[0], &r[0], n)
		}
	}
	addBias2Generic(y[n:], b[n:], r[n:])
}

// maxVector is the most values that a register has.
const maxVector = 16

func quickGELUBias(y, x, b []float32) {
	n := vectorLen(len(b))
	if n > 0 {
		_, _ = y[n-1], x[n-1]
		quickGELUVectors(&y[0], &x[0], &b[0], n)
	}
	switch rest := len(b) - n; {
	case rest == 0:
	case vectorLen(maxVector) == 0:
		quickGELUGeneric(y[n:], x[n:], b[n:])
	default: // by the same instructions, so that the bits of a value do not depend on where it stands
		var py, px, pb [maxVector]float32
		copy(px[:], x[n:len(b)])
		copy(pb[:], b[n:])
		quickGELUVectors(&py[0], &px[0], &pb[0], maxVector)
		copy(y[n:len(b)], py[:])
	}
}

func quickGELUVectors(y, x, b *float32, n int) {
	if useAVX512 {
		quickGELUAVX512(y, x, b, n)
	} else {
		quickGELUAVX2(y, x, b, n)
	}
}

func geluBias(y, x, b []float32) {
	n := vectorLen(len(b))
	if n > 0 {
		_, _ = y[n-1], x[n-1]
		geluVectors(&y[0], &x[0], &b[0], n)
	}
	switch rest := len(b) - n; {
	case rest == 0:
	case vectorLen(maxVector) == 0:
		geluGeneric(y[n:], x[n:], b[n:])
	default: // by the same instructions, so that the bits of a value do not depend on where it stands
		var py, px, pb [maxVector]float32
		copy(px[:], x[n:len(b)])
		copy(pb[:], b[n:])
		geluVectors(&py[0], &px[0], &pb[0], maxVector)
		copy(y[n:len(b)], py[:])
	}
}

func geluVectors(y, x, b *float32, n int) {
	if useAVX512 {
		geluAVX512(y, x, b, n)
	} else {
		geluAVX2(y, x, b, n)
	}
}

func fmas(n int) (flops int) {
	switch {
	case useAVX512:
		fmasAVX512(n)
		return n * 12 * 16 * 2
	case useAVX2:
		fmasAVX2(n)
		return n * 12 * 8 * 2
	}
	return fmasGeneric(n)
}

// amx reports whether products are computed in tiles of bfloat16.
func amx() bool { return useAMX }

// tileBF16 computes a tile of C from steps of A, in inA terms, and of B, in the first inB of its three. In each step
// it prefetches at near and at far.
func tileBF16(c []float32, ldc int, a, b []uint16, inA, inB, steps int, accumulate bool, near *byte, nearStep int, far *byte, farStep int) {
	_, _, _ = c[31*ldc+31], a[inA*amxTileLen*steps-1], b[3*amxTileLen*steps-1]
	if !useAMX {
		tileBF16Generic(c, ldc, a, b, inA, inB, steps, accumulate)
		return
	}
	nowhere := (*byte)(unsafe.Pointer(&a[0]))
	if near == nil {
		near, nearStep = nowhere, 0
	}
	if far == nil {
		far, farStep = nowhere, 0
	}
	switch {
	case inA == 2:
		tile23BF16(&c[0], ldc, &a[0], &b[0], steps, accumulate, near, nearStep, far, farStep)
	case inB == 2:
		tile32BF16(&c[0], ldc, &a[0], &b[0], steps, accumulate, near, nearStep, far, farStep)
	default:
		tile33BF16(&c[0], ldc, &a[0], &b[0], steps, accumulate, near, nearStep, far, farStep)
	}
}

func splitColumnsBF16(dst []uint16, src []float32, ld, steps int) {
	_, _ = dst[3*amxTileLen*steps-1], src[(amxTile*steps-1)*ld+amxTile-1]
	if useAMX {
		splitColumnsBF16AVX512(&dst[0], &src[0], ld, steps)
	} else {
		splitColumnsBF16Generic(dst, src, ld, steps)
	}
}

func splitHalvesBF16(dst, src []uint16, steps int) {
	_, _ = dst[2*amxTileLen*steps-1], src[amxTileLen*steps-1]
	if useAMX {
		splitHalvesBF16AVX512(&dst[0], &src[0], amxTile, amxTileLen, steps)
	} else {
		splitHalvesBF16Generic(dst, src, steps)
	}
}

func splitRowsBF16(dst []uint16, src []float32, ld, step, steps int) {
	_, _ = dst[3*amxTileLen*steps-1], src[(steps-1)*step+(amxTile-1)*ld+amxTile-1]
	if useAMX {
		splitRowsBF16AVX512(&dst[0], &src[0], ld, step, steps)
	} else {
		splitRowsBF16Generic(dst, src, ld, step, steps)
	}
}

func dotHalves(y []float32, a []uint16, x []float32, steps int) {
	_, _, _ = y[31], a[amxTileLen*steps-1], x[32*steps-1]
	dotHalvesAVX512(&y[0], &a[0], &x[0], steps)
}

func dotRows(y, a, x []float32, steps int) {
	_, _, _ = y[31], a[amxTileLen*steps-1], x[32*steps-1]
	dotRowsAVX512(&y[0], &a[0], &x[0], steps)
}
