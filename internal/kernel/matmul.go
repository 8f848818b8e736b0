package kernel

import (
	"unsafe"
)

// An Epilogue is applied to a product C [m,n] while it is still in cache:
//
//	C = activation(C + Bias) + Residual
//
// Its zero value does nothing. An activation and a residual exclude each other.
type Epilogue struct {
	Bias       []float32 // [n], or nil
	Activation Activation
	Residual   []float32 // [m,n], or nil
}

// MatMulNT computes C [m,n] = A [m,k] · B [n,k]ᵀ: a linear layer, with spago's [out,in] weights.
func MatMulNT(c, a, b []float32, m, n, k int, e Epilogue) {
	check("MatMulNT", c, a, b, m, n, k, e)
	gemm(parallel, c, n, matrix{a, k, false}, matrix{b, k, false}, m, n, k, false, e)
}

// MatMulNN computes C [m,n] = A [m,k] · B [k,n]: the gradient of a linear layer's input.
func MatMulNN(c, a, b []float32, m, n, k int, e Epilogue) {
	check("MatMulNN", c, a, b, m, n, k, e)
	gemm(parallel, c, n, matrix{a, k, false}, matrix{b, n, true}, m, n, k, false, e)
}

// MatMulNNAdd computes C [m,n] += A [m,k] · B [k,n]. Where [AddsWhole] says so, it has the bits of C + [MatMulNN].
func MatMulNNAdd(c, a, b []float32, m, n, k int) {
	check("MatMulNNAdd", c, a, b, m, n, k, Epilogue{})
	gemm(parallel, c, n, matrix{a, k, false}, matrix{b, n, true}, m, n, k, true, Epilogue{})
}

// AddsWhole reports whether a product that sums over a depth of k adds to C what it would have written there, in one
// piece. Then no bit depends on which of two products is first.
func AddsWhole(k int) bool { return k <= kcMax && !amx() }

// MatMulTN computes C [m,n] = A [k,m]ᵀ · B [k,n]: the gradient of a linear layer's weights.
func MatMulTN(c, a, b []float32, m, n, k int, e Epilogue) {
	check("MatMulTN", c, a, b, m, n, k, e)
	gemm(parallel, c, n, matrix{a, m, true}, matrix{b, n, true}, m, n, k, false, e)
}

// A Strided is a matrix whose rows lie Stride apart in Data, or the transpose of one.
type Strided struct {
	Data       []float32
	Stride     int
	Transposed bool
}

// require panics unless there is memory for the shape.
func (x Strided) require(name string, rows, cols int) {
	if x.Transposed {
		rows, cols = cols, rows
	}
	if rows > 0 && cols > 0 && (x.Stride < cols || len(x.Data) < (rows-1)*x.Stride+cols) {
		panic("kernel: MatMulStrided: " + name + " is shorter than its shape")
	}
}

// MatMulStrided computes C [m,n] = or += A [m,k] · B [k,n], where the matrices are parts of others. C is not
// transposed.
func MatMulStrided(c, a, b Strided, m, n, k int, add bool) {
	if m < 0 || n < 0 || k < 0 || c.Transposed {
		panic("kernel: MatMulStrided: negative size, or C transposed")
	}
	c.require("c", m, n)
	a.require("a", m, k)
	b.require("b", k, n)
	if matMulSkinny(c, a, b, m, n, k, add) {
		return
	}
	gemm(parallel, c.Data, c.Stride, matrix{a.Data, a.Stride, a.Transposed}, matrix{b.Data, b.Stride, !b.Transposed}, m, n, k, add, Epilogue{})
}

func check(name string, c, a, b []float32, m, n, k int, e Epilogue) {
	switch {
	case m < 0 || n < 0 || k < 0:
		panic("kernel: " + name + ": negative size")
	case len(c) < m*n:
		panic("kernel: " + name + ": c is shorter than m·n")
	case len(a) < m*k:
		panic("kernel: " + name + ": a is shorter than m·k")
	case len(b) < n*k:
		panic("kernel: " + name + ": b is shorter than n·k")
	case e.Bias != nil && len(e.Bias) < n:
		panic("kernel: " + name + ": the bias is shorter than n")
	case e.Residual != nil && len(e.Residual) < m*n:
		panic("kernel: " + name + ": the residual is shorter than m·n")
	case e.Residual != nil && e.Activation != None:
		panic("kernel: " + name + ": an activation and a residual exclude each other")
	}
}

// The sizes of cache blocks. A block of kcMax rows and ncMax columns of B lives in the second-level cache, and the panels
// of A stream past it. It takes 512 KB, of the 1 MB and more that servers and recent desktops have. The depth is the
// width of ViT-L, so that most products write C once. mcMax bounds the packed copy of A.
const (
	kcMax = 1024
	ncMax = 128
	mcMax = 2304 // four images of 577 tokens
)

// A matrixB is B as gemm reads it.
type matrixB interface {
	// panels returns columns n0..n0+w at depths k0..k0+d as panels of nr columns, one after the other. They may lie in
	// scratch, which has room for them.
	panels(scratch []float32, n0, w, k0, d, nr int) []float32
	// prefetchSpan returns the memory that panels would read with these arguments, or nothing if it lies in pieces.
	prefetchSpan(n0, w, k0, d, nr int) span
	// bf16Terms returns of how many bfloat16 each element is the sum, at most; see amx.go.
	bf16Terms() int
}

// gemm computes C = or += A·Bᵀ, where element (r,p) of a matrix is row r of its panels at depth p. It calls run with
// the items of its loops: parallel, or serial inside a worker.
//
//	for every mcMax rows of A:     pack them, all of k, in parallel
//	  for every nc columns of B:   in parallel; each worker for itself:
//	    for every kc of k:         nc·kc of B as panels
//	      for every panel of A:    for every panel of B, one tile
//	                               at the last kc, the epilogue of rows that are still warm
//
// While a worker computes with one panel of A and one block of B, it prefetches the next of both.
func gemm(run func(int, func(int)), c []float32, ldc int, a matrix, b matrixB, m, n, k int, accumulate bool, e Epilogue) {
	if m == 0 || n == 0 {
		return
	}
	mr, nr := tileShape()
	if float64(m)*float64(n)*float64(k) < 1<<16 {
		run = serial
	}
	// Whatever m is: a row must not depend on how many there are.
	if amx() && n >= amxTile && k >= amxTile {
		gemmAMX(run, c, ldc, a, b, m, n, k, accumulate, e)
		return
	}
	kc := min(kcMax, max(k, 1))
	starts := partitionColumns(n, nr)
	for m0 := 0; m0 < m; m0 += mcMax {
		mc := min(mcMax, m-m0)
		panels := (mc + mr - 1) / mr
		pa := Get(panels * mr * k)
		// pa holds, for each kc of k, all panels of that depth.
		run((panels+3)/4, func(i int) {
			from, to := i*4, min(panels, (i+1)*4)
			for k0 := 0; k0 < k; k0 += kc {
				d := min(kc, k-k0)
				a.pack(pa[k0*panels*mr+from*mr*d:], m0+from*mr, min((to-from)*mr, mc-from*mr), k0, d, mr)
			}
		})
		run(len(starts)-1, func(i int) {
			n0 := starts[i]
			w := starts[i+1] - n0
			bp := (w + nr - 1) / nr
			scratch := Get(bp * nr * kc)
			for k0 := 0; k0 < k; k0 += kc {
				d := min(kc, k-k0)
				pb := b.panels(scratch, n0, w, k0, d, nr)
				next := nextSpan(b, starts, i, k0+d, kc, k, nr)
				for p := range panels {
					at := k0*panels + p*d
					rows := min(mr, mc-p*mr)
					var ahead prefetch
					if p+1 < panels {
						ahead.a = span{(*byte)(unsafe.Pointer(&pa[(at+d)*mr])), 4 * mr * d}
					}
					if share := next.size / panels; share > 0 {
						ahead.b = span{(*byte)(unsafe.Add(unsafe.Pointer(next.at), p*share)), share}
					}
					var last *Epilogue
					if k0+d == k {
						last = &e
					}
					tiles(c, ldc, m0+p*mr, rows, n0, w, n, pa[at*mr:], pb, d, accumulate || k0 > 0, ahead, last)
				}
			}
			if k == 0 {
				for r := m0; r < m0+mc && !accumulate; r++ {
					clear(c[r*ldc+n0:][:w])
				}
				e.apply(c, ldc, m0, mc, n0, w, n)
			}
			Put(scratch)
		})
		Put(pa)
	}
}

// nextSpan returns the memory of B that the worker of item i needs after depth k0. It is that of the same columns or,
// after the last depth, of the item that the worker will most likely get next.
func nextSpan(b matrixB, starts []int, i, k0, kc, k, nr int) span {
	if k0 >= k {
		if i += processors(); i >= len(starts)-1 {
			return span{}
		}
		k0 = 0
	}
	return b.prefetchSpan(starts[i], starts[i+1]-starts[i], k0, min(kc, k-k0), nr)
}

func serial(items int, f func(int)) {
	for i := range items {
		f(i)
	}
}

// partitionColumns returns where the items of a product begin in n columns of B, whose panels have nr, and n at last.
// The first items are as large as the cache allows. The last ones are small, since workers may run at different
// speeds.
func partitionColumns(n, nr int) []int {
	starts := make([]int, 1, n/ncMax+16)
	for at := 0; at < n; {
		w := roundUp((n-at)/(3*processors()), nr)
		at += min(max(w, nr), ncMax/nr*nr, n-at)
		starts = append(starts, at)
	}
	return starts
}

// A prefetch is the memory to prefetch while the tiles of one panel of A are computed.
type prefetch struct{ a, b span }

// A span is size bytes of memory from at on, or none if at is nil.
type span struct {
	at   *byte
	size int
}

// part returns where tile i of n begins to prefetch s, and how many bytes further it goes for every two of its k
// depths. That is at most a line.
func (s span) part(i, n, k int) (at *byte, step int) {
	const line = 64
	turns := k / 2
	if s.at == nil || turns == 0 {
		return nil, 0
	}
	step = min((s.size+n*turns-1)/(n*turns), line)
	skip := min(i*step*turns, s.size-1) // a pointer stays within its memory
	return (*byte)(unsafe.Add(unsafe.Pointer(s.at), skip)), step
}

// cut takes size bytes from the front of s, and returns them.
func (s *span) cut(size int) span {
	if size == 0 {
		return span{}
	}
	front := span{s.at, size}
	if s.size -= size; s.size == 0 {
		*s = span{}
	} else {
		s.at = (*byte)(unsafe.Add(unsafe.Pointer(s.at), size))
	}
	return front
}

// tiles computes rows m0..m0+rows and columns n0..n0+w of C, which has n, from a panel of A and the panels of B. It
// finishes them with e, unless that is nil. The first half of its tiles prefetches next.a, and the second half
// next.b.
func tiles(c []float32, ldc, m0, rows, n0, w, n int, ap, pb []float32, k int, accumulate bool, next prefetch, e *Epilogue) {
	mr, nr := tileShape()
	count := (w + nr - 1) / nr
	first := (count + 1) / 2
	inTile := e != nil && e.Activation == None && ldc == n // the tile adds bias and residual itself
	for j := range count {
		at := n0 + j*nr
		out, bp := c[m0*ldc+at:], pb[j*nr*k:]
		if cols := min(nr, w-j*nr); rows < mr || cols < nr {
			edgeTile(out, ldc, ap, bp, rows, cols, k, accumulate)
			if e != nil && e.Activation == None {
				e.apply(c, ldc, m0, rows, at, cols, n)
			}
			continue
		}
		line, step := next.a.part(j, first, k)
		if j >= first {
			line, step = next.b.part(j-first, count-first, k)
		}
		var bias, residual []float32
		if inTile && e.Bias != nil {
			bias = e.Bias[at:]
		}
		if inTile && e.Residual != nil {
			residual = e.Residual[m0*n+at:]
		}
		if added := tileAdd(out, ldc, rows, ap, bp, k, accumulate, line, step, bias, residual, nil); e != nil && e.Activation == None && !(added && inTile) {
			e.apply(c, ldc, m0, rows, at, nr, n)
		}
	}
	if e != nil && e.Activation != None {
		e.apply(c, ldc, m0, rows, n0, w, n)
	}
}

// edgeTile computes the first rows and cols of a tile that reaches over the edge of C.
func edgeTile(c []float32, ldc int, ap, bp []float32, rows, cols, k int, accumulate bool) {
	_, nr := tileShape()
	var whole [maxTile]float32
	tile(whole[:], nr, rows, ap, bp, k, false, nil, 0)
	for r := range rows {
		dst, src := c[r*ldc:][:cols], whole[r*nr:][:cols]
		if accumulate {
			addBias(dst, src)
		} else {
			copy(dst, src)
		}
	}
}

// apply applies the epilogue to rows m0..m0+rows and columns n0..n0+w of C, which has n columns.
func (e *Epilogue) apply(c []float32, ldc, m0, rows, n0, w, n int) {
	if e.Bias == nil && e.Activation == None && e.Residual == nil {
		return
	}
	bias := zeros[:w]
	if e.Bias != nil {
		bias = e.Bias[n0 : n0+w]
	}
	f := e.Activation.of()
	for r := m0; r < m0+rows; r++ {
		row := c[r*ldc+n0:][:w]
		switch {
		case f != nil:
			f.bias(row, row, bias)
		case e.Residual != nil:
			addBias2(row, bias, e.Residual[r*n+n0:][:w])
		default:
			addBias(row, bias)
		}
	}
}

// zeros stands for an absent bias. It is never written.
var zeros = make([]float32, ncMax)

// A matrix is A or B as products read it: rows that become panels, and a depth k that is summed over.
type matrix struct {
	data   []float32
	ld     int  // the distance between rows of data
	kMajor bool // rows of data are depths (element (r,p) is data[p·ld+r]), not panel rows (data[r·ld+p])
}

// panels packs columns of B, which are its rows here, into scratch.
func (x matrix) panels(scratch []float32, n0, w, k0, d, nr int) []float32 {
	x.pack(scratch, n0, w, k0, d, nr)
	return scratch
}

// prefetchSpan returns nothing: rows lie apart.
func (x matrix) prefetchSpan(n0, w, k0, d, nr int) span { return span{} }

func (x matrix) bf16Terms() int { return 3 }

// pack writes rows r0..r0+rows at depths k0..k0+k as panels of w rows, one after the other: dst[panel][p][r]. It pads
// the last panel with zeros.
func (x matrix) pack(dst []float32, r0, rows, k0, k, w int) {
	whole := rows / w * w
	if x.kMajor {
		if whole > 0 {
			copyPanels(dst, w, x.data[k0*x.ld+r0:], x.ld, k, whole/w, w*k)
		}
	} else {
		for r := 0; r < whole; r += w {
			packTransposed(dst[r*k:], w, x.data[(r0+r)*x.ld+k0:], x.ld, w, k)
		}
	}
	if n := rows - whole; n > 0 {
		last := dst[whole*k : (whole+w)*k]
		clear(last)
		if x.kMajor {
			copyColumns(last, w, x.data[k0*x.ld+r0+whole:], x.ld, n, k)
		} else {
			packTransposed(last, w, x.data[(r0+whole)*x.ld+k0:], x.ld, n, k)
		}
	}
}
