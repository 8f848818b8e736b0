package kernel

import "unsafe"

// A search reads a matrix of rows in half precision, or of bytes, from its beginning to its end, and multiplies every row
// with one vector or with some. Callers divide the rows among the processors: these functions use one.

// DotHalves sets y[i] to the product of x and row i of rows [len(y),len(x)]. It differs from the exact product by at most
// (len(x)+8)·2⁻²⁴ of the product of both lengths, if none of the terms is below 2⁻¹²⁶.
func DotHalves(y []float32, rows []uint16, x []float32) {
	if len(rows) != len(y)*len(x) {
		panic("kernel: DotHalves: len(rows) is not len(y)·len(x)")
	}
	switch {
	case len(y) == 0:
	case len(x) == 0:
		clear(y)
	default:
		scanHalves(y, rows, x)
	}
}

// scanHalvesGeneric is the definition of scanHalves: y[i] = Σⱼ rows[i·ld+j]·x[j] for as many as y has.
func scanHalvesGeneric(y []float32, rows []uint16, ld int, x []float32) {
	clear(y)
	addHalves(y, rows, ld, x)
}

// addHalves is scanHalvesGeneric, and adds to y.
func addHalves(y []float32, rows []uint16, ld int, x []float32) {
	for i := range y {
		var s float32
		for j, h := range rows[i*ld:][:len(x)] {
			s += FromHalf(h) * x[j]
		}
		y[i] += s
	}
}

// DotBytes sets y[i] to the product of x and row i of rows [len(y),len(x)], exactly if no sum of some of the terms' sizes
// reaches 2³¹.
func DotBytes(y []int32, rows []int8, x []int16) {
	if len(rows) != len(y)*len(x) {
		panic("kernel: DotBytes: len(rows) is not len(y)·len(x)")
	}
	switch {
	case len(y) == 0:
	case len(x) == 0:
		clear(y)
	default:
		scanBytes(y, rows, x)
	}
}

// scanBytesGeneric is the definition of scanBytes: y[i] = Σⱼ rows[i·ld+j]·x[j] for as many as y has.
func scanBytesGeneric(y []int32, rows []int8, ld int, x []int16) {
	clear(y)
	addBytes(y, rows, ld, x)
}

// addBytes is scanBytesGeneric, and adds to y.
func addBytes(y []int32, rows []int8, ld int, x []int16) {
	for i := range y {
		for j, b := range rows[i*ld:][:len(x)] {
			y[i] += int32(b) * int32(x[j])
		}
	}
}

// Queries are vectors that are multiplied with many rows, in panels: [⌈n/columns⌉][k,columns], the last filled with zeros.
// They are of the implementation that was in use.
type Queries struct {
	n, k, rows, columns int
	panels              []float32
}

// PackQueries packs x [n,k].
func PackQueries(x []float32, n, k int) *Queries {
	if len(x) != n*k {
		panic("kernel: PackQueries: len(x) is not n·k")
	}
	rows, columns := tileShape()
	q := &Queries{n, k, rows, columns, make([]float32, (n+columns-1)/columns*columns*k)}
	for i := 0; i < n && k > 0; i += columns {
		packTransposed(q.panels[i*k:], columns, x[i*k:], k, min(columns, n-i), k)
	}
	return q
}

// Len returns how many vectors there are.
func (q *Queries) Len() int { return q.n }

// Shape returns how many rows Dot takes at most, and how many vectors are in a panel.
func (q *Queries) Shape() (rows, columns int) { return q.rows, q.columns }

// Panels returns how many panels there are.
func (q *Queries) Panels() int { return (q.n + q.columns - 1) / q.columns }

// Dot sets c [panels,rows,columns] to the products of n rows, [n,k], and the queries: row i and query j meet at
// c[j/columns][i][j%columns]. What is in rows from n on, and in columns that are no queries, has no meaning. It asks for the
// memory of ahead, which will be read next. The error is that of [DotHalves].
func (q *Queries) Dot(c []float32, rows []uint16, n int, ahead []uint16) {
	if len(rows) != n*q.k || n > q.rows || len(c) != q.Panels()*q.rows*q.columns {
		panic("kernel: Queries.Dot: wrong lengths")
	}
	if n == 0 || q.k == 0 {
		clear(c)
		return
	}
	wide := Get(q.rows * q.k)
	defer Put(wide)
	widen(wide[:n*q.k], rows)
	clear(wide[n*q.k:])
	size, panel := q.rows*q.columns, q.columns*q.k
	if !hasRowsTile() {
		packed := Get(q.rows * q.k)
		defer Put(packed)
		packTransposed(packed, q.rows, wide, q.k, q.rows, q.k)
		for i := range q.Panels() {
			tile(c[i*size:][:size], q.columns, n, packed, q.panels[i*panel:][:panel], q.k, false, nil, 0)
		}
		return
	}
	share := (len(ahead) + q.Panels() - 1) / q.Panels()
	for i := range q.Panels() {
		next, step := (*byte)(unsafe.Pointer(&wide[0])), 0
		if from := i * share; from < len(ahead) {
			next, step = (*byte)(unsafe.Pointer(&ahead[from])), (2*share+q.k-1)/q.k
		}
		rowsTile(c[i*size:][:size], wide, q.panels[i*panel:][:panel], q.k, next, step)
	}
}

// Max sets peak to the largest of each column of some rows of a panel of products, -Inf if there are none.
func (q *Queries) Max(peak, c []float32) {
	if len(peak) != q.columns || len(c)%q.columns != 0 {
		panic("kernel: Queries.Max: wrong lengths")
	}
	columnMax(peak, c)
}

// rowsTileGeneric is the definition of rowsTile: C [mr,nr] = A·B for A [mr,k] and a panel B [k,nr].
func rowsTileGeneric(c, a, b []float32, k, mr, nr int) {
	clear(c[:mr*nr])
	for i := range mr {
		for p, x := range a[i*k:][:k] {
			for j, w := range b[p*nr:][:nr] {
				c[i*nr+j] += x * w
			}
		}
	}
}

// ExactDot returns the product of a row of halves with x in float64: every term is exact, and their sums are made in one
// order on all processors.
func ExactDot(row []uint16, x []float32) float64 {
	if len(row) != len(x) {
		panic("kernel: ExactDot: len(row) is not len(x)")
	}
	wide := Get(len(row))
	defer Put(wide)
	widen(wide, row)
	var a, b, c, d float64
	y := x
	for ; len(wide) >= 4 && len(y) >= 4; wide, y = wide[4:], y[4:] {
		a += float64(wide[0]) * float64(y[0])
		b += float64(wide[1]) * float64(y[1])
		c += float64(wide[2]) * float64(y[2])
		d += float64(wide[3]) * float64(y[3])
	}
	for i, v := range wide {
		a += float64(v) * float64(y[i])
	}
	return (a + b) + (c + d)
}

// WidenHalves sets dst to the halves src, as many, exactly.
func WidenHalves(dst []float32, src []uint16) {
	if len(dst) != len(src) {
		panic("kernel: WidenHalves: len(dst) is not len(src)")
	}
	widen(dst, src)
}

// SquareHalves sets y[i] to the sum of the squares of row i of rows [len(y),k], within (k+8)·2⁻²⁴ of it.
func SquareHalves(y []float32, rows []uint16, k int) {
	if len(rows) != len(y)*k {
		panic("kernel: SquareHalves: len(rows) is not len(y)·k")
	}
	wide := Get(k)
	defer Put(wide)
	for i := range y {
		widen(wide, rows[i*k:(i+1)*k])
		y[i] = sumSquares(wide, 0)
	}
}
