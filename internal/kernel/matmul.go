package kernel

import "runtime"

// An Activation is applied by the epilogue of a product.
type Activation int

// The activations.
const (
	None Activation = iota
	QuickGELU
	GELU
)

// An Epilogue is what happens to a product C [m,n] while it is still in cache:
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
	gemm(parallel, c, n, operand{a, k, false}, operand{b, k, false}, m, n, k, false, e)
}

// MatMulNN computes C [m,n] = A [m,k] · B [k,n]: the gradient of a linear layer's input.
func MatMulNN(c, a, b []float32, m, n, k int, e Epilogue) {
	check("MatMulNN", c, a, b, m, n, k, e)
	gemm(parallel, c, n, operand{a, k, false}, operand{b, n, true}, m, n, k, false, e)
}

// MatMulTN computes C [m,n] = A [k,m]ᵀ · B [k,n]: the gradient of a linear layer's weights.
func MatMulTN(c, a, b []float32, m, n, k int, e Epilogue) {
	check("MatMulTN", c, a, b, m, n, k, e)
	gemm(parallel, c, n, operand{a, m, true}, operand{b, n, true}, m, n, k, false, e)
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

// Cache blocking. A block of kcMax columns of B, ncMax wide, lives in the second-level cache, 512 KB
// of the 1 MB and more that servers and recent desktops have; the panels of A stream past it. The
// depth is the width of ViT-L, so that most products write C once. mcMax bounds the packed copy of A.
const (
	kcMax = 1024
	ncMax = 128
	mcMax = 2304 // four images of 577 tokens
)

// gemm computes C = or += A·Bᵀ, where element (r,p) of an operand is row r of its panels at depth p;
// run is parallel, or serial inside a worker.
//
//	for every mcMax rows of A:     pack them, all of k, in parallel
//	  for every nc columns of B:   in parallel; each worker for itself:
//	    for every kc of k:         pack nc·kc of B
//	      for every panel of A:  for every panel of B, one tile
//	                             at the last kc, the epilogue of rows that are still warm
func gemm(run func(int, func(int)), c []float32, ldc int, a, b operand, m, n, k int, accumulate bool, e Epilogue) {
	if m == 0 || n == 0 {
		return
	}
	mr, nr := tileShape()
	if float64(m)*float64(n)*float64(k) < 1<<16 {
		run = serial
	}
	kc := min(kcMax, max(k, 1))
	nc := columns(n, nr)
	for m0 := 0; m0 < m; m0 += mcMax {
		mc := min(mcMax, m-m0)
		panels := (mc + mr - 1) / mr
		pa := Get(panels * mr * k)
		// pa holds, for each kc of k, all panels of that depth.
		run((panels+15)/16, func(i int) {
			from, to := i*16, min(panels, (i+1)*16)
			for k0 := 0; k0 < k; k0 += kc {
				d := min(kc, k-k0)
				a.pack(pa[k0*panels*mr+from*mr*d:], m0+from*mr, min((to-from)*mr, mc-from*mr), k0, d, mr)
			}
		})
		run((n+nc-1)/nc, func(i int) {
			n0 := i * nc
			w := min(nc, n-n0)
			bp := (w + nr - 1) / nr
			pb := Get(bp * nr * kc)
			for k0 := 0; k0 < k; k0 += kc {
				d := min(kc, k-k0)
				b.pack(pb, n0, w, k0, d, nr)
				for p := range panels {
					ap := pa[(k0*panels+p*d)*mr:]
					rows := min(mr, mc-p*mr)
					tiles(c[(m0+p*mr)*ldc+n0:], ldc, ap, pb, rows, w, d, accumulate || k0 > 0)
					if k0+d == k {
						e.apply(c, ldc, m0+p*mr, rows, n0, w, n)
					}
				}
			}
			if k == 0 {
				for r := m0; r < m0+mc && !accumulate; r++ {
					clear(c[r*ldc+n0:][:w])
				}
				e.apply(c, ldc, m0, mc, n0, w, n)
			}
			Put(pb)
		})
		Put(pa)
	}
}

func serial(items int, f func(int)) {
	for i := range items {
		f(i)
	}
}

// columns returns how many columns of B one item takes: few enough that every worker gets several.
func columns(n, nr int) int {
	nc := n / (4 * runtime.GOMAXPROCS(0)) / nr * nr
	return min(max(nc, nr), ncMax)
}

// tiles computes one panel of C: rows rows of w columns, from a panel of A and the panels of B.
func tiles(c []float32, ldc int, ap, pb []float32, rows, w, k int, accumulate bool) {
	mr, nr := tileShape()
	for j := 0; j < w; j += nr {
		if cols := min(nr, w-j); rows == mr && cols == nr {
			tile(c[j:], ldc, ap, pb[j*k:], k, accumulate)
		} else {
			edgeTile(c[j:], ldc, ap, pb[j*k:], rows, cols, k, accumulate)
		}
	}
}

// edgeTile computes a tile of which only rows rows and cols columns are C's.
func edgeTile(c []float32, ldc int, ap, bp []float32, rows, cols, k int, accumulate bool) {
	_, nr := tileShape()
	var whole [maxTile]float32
	tile(whole[:], nr, ap, bp, k, false)
	for r := range rows {
		dst, src := c[r*ldc:][:cols], whole[r*nr:][:cols]
		if accumulate {
			addBias(dst, src)
		} else {
			copy(dst, src)
		}
	}
}

// apply finishes rows m0..m0+rows, columns n0..n0+w of C.
func (e *Epilogue) apply(c []float32, ldc, m0, rows, n0, w, n int) {
	if e.Bias == nil && e.Activation == None && e.Residual == nil {
		return
	}
	bias := zeros[:w]
	if e.Bias != nil {
		bias = e.Bias[n0 : n0+w]
	}
	for r := m0; r < m0+rows; r++ {
		row := c[r*ldc+n0:][:w]
		switch {
		case e.Activation == QuickGELU:
			quickGELUBias(row, row, bias)
		case e.Activation == GELU:
			geluBias(row, row, bias)
		case e.Residual != nil:
			addBias2(row, bias, e.Residual[r*n+n0:][:w])
		default:
			addBias(row, bias)
		}
	}
}

// zeros stands for an absent bias. It is never written.
var zeros = make([]float32, ncMax)

// An operand is a matrix as the product sees it: rows that become panels, and a depth k that is
// summed over.
type operand struct {
	data []float32
	ld   int  // distance between rows of data
	deep bool // rows of data are depths (element (r,p) is data[p·ld+r]), not panel rows (data[r·ld+p])
}

// pack writes rows r0..r0+rows at depths k0..k0+k as panels of w rows, one after the other:
// dst[panel][p][r]. Missing rows of the last panel are 0.
func (x operand) pack(dst []float32, r0, rows, k0, k, w int) {
	for r := 0; r < rows; r += w {
		n := min(w, rows-r)
		panel := dst[r*k : (r+w)*k]
		if n < w {
			clear(panel)
		}
		if x.deep {
			for p := range k {
				copy(panel[p*w:p*w+n], x.data[(k0+p)*x.ld+r0+r:])
			}
		} else {
			packTransposed(panel, w, x.data[(r0+r)*x.ld+k0:], x.ld, n, k)
		}
	}
}
