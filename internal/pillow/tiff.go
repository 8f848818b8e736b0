package pillow

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// Tags. Source: TIFF 6.0, appendix A.
const (
	tiffWidth, tiffHeight         = 256, 257
	tiffBits                      = 258
	tiffCompression               = 259
	tiffPhotometric               = 262
	tiffFillOrder                 = 266
	tiffStrips                    = 273
	tiffOrientation               = 274
	tiffSamples                   = 277
	tiffRowsPerStrip              = 278
	tiffStripBytes                = 279
	tiffPlanar                    = 284
	tiffGroup3Options             = 292
	tiffPredictor                 = 317
	tiffColours                   = 320
	tiffTileWidth, tiffTileHeight = 322, 323
	tiffTiles                     = 324
	tiffTileBytes                 = 325
	tiffExtra                     = 338
	tiffFormat                    = 339
	tiffJPEGTables                = 347
)

// What a pixel is. Source: TIFF 6.0, PhotometricInterpretation.
const (
	tiffWhiteIsZero = 0
	tiffBlackIsZero = 1
	tiffRGB         = 2
	tiffPalette     = 3
	tiffCMYK        = 5
	tiffYCbCr       = 6
)

// tiffCompressions names what Pillow knows; those with a positive number are decoded here, and expand so much at the most.
var tiffCompressions = map[int]struct {
	name string
	most int
}{
	1: {"none", 1}, 2: {"CCITT RLE", 0}, 3: {"CCITT group 3", -1}, 4: {"CCITT group 4", -1},
	5:     {"LZW", 2731}, // 12 bits for 4096 bytes
	6:     {"old-style JPEG", 0},
	7:     {"JPEG", -1},
	8:     {"Deflate", maxDeflate},
	32771: {"none, padded to 16 bits", 0},
	32773: {"PackBits", 64}, // 128 bytes in two
	32809: {"ThunderScan", 0},
	32946: {"Deflate", maxDeflate},
	34676: {"SGI LogLuv", 0}, 34677: {"SGI LogLuv", 0}, 34925: {"LZMA", 0}, 50000: {"Zstandard", 0}, 50001: {"WebP", 0},
}

// tiffFile is the first picture of a TIFF or BigTIFF.
type tiffFile struct {
	data  []byte
	order binary.ByteOrder
	tags  map[int][]int
	jpeg  []byte // tables that all pieces share

	width, height            int
	compression, photometric int
	planar                   bool // a plane for each sample
	samples, bits, format    int
	reversed                 bool // bits of each byte
	extra                    []int
	predictor                int
	mode                     Mode
	asStored                 bool // white is not turned into black
	little                   bool // whether samples are little-endian once decompressed
}

// decodeTIFF gives what Pillow's plugin and libtiff do: the mode follows from what the pixels are and how many
// bits they have. Unlike those of other formats, Pillow turns a TIFF upright as it loads it.
// Source: Pillow, src/PIL/TiffImagePlugin.py, OPEN_INFO, _setup and load_end, and src/libImaging/TiffDecode.c.
func decodeTIFF(data []byte) (*Image, error) {
	t, err := readTIFF(data)
	if err != nil {
		return nil, err
	}
	if err := t.understand(); err != nil {
		return nil, err
	}
	if err := checkSize(t.width, t.height); err != nil {
		return nil, err
	}
	kind := tiffCompressions[t.compression]
	if kind.most > 0 {
		if err := checkHolds(int64(len(data))*int64(kind.most), int64(t.width)*int64(t.bits)/8*int64(t.height)); err != nil {
			return nil, err
		}
	} else if most := int64(len(data)) << 17; int64(t.width)*int64(t.height) > most {
		return nil, checkHolds(most, int64(t.width)*int64(t.height))
	}
	m := newImage(t.mode, t.width, t.height)
	if t.mode == Indexed {
		if m.Palette, err = t.palette(); err != nil {
			return nil, err
		}
	}
	if err := t.pixels(m); err != nil {
		return nil, err
	}
	first := 0 // kind of the first extra sample, unspecified to libtiff if the file does not say
	if len(t.extra) > 0 {
		first = t.extra[0]
	}
	if t.mode == RGBA && (first == 1 || first == 0 && t.planar && t.compression != 1) { // premultiplied
		m.Mode = RGBPre
		for i := 0; i < len(m.Pix); i += 4 {
			if m.Pix[i+3] == 0 {
				clear(m.Pix[i : i+4])
			}
		}
		m = m.straight()
	}
	return m.upright(t.tag(tiffOrientation, 1)), nil
}

// tiffWanted are the tags that are read, and how many numbers each may have. Others may have more: layers, and profiles.
var tiffWanted = map[int]int{
	tiffStrips: tiffPieces, tiffStripBytes: tiffPieces, tiffTiles: tiffPieces, tiffTileBytes: tiffPieces, tiffColours: 3 << 16,
	tiffWidth: 1 << 10, tiffHeight: 1 << 10, tiffBits: 1 << 10, tiffCompression: 1 << 10, tiffPhotometric: 1 << 10, tiffFillOrder: 1 << 10,
	tiffOrientation: 1 << 10, tiffSamples: 1 << 10, tiffRowsPerStrip: 1 << 10, tiffPlanar: 1 << 10, tiffGroup3Options: 1 << 10,
	tiffPredictor: 1 << 10, tiffTileWidth: 1 << 10, tiffTileHeight: 1 << 10, tiffExtra: 1 << 10, tiffFormat: 1 << 10,
}

// readTIFF reads the numbers of the first directory. Of a tag that stands there twice the last counts.
func readTIFF(data []byte) (*tiffFile, error) {
	t := &tiffFile{data: data, order: binary.LittleEndian, tags: map[int][]int{}}
	if len(data) < 8 {
		return nil, io.ErrUnexpectedEOF
	}
	if data[0] == 'M' {
		t.order = binary.BigEndian
	}
	wide := data[2] == 43 || data[3] == 43 // BigTIFF
	at, n, entry, inline := size(t.order.Uint32(data[4:])), 0, 12, 4
	if wide {
		if len(data) < 16 {
			return nil, io.ErrUnexpectedEOF
		}
		at, entry, inline = long(t.order.Uint64(data[8:])), 20, 8
	}
	if at > len(data)-8 {
		return nil, io.ErrUnexpectedEOF
	}
	if wide {
		n, at = long(t.order.Uint64(data[at:])), at+8
	} else {
		n, at = int(t.order.Uint16(data[at:])), at+2
	}
	if n > (len(data)-at)/entry {
		return nil, io.ErrUnexpectedEOF
	}
	number := func(b []byte) int {
		if wide {
			return long(t.order.Uint64(b))
		}
		return size(t.order.Uint32(b))
	}
	type numbers struct {
		bytes []byte
		each  int // bytes of a number
	}
	found := map[int]numbers{}
	for ; n > 0; n, at = n-1, at+entry {
		id, kind, count, value := int(t.order.Uint16(data[at:])), t.order.Uint16(data[at+2:]), number(data[at+4:]), data[at+entry-inline:at+entry]
		each := map[uint16]int{1: 1, 7: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}[kind] // bytes, shorts, longs, offsets
		if each == 0 || count == 0 || count > len(data)/each || id == tiffJPEGTables && each != 1 {
			continue
		}
		if count > inline/each {
			p := number(value)
			if p > len(data)-each*count {
				continue
			}
			value = data[p : p+each*count]
		}
		if id == tiffJPEGTables {
			t.jpeg = value[:count]
			continue
		}
		switch most, wanted := tiffWanted[id]; {
		case !wanted:
		case count > most:
			return nil, fmt.Errorf("tag %d of %d numbers, want at most %d", id, count, most)
		default:
			found[id] = numbers{value[:count*each], each}
		}
	}
	for id, v := range found {
		list := make([]int, len(v.bytes)/v.each)
		for i := range list {
			switch b := v.bytes[i*v.each:]; v.each {
			case 1:
				list[i] = int(b[0])
			case 2:
				list[i] = int(t.order.Uint16(b))
			case 4:
				list[i] = size(t.order.Uint32(b))
			case 8:
				list[i] = long(t.order.Uint64(b))
			}
		}
		t.tags[id] = list
	}
	return t, nil
}

// tiffPieces is how many strips, tiles or other numbers a tag can have.
const tiffPieces = 1 << 22

// tiffShared is how often pieces may share bytes, which a well-made file never does: else work is the square of the file.
const tiffShared = 16

// long is size for 64 bits.
func long(v uint64) int {
	const most = 1 << 62
	return int(min(v, most, uint64(^uint(0)>>1)))
}

// tag returns the first number of a tag.
func (t *tiffFile) tag(id, missing int) int {
	if v := t.tags[id]; len(v) > 0 {
		return v[0]
	}
	return missing
}

// understand finds the mode.
func (t *tiffFile) understand() error {
	t.width, t.height = t.tag(tiffWidth, 0), t.tag(tiffHeight, 0)
	t.compression, t.photometric = t.tag(tiffCompression, 1), t.tag(tiffPhotometric, 0)
	kind, ok := tiffCompressions[t.compression]
	switch {
	case !ok:
		return fmt.Errorf("compression %d is unknown", t.compression)
	case kind.most == 0:
		return fmt.Errorf("%s compression is not supported, convert the file to PNG or to a TIFF without compression first", kind.name)
	}
	fill := t.tag(tiffFillOrder, 1)
	t.reversed = fill == 2
	t.planar = t.tag(tiffPlanar, 1) == 2
	t.predictor = t.tag(tiffPredictor, 1)
	depths, extra, formats := t.tags[tiffBits], t.tags[tiffExtra], t.tags[tiffFormat]
	t.samples, t.format = t.tag(tiffSamples, 1), 1
	if len(formats) > 0 {
		t.format = formats[0]
	}
	if len(depths) == 0 {
		depths = []int{1}
	}
	if t.planar && len(extra) > 0 && slices.Max(extra) == 0 && len(depths) >= len(extra) {
		depths = depths[:len(depths)-len(extra)]
		t.samples -= len(extra)
		extra = nil
	}
	if t.samples < 1 || t.samples > 6 {
		return fmt.Errorf("%d samples a pixel, want 1..6", t.samples)
	}
	if len(depths) > t.samples {
		depths = depths[:t.samples]
	}
	if len(depths) == 1 {
		depths = slices.Repeat(depths, t.samples)
	}
	if len(depths) != t.samples || slices.Min(depths) != slices.Max(depths) || len(formats) > 0 && slices.Min(formats) != slices.Max(formats) {
		return fmt.Errorf("samples of %v bits and formats %v, want one for all of %d", depths, formats, t.samples)
	}
	t.bits, t.extra = depths[0], extra
	compressed := t.compression != 1
	t.little = compressed || t.order == binary.LittleEndian
	t.mode = t.findMode(fill == 2 && !compressed)
	if t.photometric == 8 || t.photometric == 9 {
		return fmt.Errorf("L*a*b* colours (photometric %d) are not supported, convert the file to PNG first", t.photometric)
	}
	if t.mode == "" || fill != 1 && fill != 2 {
		return fmt.Errorf("%d samples of %d bits, format %d, photometric %d, extra samples %v, fill order %d, %v: not supported",
			t.samples, t.bits, t.format, t.photometric, t.extra, fill, t.order)
	}
	if t.photometric == tiffYCbCr && t.mode != Gray && (t.compression != 7 || t.planar) {
		return fmt.Errorf("YCbCr with %s compression, planar configuration %d, is not supported; convert the file to PNG first", kind.name, t.tag(tiffPlanar, 1))
	}
	if t.planar && t.samples > 1 && (t.mode == GrayAlpha || t.mode == GrayPre || t.bits != 8 && (t.bits != 16 || !compressed)) {
		return fmt.Errorf("planes of %d bits in mode %q are not supported; convert the file to PNG first", t.bits, t.mode)
	}
	if t.reversed && !compressed && (t.mode == Indexed && t.bits < 8 || t.mode == Gray && t.bits == 8 && t.photometric == tiffWhiteIsZero) {
		return fmt.Errorf("fill order 2 with %d bits, photometric %d, which Pillow refuses too", t.bits, t.photometric)
	}
	if t.planar && !compressed {
		// Pillow takes the first letter of what it would otherwise unpack: nothing is inverted or reversed.
		if t.samples == 1 && (t.bits != 1 && t.bits != 8 && t.bits != 32 || t.bits == 1 && t.mode == Indexed) {
			return fmt.Errorf("a plane of %d bits is not supported; convert the file to PNG first", t.bits)
		}
		t.reversed, t.asStored = false, true
	}
	if t.predictor != 1 && (t.compression == 5 || t.compression == 8 || t.compression == 32946) {
		if t.predictor == 2 && t.bits != 8 && t.bits != 16 && t.bits != 32 || t.predictor == 3 && t.format != 3 || t.predictor > 3 || t.predictor < 1 {
			return fmt.Errorf("predictor %d of %d bits is not supported", t.predictor, t.bits)
		}
	} else {
		t.predictor = 1
	}
	if (t.compression == 3 || t.compression == 4) && (t.bits != 1 || t.samples != 1) || t.compression == 7 && t.bits != 8 {
		return fmt.Errorf("%s compression of %d samples of %d bits", kind.name, t.samples, t.bits)
	}
	return nil
}

// findMode returns the mode that Pillow's table OPEN_INFO has, "" for none.
func (t *tiffFile) findMode(reversed bool) Mode {
	big := t.order == binary.BigEndian
	is := func(photometric, format, samples int, bits ...int) bool {
		return t.photometric == photometric && t.format == format && t.samples == samples && slices.Contains(bits, t.bits)
	}
	gray := t.photometric == tiffWhiteIsZero || t.photometric == tiffBlackIsZero
	black := t.photometric == tiffBlackIsZero
	extra := func(first ...int) bool { // what the first of them may be; the others say nothing
		return len(t.extra) > 0 && slices.Contains(first, t.extra[0]) && (len(t.extra) == 1 || slices.Max(t.extra[1:]) == 0)
	}
	none, spare := len(t.extra) == 0, len(t.extra)
	switch {
	case t.samples == 1 && none && gray && t.format == 1:
		switch t.bits {
		case 1:
			return Bilevel
		case 2, 4, 8:
			return Gray
		case 12:
			if black && !big && !reversed {
				return Gray16
			}
		case 16:
			switch {
			case !big && (!reversed || black):
				return Gray16
			case big && black && !reversed:
				return Gray16BE
			}
		case 32:
			if black && !big && !reversed {
				return Int32
			}
		}
	case t.samples == 1 && none && t.photometric == tiffPalette && t.format == 1:
		if t.bits <= 8 && bits.OnesCount(uint(t.bits)) == 1 {
			return Indexed
		}
	case reversed:
		if is(tiffRGB, 1, 3, 8) && none {
			return RGB
		}
	case none && is(tiffBlackIsZero, 2, 1, 8), none && is(tiffYCbCr, 1, 1, 8) && t.compression == 1:
		return Gray
	case none && is(tiffBlackIsZero, 2, 1, 16, 32):
		return Int32
	case none && t.samples == 1 && gray && t.format == 3 && t.bits == 32:
		return Float32
	case is(tiffBlackIsZero, 1, 2, 8) && spare == 1:
		switch t.extra[0] {
		case 0:
			return Gray
		case 1:
			return GrayPre
		case 2:
			return GrayAlpha
		}
	case is(tiffRGB, 1, 3, 8, 16) && none:
		return RGB
	case is(tiffRGB, 1, 4, 8, 16) && (none || spare == 1 && t.extra[0] == 999 && t.bits == 8):
		return RGBA
	case is(tiffRGB, 1, 3+spare, 8) || is(tiffRGB, 1, 4, 16) && spare == 1:
		switch {
		case extra(0):
			return RGB
		case extra(1, 2):
			return RGBA
		}
	case is(tiffPalette, 1, 2, 8) && spare == 1 && t.extra[0] == 0:
		return Indexed
	case is(tiffCMYK, 1, 4+spare, 8) && (none || extra(0)) || is(tiffCMYK, 1, 4, 16) && none:
		return CMYK
	case is(tiffYCbCr, 1, 3, 8) && none:
		return RGB
	}
	return ""
}

// palette reads the colours, of which the high byte counts.
func (t *tiffFile) palette() ([]byte, error) {
	p, colours := newPalette(nil), t.tags[tiffColours]
	n := len(colours) / 3
	if n == 0 || n > 256 {
		return nil, fmt.Errorf("palette of %d numbers, want 3..768", len(colours))
	}
	for i := range n {
		for c := range 3 {
			p[4*i+c] = byte(colours[c*n+i] >> 8)
		}
	}
	return p, nil
}

// pixels fills m, strip by strip or tile by tile.
func (t *tiffFile) pixels(m *Image) error {
	w, h, offsets, lengths := t.width, t.tag(tiffRowsPerStrip, t.height), t.tags[tiffStrips], t.tags[tiffStripBytes]
	tiled := len(offsets) == 0
	if tiled {
		w, h, offsets, lengths = t.tag(tiffTileWidth, 0), t.tag(tiffTileHeight, 0), t.tags[tiffTiles], t.tags[tiffTileBytes]
	}
	if len(offsets) == 0 || w < 1 || h < 1 {
		return fmt.Errorf("%d pieces of %dx%d pixels", len(offsets), w, h)
	}
	if !tiled {
		h = min(h, t.height)
	}
	across, planes, samples := ceil(t.width, w), 1, t.samples
	if t.planar {
		planes, samples = t.samples, 1
	}
	if w > 1<<30 || h > 1<<30 || across*ceil(t.height, h) > tiffPieces {
		return fmt.Errorf("pieces of %dx%d pixels in a picture of %dx%d", w, h, t.width, t.height)
	}
	whole := across * ceil(t.height, h)
	budget := tiffShared*int64(len(t.data)) + int64(len(offsets))
	for plane := range min(planes, max(1, modes[m.Mode])) {
		for i := range whole {
			at := plane*whole + i
			if at >= len(offsets) {
				if t.compression == 1 {
					return nil // Pillow leaves it black
				}
				return io.ErrUnexpectedEOF
			}
			if t.compression == 1 && whole == 1 && planes == 1 {
				at = len(offsets) - 1 // each of them is the whole picture
			}
			x, y := i%across*w, i/across*h
			if offsets[at] > len(t.data) {
				return io.ErrUnexpectedEOF
			}
			raw := t.data[offsets[at]:]
			if t.compression != 1 {
				if at < len(lengths) && lengths[at] > 0 {
					raw = raw[:min(len(raw), lengths[at])]
				} else if at+1 < len(offsets) && offsets[at+1] > offsets[at] {
					raw = raw[:min(len(raw), offsets[at+1]-offsets[at])]
				}
				if budget -= int64(len(raw)); t.compression == 7 {
					budget -= int64(len(t.jpeg)) // which each piece begins with
				}
				if budget < 0 {
					return errors.New("pieces that take the same bytes over and over")
				}
			}
			columns, rows := min(w, t.width-x), min(h, t.height-y)
			row := (w*t.bits*samples + 7) / 8
			piece, err := t.expand(raw, w, h, rows, row, !tiled && y+h >= t.height)
			if err != nil {
				return fmt.Errorf("piece %d of %d: %w", at+1, len(offsets), err)
			}
			for j := range rows {
				end := j*row + (columns*t.bits*samples+7)/8
				if end > len(piece) {
					return io.ErrUnexpectedEOF
				}
				t.unpack(m, piece[j*row:end], x, y+j, columns, plane, samples)
			}
		}
	}
	return nil
}

// expand returns the first rows of a piece of w by h pixels, each of row bytes. Only the last strip may have more.
func (t *tiffFile) expand(raw []byte, w, h, rows, row int, last bool) ([]byte, error) {
	if t.compression == 1 {
		raw = raw[:min(len(raw), rows*row)]
	}
	if t.reversed && t.compression != 3 && t.compression != 4 && t.compression != 7 {
		raw = bytes.Clone(raw)
		for i, v := range raw {
			raw[i] = bits.Reverse8(v)
		}
	}
	want := rows * row
	if most := tiffCompressions[t.compression].most; most > 0 {
		if err := checkHolds(int64(len(raw))*int64(most), int64(want)); err != nil {
			return nil, err
		}
	}
	var out []byte
	var err error
	read := func(r io.Reader) {
		out = make([]byte, want)
		_, err = io.ReadFull(r, out)
	}
	switch t.compression {
	case 1:
		return raw, nil
	case 3, 4:
		if rows > 8*len(raw) {
			return nil, io.ErrUnexpectedEOF
		}
		order, form := ccitt.MSB, ccitt.Group4
		if t.reversed {
			order = ccitt.LSB
		}
		if t.compression == 3 {
			if form = ccitt.Group3; t.tag(tiffGroup3Options, 0)&1 != 0 {
				return nil, fmt.Errorf("CCITT group 3 in two dimensions is not supported, convert the file to PNG first")
			}
		}
		// White is 0, as libtiff has it.
		read(ccitt.NewReader(bytes.NewReader(raw), order, form, w, rows, &ccitt.Options{Invert: true}))
	case 5:
		z := lzw.NewReader(bytes.NewReader(raw), lzw.MSB, 8)
		read(z)
		z.Close()
	case 8, 32946:
		z, zerr := zlib.NewReader(bytes.NewReader(raw))
		if zerr != nil {
			return nil, zerr
		}
		read(z)
		if err == nil { // zlib goes on up to the next byte: a checksum, or nonsense, in its way is an error
			var one [1]byte
			if n, end := z.Read(one[:]); n == 0 && (errors.Is(end, zlib.ErrChecksum) || errors.As(end, new(flate.CorruptInputError))) {
				err = end
			}
		}
	case 32773:
		out, err = unpackBits(raw, want)
	case 7:
		return t.expandJPEG(raw, w, h, rows, row, last)
	}
	if err != nil {
		return nil, err
	}
	if t.order == binary.BigEndian && t.predictor != 3 {
		switch t.bits {
		case 16:
			bigEndian16(out)
		case 32:
			for b := out; len(b) >= 4; b = b[4:] {
				b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0]
			}
		}
	}
	if t.predictor != 1 {
		for b := out; len(b) >= row; b = b[row:] {
			t.predict(b[:row], row)
		}
	}
	return out, nil
}

// predict undoes the predictor of a row. Source: TIFF 6.0, section 14; Adobe Photoshop TIFF Technical Note 3.
func (t *tiffFile) predict(b []byte, row int) {
	step := t.samples
	if t.planar {
		step = 1
	}
	if t.predictor == 3 {
		for i := step; i < len(b); i++ {
			b[i] += b[i-step]
		}
		n := len(b) / 4
		src := bytes.Clone(b)
		for i := range n {
			for j := range 4 { // planes of bytes, the highest first
				b[4*i+3-j] = src[j*n+i]
			}
		}
		return
	}
	switch t.bits {
	case 8:
		for i := step; i < len(b); i++ {
			b[i] += b[i-step]
		}
	case 16:
		for i := 2 * step; i+1 < len(b); i += 2 {
			binary.LittleEndian.PutUint16(b[i:], binary.LittleEndian.Uint16(b[i:])+binary.LittleEndian.Uint16(b[i-2*step:]))
		}
	case 32:
		for i := 4 * step; i+3 < len(b); i += 4 {
			binary.LittleEndian.PutUint32(b[i:], binary.LittleEndian.Uint32(b[i:])+binary.LittleEndian.Uint32(b[i-4*step:]))
		}
	}
}

// unpackBits expands PackBits. Source: TIFF 6.0, section 9.
func unpackBits(raw []byte, want int) ([]byte, error) {
	out := make([]byte, 0, want)
	for len(out) < want {
		if len(raw) < 2 {
			return nil, io.ErrUnexpectedEOF
		}
		n := int(int8(raw[0]))
		switch raw = raw[1:]; {
		case n >= 0:
			if len(raw) < n+1 {
				return nil, io.ErrUnexpectedEOF
			}
			out = append(out, raw[:min(n+1, want-len(out))]...)
			raw = raw[n+1:]
		case n > -128:
			for range min(1-n, want-len(out)) {
				out = append(out, raw[0])
			}
			raw = raw[1:]
		}
	}
	return out, nil
}

// expandJPEG decodes a piece that is a JPEG, whose tables may be common to all. Source: TIFF Technical Note 2.
func (t *tiffFile) expandJPEG(raw []byte, w, h, rows, row int, last bool) ([]byte, error) {
	stream := raw
	if len(t.jpeg) > 4 {
		stream = slices.Concat(t.jpeg, raw)
	}
	stream = append(stream[:len(stream):len(stream)], 0xff, jpegEOI) // libtiff fills in an end
	d := &jpegDecoder{jpegBits: jpegBits{data: stream}, colours: jpegAsTheyAre}
	if t.photometric == tiffYCbCr {
		d.colours = jpegYCbCr
	}
	m, err := d.decode()
	if err != nil {
		return nil, err
	}
	samples := t.samples
	if t.planar {
		samples = 1
	}
	if m.Width != w || modes[m.Mode] != samples || m.Height > h && !last {
		return nil, fmt.Errorf("JPEG of %dx%d pixels of %d samples, want %dx%d of %d", m.Width, m.Height, modes[m.Mode], w, h, samples)
	}
	return append(m.Pix, make([]byte, max(0, rows*row-len(m.Pix)))...), nil
}

// unpack writes a row of n pixels to m at x, y; of a plane alone if there are planes.
func (t *tiffFile) unpack(m *Image, row []byte, x, y, n, plane, samples int) {
	size := modes[m.Mode]
	out := m.Pix[(y*m.Width+x)*size:][:n*size]
	invert := byte(0)
	if t.photometric == tiffWhiteIsZero && !t.asStored {
		invert = 0xff
	}
	switch {
	case t.bits < 8:
		mask, factor := byte(1<<t.bits-1), byte(1)
		switch m.Mode {
		case Bilevel:
			factor = 255
		case Gray:
			factor = 255 / mask
		}
		for i := range out {
			out[i] = (row[i*t.bits/8] ^ invert) >> (8 - t.bits - i*t.bits%8) & mask * factor
		}
	case t.bits == 12:
		for i := range n {
			b := row[i*3/2:]
			v := uint16(b[0])<<4 | uint16(b[1])>>4
			if i%2 == 1 {
				v = uint16(b[0]&15)<<8 | uint16(b[1])
			}
			binary.LittleEndian.PutUint16(out[2*i:], v)
		}
	case m.Mode == Gray16:
		copy(out, row)
	case m.Mode == Gray16BE:
		if copy(out, row); t.little {
			bigEndian16(out)
		}
	case m.Mode == Int32 || m.Mode == Float32:
		// What Pillow unpacks as big-endian, though libtiff has turned it around already, it misreads.
		big := t.order == binary.BigEndian && !t.asStored
		for i := range n {
			o := out[4*i:][:4]
			if t.bits == 16 {
				v := binary.LittleEndian.Uint16(row[2*i:])
				if big {
					v = bits.ReverseBytes16(v)
				}
				binary.LittleEndian.PutUint32(o, uint32(int32(int16(v))))
				continue
			}
			if copy(o, row[4*i:]); big {
				o[0], o[1], o[2], o[3] = o[3], o[2], o[1], o[0]
			}
		}
	default: // a byte, or the higher of two, for each sample
		each, high := t.bits/8, 0
		if each == 2 && t.little {
			high = 1
		}
		if t.planar && t.samples > 1 {
			if plane < size {
				for i := range n {
					out[i*size+plane] = row[i*each+high]
				}
			}
			return
		}
		if m.Mode != Gray {
			invert = 0
		}
		if each == 1 && samples == size && invert == 0 {
			copy(out, row)
			return
		}
		for i := range n {
			for c := range size {
				out[i*size+c] = row[(i*samples+c)*each+high] ^ invert
			}
		}
	}
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
