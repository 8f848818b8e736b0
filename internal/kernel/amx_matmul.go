package kernel

import "unsafe"

// gemmAMX is gemm in tiles of bfloat16. A lies in tiles of rows, and B in panels of columns, both in three terms.
//
//	for every mcMax rows of A:     split them, all of k, in parallel
//	  for every nc columns of B:   in parallel; each worker for itself:
//	    for every kc of k:         nc·kc of B as panels, split
//	      for every panel of A:  for every panel of B, one tile
//	                             at the last kc, the epilogue of rows that are still warm
func gemmAMX(run func(int, func(int)), c []float32, ldc int, a matrix, b matrixB, m, n, k int, accumulate bool, e Epilogue) {
	const maxSteps = kcMax / amxTile // steps at a time
	steps := (k + amxTile - 1) / amxTile
	starts := partitionColumns(n, amxTile)
	for m0 := 0; m0 < m; m0 += mcMax {
		mc := min(mcMax, m-m0)
		panels := (mc + amxTile - 1) / amxTile
		pa := getWords(panels * steps * 3 * amxTileLen)
		of := func(p int) []uint16 { return pa[p*steps*3*amxTileLen:][:steps*3*amxTileLen] }
		run(panels, func(p int) { a.splitBF16(of(p), m0+p*amxTile, min(amxTile, mc-p*amxTile), k) })
		run(len(starts)-1, func(i int) {
			n0 := starts[i]
			w := starts[i+1] - n0
			count := (w + amxTile - 1) / amxTile
			scratch := Get(count * amxTile * min(kcMax, k))
			pb := getWords(count * min(maxSteps, steps) * 3 * amxTileLen)
			for s0 := 0; s0 < steps; s0 += maxSteps {
				k0, d := s0*amxTile, min(maxSteps, steps-s0)
				depth := min(kcMax, k-k0)
				splitPanelsBF16(pb, b, scratch, n0, w, k0, depth)
				for p := range panels {
					var ahead span
					if p+1 < panels {
						ahead = span{(*byte)(unsafe.Pointer(&of(p + 1)[s0*3*amxTileLen])), d * 6 * amxTileLen}
					}
					rows := min(amxTile, mc-p*amxTile)
					for j := range count {
						next, step := ahead.share(j, count, d, nearLines*64)
						at := (m0+p*amxTile)*ldc + n0 + j*amxTile
						tileBF16Clipped(c[at:], ldc, rows, min(amxTile, w-j*amxTile), of(p)[s0*3*amxTileLen:], pb[j*d*3*amxTileLen:], b.bf16Terms(), d, accumulate || s0 > 0, next, step)
					}
					if s0+d == steps {
						e.apply(c, ldc, m0+p*amxTile, rows, n0, w, n)
					}
				}
			}
			Put(scratch)
			putWords(pb)
		})
		putWords(pa)
	}
}

// splitPanelsBF16 sets dst to the terms of columns n0..n0+w of B at depths k0..k0+d. It reads them where they lie, or
// by way of panels in scratch.
func splitPanelsBF16(dst []uint16, b matrixB, scratch []float32, n0, w, k0, d int) {
	size := roundUp(d, amxTile) * amxTile * 3 // of a panel
	x, _ := b.(matrix)
	whole := 0
	if x.kMajor {
		for ; whole+amxTile <= w; whole += amxTile {
			splitPanelBF16(dst[whole/amxTile*size:], x.data[k0*x.ld+n0+whole:], x.ld, d)
		}
	}
	if whole == w {
		return
	}
	wide := b.panels(scratch, n0+whole, w-whole, k0, d, amxTile)
	for j := whole; j < w; j += amxTile {
		splitPanelBF16(dst[j/amxTile*size:], wide[(j-whole)*d:], amxTile, d)
	}
}

// nearLines and farLines are how many cache lines tileBF16 prefetches in a step.
const nearLines, farLines = 24, 2

// tileBF16Clipped computes the first rows and cols of a tile of C.
func tileBF16Clipped(c []float32, ldc, rows, cols int, a, b []uint16, inB, steps int, accumulate bool, next *byte, step int) {
	if rows == amxTile && cols == amxTile {
		tileBF16(c, ldc, a, b, 3, inB, steps, accumulate, next, step, nil, 0)
		return
	}
	var whole [amxTileLen]float32
	tileBF16(whole[:], amxTile, a, b, 3, inB, steps, false, next, step, nil, 0)
	for r := range rows {
		dst, src := c[r*ldc:][:cols], whole[r*amxTile:][:cols]
		if accumulate {
			addBias(dst, src)
		} else {
			copy(dst, src)
		}
	}
}

// splitBF16 sets dst to the terms of rows r0..r0+rows of k depths, as the tile reads A, padded with zeros to whole
// tiles.
func (x matrix) splitBF16(dst []uint16, r0, rows, k int) {
	s := 0
	if !x.kMajor && rows == amxTile && k >= amxTile {
		s = k / amxTile
		splitRowsBF16(dst, x.data[r0*x.ld:], x.ld, amxTile, s)
	}
	var part [amxTileLen]float32
	for ; s*amxTile < k; s++ {
		d := min(amxTile, k-s*amxTile)
		if rows < amxTile || d < amxTile {
			clear(part[:])
		}
		if x.kMajor {
			packTransposed(part[:], amxTile, x.data[s*amxTile*x.ld+r0:], x.ld, d, rows)
		} else {
			for r := range rows {
				copy(part[r*amxTile:(r+1)*amxTile], x.data[(r0+r)*x.ld+s*amxTile:][:d])
			}
		}
		splitRowsBF16(dst[s*3*amxTileLen:], part[:], amxTile, amxTileLen, 1)
	}
}
