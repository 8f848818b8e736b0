package pillow

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// jpegBits reads the bits between two markers. Where they run out, zeros take their place.
type jpegBits struct {
	data    []byte
	pos     int
	plain   int    // between pos and this no byte is 0xff
	bits    uint64 // the next bits are the highest n; those below are zeros, or bits that come next
	n       int
	stopped bool // a marker, or the end of the file, is next
	ended   bool // it is the end of the file
	starved bool // more bits were asked for than there are
}

// restart forgets the bits left over in front of a marker.
func (b *jpegBits) restart() { b.bits, b.n, b.stopped, b.starved = 0, 0, b.ended, false }

// fill gets more bits, 57 or more unless a marker stops it.
func (b *jpegBits) fill() {
	if b.pos+8 <= b.plain {
		b.bits |= binary.BigEndian.Uint64(b.data[b.pos:]) >> (b.n & 63)
		k := (64 - b.n) >> 3
		b.pos += k
		b.n += 8 * k
		return
	}
	b.fillSlowly()
}

// fillSlowly is fill where a byte of 0xff may be near.
func (b *jpegBits) fillSlowly() {
	for b.n <= 56 && !b.stopped {
		if b.pos >= len(b.data) {
			b.stopped, b.ended = true, true
			return
		}
		c := b.data[b.pos]
		if c == 0xff {
			next := b.pos + 1
			for next < len(b.data) && b.data[next] == 0xff { // fill bytes
				next++
			}
			if b.stopped, b.ended = next == len(b.data) || b.data[next] != 0, next == len(b.data); b.stopped {
				return
			}
			b.pos = next
		}
		b.pos++
		b.bits |= uint64(c) << (56 - b.n)
		b.n += 8
	}
	if b.pos >= b.plain && b.pos < len(b.data) {
		if b.plain = len(b.data); b.pos < b.plain {
			if at := bytes.IndexByte(b.data[b.pos:], 0xff); at >= 0 {
				b.plain = b.pos + at
			}
		}
	}
}

// take returns the next k bits, k at most 16.
func (b *jpegBits) take(k int) int {
	if b.n < k {
		if b.fill(); b.n < k {
			v := int(b.bits >> (64 - k))
			b.bits, b.n, b.starved = 0, 0, true
			return v
		}
	}
	v := int(b.bits >> (64 - k))
	b.bits <<= k
	b.n -= k
	return v
}

// value returns the number with sign that the next k bits stand for. Source: ITU-T T.81, figure F.12.
func (b *jpegBits) value(k int) int { return signed(b.take(k), k) }

// signed returns the number with sign that k bits stand for.
func signed(v, k int) int {
	if k > 0 && v < 1<<(k-1) {
		v += -1<<k + 1
	}
	return v
}

// symbol returns the next Huffman-coded byte; zero for a code that is not in the table, as libjpeg has it.
func (b *jpegBits) symbol(h *jpegHuffman) int {
	if b.n < 17 { // what a code that is not in the table takes
		b.fill()
	}
	value, length := h.symbol(b.bits)
	b.bits <<= length
	if b.n -= length; b.n < 0 {
		b.bits, b.n, b.starved = 0, 0, true
	}
	return value
}

// jpegFast is the length of the codes that are looked up at once.
const jpegFast = 10

// jpegHuffman is a table of prefix codes of up to 16 bits. What it codes is a byte: how many zeros come before a value, in
// the highest four bits, and how many bits it has.
type jpegHuffman struct {
	// fast says by the next bits what a code is, and the value behind it if that is among them. From the lowest: 8 bits for
	// how many bits these are, 8 for what is coded, 16 for the value, which is zero if it is not among them. It is 0 for
	// longer codes.
	fast   [1 << jpegFast]uint32
	last   [17]int // the last code of a length, -1 if there is none
	offset [17]int // of a code of that length to its place in values
	values []byte
}

// newJPEGHuffman builds a table from the number of codes of each length. Source: ITU-T T.81, annex C.
func newJPEGHuffman(counts, values []byte) (*jpegHuffman, error) {
	h := &jpegHuffman{values: append([]byte(nil), values...)}
	code, at := 0, 0
	for length := 1; length <= 16; length++ {
		n := int(counts[length-1])
		h.offset[length] = at - code
		if n > 0 && code+n >= 1<<length { // the code of ones alone is none
			return nil, errors.New("Huffman table with more codes than fit")
		}
		for range n {
			if length <= jpegFast {
				h.look(code, length, int(values[at]))
			}
			code++
			at++
		}
		if h.last[length] = -1; n > 0 {
			h.last[length] = code - 1
		}
		code <<= 1
	}
	return h, nil
}

// look enters a code into the fast table.
func (h *jpegHuffman) look(code, length, symbol int) {
	left := jpegFast - length
	places := h.fast[code<<left:][:1<<left]
	size := symbol & 15
	for i := range places {
		if places[i] = uint32(length | symbol<<8); 0 < size && size <= left {
			places[i] = uint32(length+size|symbol<<8) | uint32(signed(i>>(left-size), size))<<16
		}
	}
}

// symbol returns what the highest bits code, zero for a code that is not in the table, and its length.
func (h *jpegHuffman) symbol(bits uint64) (value, length int) {
	e := h.fast[bits>>(64-jpegFast)]
	if e == 0 {
		return h.long(bits)
	}
	value, length = int(e>>8&0xff), int(e&31)
	if e>>16 != 0 {
		length -= value & 15
	}
	return value, length
}

// long is symbol for codes that are not in the fast table.
func (h *jpegHuffman) long(bits uint64) (value, length int) {
	next := int(bits >> 48)
	for length = jpegFast + 1; length <= 16; length++ {
		if code := next >> (16 - length); code <= h.last[length] {
			return int(h.values[h.offset[length]+code]), length
		}
	}
	return 0, length
}
