package pillow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Size returns the width and height that [Decode] would give a picture, from its headers alone. That of a picture
// whose pixels are damaged is no error.
func Size(r io.Reader) (width, height int, err error) {
	width, height, _, err = sizes(r)
	return width, height, err
}

// UprightSize returns what [Size] does of a picture that is turned as its file says.
func UprightSize(r io.Reader) (width, height int, err error) {
	width, height, n, err := sizes(r)
	if sideways(n) {
		width, height = height, width
	}
	return width, height, err
}

func sizes(r io.Reader) (width, height, orientationOf int, err error) {
	f, data, err := read(r)
	if err != nil {
		return 0, 0, 0, err
	}
	m, err := safely(f.Name, func() (*Image, error) {
		width, height, err := f.size(data)
		if err == nil {
			err = checkSize(width, height)
		}
		return &Image{Width: width, Height: height, Orientation: orientation(f.Name, data)}, err
	})
	if err != nil {
		return 0, 0, 0, err
	}
	return m.Width, m.Height, m.Orientation, nil
}

func sizeJPEG(data []byte) (width, height int, err error) {
	d := &jpegDecoder{jpegBits: jpegBits{data: data, pos: 2}}
	for {
		marker, err := d.marker()
		if err != nil {
			return 0, 0, err
		}
		switch {
		case marker == jpegSOS:
			return 0, 0, errors.New("no frame header before the picture")
		case jpegRefused[marker] != "":
			return 0, 0, fmt.Errorf("%s JPEG is not supported", jpegRefused[marker])
		case marker == jpegEOI && (d.pos+2 > len(data) || data[d.pos] != 0xff || data[d.pos+1] != jpegSOI):
			return 0, 0, errors.New("no frame header before the end marker")
		case jpegBare(marker):
			continue
		case jpegFrame(marker) && d.pos+7 <= len(data):
			if n := binary.BigEndian.Uint16(data[d.pos:]); n < 7 {
				return 0, 0, fmt.Errorf("marker %#x of length %d, want at least 7", marker, n)
			}
			size := data[d.pos+3:] // behind the length and the number of bits
			return int(binary.BigEndian.Uint16(size[2:])), int(binary.BigEndian.Uint16(size)), nil
		}
		if _, err := d.segment(marker); err != nil {
			return 0, 0, err
		}
	}
}

func sizeGIF(data []byte) (width, height int, err error) {
	f, err := gifHeader(&byteReader{data: data})
	return f.width, f.height, err
}

func sizeWebP(data []byte) (width, height int, err error) {
	f, err := parseWebP(data)
	if err != nil {
		return 0, 0, err
	}
	return f.canvas.X, f.canvas.Y, nil
}

func sizeTIFF(data []byte) (width, height int, err error) {
	t, err := readTIFF(data)
	if err != nil {
		return 0, 0, err
	}
	width, height = t.tag(tiffWidth, 0), t.tag(tiffHeight, 0)
	if o := t.tag(tiffOrientation, 1); o >= 5 && o <= 8 { // it lies on its side
		width, height = height, width
	}
	return width, height, nil
}

// sizeBMP reads the header as decodeBMP does.
func sizeBMP(data []byte) (width, height int, err error) {
	return sizeBitmap(data[min(14, len(data)):])
}

// sizeBitmap does so without the file's header.
func sizeBitmap(head []byte) (width, height int, err error) {
	if len(head) < 12 {
		return 0, 0, io.ErrUnexpectedEOF
	}
	if head[0] == 12 && bytes.Equal(head[1:4], []byte{0, 0, 0}) {
		return int(binary.LittleEndian.Uint16(head[4:])), int(binary.LittleEndian.Uint16(head[6:])), nil
	}
	h := binary.LittleEndian.Uint32(head[8:])
	if head[11] == 0xff { // rows from the top
		h = -h
	}
	return size(binary.LittleEndian.Uint32(head[4:])), size(h), nil
}
