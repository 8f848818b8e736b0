package pillow

// jpegEstimate is how a coefficient follows from the DC values of a block and the 24 around it, row by row; the sum is
// to be divided by 256 and by the coefficient's quantum.
type jpegEstimate struct {
	at      int // of the coefficient in zigzag order
	weights [25]int
}

// jpegEstimates stand for coefficients that no scan brought: where some of the first nine are known, and where none is.
// Source: libjpeg-turbo, src/jdcoefct.c, decompress_smooth_data.
var jpegEstimates = [2][]jpegEstimate{
	{
		{1, [25]int{10: -7, 11: 50, 13: -50, 14: 7}},
		{2, [25]int{2: -7, 7: 50, 17: -50, 22: 7}},
		{3, [25]int{2: -1, 7: 13, 12: -24, 17: 13, 22: -1}},
		{4, [25]int{1: -1, 3: 1, 5: -1, 6: 10, 8: -10, 9: 1, 15: 1, 16: -10, 18: 10, 19: -1, 21: 1, 23: -1}},
		{5, [25]int{10: -1, 11: 13, 12: -24, 13: 13, 14: -1}},
	},
	{
		{1, [25]int{-1, -1, 0, 1, 1, -3, 13, 0, -13, 3, -3, 38, 0, -38, 3, -3, 13, 0, -13, 3, -1, -1, 0, 1, 1}},
		{2, [25]int{-1, -3, -3, -3, -1, -1, 13, 38, 13, -1, 0, 0, 0, 0, 0, 1, -13, -38, -13, 1, 1, 3, 3, 3, 1}},
		{3, [25]int{2: 1, 6: 2, 7: 7, 8: 2, 11: -5, 12: -14, 13: -5, 16: 2, 17: 7, 18: 2, 22: 1}},
		{4, [25]int{0: -1, 4: 1, 6: 9, 8: -9, 16: -9, 18: 9, 20: 1, 24: -1}},
		{5, [25]int{6: 2, 7: -5, 8: 2, 10: 1, 11: 7, 12: -14, 13: 7, 14: 1, 16: 2, 17: -5, 18: 2}},
		{6, [25]int{6: 1, 8: -1, 11: 2, 13: -2, 16: 1, 18: -1}},
		{7, [25]int{6: 1, 7: -3, 8: 1, 16: -1, 17: 3, 18: -1}},
		{8, [25]int{6: 1, 8: -1, 11: -3, 13: 3, 16: 1, 18: -1}},
		{9, [25]int{6: 1, 7: 2, 8: 1, 16: -1, 17: -2, 18: -1}},
		{0, [25]int{-2, -6, -8, -6, -2, -6, 6, 42, 6, -6, -8, 42, 152, 42, -8, -6, 6, 42, 6, -6, -2, -6, -8, -6, -2}},
	},
}

var jpegUnknown = [10]int{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1}

// smoothing says whether coefficients are to be estimated: the picture is progressive, the first scan of each
// component is there, and scans that follow are not.
func (d *jpegDecoder) smoothing() bool {
	missing := false
	for _, p := range d.parts {
		if !d.progressive || p.quant == nil || p.known[0] < 0 {
			return false
		}
		for k := range p.before {
			if p.quant[zigzag[k]] == 0 {
				return false
			}
			missing = missing || k > 0 && p.known[k] != 0
		}
	}
	return missing
}

// drawSmooth draws a row of blocks, with estimates for what is not known of them.
func (d *jpegDecoder) drawSmooth(p *jpegPart, row int) {
	known := p.known[:len(p.before)]
	if row/p.v > d.good { // the last scan did not come so far
		if known = p.before[:]; d.scans == 1 {
			known = jpegUnknown[:]
		}
	}
	none := 1
	for _, bit := range known[1:] {
		if bit != -1 {
			none = 0
		}
	}
	// Blocks beyond the picture count, but for those below its last row of units.
	lastRow, lastColumn := p.rows-1, ceil(p.width, 8)-1
	if row/p.v == p.rows/p.v-1 {
		lastRow = ceil(p.height, 8) - 1
	}
	for x := range p.columns {
		at := row*p.columns + x
		block := p.coeffs[at]
		if x > lastColumn || row > lastRow { // which nobody sees
			p.draw(&block, row, x)
			continue
		}
		var around [25]int
		for j := range 5 {
			line := min(max(row+j-2, 0), lastRow) * p.columns
			for i := range 5 {
				around[5*j+i] = int(p.coeffs[line+min(max(x+i-2, 0), lastColumn)][0])
			}
		}
		for _, e := range jpegEstimates[none] {
			c := &block[zigzag[e.at]]
			bits := known[e.at]
			if e.at > 0 && (bits == 0 || *c != 0) {
				continue
			}
			sum := 0
			for i, w := range e.weights {
				sum += w * around[i]
			}
			sum *= int(p.quant[0])
			quantum := int(p.quant[zigzag[e.at]])
			v := (quantum<<7 + max(sum, -sum)) / (quantum << 8)
			if e.at > 0 && bits > 0 {
				v = min(v, 1<<bits-1)
			}
			if sum < 0 {
				v = -v
			}
			*c = int16(v)
		}
		p.draw(&block, row, x)
	}
}
