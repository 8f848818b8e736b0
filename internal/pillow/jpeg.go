package pillow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// jpegDecoder decodes JPEG of 8 bits, sequential or progressive, Huffman or arithmetic-coded, to the same bytes as
// libjpeg-turbo with its default settings: the accurate integer transform, triangle-filtered chroma, and grey where
// data is missing before a marker. The standard library's decoder rounds its transform otherwise, which
// moves colours by up to 3 levels.
type jpegDecoder struct {
	jpegBits
	width, height int
	maxH, maxV    int // largest sampling factors
	progressive   bool
	arithmetic    bool
	parts         []*jpegPart
	planes        []byte           // of all parts
	quant         [4]*[64]uint16   // in the order of a block
	huff          [2][4]*jpegTable // DC, AC
	conditioning  jpegConditioning // of arithmetic coding
	interval      int              // units between restart markers, 0 for none
	scans         int              // how many have begun
	whole         bool             // a single one brought everything
	good          int              // row of the last unit that had data
	colours       jpegColours
	jfif          bool
	adobe         int // colour transform of the Adobe marker, -1 without one
}

// jpegColours says what the components are.
type jpegColours int

const (
	jpegByMarkers jpegColours = iota // what the file says
	jpegYCbCr
	jpegAsTheyAre // not converted, nor inverted
)

// jpegPart is one colour component.
type jpegPart struct {
	id, h, v  int // sampling factors
	tq        int // place of its quantisation table
	plane         // true size; stride and the pixels cover whole blocks
	columns   int // blocks in a row of pix
	rows      int // rows of blocks in pix
	quant     *[64]uint16
	coeffs    [][64]int16 // only if there are several scans
	predicted int         // last DC value of the scan
	dc, ac    *jpegHuffman
	dcTable   int // their numbers
	acTable   int
	context   int     // of the next DC value, in arithmetic coding
	known     [64]int // lowest bit known of the coefficients in zigzag order, -1 for none; in progressive JPEG
	before    [10]int // what was known of the first before the last scan
}

// Markers. Source: ITU-T T.81, table B.1.
const (
	jpegSOF0, jpegSOF1, jpegSOF2  = 0xc0, 0xc1, 0xc2
	jpegSOF9, jpegSOF10           = 0xc9, 0xca // arithmetic-coded
	jpegDHT, jpegDAC              = 0xc4, 0xcc
	jpegRST0, jpegRST7            = 0xd0, 0xd7
	jpegSOI, jpegEOI, jpegSOS     = 0xd8, 0xd9, 0xda
	jpegDQT, jpegDNL, jpegDRI     = 0xdb, 0xdc, 0xdd
	jpegAPP0, jpegAPP14, jpegAPPF = 0xe0, 0xee, 0xef
	jpegCOM, jpegTEM              = 0xfe, 0x01
)

// jpegFrame says whether a marker begins a frame that is decoded here.
func jpegFrame(marker byte) bool {
	return marker >= jpegSOF0 && marker <= jpegSOF2 || marker == jpegSOF9 || marker == jpegSOF10
}

// jpegKnown says whether a marker with a length is one that libjpeg takes.
func jpegKnown(marker byte) bool {
	switch marker {
	case jpegDHT, jpegDAC, jpegSOS, jpegDQT, jpegDNL, jpegDRI, jpegCOM:
		return true
	}
	return jpegFrame(marker) || marker >= jpegAPP0 && marker <= jpegAPPF
}

// jpegBare says whether a marker has no length behind it.
func jpegBare(marker byte) bool {
	return marker == jpegSOI || marker == jpegEOI || marker == jpegTEM || marker >= jpegRST0 && marker <= jpegRST7
}

// jpegRefused names the kinds of JPEG that are not decoded here.
var jpegRefused = map[byte]string{
	0xc3: "lossless", 0xc5: "hierarchical", 0xc6: "hierarchical", 0xc7: "hierarchical",
	0xcb: "lossless arithmetic-coded", 0xcd: "hierarchical", 0xce: "hierarchical", 0xcf: "hierarchical",
}

// jpegRows is where the rows of coefficients begin in a block. Those that the transform adds or multiplies together lie
// side by side: row y's coefficient x is at jpegRows[y]+2x.
var jpegRows = [8]int{0, 33, 16, 48, 1, 49, 17, 32}

// zigzag is the place in a block of the coefficients in the order of the file. Corrupt data can count
// beyond 63; the last place takes that.
var zigzag = func() (z [128]uint8) {
	x, y, up := 0, 0, true
	for i := range z {
		if i >= 64 {
			z[i] = z[63]
			continue
		}
		z[i] = uint8(jpegRows[y] + 2*x)
		switch {
		case up && x == 7:
			y, up = y+1, false
		case up && y == 0:
			x, up = x+1, false
		case up:
			x, y = x+1, y-1
		case y == 7:
			x, up = x+1, true
		case x == 0:
			y, up = y+1, true
		default:
			x, y = x-1, y+1
		}
	}
	return z
}()

// decodeJPEG reads marker after marker. Source: libjpeg-turbo, src/jdmarker.c, read_markers, and, up to the first scan,
// Pillow, src/PIL/JpegImagePlugin.py.
func decodeJPEG(data []byte) (*Image, error) {
	return (&jpegDecoder{jpegBits: jpegBits{data: data}}).decode()
}

func (d *jpegDecoder) decode() (*Image, error) {
	data := d.data
	d.pos = 2
	d.begin()
	for {
		marker, err := d.marker()
		if d.whole && (err != nil || marker == jpegEOI) { // the end may be missing
			return d.image(), nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case marker == jpegEOI && d.scans > 0:
			d.transform()
			return d.image(), nil
		case marker == jpegEOI && d.parts == nil && d.pos+2 <= len(data) && data[d.pos] == 0xff && data[d.pos+1] == jpegSOI:
			d.pos += 2 // those were but tables; the picture follows
			d.begin()
			continue
		case marker == jpegEOI:
			return nil, errors.New("no picture before the end marker")
		case marker == jpegSOI:
			return nil, errors.New("two start markers")
		case marker == jpegTEM && d.scans == 0:
			return nil, fmt.Errorf("unknown marker %#x", marker)
		case jpegBare(marker):
			continue
		case jpegFrame(marker) && d.parts != nil:
			return nil, errors.New("two frame headers")
		case jpegRefused[marker] != "":
			return nil, fmt.Errorf("%s JPEG is not supported", jpegRefused[marker])
		case !jpegKnown(marker):
			return nil, fmt.Errorf("unknown marker %#x", marker)
		}
		if d.whole && marker == jpegSOS && d.badScan() {
			return nil, errors.New("bad scan header behind the last scan")
		}
		segment, err := d.segment(marker)
		if d.whole && errors.Is(err, io.ErrUnexpectedEOF) {
			return d.image(), nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case d.whole && marker == jpegSOS:
			err = errors.New("a scan behind the last one")
		case jpegFrame(marker):
			d.progressive = marker == jpegSOF2 || marker == jpegSOF10
			d.arithmetic = marker >= jpegSOF9
			err = d.frame(segment)
		case marker == jpegDHT:
			err = d.huffmanTables(segment)
		case marker == jpegDAC:
			err = d.conditioning.read(segment)
		case marker == jpegDQT:
			err = d.quantTables(segment)
		case marker == jpegDRI:
			if len(segment) != 2 {
				return nil, fmt.Errorf("restart interval of %d bytes, want 2", len(segment))
			}
			d.interval = int(binary.BigEndian.Uint16(segment))
		case marker == jpegAPP0:
			d.jfif = d.jfif || len(segment) >= 14 && string(segment[:5]) == "JFIF\x00"
		case marker == jpegAPP14:
			if len(segment) >= 12 && string(segment[:5]) == "Adobe" {
				d.adobe = int(segment[11])
			}
		case marker == jpegSOS:
			if d.whole, err = d.scan(segment); d.whole { // what Pillow has not read yet does not count
				d.data = data[:min((d.pos+jpegBlock-1)/jpegBlock*jpegBlock, len(data))]
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// begin forgets what a start marker ends. Tables stay.
func (d *jpegDecoder) begin() {
	d.conditioning.reset()
	d.interval, d.jfif, d.adobe = 0, false, -1
}

// segment returns what belongs to a marker. A length below that of itself counts as none.
func (d *jpegDecoder) segment(marker byte) ([]byte, error) {
	if d.pos+2 > len(d.data) {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(binary.BigEndian.Uint16(d.data[d.pos:]))
	if n < 2 {
		if marker != jpegCOM && marker != jpegDNL && (marker < jpegAPP0 || marker > jpegAPPF) {
			return nil, fmt.Errorf("marker %#x of length %d, want at least 2", marker, n)
		}
		n = 2
	}
	if d.pos+n > len(d.data) {
		return nil, io.ErrUnexpectedEOF
	}
	d.pos += n
	return d.data[d.pos-n+2 : d.pos], nil
}

// badScan says whether the segment of a scan that comes now begins with a length that is none. libjpeg sees that before it
// waits for the rest. Source: libjpeg-turbo, src/jdmarker.c, get_sos.
func (d *jpegDecoder) badScan() bool {
	if d.pos+3 > len(d.data) {
		return false
	}
	n := int(d.data[d.pos+2])
	return n < 1 || n > 4 || int(binary.BigEndian.Uint16(d.data[d.pos:])) != 2*n+6
}

// marker moves behind the next marker and returns it.
func (d *jpegDecoder) marker() (byte, error) {
	for d.pos+1 < len(d.data) {
		if d.data[d.pos] != 0xff {
			d.pos++
			continue
		}
		d.pos++
		if m := d.data[d.pos]; m != 0 && m != 0xff {
			d.pos++
			return m, nil
		}
	}
	return 0, io.ErrUnexpectedEOF
}

// quantTables reads a DQT segment.
func (d *jpegDecoder) quantTables(b []byte) error {
	for len(b) > 0 {
		wide, at := int(min(b[0]>>4, 1)), b[0]&15
		size := 64 << wide
		if at > 3 || len(b) < 1+size {
			return fmt.Errorf("bad quantisation table %#x of %d bytes", b[0], len(b)-1)
		}
		table := new([64]uint16)
		for i := range 64 {
			if wide == 1 {
				table[zigzag[i]] = binary.BigEndian.Uint16(b[1+2*i:])
			} else {
				table[zigzag[i]] = uint16(b[1+i])
			}
		}
		d.quant[at] = table
		b = b[1+size:]
	}
	return nil
}

// jpegTable is a Huffman table as it stands in a file. It is looked at when a scan needs it.
type jpegTable struct {
	counts [16]byte
	values []byte
	built  *jpegHuffman
}

// huffmanTables reads a DHT segment.
func (d *jpegDecoder) huffmanTables(b []byte) error {
	for len(b) > 0 {
		class, at := b[0]>>4, b[0]&15
		if class > 1 || at > 3 || len(b) < 17 {
			return fmt.Errorf("bad Huffman table %#x of %d bytes", b[0], len(b)-1)
		}
		n := 0
		for _, count := range b[1:17] {
			n += int(count)
		}
		if n > 256 || len(b) < 17+n {
			return fmt.Errorf("bad Huffman table of %d codes in %d bytes", n, len(b)-17)
		}
		d.huff[class][at] = &jpegTable{counts: [16]byte(b[1:17]), values: b[17 : 17+n]}
		b = b[17+n:]
	}
	return nil
}

// table returns the Huffman table of a class, 0 for DC, and number.
func (d *jpegDecoder) table(class, at int) (*jpegHuffman, error) {
	if at > 3 || d.huff[class][at] == nil {
		return nil, fmt.Errorf("scan without its Huffman table %d", at)
	}
	t := d.huff[class][at]
	if t.built == nil {
		h, err := newJPEGHuffman(t.counts[:], t.values)
		if err != nil {
			return nil, err
		}
		t.built = h
	}
	for _, value := range t.values {
		if class == 0 && value > 15 {
			return nil, fmt.Errorf("DC value of %d bits, want at most 15", value)
		}
	}
	return t.built, nil
}

// standardTables fills in the tables of Motion JPEG, whose frames leave them out.
// Source: ITU-T T.81, K.3; libjpeg-turbo, src/jdhuff.c, jinit_huff_decoder.
func (d *jpegDecoder) standardTables() {
	for class := range 2 {
		for at := range 2 {
			if d.huff[class][at] == nil {
				d.huff[class][at] = &jpegTable{counts: jpegStandard[class][at].counts, values: jpegStandard[class][at].values}
			}
		}
	}
}

// frame reads a SOF segment.
func (d *jpegDecoder) frame(b []byte) error {
	if len(b) < 6 || len(b) != 6+3*int(b[5]) {
		return fmt.Errorf("bad frame header of %d bytes", len(b))
	}
	if b[0] != 8 {
		return fmt.Errorf("JPEG of %d bits is not supported, want 8", b[0])
	}
	d.height, d.width = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	if err := checkSize(d.width, d.height); err != nil {
		return err
	}
	if max(d.width, d.height) > jpegMaxSide {
		return fmt.Errorf("size %dx%d, want at most %d as libjpeg", d.width, d.height, jpegMaxSide)
	}
	if n := b[5]; n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%d components, want 1, 3 or 4", n)
	}
	var parts []*jpegPart
	for c := b[6:]; len(c) > 0; c = c[3:] {
		p := &jpegPart{id: int(c[0]), h: int(c[1] >> 4), v: int(c[1] & 15), tq: int(c[2])}
		if p.h < 1 || p.h > 4 || p.v < 1 || p.v > 4 {
			return fmt.Errorf("component of sampling %dx%d, want 1..4", p.h, p.v)
		}
		for i := range p.known {
			p.known[i] = -1
		}
		d.maxH, d.maxV = max(d.maxH, p.h), max(d.maxV, p.v)
		parts = append(parts, p)
	}
	blocks := 0
	for _, p := range parts {
		if d.maxH%p.h != 0 || d.maxV%p.v != 0 {
			return fmt.Errorf("component sampled %dx%d of %dx%d: a fraction, as libjpeg also refuses", p.h, p.v, d.maxH, d.maxV)
		}
		p.width, p.height = ceil(d.width*p.h, d.maxH), ceil(d.height*p.v, d.maxV)
		p.columns, p.rows = ceil(d.width, 8*d.maxH)*p.h, ceil(d.height, 8*d.maxV)*p.v
		p.stride = 8 * p.columns
		blocks += p.columns * p.rows
	}
	// Each block that is not lost takes a Huffman code of a bit at the least, for its DC coefficient. Arithmetic coding has no
	// such limit. The blocks may be lost of a file whose size is damaged: they are grey, as long as that takes little memory.
	most := 8 * len(d.data)
	if d.arithmetic {
		most *= 1 << 6
	}
	if blocks > max(most, jpegLost) {
		return fmt.Errorf("the file can hold %d blocks, its header claims %d", most, blocks)
	}
	n := 0
	for _, p := range parts {
		n += p.stride * 8 * p.rows
	}
	d.planes = get(n) // scans write all that is seen of them
	rest := d.planes
	for _, p := range parts {
		n := p.stride * 8 * p.rows
		p.pix, rest = rest[:n:n], rest[n:]
	}
	d.parts = parts
	return nil
}

// jpegLost is how many blocks a file may claim that are not in it: 64 MB of samples.
const jpegLost = 1 << 20

// jpegScans is how many scans a file may have, each of which goes over the whole picture. Encoders write some ten.
const jpegScans = 500

// jpegBlock is how many bytes Pillow reads at a time.
const jpegBlock = 1 << 16

// jpegMaxSide is libjpeg's JPEG_MAX_DIMENSION.
const jpegMaxSide = 65500

func ceil(a, b int) int { return (a + b - 1) / b }

// scan reads a SOS segment and the data that follow it. It reports whether that was the only scan there is.
func (d *jpegDecoder) scan(b []byte) (whole bool, err error) {
	if d.parts == nil {
		return false, errors.New("scan before the frame header")
	}
	if len(b) < 4 || b[0] < 1 || b[0] > 4 || len(b) != 4+2*int(b[0]) {
		return false, fmt.Errorf("bad scan header of %d bytes", len(b))
	}
	n := int(b[0])
	s := jpegScan{jpegDecoder: d, from: int(b[1+2*n]), to: int(b[2+2*n]), high: int(b[3+2*n] >> 4), low: int(b[3+2*n] & 15)}
	if !d.progressive {
		s.from, s.to, s.high, s.low = 0, 63, 0, 0
	}
	if s.from > s.to || s.to > 63 || s.from == 0 && s.to != 0 && d.progressive || s.from > 0 && n > 1 ||
		s.low > 13 || s.high != 0 && s.high != s.low+1 {
		return false, fmt.Errorf("bad scan of coefficients %d..%d, bits %d..%d, of %d components", s.from, s.to, s.high, s.low, n)
	}
	if d.scans == jpegScans {
		return false, fmt.Errorf("more than %d scans", jpegScans)
	}
	if d.scans++; !d.progressive && d.scans == 1 {
		d.standardTables()
	}
	units := 0
	taken := make([]*jpegPart, len(d.parts)+n) // libjpeg does not find a part whose place in the frame an earlier one has in the scan
	for i := range n {
		var p *jpegPart
		for at, q := range d.parts {
			if q.id == int(b[1+2*i]) && taken[at] == nil {
				p = q
				break
			}
		}
		if p == nil {
			return false, fmt.Errorf("scan of component %d, which is unknown or out of order", b[1+2*i])
		}
		if slices.Contains(taken, p) {
			return false, fmt.Errorf("component %d twice in a scan", p.id)
		}
		taken[i] = p
		p.predicted, p.context = 0, 0
		p.dcTable, p.acTable = int(b[2+2*i]>>4), int(b[2+2*i]&15)
		if !d.arithmetic {
			if s.from == 0 && s.high == 0 {
				if p.dc, err = d.table(0, p.dcTable); err != nil {
					return false, err
				}
			}
			if s.to > 0 {
				if p.ac, err = d.table(1, p.acTable); err != nil {
					return false, err
				}
			}
		}
		if p.quant == nil { // the first scan's table counts, as libjpeg's latch_quant_tables has it
			if p.tq > 3 || d.quant[p.tq] == nil {
				return false, fmt.Errorf("no quantisation table %d", p.tq)
			}
			p.quant = d.quant[p.tq]
		}
		if d.progressive {
			for k := range p.before {
				if p.before[k] = 0; d.scans > 1 {
					p.before[k] = p.known[k]
				}
			}
			for k := s.from; k <= s.to; k++ {
				p.known[k] = s.low
			}
		}
		s.parts = append(s.parts, p)
		units += p.h * p.v
	}
	if n > 1 && units > 10 { // ITU-T T.81, B.2.3
		return false, fmt.Errorf("%d blocks in a unit, want at most 10", units)
	}
	whole = !d.progressive && n == len(d.parts) && d.parts[0].coeffs == nil
	if !whole && d.parts[0].coeffs == nil {
		for _, p := range d.parts {
			p.coeffs = make([][64]int16, p.columns*p.rows)
		}
	}
	return whole, s.read()
}

// image upsamples and converts the planes, which are gone then.
func (d *jpegDecoder) image() *Image {
	mode := map[int]Mode{1: Gray, 3: RGB, 4: CMYK}[len(d.parts)]
	m := newImage(mode, d.width, d.height)
	yccs := d.ycc()
	n := len(d.parts)
	parallel(d.height, d.maxV, n*d.width*d.height, func(lo, hi int) {
		var up [4]*upsampler
		for i, p := range d.parts {
			up[i] = newUpsampler(p.plane, d.maxH/p.h, d.maxV/p.v)
		}
		var rows [4][]byte
		for y := lo; y < hi; y++ {
			for i := range n {
				rows[i] = up[i].at(y)[:d.width]
			}
			out := m.Pix[y*d.width*n:][:d.width*n]
			switch {
			case n == 1:
				copy(out, rows[0])
			case n == 3 && yccs:
				fast.yccRow(out, rows[0], rows[1], rows[2])
			case n == 3:
				for x := range d.width {
					out[3*x], out[3*x+1], out[3*x+2] = rows[0][x], rows[1][x], rows[2][x]
				}
			default: // ink is stored inverted, as Adobe does it and Pillow assumes of every file
				for x := range d.width {
					c, m, y := rows[0][x], rows[1][x], rows[2][x]
					if d.colours == jpegAsTheyAre {
						out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = c, m, y, rows[3][x]
						continue
					}
					if yccs { // YCCK stands for the colour that the ink leaves
						c, m, y = ycc(c, m, y)
						out[4*x], out[4*x+1], out[4*x+2] = c, m, y
					} else {
						out[4*x], out[4*x+1], out[4*x+2] = 255-c, 255-m, 255-y
					}
					out[4*x+3] = 255 - rows[3][x]
				}
			}
		}
	})
	put(d.planes)
	return m
}

// ycc says whether the components are YCbCr or YCCK rather than RGB or CMYK.
// Source: libjpeg-turbo, src/jdapimin.c, default_decompress_parms.
func (d *jpegDecoder) ycc() bool {
	if d.colours != jpegByMarkers {
		return d.colours == jpegYCbCr && len(d.parts) == 3
	}
	if len(d.parts) == 4 {
		return d.adobe > 0
	}
	if len(d.parts) != 3 {
		return false
	}
	switch {
	case d.jfif:
		return true
	case d.adobe >= 0:
		return d.adobe != 0
	}
	return !(d.parts[0].id == 'R' && d.parts[1].id == 'G' && d.parts[2].id == 'B')
}
