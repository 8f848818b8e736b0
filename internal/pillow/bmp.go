package pillow

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// bmpLayout says where the samples of a pixel are.
type bmpLayout struct {
	bits  int
	masks [4]uint32 // red, green, blue, alpha
}

// bmpLayouts are those that Pillow knows. Source: Pillow, src/PIL/BmpImagePlugin.py, BmpImageFile._bitmap.
var bmpLayouts = map[bmpLayout][]int{ // places of the bytes of red, green, blue and, for mode "RGBA", alpha
	{32, [4]uint32{0xff0000, 0xff00, 0xff, 0}}:          {2, 1, 0},
	{32, [4]uint32{0xff000000, 0xff0000, 0xff00, 0}}:    {3, 2, 1},
	{32, [4]uint32{0xff000000, 0xff00, 0xff, 0}}:        {3, 1, 0},
	{32, [4]uint32{0xff000000, 0xff0000, 0xff00, 0xff}}: {3, 2, 1, 0},
	{32, [4]uint32{0xff, 0xff00, 0xff0000, 0xff000000}}: {0, 1, 2, 3},
	{32, [4]uint32{0xff0000, 0xff00, 0xff, 0xff000000}}: {2, 1, 0, 3},
	{32, [4]uint32{0xff000000, 0xff00, 0xff, 0xff0000}}: {3, 1, 0, 2},
	{32, [4]uint32{}}:                          {2, 1, 0, 3},
	{24, [4]uint32{0xff0000, 0xff00, 0xff, 0}}: {2, 1, 0},
	{16, [4]uint32{0xf800, 0x7e0, 0x1f, 0}}:    nil,
	{16, [4]uint32{0x7c00, 0x3e0, 0x1f, 0}}:    nil,
}

// decodeBMP decodes what Pillow's BmpImagePlugin.py does; golang.org/x/image refuses many of those.
func decodeBMP(data []byte) (*Image, error) {
	b := &byteReader{data: data}
	b.next(10)
	offset := b.next(4)
	if b.short {
		return nil, io.ErrUnexpectedEOF
	}
	m, _, err := b.bitmap(size(binary.LittleEndian.Uint32(offset)), false)
	return m, err
}

// bitmap decodes what follows the file's header, or, of an icon, the upper half of it, which has the colours. The pixels are
// at start, or, if that is zero, behind the palette; it returns where.
func (b *byteReader) bitmap(start int, icon bool) (m *Image, at int, err error) {
	data := b.data
	length := b.next(4)
	if b.short {
		return nil, 0, io.ErrUnexpectedEOF
	}
	n := size(binary.LittleEndian.Uint32(length))
	switch n {
	case 12, 40, 52, 56, 64, 108, 124:
	default:
		return nil, 0, fmt.Errorf("header of %d bytes, want 12, 40, 52, 56, 64, 108 or 124", n)
	}
	head := b.next(n - 4)
	if b.short {
		return nil, 0, io.ErrUnexpectedEOF
	}
	u16 := func(i int) int { return int(binary.LittleEndian.Uint16(head[i:])) }
	u32 := func(i int) int { return size(binary.LittleEndian.Uint32(head[i:])) }
	width, height, layout, compression, colours, entry, down := 0, 0, bmpLayout{}, 0, 0, 3, false
	if n == 12 {
		width, height, layout.bits = u16(0), u16(2), u16(6)
	} else {
		width, height, layout.bits, compression, colours, entry = u32(0), u32(4), u16(10), u32(12), u32(28), 4
		if down = head[7] == 0xff; down {
			height = size(-binary.LittleEndian.Uint32(head[4:]))
		}
	}
	if err := checkSize(width, height); err != nil {
		return nil, 0, err
	}
	if icon {
		if height /= 2; height == 0 {
			return nil, 0, fmt.Errorf("icon of %dx%d, want at least 1x1", width, height)
		}
	}
	bits := layout.bits
	if colours == 0 {
		colours = 1 << min(bits, 16)
	}
	if start == 14+n && bits <= 8 { // where the colours are
		start = min(start+entry*colours, math.MaxInt32)
	}
	layout.masks = map[int][4]uint32{16: {0x7c00, 0x3e0, 0x1f}, 24: {0xff0000, 0xff00, 0xff}, 32: {0xff0000, 0xff00, 0xff}}[bits]
	switch {
	case compression == 0, compression == 1 && bits == 8, compression == 2 && bits == 4:
	case compression == 3:
		masks := head[min(36, len(head)):]
		if n < 52 {
			masks = b.next(12)
		}
		layout.masks = [4]uint32{}
		for i := range min(len(masks)/4, 4) {
			if i < 3 || bits == 32 && n >= 56 {
				layout.masks[i] = binary.LittleEndian.Uint32(masks[4*i:])
			}
		}
	default:
		return nil, 0, fmt.Errorf("compression %d of %d bits is not supported", compression, bits)
	}
	places, known := bmpLayouts[layout]
	indexed := bits == 1 || bits == 4 || bits == 8
	if !indexed && !known || indexed && compression == 3 {
		return nil, 0, fmt.Errorf("%d bits with masks %#x are not supported", bits, layout.masks)
	}
	mode := RGB
	if len(places) == 4 {
		mode = RGBA
	}
	var palette []byte
	if indexed {
		if colours > 1<<16 {
			return nil, 0, fmt.Errorf("palette of %d colours, want at most %d", colours, 1<<16)
		}
		colourBytes := b.next(min(entry*colours, len(data)-b.pos)) // the pixels may begin amid the colours
		if len(colourBytes)/entry > 256 {
			return nil, 0, fmt.Errorf("palette of %d colours, want at most 256", colours)
		}
		if mode, palette = bmpPalette(colourBytes, entry, colours); mode == Bilevel && bits != 1 || mode == Gray && bits != 8 {
			return nil, 0, fmt.Errorf("grey palette of %d colours for %d bits, which Pillow misreads", colours, bits)
		}
	}
	if b.short {
		return nil, 0, io.ErrUnexpectedEOF
	}
	if start == 0 {
		start = b.pos
	}
	if start > len(data) {
		return nil, 0, io.ErrUnexpectedEOF
	}
	data = data[start:]
	if compression == 1 || compression == 2 {
		// Two bytes stand for 255 pixels, or four for a jump over 255 rows.
		if err := checkHolds(int64(len(data))*int64(max(255, 64*width)), int64(width)*int64(height)); err != nil {
			return nil, 0, err
		}
		m = newImage(mode, width, height)
		m.Palette = palette
		if !bmpRuns(m, data, start, compression == 2) {
			return nil, 0, io.ErrUnexpectedEOF
		}
		if !down {
			m.flip()
		}
		return m, start, nil
	}
	row := (width*bits + 31) / 32 * 4
	if len(data) < row*(height-1)+(width*bits+7)/8 {
		return nil, 0, io.ErrUnexpectedEOF
	}
	m = newImage(mode, width, height)
	m.Palette = palette
	for y := range height {
		src := data[row*y:]
		out := m.Pix[y*width*modes[mode]:][:width*modes[mode]]
		switch {
		case bits == 8:
			copy(out, src)
		case indexed:
			for x := range out {
				v := src[x*bits/8] >> (8 - bits - x*bits%8) & (1<<bits - 1)
				if mode == Bilevel {
					v *= 255
				}
				out[x] = v
			}
		case bits == 16:
			green := 5 // bits
			if layout.masks[0] == 0xf800 {
				green = 6
			}
			for x := range width {
				v := int(binary.LittleEndian.Uint16(src[2*x:]))
				most := 1<<green - 1
				out[3*x] = byte(v >> (5 + green) & 31 * 255 / 31)
				out[3*x+1] = byte(v >> 5 & most * 255 / most)
				out[3*x+2] = byte(v & 31 * 255 / 31)
			}
		default:
			step := bits / 8
			for x := range width {
				for c, p := range places {
					out[x*len(places)+c] = src[x*step+p]
				}
			}
		}
	}
	if !down {
		m.flip()
	}
	return m, start, nil
}

// bmpPalette returns the mode that Pillow gives a picture with these colours, and for "P" the palette.
func bmpPalette(b []byte, entry, colours int) (Mode, []byte) {
	p, grey := newPalette(nil), len(b) >= entry*(colours-1)+3
	for i := range len(b) / entry {
		c := b[i*entry:]
		want := i
		if colours == 2 {
			want = 255 * i
		}
		grey = grey && int(c[0]) == want && int(c[1]) == want && int(c[2]) == want
		if i < 256 {
			p[4*i], p[4*i+1], p[4*i+2] = c[2], c[1], c[0]
		}
	}
	switch {
	case grey && colours <= 2:
		return Bilevel, nil
	case grey:
		return Gray, nil
	}
	return Indexed, p
}

// bmpRuns decodes run lengths; start is where data begin in the file. It reports whether they fill the picture.
// Source: Pillow, src/PIL/BmpImagePlugin.py, BmpRleDecoder.
func bmpRuns(m *Image, data []byte, start int, halves bool) bool {
	b := &byteReader{data: data}
	out, x := 0, 0
	put := func(v byte) {
		if out < len(m.Pix) {
			m.Pix[out] = v
		}
		out++
	}
	for out < len(m.Pix) {
		count, value := int(b.byte()), b.byte()
		if b.short {
			return false
		}
		switch {
		case count > 0:
			count = min(count, max(0, m.Width-x))
			for i := range count {
				switch {
				case !halves:
					put(value)
				case i%2 == 0:
					put(value >> 4)
				default:
					put(value & 15)
				}
			}
			x += count
		case value == 0: // end of line
			out = (out + m.Width - 1) / m.Width * m.Width
			x = 0
		case value == 1: // end of picture
			return false
		case value == 2: // jump
			right, up := int(b.byte()), int(b.byte())
			if b.short {
				return false
			}
			out += right + up*m.Width
			x = out % m.Width
		default:
			n := min(len(m.Pix)-out, int(value))
			bytes := n
			if halves {
				bytes = (n + 1) / 2
			}
			literal := b.data[b.pos:min(b.pos+bytes, len(b.data))]
			b.pos += len(literal)
			for i := range min(n, len(literal)*n/max(bytes, 1)+1) {
				switch {
				case !halves && i < len(literal):
					put(literal[i])
				case halves && i/2 < len(literal):
					put(literal[i/2] >> (4 - i%2*4) & 15)
				}
			}
			if len(literal) < bytes {
				return false
			}
			x += int(value)
			b.pos += (start + b.pos) & 1
			b.pos = min(b.pos, len(b.data))
		}
	}
	return true
}

// flip turns m upside down in place.
func (m *Image) flip() {
	row := m.Width * modes[m.Mode]
	spare := make([]byte, row)
	for y := range m.Height / 2 {
		a, b := m.Pix[y*row:][:row], m.Pix[(m.Height-1-y)*row:][:row]
		copy(spare, a)
		copy(a, b)
		copy(b, spare)
	}
}
