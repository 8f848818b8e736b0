package pillow

// jpegReplay reads the bits of a scan as libjpeg does, with its buffer: where a file has no end marker, it is that buffer
// that decides whether Pillow has the last unit. Source: libjpeg-turbo, src/jdhuff.c and jdhuff.h.
type jpegReplay struct {
	data   []byte
	pos    int
	end    int // of what Pillow has handed over
	bits   uint64
	left   int  // bits in the buffer
	marker byte // that the data ended with
}

// jpegLeast is how many bits are filled in at the least; jpegLook how many are looked up at once.
const jpegLeast, jpegLook = 57, 8

// fill wants n bits, or as many as fit if n is zero. It returns false if the data end before.
func (r *jpegReplay) fill(n int) bool {
	for r.marker == 0 && r.left < jpegLeast {
		at := r.pos
		if at >= r.end {
			return false
		}
		c := r.data[at]
		if at++; c == 0xff {
			for c == 0xff {
				if at >= r.end {
					return false
				}
				c = r.data[at]
				at++
			}
			if c != 0 {
				r.pos, r.marker = at, c
				break
			}
			c = 0xff
		}
		r.pos, r.bits, r.left = at, r.bits<<8|uint64(c), r.left+8
	}
	if r.marker != 0 && n > r.left {
		r.bits, r.left = r.bits<<(jpegLeast-r.left), jpegLeast
	}
	return true
}

// skip passes over n bits.
func (r *jpegReplay) skip(n int) bool {
	if r.left < n && !r.fill(n) {
		return false
	}
	r.left -= n
	return true
}

// peek returns n bits, of which the buffer has m; zeros follow.
func (r *jpegReplay) peek(n int) int {
	if r.left >= n {
		return int(r.bits>>(r.left-n)) & (1<<n - 1)
	}
	return int(r.bits<<(n-r.left)) & (1<<n - 1)
}

// symbol reads a code.
func (r *jpegReplay) symbol(h *jpegHuffman, fast bool) (value int, ok bool) {
	if fast {
		r.fillFast()
	} else if r.left < jpegLook && !r.fill(0) {
		return 0, false
	}
	n := 1
	if r.left >= jpegLook {
		for n <= jpegLook && r.peek(n) > h.last[n] {
			n++
		}
	}
	// n bits at once, and then one at a time.
	if !r.skip(n) {
		return 0, false
	}
	code := int(r.bits>>r.left) & (1<<n - 1)
	for ; n <= 16 && code > h.last[n]; n++ {
		if !r.skip(1) {
			return 0, false
		}
		code = code<<1 | int(r.bits>>r.left)&1
	}
	if n > 16 {
		return 0, true
	}
	return int(h.values[h.offset[n]+code]), true
}

// fillFast reads six bytes if there are at most 16 bits.
func (r *jpegReplay) fillFast() {
	if r.left > 16 {
		return
	}
	for range 6 {
		if r.pos+1 >= len(r.data) {
			return
		}
		c := r.data[r.pos]
		r.pos++
		if c == 0xff {
			if next := r.data[r.pos]; next == 0 {
				r.pos++
			} else {
				r.marker, c = next, 0
				r.pos--
			}
		}
		r.bits, r.left = r.bits<<8|uint64(c), r.left+8
	}
}

// unit reads the blocks of a unit. It returns false if the data do not suffice.
func (r *jpegReplay) unit(parts []*jpegPart, blocks []int, fast bool) bool {
	for i, p := range parts {
		for range blocks[i] {
			for k := 0; k < 64; k++ {
				h := p.ac
				if k == 0 {
					h = p.dc
				}
				symbol, ok := r.symbol(h, fast)
				if !ok {
					return false
				}
				zeros, n := symbol>>4, symbol&15
				if k == 0 {
					zeros, n = 0, symbol
				} else if n == 0 && zeros != 15 {
					break
				}
				if fast && n > 0 {
					r.fillFast()
				}
				if !r.skip(n) {
					return false
				}
				k += zeros
			}
		}
	}
	return true
}

// completes reports whether libjpeg has all units of a scan that begins at start, without waiting for more data than the
// file has. If a restart marker is not as it should be, it says no.
func (s *jpegScan) completes(start int) bool {
	columns, rows := ceil(s.width, 8*s.maxH), ceil(s.height, 8*s.maxV)
	blocks, sum := make([]int, len(s.parts)), 0
	for i, p := range s.parts {
		if blocks[i] = p.h * p.v; len(s.parts) == 1 {
			blocks[i] = 1
			columns, rows = ceil(p.width, 8), ceil(p.height, 8)
		}
		sum += blocks[i]
	}
	block := func(at int) int { return min((at/jpegBlock+1)*jpegBlock, len(s.data)) }
	r := jpegReplay{data: s.data, pos: start, end: block(start)}
	left, next := s.interval, byte(0)
	for range columns * rows {
		if s.interval > 0 && left == 0 {
			if r.marker == 0 {
				if r.pos+2 > len(r.data) || r.data[r.pos] != 0xff {
					return false
				}
				r.marker, r.pos = r.data[r.pos+1], r.pos+2
				r.end = max(r.end, block(r.pos-1))
			}
			if r.marker != jpegRST0+next {
				return false
			}
			r.left, r.marker = 0, 0
			left, next = s.interval, (next+1)&7
		}
		left--
		for before := r; ; r = before {
			if s.interval == 0 && r.marker == 0 && r.end-r.pos >= 512*sum {
				if r.unit(s.parts, blocks, true) && r.marker == 0 {
					break
				}
				r = before
			}
			if r.unit(s.parts, blocks, false) {
				break
			}
			if r.end == len(r.data) {
				return false
			}
			before.end = block(r.end)
		}
	}
	return true
}
