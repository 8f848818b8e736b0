package kernel

import "unsafe"

// gemmAMX is gemm in tiles of bfloat16: A in squares of rows, B in panels of columns, both in three terms.
//
//	for every mcMax rows of A:     split them, all of k, in parallel
//	  for every nc columns of B:   in parallel; each worker for itself:
//	    for every kc of k:         nc·kc of B as panels, split
//	      for every panel of A:  for every panel of B, one square
//	                             at the last kc, the epilogue of rows that are still warm
func gemmAMX(run func(int, func(int)), c []float32, ldc int, a operand, b factor, m, n, k int, accumulate bool, e Epilogue) {
	const most = kcMax / side // steps at a time
	steps := (k + side - 1) / side
	cuts := cutColumns(n, side)
	for m0 := 0; m0 < m; m0 += mcMax {
		mc := min(mcMax, m-m0)
		panels := (mc + side - 1) / side
		pa := getWords(panels * steps * 3 * square)
		of := func(p int) []uint16 { return pa[p*steps*3*square:][:steps*3*square] }
		run(panels, func(p int) { a.split(of(p), m0+p*side, min(side, mc-p*side), k) })
		run(len(cuts)-1, func(i int) {
			n0 := cuts[i]
			w := cuts[i+1] - n0
			count := (w + side - 1) / side
			scratch := Get(count * side * min(kcMax, k))
			pb := getWords(count * min(most, steps) * 3 * square)
			for s0 := 0; s0 < steps; s0 += most {
				k0, d := s0*side, min(most, steps-s0)
				depth := min(kcMax, k-k0)
				splitPanels(pb, b, scratch, n0, w, k0, depth)
				for p := range panels {
					var soon span
					if p+1 < panels {
						soon = span{(*byte)(unsafe.Pointer(&of(p + 1)[s0*3*square])), d * 6 * square}
					}
					rows := min(side, mc-p*side)
					for j := range count {
						next, step := soon.share(j, count, d, soonLines*64)
						at := (m0+p*side)*ldc + n0 + j*side
						squareOf(c[at:], ldc, rows, min(side, w-j*side), of(p)[s0*3*square:], pb[j*d*3*square:], b.terms(), d, accumulate || s0 > 0, next, step)
					}
					if s0+d == steps {
						e.apply(c, ldc, m0+p*side, rows, n0, w, n)
					}
				}
			}
			Put(scratch)
			putWords(pb)
		})
		putWords(pa)
	}
}

// splitPanels sets dst to the terms of columns n0..n0+w of B at depths k0..k0+d, from where they lie or by way of panels
// in scratch.
func splitPanels(dst []uint16, b factor, scratch []float32, n0, w, k0, d int) {
	size := roundUp(d, side) * side * 3 // of a panel
	x, _ := b.(operand)
	whole := 0
	if x.deep {
		for ; whole+side <= w; whole += side {
			splitPanel(dst[whole/side*size:], x.data[k0*x.ld+n0+whole:], x.ld, d)
		}
	}
	if whole == w {
		return
	}
	wide := b.panels(scratch, n0+whole, w-whole, k0, d, side)
	for j := whole; j < w; j += side {
		splitPanel(dst[j/side*size:], wide[(j-whole)*d:], side, d)
	}
}

// soonLines and laterLines are how many lines tileBF16 asks for in a step.
const soonLines, laterLines = 24, 2

// squareOf computes rows by cols of a square of C.
func squareOf(c []float32, ldc, rows, cols int, a, b []uint16, inB, steps int, accumulate bool, next *byte, step int) {
	if rows == side && cols == side {
		tileBF16(c, ldc, a, b, 3, inB, steps, accumulate, next, step, nil, 0)
		return
	}
	var whole [square]float32
	tileBF16(whole[:], side, a, b, 3, inB, steps, false, next, step, nil, 0)
	for r := range rows {
		dst, src := c[r*ldc:][:cols], whole[r*side:][:cols]
		if accumulate {
			addBias(dst, src)
		} else {
			copy(dst, src)
		}
	}
}

// split sets dst to the terms of rows r0..r0+rows, of k depths, as the tile reads A, with zeros up to whole squares.
func (x operand) split(dst []uint16, r0, rows, k int) {
	s := 0
	if !x.deep && rows == side && k >= side {
		s = k / side
		splitRows(dst, x.data[r0*x.ld:], x.ld, side, s)
	}
	var part [square]float32
	for ; s*side < k; s++ {
		d := min(side, k-s*side)
		if rows < side || d < side {
			clear(part[:])
		}
		if x.deep {
			packTransposed(part[:], side, x.data[s*side*x.ld+r0:], x.ld, d, rows)
		} else {
			for r := range rows {
				copy(part[r*side:(r+1)*side], x.data[(r0+r)*x.ld+s*side:][:d])
			}
		}
		splitRows(dst[s*3*square:], part[:], side, square, 1)
	}
}
