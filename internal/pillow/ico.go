package pillow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
)

// icoEntry is one of an icon's pictures.
type icoEntry struct {
	width, height int
	depth         int // bits a pixel as the directory has them
	rank          int // by which Pillow chooses among pictures of one size
	at, length    int
}

// icoLargest returns the picture of the largest area, and of those the one with the fewest colours.
// Source: Pillow, src/PIL/IcoImagePlugin.py, IcoFile.
func icoLargest(data []byte) (best icoEntry, err error) {
	b := &byteReader{data: data}
	head := b.next(6)
	if b.short {
		return best, io.ErrUnexpectedEOF
	}
	n := int(binary.LittleEndian.Uint16(head[4:]))
	if n == 0 {
		return best, errors.New("no pictures")
	}
	side := func(v byte) int {
		if v == 0 {
			return 256
		}
		return int(v)
	}
	for range n {
		s := b.next(16)
		if b.short {
			return best, io.ErrUnexpectedEOF
		}
		e := icoEntry{
			width: side(s[0]), height: side(s[1]), depth: int(binary.LittleEndian.Uint16(s[6:])),
			length: size(binary.LittleEndian.Uint32(s[8:])), at: size(binary.LittleEndian.Uint32(s[12:])),
		}
		e.rank = e.depth
		if e.rank == 0 && s[2] > 1 {
			e.rank = bits.Len8(s[2] - 1)
		}
		if e.rank == 0 {
			e.rank = 256
		}
		area, most := e.width*e.height, best.width*best.height
		if area > most || area == most && e.rank < best.rank {
			best = e
		}
	}
	if best.at > len(data) {
		return best, io.ErrUnexpectedEOF
	}
	return best, nil
}

// decodeICO decodes the largest picture of an icon: a PNG, or a bitmap with a mask behind it, which gives mode "RGBA".
func decodeICO(data []byte) (*Image, error) {
	e, err := icoLargest(data)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data[e.at:], []byte("\x89PNG\r\n\x1a\n")) {
		return decodePNG(data[e.at:])
	}
	m, pixels, err := (&byteReader{data: data, pos: e.at}).bitmap(0, true)
	if err != nil {
		return nil, err
	}
	rgb, err := m.RGB()
	if err != nil {
		return nil, err
	}
	out := newImage(RGBA, m.Width, m.Height)
	stride := (m.Width + 31) / 32 * 4 // of the mask
	mask := e.at + e.length - stride*m.Height
	if e.depth == 32 {
		if len(data)-pixels < 4*m.Width*m.Height {
			return nil, io.ErrUnexpectedEOF
		}
	} else if mask < 0 || len(data)-mask < stride*(m.Height-1)+(m.Width+7)/8 {
		return nil, io.ErrUnexpectedEOF
	}
	for y := range m.Height {
		row := m.Height - 1 - y // in the file
		for x := range m.Width {
			i := y*m.Width + x
			copy(out.Pix[4*i:], rgb.Pix[3*i:3*i+3])
			if e.depth == 32 { // the fourth byte of each pixel
				out.Pix[4*i+3] = data[pixels+4*(row*m.Width+x)+3]
			} else if data[mask+row*stride+x/8]>>(7-x%8)&1 == 0 {
				out.Pix[4*i+3] = 255
			}
		}
	}
	return out, nil
}

func sizeICO(data []byte) (width, height int, err error) {
	e, err := icoLargest(data)
	if err != nil {
		return 0, 0, err
	}
	if bytes.HasPrefix(data[e.at:], []byte("\x89PNG\r\n\x1a\n")) {
		return sizePNG(data[e.at:])
	}
	width, height, err = sizeBitmap(data[e.at:])
	return width, height / 2, err
}
