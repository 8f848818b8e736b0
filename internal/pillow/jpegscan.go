package pillow

import (
	"encoding/binary"
	"io"
)

// jpegScan is one pass over some of the components.
type jpegScan struct {
	*jpegDecoder
	parts     []*jpegPart
	from, to  int // coefficients, in zigzag order
	high, low int // bits known before, and after
	endRun    int // blocks whose scan ended before it began
	arith     *jpegArith
}

// read decodes the scan, into coefficients if there are any kept, else into pixels.
func (s *jpegScan) read() error {
	start := s.pos
	s.restart()
	block := s.method()
	band := 1 // rows of units in one of the picture's
	if len(s.parts) == 1 {
		band = s.parts[0].v
	}
	columns, rows := ceil(s.width, 8*s.maxH), ceil(s.height, 8*s.maxV)
	if p := s.parts[0]; len(s.parts) == 1 { // one block is a unit, and those of padding are left out
		columns, rows = ceil(p.width, 8), ceil(p.height, 8)
	}
	var scratch [64]int16
	left, next := s.interval, 0 // units before the next marker, its number
	for y := range rows {
		for x := range columns {
			if s.interval > 0 && left == 0 {
				if err := s.skipRestart(next); err != nil {
					return err
				}
				left, next = s.interval, (next+1)&7
			}
			left--
			starved := s.starved // then the rest of the segment stays grey
			if !starved {
				s.good = y / band
			}
			for _, p := range s.parts {
				h, v := p.h, p.v
				if len(s.parts) == 1 {
					h, v = 1, 1
				}
				for j := range v {
					for i := range h {
						row, column := y*v+j, x*h+i
						switch {
						case p.coeffs == nil:
							scratch = [64]int16{}
							if !starved {
								block(p, &scratch)
							}
							p.draw(&scratch, row, column)
						case !starved:
							block(p, &p.coeffs[row*p.columns+column])
						}
					}
				}
			}
		}
		if s.ended && s.starved {
			return io.ErrUnexpectedEOF
		}
	}
	if s.arith != nil {
		return nil
	}
	if s.fill(); s.ended && (s.progressive || s.parts[0].coeffs != nil || !s.completes(start)) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// skipRestart passes over restart marker number n. Where another marker is in its place, data were lost:
// it decides as libjpeg does whether to go on from here or to wait for a later one.
// Source: libjpeg-turbo, src/jdmarker.c, jpeg_resync_to_restart.
func (s *jpegScan) skipRestart(n int) error {
	for _, p := range s.parts {
		p.predicted, p.context = 0, 0
	}
	s.endRun = 0
	if s.arith != nil {
		s.arith.restart(s)
	}
	starved := s.starved
	s.restart()
	for {
		marker, err := s.marker()
		if err != nil {
			return err
		}
		ahead := (int(marker) - jpegRST0 - n) & 7
		switch isRestart := marker >= jpegRST0 && marker <= jpegRST7; {
		case isRestart && ahead == 0:
			return nil
		case marker < jpegSOF0 || isRestart && ahead >= 6: // invalid, or one of before
			continue
		case !isRestart || ahead <= 2: // the data up to it are missing
			s.pos, s.stopped, s.starved = s.pos-2, true, starved
			return nil
		}
		return nil // lost count: go on here
	}
}

// method returns the function that decodes a block in this kind of scan.
func (s *jpegScan) method() func(*jpegPart, *[64]int16) {
	if s.arithmetic {
		return s.arithmeticMethod()
	}
	switch {
	case !s.progressive:
		return s.sequential
	case s.from == 0 && s.high == 0:
		return func(p *jpegPart, b *[64]int16) {
			p.predicted += s.difference(p.dc)
			b[0] = int16(p.predicted << s.low)
		}
	case s.from == 0:
		return func(p *jpegPart, b *[64]int16) { b[0] |= int16(s.take(1) << s.low) }
	case s.high == 0:
		return s.firstAC
	}
	return s.refineAC
}

// sequential decodes a block of a sequential JPEG. Source: ITU-T T.81, F.2.2.
func (s *jpegScan) sequential(p *jpegPart, b *[64]int16) {
	p.predicted += s.difference(p.dc)
	b[0] = int16(p.predicted)
	s.coefficients(p.ac, b, 1, 63, 0)
}

// difference decodes what a DC value adds to the one before.
func (s *jpegScan) difference(h *jpegHuffman) int {
	if s.n < jpegMost {
		s.fill()
	}
	e := h.fast[s.bits>>(64-jpegFast)]
	if v := int32(e) >> 16; v != 0 && s.n >= jpegFast {
		s.bits <<= e & 31
		s.n -= int(e & 31)
		return int(v)
	}
	return s.value(s.symbol(h))
}

// jpegMost is how many bits a code and its value have at the most, also one that is not in its table.
const jpegMost = 17 + 15

// firstAC decodes coefficients for the first time. Source: ITU-T T.81, G.1.2.2.
func (s *jpegScan) firstAC(p *jpegPart, b *[64]int16) {
	if s.endRun > 0 {
		s.endRun--
		return
	}
	if zeros := s.coefficients(p.ac, b, s.from, s.to, s.low); zeros > 0 {
		s.endRun = 1<<zeros + s.take(zeros) - 1
	}
}

// coefficients decodes coefficients from..to up to the code that ends the block, in units of 2^low. It returns the number of
// zeros that this has, and zero if there is none.
func (s *jpegScan) coefficients(h *jpegHuffman, b *[64]int16, from, to, low int) int {
	bits, n, pos, plain := s.bits, s.n, s.pos, s.plain
	k := from
	for ; k <= to; k++ {
		if n < jpegMost {
			if pos+8 <= plain { // as in fill
				bits |= binary.BigEndian.Uint64(s.data[pos:]) >> (n & 63)
				pos += (64 - n) >> 3
				n += (64 - n) &^ 7
			} else {
				s.bits, s.n, s.pos = bits, n, pos
				s.fillSlowly()
				if bits, n, pos, plain = s.bits, s.n, s.pos, s.plain; n < jpegMost {
					return s.lastCoefficients(h, b, k, to, low)
				}
			}
		}
		e := h.fast[bits>>(64-jpegFast)]
		if v := int32(e) >> 16; v != 0 {
			bits <<= e & 31
			n -= int(e & 31)
			k += int(e >> 12 & 15)
			b[zigzag[k&127]&63] = int16(v << (low & 15))
			continue
		}
		symbol, length := int(e>>8&0xff), int(e&31)
		if e == 0 {
			symbol, length = h.long(bits)
		}
		zeros, size := symbol>>4, symbol&15
		bits <<= length & 31
		n -= length
		k += zeros
		if size == 0 {
			if zeros != 15 {
				s.bits, s.n, s.pos = bits, n, pos
				return zeros
			}
			continue
		}
		v := int(bits >> ((64 - size) & 63))
		bits <<= size & 15
		n -= size
		b[zigzag[k&127]&63] = int16(signed(v, size) << (low & 15))
	}
	s.bits, s.n, s.pos = bits, n, pos
	return 0
}

// lastCoefficients is coefficients where the bits may not suffice.
func (s *jpegScan) lastCoefficients(h *jpegHuffman, b *[64]int16, from, to, low int) int {
	for k := from; k <= to; k++ {
		symbol := s.symbol(h)
		zeros, size := symbol>>4, symbol&15
		if size == 0 {
			if zeros != 15 {
				return zeros
			}
			k += 15
			continue
		}
		k += zeros
		b[zigzag[k]] = int16(s.value(size) << low)
	}
	return 0
}

// refineAC adds a bit to coefficients. Source: ITU-T T.81, G.1.2.3.
func (s *jpegScan) refineAC(p *jpegPart, b *[64]int16) {
	bit := int16(1) << s.low
	// refine passes over coefficients from k on, until it has seen zeros many that are zero and stands before another.
	refine := func(k, zeros int) int {
		bits, n := s.bits, s.n
		for ; k <= s.to; k++ {
			c := &b[zigzag[k&127]&63]
			if *c == 0 {
				if zeros--; zeros < 0 {
					break
				}
				continue
			}
			if n == 0 {
				s.bits, s.n = bits, n
				s.fill()
				if bits, n = s.bits, s.n; n == 0 {
					s.starved = true
					continue
				}
			}
			if bits>>63 == 1 && *c&bit == 0 {
				if *c >= 0 {
					*c += bit
				} else {
					*c -= bit
				}
			}
			bits <<= 1
			n--
		}
		s.bits, s.n = bits, n
		return k
	}
	k := s.from
	if s.endRun == 0 {
		for ; k <= s.to; k++ {
			symbol := s.symbol(p.ac)
			zeros, size := symbol>>4, symbol&15
			value := int16(0)
			if size != 0 {
				if value = -bit; s.take(1) == 1 {
					value = bit
				}
			} else if zeros != 15 {
				s.endRun = 1<<zeros + s.take(zeros)
				break
			}
			if k = refine(k, zeros); value != 0 {
				b[zigzag[k]] = value
			}
		}
	}
	if s.endRun > 0 {
		refine(k, 64)
		s.endRun--
	}
}

// transform draws the coefficients of all scans. A component without any stays grey.
func (d *jpegDecoder) transform() {
	smooth := d.smoothing()
	for _, p := range d.parts {
		if p.quant == nil {
			for i := range p.pix {
				p.pix[i] = 128
			}
			continue
		}
		parallel(p.rows, 1, 64*8*len(p.coeffs), func(lo, hi int) {
			for row := lo; row < hi; row++ {
				if smooth {
					d.drawSmooth(p, row)
					continue
				}
				for x := range p.columns {
					p.draw(&p.coeffs[row*p.columns+x], row, x)
				}
			}
		})
	}
}

// draw turns a block's coefficients into pixels of the block in a row and a column of blocks: the inverse cosine
// transform in integers.
func (p *jpegPart) draw(b *[64]int16, row, column int) {
	fast.inverse(p.pix[8*(row*p.stride+column):], p.stride, b, p.quant)
}

// inverseGeneric transforms a block with the quantisation table q. Coefficients of damaged files do not fit 16 bits; they
// are cut off and clipped where the code for x86 does it.
// Source: libjpeg-turbo, src/jidctint.c, jpeg_idct_islow, and simd/x86_64/jidctint-avx2.asm; after C. Loeffler,
// A. Ligtenberg and G. Moschytz, ICASSP 1989.
func inverseGeneric(pix []byte, stride int, b *[64]int16, q *[64]uint16) {
	var w [64]int32
	for x := range 8 {
		var in [8]int32
		rest := int16(0)
		for y, at := range jpegRows {
			if at += 2 * x; y > 0 {
				rest |= b[at]
			}
			in[y] = int32(int16(int32(b[at]) * int32(q[at])))
		}
		if rest == 0 {
			v := in[0] << 2
			if v != int32(int16(v)) {
				if v = clip16(v); flat(b) {
					v = in[0] << 18 >> 16
				}
			}
			for y := x; y < 64; y += 8 {
				w[y] = v
			}
			continue
		}
		inverseCosine(&in, 1<<10)
		for y, v := range in {
			w[8*y+x] = clip16(v >> 11) // keeps two fractional bits
		}
	}
	for y := range 8 {
		in := (*[8]int32)(w[8*y:])
		out := pix[y*stride:][:8]
		if in[1]|in[2]|in[3]|in[4]|in[5]|in[6]|in[7] == 0 {
			v := limit(128 + (in[0]+16)>>5)
			for x := range out {
				out[x] = v
			}
			continue
		}
		inverseCosine(in, 1<<17)
		for x := range out {
			out[x] = limit(128 + in[x]>>18)
		}
	}
}

// flat says whether a block has coefficients in its first row alone.
func flat(b *[64]int16) bool {
	for y, at := range jpegRows {
		for x := range 8 {
			if y > 0 && b[at+2*x] != 0 {
				return false
			}
		}
	}
	return true
}

func clip16(v int32) int32 {
	if v != int32(int16(v)) {
		v = v>>31 ^ 0x7fff
	}
	return v
}

// inverseCosine transforms eight coefficients of 16 bits in place, scaled by 2^13 times the root of 8, and adds half.
// Sums of two coefficients have 16 bits as well.
func inverseCosine(in *[8]int32, half int32) {
	const ( // the names are the values times 2^13
		c0298 = 2446
		c0390 = 3196
		c0541 = 4433
		c0765 = 6270
		c0899 = 7373
		c1175 = 9633
		c1501 = 12299
		c1847 = 15137
		c1961 = 16069
		c2053 = 16819
		c2562 = 20995
		c3072 = 25172
	)
	z1 := (in[2] + in[6]) * c0541
	t2, t3 := z1-in[6]*c1847, z1+in[2]*c0765
	t0, t1 := int32(int16(in[0]+in[4]))<<13+half, int32(int16(in[0]-in[4]))<<13+half
	e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2

	o0, o1, o2, o3 := in[7], in[5], in[3], in[1]
	y1, y2, y3, y4 := o0+o3, o1+o2, int32(int16(o0+o2)), int32(int16(o1+o3))
	y5 := (y3 + y4) * c1175
	y1, y2, y3, y4 = y1*-c0899, y2*-c2562, y3*-c1961+y5, y4*-c0390+y5
	o0 = o0*c0298 + y1 + y3
	o1 = o1*c2053 + y2 + y4
	o2 = o2*c3072 + y2 + y3
	o3 = o3*c1501 + y1 + y4

	*in = [8]int32{e0 + o3, e1 + o2, e2 + o1, e3 + o0, e3 - o0, e2 - o1, e1 - o2, e0 - o3}
}
