package pillow

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/png"
	"io"
)

// maxDeflate is the most that deflate can expand: a match of 258 bytes in two bits.
const maxDeflate = 1032

// decodePNG gives what Pillow's PngImagePlugin.py does: the mode follows from bit depth and colour type alone
// (transparency of a colour is left aside), colour of 16 bits keeps its high byte.
func decodePNG(data []byte) (*Image, error) {
	// Signature, then the chunk IHDR: length, name, width, height, bit depth, colour type.
	if len(data) < 26 {
		return nil, io.ErrUnexpectedEOF
	}
	width, height := size(binary.BigEndian.Uint32(data[16:])), size(binary.BigEndian.Uint32(data[20:]))
	if err := checkSize(width, height); err != nil {
		return nil, err
	}
	depth, colour := int(data[24]), data[25]
	samples := map[byte]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
	if err := checkHolds(int64(len(data))*maxDeflate, (int64(width)*int64(depth*samples)+7)/8*int64(height)); err != nil {
		return nil, err
	}
	src, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	m := FromImage(src)
	switch {
	case colour == 0 && depth == 1:
		m = only(m, Bilevel)
	case colour == 0 && depth < 16:
		m = only(m, Gray)
	case colour == 0:
		if src, ok := src.(*image.NRGBA64); ok { // it had a transparent colour
			m = thinned(Gray16, src.Rect, src.Pix, src.Stride, 8, 1, 0)
		}
	case colour == 2:
		return m.RGB()
	case colour == 4 && depth == 8:
		m = only(m, GrayAlpha)
	}
	return m, nil
}

// only returns m, grey in whatever mode, with nothing but the samples that the mode has.
func only(m *Image, mode Mode) *Image {
	from, n := modes[m.Mode], modes[mode]
	if from == n {
		m.Mode = mode
		return m
	}
	out := newImage(mode, m.Width, m.Height)
	for i := range m.Width * m.Height {
		out.Pix[n*i] = m.Pix[from*i]
		if n == 2 {
			out.Pix[n*i+1] = m.Pix[from*i+from-1]
		}
	}
	return out
}
