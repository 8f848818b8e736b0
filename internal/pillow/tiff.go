package pillow

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/tiff"
)

// Tags. Source: TIFF 6.0, appendix A.
const (
	tiffWidth, tiffHeight = 256, 257
	tiffBits              = 258
	tiffCompression       = 259
	tiffPhotometric       = 262
	tiffFillOrder         = 266
	tiffOrientation       = 274
	tiffSamples           = 277
	tiffPlanar            = 284
	tiffExtra             = 338
)

// decodeTIFF decodes with golang.org/x/image and gives Pillow's modes. Unlike those of other formats,
// Pillow turns a TIFF upright as it loads it. Source: Pillow, src/PIL/TiffImagePlugin.py, OPEN_INFO and load_end.
func decodeTIFF(data []byte) (*Image, error) {
	tags, order, err := tiffTags(data)
	if err != nil {
		return nil, err
	}
	tag := func(id, missing int) int {
		if v, ok := tags[id]; ok {
			return v
		}
		return missing
	}
	width, height, bits := tag(tiffWidth, 0), tag(tiffHeight, 0), tag(tiffBits, 1)
	if err := checkSize(width, height); err != nil {
		return nil, err
	}
	compression, photometric, samples := tag(tiffCompression, 1), tag(tiffPhotometric, 0), tag(tiffSamples, 1)
	if v := tag(tiffPlanar, 1); v != 1 && samples > 1 {
		return nil, fmt.Errorf("planar configuration %d is not supported, want 1", v)
	}
	if v := tag(tiffFillOrder, 1); v != 1 && compression != 3 && compression != 4 {
		return nil, fmt.Errorf("fill order %d is not supported, want 1", v)
	}
	// Uncompressed, PackBits (128 bytes in two), LZW (12 bits for 4096 bytes at the most) or Deflate.
	// CCITT can hold a white row in a bit.
	if most, ok := map[int]int{1: 1, 32773: 64, 5: 2731, 8: maxDeflate, 32946: maxDeflate}[compression]; ok {
		if err := checkHolds(int64(len(data))*int64(most), int64(width)*int64(bits)/8*int64(height)); err != nil {
			return nil, err
		}
	}
	src, err := tiff.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	m := FromImage(src)
	switch src := src.(type) {
	case *image.Gray:
		if bits == 1 {
			m.Mode = Bilevel
		}
		if (compression == 3 || compression == 4) && photometric != 0 {
			// CCITT's white is 0, as libtiff has it: black if black is zero. golang.org/x/image has it white always.
			for i := range m.Pix {
				m.Pix[i] = ^m.Pix[i]
			}
		}
	case *image.Gray16:
		if photometric == 0 { // Pillow does not invert these
			if order == binary.BigEndian {
				return nil, fmt.Errorf("inverted grey of 16 bits, big endian, which Pillow refuses too")
			}
			for i := range m.Pix {
				m.Pix[i] = ^m.Pix[i]
			}
		}
		if order == binary.BigEndian {
			bigEndian16(m.Pix)
			m.Mode = Gray16BE
		}
	case *image.RGBA:
		if samples == 4 {
			m = tiffAssociated(src.Rect, src.Pix, src.Stride, 4, 0, 1, 2, 3)
		}
	case *image.RGBA64:
		if samples == 4 {
			m = tiffAssociated(src.Rect, src.Pix, src.Stride, 8, 0, 2, 4, 6)
		} else {
			m = thinned(RGB, src.Rect, src.Pix, src.Stride, 8, 0, 2, 4)
		}
	}
	return m.upright(tag(tiffOrientation, 1)), nil
}

// tiffAssociated returns premultiplied samples as "RGBA".
func tiffAssociated(b image.Rectangle, pix []byte, stride, n int, places ...int) *Image {
	m := thinned(RGBPre, b, pix, stride, n, places...)
	for i := 0; i < len(m.Pix); i += 4 {
		if m.Pix[i+3] == 0 {
			clear(m.Pix[i : i+4])
		}
	}
	return m.straight()
}

// tiffTags reads the numbers of the first directory; of a list the first.
func tiffTags(data []byte) (map[int]int, binary.ByteOrder, error) {
	var order binary.ByteOrder = binary.LittleEndian
	if len(data) < 8 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	if data[0] == 'M' {
		order = binary.BigEndian
	}
	at := size(order.Uint32(data[4:]))
	if at+2 > len(data) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	n := int(order.Uint16(data[at:]))
	if at += 2; at+12*n > len(data) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	tags := map[int]int{}
	for ; n > 0; n, at = n-1, at+12 {
		id, kind, count, value := int(order.Uint16(data[at:])), order.Uint16(data[at+2:]), size(order.Uint32(data[at+4:])), data[at+8:at+12]
		each := map[uint16]int{1: 1, 3: 2, 4: 4}[kind] // byte, short, long
		if each == 0 || count == 0 {
			continue
		}
		if count > 4/each {
			p := size(order.Uint32(value))
			if p+each > len(data) {
				continue
			}
			value = data[p:]
		}
		switch each {
		case 1:
			tags[id] = int(value[0])
		case 2:
			tags[id] = int(order.Uint16(value))
		case 4:
			tags[id] = size(order.Uint32(value))
		}
	}
	return tags, order, nil
}

// upright applies an EXIF orientation. Source: Pillow, src/PIL/ImageOps.py, exif_transpose.
func (m *Image) upright(orientation int) *Image {
	if orientation < 2 || orientation > 8 {
		return m
	}
	w, h := m.Width, m.Height
	if orientation >= 5 {
		w, h = h, w
	}
	out := newImage(m.Mode, w, h)
	out.Palette = m.Palette
	n := modes[m.Mode]
	for y := range h {
		for x := range w {
			sx, sy := x, y
			switch orientation {
			case 2:
				sx = w - 1 - x
			case 3:
				sx, sy = w-1-x, h-1-y
			case 4:
				sy = h - 1 - y
			case 5:
				sx, sy = y, x
			case 6:
				sx, sy = y, w-1-x
			case 7:
				sx, sy = h-1-y, w-1-x
			case 8:
				sx, sy = h-1-y, x
			}
			copy(out.Pix[(y*w+x)*n:], m.Pix[(sy*m.Width+sx)*n:][:n])
		}
	}
	return out
}
