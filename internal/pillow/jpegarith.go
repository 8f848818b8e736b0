package pillow

import "fmt"

// jpegConditioning says how arithmetic coding chooses its estimates. Source: ITU-T T.81, F.1.4.4.
type jpegConditioning struct {
	dcLow, dcHigh, ac [16]byte
}

func (c *jpegConditioning) reset() {
	*c = jpegConditioning{}
	for i := range 16 {
		c.dcHigh[i], c.ac[i] = 1, 5
	}
}

// read reads a DAC segment.
func (c *jpegConditioning) read(b []byte) error {
	if len(b)%2 != 0 {
		return fmt.Errorf("arithmetic conditioning of %d bytes, want pairs", len(b))
	}
	for ; len(b) > 0; b = b[2:] {
		at, v := b[0], b[1]
		switch {
		case at >= 32 || at < 16 && v&15 > v>>4:
			return fmt.Errorf("arithmetic conditioning %d of table %d", v, at)
		case at >= 16:
			c.ac[at-16] = v
		default:
			c.dcLow[at], c.dcHigh[at] = v&15, v>>4
		}
	}
	return nil
}

// jpegArith decodes arithmetic-coded coefficients. An estimate is a byte: which symbol is the more probable one in
// the highest bit, the state in the others. Source: ITU-T T.81, annexes D and F.2.4, as libjpeg-turbo has them in
// src/jdarith.c, whose behaviour on damaged data is kept.
type jpegArith struct {
	code, size int64 // of the interval: where the file is in it, and how large it is
	shift      int   // bits of code that are still to come; -1 after an error, which ends the segment
	dc         [16][64]byte
	ac         [16][256]byte
	fixed      byte // the estimate that stays a half
}

// restart begins a segment.
func (a *jpegArith) restart(s *jpegScan) {
	for _, p := range s.parts {
		if s.from == 0 && s.high == 0 {
			a.dc[p.dcTable] = [64]byte{}
		}
		if s.to > 0 {
			a.ac[p.acTable] = [256]byte{}
		}
	}
	a.code, a.size, a.shift, a.fixed = 0, 0, -16, 113
}

// nextByte returns the next byte of a segment, zero behind its end.
func (b *jpegBits) nextByte() byte {
	if b.stopped {
		return 0
	}
	if b.pos >= len(b.data) {
		b.stopped, b.ended, b.starved = true, true, true
		return 0
	}
	c := b.data[b.pos]
	if c == 0xff {
		next := b.pos + 1
		for next < len(b.data) && b.data[next] == 0xff { // fill bytes
			next++
		}
		if next == len(b.data) {
			b.stopped, b.ended, b.starved = true, true, true
			return 0
		}
		if b.data[next] != 0 { // a marker, which is left for later
			b.stopped = true
			return 0
		}
		b.pos = next
	}
	b.pos++
	return c
}

// bit decodes a decision.
func (s *jpegScan) bit(estimate *byte) int {
	a := s.arith
	for a.size < 0x8000 {
		if a.shift--; a.shift < 0 {
			a.code = a.code<<8 | int64(s.nextByte())
			if a.shift += 8; a.shift < 0 {
				if a.shift++; a.shift == 0 { // two bytes have come
					a.size = 0x8000
				}
			}
		}
		a.size <<= 1
	}
	v := *estimate
	state := &jpegStates[v&0x7f]
	likely, less := v>>7, int64(state.size)
	a.size -= less
	if limit := a.size << a.shift; a.code >= limit {
		a.code -= limit
		if a.size < less {
			*estimate = v&0x80 | state.more
		} else {
			*estimate = v&0x80 ^ (state.less | state.exchange<<7)
			likely ^= 1
		}
		a.size = less
	} else if a.size < 0x8000 {
		if a.size < less {
			*estimate = v&0x80 ^ (state.less | state.exchange<<7)
			likely ^= 1
		} else {
			*estimate = v&0x80 | state.more
		}
	}
	return int(likely)
}

// arithmeticMethod returns the function that decodes a block in this kind of scan.
func (s *jpegScan) arithmeticMethod() func(*jpegPart, *[64]int16) {
	s.arith = &jpegArith{}
	s.arith.restart(s)
	guard := func(decode func(*jpegPart, *[64]int16)) func(*jpegPart, *[64]int16) {
		return func(p *jpegPart, b *[64]int16) {
			if s.arith.shift != -1 {
				decode(p, b)
			}
		}
	}
	switch {
	case !s.progressive:
		return guard(func(p *jpegPart, b *[64]int16) {
			if s.arithDC(p, b) {
				s.arithAC(p, b)
			}
		})
	case s.from == 0 && s.high == 0:
		return guard(func(p *jpegPart, b *[64]int16) { s.arithDC(p, b) })
	case s.from == 0:
		return func(p *jpegPart, b *[64]int16) { b[0] |= int16(s.bit(&s.arith.fixed) << s.low) }
	case s.high == 0:
		return guard(s.arithAC)
	}
	return guard(s.arithRefine)
}

// fail ends the segment after data that mean nothing.
func (s *jpegScan) fail() bool {
	s.arith.shift = -1
	return false
}

// magnitude decodes the leading bit of a number from estimates that begin at at. It returns false if there is none.
func (s *jpegScan) magnitude(m int, stats []byte, at *int) (int, bool) {
	for s.bit(&stats[*at]) == 1 {
		if m <<= 1; m == 0x8000 {
			return 0, s.fail()
		}
		*at++
	}
	return m, true
}

// arithDC decodes a DC value. It reports whether the block goes on.
func (s *jpegScan) arithDC(p *jpegPart, b *[64]int16) bool {
	stats := s.arith.dc[p.dcTable][:]
	at := p.context
	if p.context = 0; s.bit(&stats[at]) == 1 {
		sign := s.bit(&stats[at+1])
		at += 2 + sign
		m := s.bit(&stats[at])
		if m != 0 {
			at = 20
			var ok bool
			if m, ok = s.magnitude(m, stats, &at); !ok {
				return false
			}
		}
		switch {
		case m < 1<<s.conditioning.dcLow[p.dcTable]>>1:
		case m > 1<<s.conditioning.dcHigh[p.dcTable]>>1:
			p.context = 12 + 4*sign
		default:
			p.context = 4 + 4*sign
		}
		v := m
		for at += 14; m > 1; {
			if m >>= 1; s.bit(&stats[at]) == 1 {
				v |= m
			}
		}
		if v++; sign == 1 {
			v = -v
		}
		p.predicted = (p.predicted + v) & 0xffff
	}
	b[0] = int16(p.predicted << s.low)
	return true
}

// arithAC decodes AC coefficients for the first time.
func (s *jpegScan) arithAC(p *jpegPart, b *[64]int16) {
	stats := s.arith.ac[p.acTable][:]
	for k := max(s.from, 1); k <= s.to; k++ {
		at := 3 * (k - 1)
		if s.bit(&stats[at]) == 1 { // the others are zero
			return
		}
		for s.bit(&stats[at+1]) == 0 {
			at += 3
			if k++; k > s.to {
				s.fail()
				return
			}
		}
		sign := s.bit(&s.arith.fixed)
		at += 2
		m := s.bit(&stats[at])
		if m != 0 && s.bit(&stats[at]) == 1 {
			if at = 217; k <= int(s.conditioning.ac[p.acTable]) {
				at = 189
			}
			var ok bool
			if m, ok = s.magnitude(m<<1, stats, &at); !ok {
				return
			}
		}
		v := m
		for at += 14; m > 1; {
			if m >>= 1; s.bit(&stats[at]) == 1 {
				v |= m
			}
		}
		if v++; sign == 1 {
			v = -v
		}
		b[zigzag[k]] = int16(v << s.low)
	}
}

// arithRefine adds a bit to AC coefficients.
func (s *jpegScan) arithRefine(p *jpegPart, b *[64]int16) {
	stats := s.arith.ac[p.acTable][:]
	bit := int16(1) << s.low
	last := s.to // coefficient that is not zero yet
	for last > 0 && b[zigzag[last]] == 0 {
		last--
	}
	for k := s.from; k <= s.to; k++ {
		at := 3 * (k - 1)
		if k > last && s.bit(&stats[at]) == 1 {
			return
		}
		for {
			c := &b[zigzag[k]]
			if *c != 0 {
				if s.bit(&stats[at+2]) == 1 {
					if *c < 0 {
						*c -= bit
					} else {
						*c += bit
					}
				}
				break
			}
			if s.bit(&stats[at+1]) == 1 {
				if *c = bit; s.bit(&s.arith.fixed) == 1 {
					*c = -bit
				}
				break
			}
			at += 3
			if k++; k > s.to {
				s.fail()
				return
			}
		}
	}
}
