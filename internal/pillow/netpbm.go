package pillow

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"
)

// netpbm is what the header of a PBM, PGM, PPM or PFM says.
type netpbm struct {
	kind          byte // '1' to '6', 'f'
	mode          Mode
	width, height int
	most          int // value of a sample
	little        bool
}

// netpbmHeader reads up to the pixels. Source: Pillow, src/PIL/PpmImagePlugin.py.
func netpbmHeader(b *byteReader) (h netpbm, err error) {
	magic := b.next(3)
	if b.short {
		return h, io.ErrUnexpectedEOF
	}
	h.kind = magic[1]
	var n [2]int
	for i := range n {
		if n[i], err = b.number(); err != nil {
			return h, err
		}
	}
	h.width, h.height, h.most = n[0], n[1], 1
	switch h.kind {
	case '1', '4':
		h.mode = Bilevel
		return h, nil
	case 'f':
		h.mode = Float32
		token, err := b.token()
		if err != nil {
			return h, err
		}
		scale, err := strconv.ParseFloat(string(token), 64)
		if err != nil || scale == 0 || math.IsInf(scale, 0) || math.IsNaN(scale) {
			return h, fmt.Errorf("scale %q, want a number other than 0", token)
		}
		h.little = scale < 0
		return h, nil
	}
	if h.most, err = b.number(); err != nil {
		return h, err
	}
	if h.most < 1 || h.most > 65535 {
		return h, fmt.Errorf("largest value %d, want 1..65535", h.most)
	}
	switch {
	case h.kind == '3' || h.kind == '6':
		h.mode = RGB
	case h.most > 255:
		h.mode = Int32
	default:
		h.mode = Gray
	}
	return h, nil
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// token returns the next word of a header and passes over the byte behind it. Comments do not count.
func (b *byteReader) token() ([]byte, error) {
	var token []byte
	for len(token) <= 10 {
		if b.pos == len(b.data) {
			break
		}
		c := b.data[b.pos]
		b.pos++
		switch {
		case isSpace(c) && len(token) > 0:
			return token, nil
		case isSpace(c):
		case c == '#':
			end := bytes.IndexAny(b.data[b.pos:], "\r\n")
			if end < 0 {
				return nil, io.ErrUnexpectedEOF
			}
			b.pos += end + 1
		default:
			token = append(token, c)
		}
	}
	if len(token) > 10 {
		return nil, fmt.Errorf("word %q… in the header, want at most 10 letters", token)
	}
	return nil, io.ErrUnexpectedEOF
}

func (b *byteReader) number() (int, error) {
	token, err := b.token()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(token), 10, 40)
	if err != nil {
		return 0, fmt.Errorf("%q in the header, want a number", token)
	}
	return int(min(n, math.MaxInt32)), nil
}

// decodeNetpbm decodes PBM, PGM and PPM, binary or in words, and PFM in grey.
func decodeNetpbm(data []byte) (*Image, error) {
	b := &byteReader{data: data}
	h, err := netpbmHeader(b)
	if err != nil {
		return nil, err
	}
	if err := checkSize(h.width, h.height); err != nil {
		return nil, err
	}
	bands := 1
	if h.mode == RGB {
		bands = 3
	}
	rest := data[b.pos:]
	samples, bits := h.width*bands, 8
	switch {
	case h.kind == '4':
		bits = 1
	case h.kind == 'f':
		bits = 32
	case h.kind < '4':
		bits = 4 // a digit and half a space; the spaces may be missing in PBM
	case h.most > 255:
		bits = 16
	}
	row := (samples*bits + 7) / 8
	if len(rest)/row < h.height {
		return nil, io.ErrUnexpectedEOF
	}
	m := newImage(h.mode, h.width, h.height)
	size := modes[h.mode] / bands
	put := func(i, v int) {
		top := 255
		if h.mode == Int32 {
			top = 65535
		}
		if h.most != top {
			v = min(top, int(math.RoundToEven(float64(v)/float64(h.most)*float64(top))))
		}
		if size == 4 {
			binary.LittleEndian.PutUint32(m.Pix[4*i:], uint32(v))
		} else {
			m.Pix[i] = byte(v)
		}
	}
	if h.kind < '4' {
		return m, plainNetpbm(rest, h, len(m.Pix)/size, m, put)
	}
	for y := range h.height {
		src := rest[y*row:][:row]
		switch {
		case h.kind == '4':
			for x := range h.width {
				if src[x/8]>>(7-x%8)&1 == 0 {
					m.Pix[y*h.width+x] = 255
				}
			}
		case h.kind == 'f': // from the lowest row
			out := m.Pix[(h.height-1-y)*row:][:row]
			for i := 0; i < row; i += 4 {
				if copy(out[i:i+4], src[i:]); !h.little {
					out[i], out[i+1], out[i+2], out[i+3] = src[i+3], src[i+2], src[i+1], src[i]
				}
			}
		case h.most == 255:
			copy(m.Pix[y*row:], src)
		case bits == 8:
			for i, v := range src {
				put(y*samples+i, int(v))
			}
		default:
			for i := range samples {
				put(y*samples+i, int(binary.BigEndian.Uint16(src[2*i:])))
			}
		}
	}
	return m, nil
}

// plainNetpbm reads n samples that are written in words.
func plainNetpbm(rest []byte, h netpbm, n int, m *Image, put func(i, v int)) error {
	for i := range n {
		for len(rest) > 0 && (isSpace(rest[0]) || rest[0] == '#') {
			if rest[0] != '#' {
				rest = rest[1:]
				continue
			}
			end := bytes.IndexAny(rest, "\r\n")
			if end < 0 {
				end = len(rest) - 1
			}
			rest = rest[end+1:]
		}
		if len(rest) == 0 {
			return io.ErrUnexpectedEOF
		}
		if h.kind == '1' {
			switch rest[0] {
			case '0':
				m.Pix[i] = 255
			case '1':
			default:
				return fmt.Errorf("%q among the pixels, want 0 or 1", rest[0])
			}
			rest = rest[1:]
			continue
		}
		end := 0
		for end < len(rest) && end < 11 && !isSpace(rest[end]) && rest[end] != '#' {
			end++
		}
		v, err := strconv.ParseUint(string(rest[:end]), 10, 32)
		if err != nil || int(v) > h.most || end > 10 {
			return fmt.Errorf("%q among the pixels, want 0..%d", rest[:end], h.most)
		}
		put(i, int(v))
		rest = rest[end:]
	}
	return nil
}

func sizeNetpbm(data []byte) (width, height int, err error) {
	h, err := netpbmHeader(&byteReader{data: data})
	return h.width, h.height, err
}
