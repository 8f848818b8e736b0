package pillow

import (
	"encoding/binary"
	"errors"
)

// jpegBits reads the bits between two markers. Where they run out, zeros take their place.
type jpegBits struct {
	data    []byte
	pos     int
	bits    uint64 // the next bits are the lowest n
	n       int
	stopped bool // a marker, or the end of the file, is next
	ended   bool // it is the end of the file
	starved bool // more bits were asked for than there are
}

// restart forgets the bits left over in front of a marker.
func (b *jpegBits) restart() { b.bits, b.n, b.stopped, b.starved = 0, 0, b.ended, false }

// fill gets more bits, 56 or more unless a marker stops it.
func (b *jpegBits) fill() {
	if b.pos+8 <= len(b.data) {
		v := binary.BigEndian.Uint64(b.data[b.pos:])
		const ones, tops = 0x0101010101010101, 0x8080808080808080
		if ff := (^v - ones) & v & tops; ff == 0 { // no byte is 0xff
			k := (64 - b.n) / 8
			b.bits = b.bits<<(8*k) | v>>(64-8*k)
			b.n += 8 * k
			b.pos += k
			return
		}
	}
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
		b.bits = b.bits<<8 | uint64(c)
		b.n += 8
	}
}

// take returns the next k bits, k at most 16.
func (b *jpegBits) take(k int) int {
	if b.n < k {
		b.fill()
		if b.n < k {
			v := int(b.bits<<(k-b.n)) & (1<<k - 1)
			b.bits, b.n, b.starved = 0, 0, true
			return v
		}
	}
	b.n -= k
	return int(b.bits>>b.n) & (1<<k - 1)
}

// value returns the number with sign that the next k bits stand for. Source: ITU-T T.81, figure F.12.
func (b *jpegBits) value(k int) int {
	var v int
	if b.n >= k { // take's common case
		b.n -= k
		v = int(b.bits>>(b.n&63)) & (1<<(k&63) - 1)
	} else {
		v = b.take(k)
	}
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
	var next uint
	if b.n >= 16 {
		next = uint(b.bits>>((b.n-16)&63)) & 0xffff
	} else {
		next = uint(b.bits<<(16-b.n)) & 0xffff
	}
	length, value := 0, 0
	if e := h.fast[next>>(16-jpegFast)]; e != 0 {
		length, value = int(e>>8), int(e&0xff)
	} else {
		for length = jpegFast + 1; length <= 16 && int(next>>(16-length)) > h.last[length]; length++ {
		}
		if length <= 16 {
			value = int(h.values[h.offset[length]+int(next>>(16-length))])
		}
		length = min(length, 17)
	}
	if b.n -= length; b.n < 0 {
		b.bits, b.n, b.starved = 0, 0, true
	}
	return value
}

// jpegFast is the length of the codes that are looked up at once.
const jpegFast = 9

// jpegHuffman is a table of prefix codes of up to 16 bits.
type jpegHuffman struct {
	fast   [1 << jpegFast]uint16 // by the next bits: length and value, 0 for longer codes
	last   [17]int               // the last code of a length, -1 if there is none
	offset [17]int               // of a code of that length to its place in values
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
				first := code << (jpegFast - length)
				for i := range 1 << (jpegFast - length) {
					h.fast[first+i] = uint16(length)<<8 | uint16(values[at])
				}
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
