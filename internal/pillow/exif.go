package pillow

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strings"
)

// Upright returns m turned and mirrored as its Orientation says: ImageOps.exif_transpose. It returns m itself if that
// says nothing.
func (m *Image) Upright() (*Image, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	out := m.upright(m.Orientation)
	if out != m {
		out.Key = m.Key
	}
	return out, nil
}

// sideways says whether an orientation exchanges width and height.
func sideways(orientation int) bool { return orientation >= 5 && orientation <= 8 }

// describe adds to m what a file says of it beside its pixels: which of them are transparent, and how to turn it.
func (m *Image) describe(format string, data []byte) {
	m.Orientation = orientation(format, data)
	switch format {
	case "PNG":
		m.transparentPNG(data)
	case "GIF":
		m.transparentGIF(data)
	}
}

// orientation returns what the EXIF data of a file say, or else its XMP data, and 0 if neither does. TIFF files are
// turned when they are decoded.
//
// Source: Pillow, src/PIL/Image.py, getexif; JpegImagePlugin.py, APP; PngImagePlugin.py, chunk_eXIf and chunk_iTXt;
// WebPImagePlugin.py.
func orientation(format string, data []byte) int {
	var exif, xmp []byte
	switch format {
	case "JPEG":
		exif, xmp = exifJPEG(data)
	case "PNG":
		exif, xmp = exifPNG(data)
	case "WebP":
		exif, xmp = exifWebP(data)
	}
	if n, ok := exifOrientation(exif); ok {
		return n
	}
	return xmpOrientation(xmp)
}

// exifJPEG collects the EXIF and XMP data before the first scan.
func exifJPEG(data []byte) (exif, xmp []byte) {
	const exifHead, xmpHead = "Exif\x00\x00", "http://ns.adobe.com/xap/1.0/\x00"
	for data = data[min(2, len(data)):]; len(data) >= 4; {
		if data[0] != 0xff || data[1] == 0xff || data[1] == 0 { // a fill byte, or rubbish between markers
			data = data[1:]
			continue
		}
		marker := data[1]
		if marker == jpegSOS || marker == jpegEOI {
			break
		}
		if marker == jpegSOI || marker == jpegTEM || marker >= jpegRST0 && marker <= jpegRST7 {
			data = data[2:]
			continue
		}
		n := int(binary.BigEndian.Uint16(data[2:]))
		if n < 2 || n > len(data)-2 {
			break
		}
		s := data[4 : 2+n]
		if marker == 0xe1 { // APP1
			switch {
			case bytes.HasPrefix(s, []byte(exifHead)) && exif == nil:
				exif = bytes.Clone(s)
			case bytes.HasPrefix(s, []byte(exifHead)): // what does not fit in one
				exif = append(exif, s[len(exifHead):]...)
			case bytes.HasPrefix(s, []byte(xmpHead)):
				xmp = s[len(xmpHead):]
			}
		}
		data = data[2+n:]
	}
	return exif, xmp
}

// maxText is the most bytes that a compressed text of a PNG file may become. Source: Pillow, PngImagePlugin.py,
// MAX_TEXT_CHUNK.
const maxText = 1 << 20

// pngChunks calls do with every chunk of a PNG file.
func pngChunks(data []byte, do func(name string, body []byte)) {
	for data = data[min(8, len(data)):]; len(data) >= 8; {
		n := int64(binary.BigEndian.Uint32(data))
		if n > int64(len(data)-8) {
			return
		}
		do(string(data[4:8]), data[8:8+n])
		data = data[min(int64(len(data)), 8+n+4):] // and a checksum
	}
}

func exifPNG(data []byte) (exif, xmp []byte) {
	pngChunks(data, func(name string, body []byte) {
		if name == "eXIf" {
			exif = body
		}
		key, value, _ := bytes.Cut(body, []byte{0})
		switch {
		case name == "iTXt" && string(key) == "XML:com.adobe.xmp" && len(value) >= 2:
			compressed := value[0] != 0
			_, value, _ = bytes.Cut(value[2:], []byte{0}) // language
			_, value, _ = bytes.Cut(value, []byte{0})     // translated key
			if compressed {
				value = inflated(value)
			}
			xmp = value
		case (name == "zTXt" || name == "tEXt") && string(key) == "Raw profile type exif":
			if name == "zTXt" && len(value) > 0 {
				value = inflated(value[1:])
			}
			lines := strings.SplitN(string(value), "\n", 4) // empty, name, length, digits
			if raw, err := hex.DecodeString(strings.Join(strings.Fields(lines[len(lines)-1]), "")); err == nil && exif == nil {
				exif = raw
			}
		}
	})
	return exif, xmp
}

// inflated returns as much as can be read of compressed text.
func inflated(data []byte) []byte {
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(r, maxText))
	return text
}

func exifWebP(data []byte) (exif, xmp []byte) {
	for data = data[min(12, len(data)):]; len(data) >= 8; {
		n := int64(binary.LittleEndian.Uint32(data[4:]))
		if n > int64(len(data)-8) {
			break
		}
		switch string(data[:4]) {
		case "EXIF":
			exif = data[8 : 8+n]
		case "XMP ":
			xmp = data[8 : 8+n]
		}
		data = data[min(int64(len(data)), 8+n+n%2):]
	}
	return exif, xmp
}

// exifOrientation reads the tag of the first directory of EXIF data, which are a TIFF file behind a name.
func exifOrientation(data []byte) (n int, found bool) {
	const orientationTag = 274
	for range 2 {
		data = bytes.TrimPrefix(data, []byte("Exif\x00\x00"))
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case bytes.HasPrefix(data, []byte("MM\x00*")):
		order = binary.BigEndian
	case !bytes.HasPrefix(data, []byte("II*\x00")):
		return 0, false
	}
	if len(data) < 8 {
		return 0, false
	}
	at := int64(order.Uint32(data[4:]))
	if at > int64(len(data)-2) {
		return 0, false
	}
	entries := int(order.Uint16(data[at:]))
	for dir := data[at+2:]; entries > 0 && len(dir) >= 12; entries, dir = entries-1, dir[12:] {
		if order.Uint16(dir) != orientationTag {
			continue
		}
		kind, count := order.Uint16(dir[2:]), int64(order.Uint32(dir[4:]))
		value, ok := dir[8:12], true
		if each := map[uint16]int64{1: 1, 6: 1, 3: 2, 8: 2}[kind]; cmp.Or(each, 4)*count > 4 { // several, elsewhere: the first counts
			at := int64(order.Uint32(value))
			if at > int64(len(data)-4) {
				continue
			}
			value = data[at:]
		}
		if count == 0 {
			continue
		}
		switch kind {
		case 1, 6: // a byte
			n = int(value[0])
		case 3, 8: // two
			n = int(order.Uint16(value))
		case 4, 9: // four
			n = size(order.Uint32(value))
		default:
			ok = false
		}
		if ok {
			return n, true
		}
	}
	return 0, false
}

// xmpOrientation finds the attribute or element tiff:Orientation in XMP data.
func xmpOrientation(xmp []byte) int {
	for {
		_, rest, found := bytes.Cut(xmp, []byte("tiff:Orientation"))
		if !found {
			return 0
		}
		xmp = rest
		digit, attribute := bytes.CutPrefix(rest, []byte(`="`))
		if !attribute {
			if digit, found = bytes.CutPrefix(rest, []byte(">")); !found {
				continue
			}
		}
		if len(digit) > 0 && digit[0] >= '0' && digit[0] <= '9' {
			return int(digit[0] - '0')
		}
	}
}

// transparentPNG sets the key of a picture without alpha or palette. A palette holds the alphas of its colours.
//
// Source: Pillow, src/PIL/PngImagePlugin.py, chunk_tRNS; src/libImaging/Convert.c, ImagingConvertTransparent, which
// compares low bytes.
func (m *Image) transparentPNG(data []byte) {
	n := modes[m.Mode]
	if m.Mode != Bilevel && m.Mode != Gray && m.Mode != RGB {
		return
	}
	pngChunks(data, func(name string, body []byte) {
		if name != "tRNS" || len(body) < 2*n {
			return
		}
		m.Key = make([]byte, n)
		for c := range n {
			m.Key[c] = body[2*c+1]
		}
		if m.Mode == Bilevel && (body[0] != 0 || body[1] != 0) {
			m.Key[0] = 255
		}
	})
}

// transparentGIF marks the index that the first frame shows as transparent.
func (m *Image) transparentGIF(data []byte) {
	index, ok := transparentIndex(data)
	switch {
	case !ok:
	case m.Mode == Indexed:
		m.Palette = bytes.Clone(m.Palette)
		m.Palette[4*int(index)+3] = 0
	case m.Mode == Gray:
		m.Key = []byte{index}
	}
}

// transparentIndex returns the transparent index of the first frame of a GIF file, if it has one.
func transparentIndex(data []byte) (index byte, ok bool) {
	b := &byteReader{data: data}
	if head := b.next(13); head != nil {
		b.palette(head[10])
	}
	for b.byte() == '!' && !b.short {
		label, block := b.byte(), b.block()
		if label == 0xf9 && len(block) >= 4 && block[0]&1 != 0 {
			index, ok = block[3], true
		}
		for len(block) > 0 {
			block = b.block()
		}
	}
	return index, ok
}
