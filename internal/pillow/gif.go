package pillow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// decodeGIF gives the first frame on the canvas, as Pillow's GifImagePlugin.py does: mode "P", or "L" if the
// palette is absent or says of every index that it is the grey of that value. The standard library's decoder does not
// keep the colour of the transparent index.
func decodeGIF(data []byte) (*Image, error) {
	b := &byteReader{data: data}
	f, err := gifHeader(b)
	if err != nil {
		return nil, err
	}
	bits := int(b.byte())
	if b.short {
		return nil, io.ErrUnexpectedEOF
	}
	if f.w == 0 || f.h == 0 || bits > 12 {
		return nil, fmt.Errorf("frame of %dx%d in codes of %d bits, want at least 1x1 and at most 12", f.w, f.h, bits)
	}
	// A code of 12 bits stands for 4096 pixels at the most.
	if err := checkHolds(int64(len(data))*8/12*4096, int64(f.w)*int64(f.h)); err != nil {
		return nil, err
	}
	frame := newImage(Gray, f.w, f.h)
	if err := b.lzw(frame, bits, f.interlaced); err != nil {
		return nil, err
	}
	m := frame
	if f.width != f.w || f.height != f.h {
		m = newImage(Gray, f.width, f.height)
		if f.background != 0 {
			for i := range m.Pix {
				m.Pix[i] = f.background
			}
		}
		for row := range f.h {
			copy(m.Pix[(f.y+row)*f.width+f.x:], frame.Pix[row*f.w:(row+1)*f.w])
		}
	}
	if f.palette != nil {
		m.Mode, m.Palette = Indexed, f.palette
	}
	return m, nil
}

// gifFrame is what precedes the pixels of the first frame.
type gifFrame struct {
	width, height int // of the canvas
	x, y, w, h    int // of the frame in it
	interlaced    bool
	palette       []byte
	background    byte // outside the frame: the transparent index, if there is one
}

// gifHeader reads up to the pixels of the first frame.
func gifHeader(b *byteReader) (f gifFrame, err error) {
	head := b.next(13) // signature, width, height, flags, background, aspect
	if b.short {
		return f, io.ErrUnexpectedEOF
	}
	f.width, f.height = int(binary.LittleEndian.Uint16(head[6:])), int(binary.LittleEndian.Uint16(head[8:]))
	f.palette = b.palette(head[10])
	for {
		switch kind := b.byte(); {
		case b.short:
			return f, io.ErrUnexpectedEOF
		case kind == ';':
			return f, errors.New("no picture before the trailer")
		case kind == '!':
			label := b.byte()
			block := b.block()
			if label == 0xf9 && len(block) >= 4 && block[0]&1 != 0 {
				f.background = block[3]
			}
			for len(block) > 0 {
				block = b.block()
			}
		case kind == ',':
			desc := b.next(9)
			if b.short {
				return f, io.ErrUnexpectedEOF
			}
			u16 := func(i int) int { return int(binary.LittleEndian.Uint16(desc[i:])) }
			f.x, f.y, f.w, f.h = u16(0), u16(2), u16(4), u16(6)
			f.width, f.height = max(f.width, f.x+f.w), max(f.height, f.y+f.h)
			if err := checkSize(f.width, f.height); err != nil {
				return f, err
			}
			if desc[8]&0x80 != 0 {
				f.palette = b.palette(desc[8])
			}
			f.interlaced = desc[8]&0x40 != 0
			return f, nil
		}
	}
}

// byteReader walks over a file in memory.
type byteReader struct {
	data  []byte
	pos   int
	short bool // more was asked for than there is
}

func (b *byteReader) next(n int) []byte {
	if n > len(b.data)-b.pos {
		b.short, b.pos = true, len(b.data)
		return nil
	}
	b.pos += n
	return b.data[b.pos-n : b.pos]
}

func (b *byteReader) byte() byte {
	if s := b.next(1); s != nil {
		return s[0]
	}
	return 0
}

// block returns the next block of GIF data, empty at the end.
func (b *byteReader) block() []byte { return b.next(int(b.byte())) }

// palette reads the GIF palette that flags announce. It is nil if there is none or if it changes nothing.
func (b *byteReader) palette(flags byte) []byte {
	if flags&0x80 == 0 {
		return nil
	}
	colours := b.next(3 << (flags&7 + 1))
	p, grey := newPalette(nil), true
	for i := range len(colours) / 3 {
		c := colours[3*i : 3*i+3]
		copy(p[4*i:], c)
		grey = grey && int(c[0]) == i && int(c[1]) == i && int(c[2]) == i
	}
	if grey {
		return nil
	}
	return p
}

// lzw fills m with the data that follow. Source: GIF89a, appendix F; tolerance as in Pillow, src/libImaging/GifDecode.c.
func (b *byteReader) lzw(m *Image, bits int, interlaced bool) error {
	const most = 1 << 12
	var (
		prefix [most]uint16
		suffix [most]byte
		text   [most + 1]byte // the pixels of a code, from the end
		block  []byte
		buffer uint32
		have   int
	)
	clear := 1 << bits
	next, size := clear+2, bits+1
	last, first := -1, byte(0) // the code before and its first pixel
	rows := interlace(m.Height, interlaced)
	x, y := 0, 0
	for {
		for have < size {
			for len(block) == 0 {
				if block = b.block(); len(block) == 0 {
					return io.ErrUnexpectedEOF
				}
			}
			buffer |= uint32(block[0]) << have
			block = block[1:]
			have += 8
		}
		code := int(buffer & (1<<size - 1))
		buffer >>= size
		have -= size
		switch {
		case code == clear:
			next, size, last = clear+2, bits+1, -1
			continue
		case code == clear+1:
			return io.ErrUnexpectedEOF
		case last < 0 && code > clear || code > next:
			return fmt.Errorf("code %d where at most %d are known", code, next)
		}
		n := len(text)
		at := code
		if code == next { // its text is the one before and that one's first pixel
			n--
			text[n] = first
			at = last
		}
		for ; at >= clear; at = int(prefix[at]) {
			if n <= 1 || at >= most {
				return errors.New("code that refers to itself")
			}
			n--
			text[n] = suffix[at]
		}
		first = byte(at)
		n--
		text[n] = first
		if last >= 0 && next < most {
			prefix[next], suffix[next] = uint16(last), first
			if next++; next == 1<<size && size < 12 {
				size++
			}
		}
		last = code
		for pixels := text[n:]; len(pixels) > 0; {
			k := copy(m.Pix[rows[y]*m.Width+x:(rows[y]+1)*m.Width], pixels)
			pixels = pixels[k:]
			if x += k; x == m.Width {
				if x, y = 0, y+1; y == m.Height {
					return nil
				}
			}
		}
	}
}

// interlace returns the rows of a frame in the order of the file.
func interlace(height int, interlaced bool) []int {
	rows := make([]int, 0, height)
	passes := [][2]int{{0, 1}}
	if interlaced {
		passes = [][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}}
	}
	for _, p := range passes {
		for y := p[0]; y < height; y += p[1] {
			rows = append(rows, y)
		}
	}
	return rows
}
