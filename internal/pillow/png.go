package pillow

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"image"
	"io"
)

// maxDeflate is the most that deflate can expand: a match of 258 bytes in two bits.
const maxDeflate = 1032

// pngFile is a PNG as Pillow walks over it. Up to the first chunk of pixels each chunk is checked, its checksum
// too; from there on checksums do not count, and what follows the last row does not either. The standard library's
// decoder refuses much of what Pillow reads that way.
// Source: Pillow, src/PIL/PngImagePlugin.py, PngStream and PngImageFile.
type pngFile struct {
	data          []byte
	pos           int
	width, height int
	depth, colour int  // of the last header that makes sense
	mode          Mode // "" before it
	interlaced    bool
	palette       []byte // red, green, blue
	alpha         []byte // of the entries of the palette
	animated      bool   // there are several frames
	frames        uint32 // by the animation's header, 0 without one
	window        image.Rectangle
	windowed      bool   // the frame has a window of its own
	sequence      uint32 // number that the next frame chunk must have
	left          int    // bytes of the present chunk of pixels that no part was cut from
	end           int    // of the part of the chunk that is being read
	text          int    // bytes of text so far
}

// pngModes gives the mode of a bit depth and a colour type.
var pngModes = map[[2]int]Mode{
	{1, 0}: Bilevel, {2, 0}: Gray, {4, 0}: Gray, {8, 0}: Gray, {16, 0}: Gray16,
	{8, 2}: RGB, {16, 2}: RGB,
	{1, 3}: Indexed, {2, 3}: Indexed, {4, 3}: Indexed, {8, 3}: Indexed,
	{8, 4}: GrayAlpha, {16, 4}: RGBA,
	{8, 6}: RGBA, {16, 6}: RGBA,
}

// pngSamples gives the samples of a pixel, by colour type.
var pngSamples = [...]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

// Limits of Pillow on text and profiles.
const (
	pngSafeBlock = 1 << 20           // MAX_TEXT_CHUNK
	pngMaxText   = 64 * pngSafeBlock // MAX_TEXT_MEMORY
	pngPart      = 1 << 16           // of the pixels' bytes, decoded at once; ImageFile.MAXBLOCK
)

// decodePNG gives what Pillow does: the mode follows from bit depth and colour type alone (transparency of a
// colour is left aside), colour of 16 bits keeps its high byte.
func decodePNG(data []byte) (*Image, error) {
	p := &pngFile{data: data, pos: min(8, len(data))}
	err := p.open()
	if p.mode != "" { // a bad size says more than that the file ends early
		if err := p.checkSize(); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	if len(p.palette)/3 > 256 && p.mode == Indexed {
		return nil, fmt.Errorf("palette of %d colours, want at most 256", len(p.palette)/3)
	}
	window := image.Rect(0, 0, p.width, p.height)
	if p.windowed {
		if window = p.window; window.Empty() {
			return nil, fmt.Errorf("frame of %dx%d, want at least 1x1", window.Dx(), window.Dy())
		}
	}
	m := newImage(p.mode, p.width, p.height)
	if p.mode == Indexed {
		m.Palette = newPalette(nil)
		for i := range len(p.palette) / 3 {
			copy(m.Palette[4*i:], p.palette[3*i:3*i+3])
		}
		for i, v := range p.alpha[:min(len(p.alpha), 256)] {
			m.Palette[4*i+3] = v
		}
	}
	if err := p.pixels(m, window); err != nil {
		return nil, err
	}
	return m, p.rest()
}

// errPNGPixels says that the next chunk holds pixels, errPNGEnd that there are no more chunks.
var errPNGPixels, errPNGEnd = errors.New("pixels"), errors.New("end")

// open reads what precedes the pixels.
func (p *pngFile) open() error {
	p.sequence = 0
	for {
		kind, n, err := p.chunk()
		if err != nil {
			return err
		}
		body, err := p.understand(kind, n)
		switch {
		case errors.Is(err, errPNGPixels):
			if p.frames > 0 && !p.windowed { // the picture is none of the frames
				p.frames++
			}
			p.animated = p.frames > 1
			return nil
		case errors.Is(err, errPNGEnd):
			return errors.New("no pixels before the last chunk")
		case err != nil:
			return err
		}
		sum := p.take(4)
		if len(sum) < 4 {
			return io.ErrUnexpectedEOF
		}
		got := crc32.Update(crc32.ChecksumIEEE([]byte(kind)), crc32.IEEETable, body)
		if want := binary.BigEndian.Uint32(sum); got != want {
			return fmt.Errorf("chunk %s with checksum %#x, want %#x", kind, want, got)
		}
	}
}

// checkSize rejects what a file of this length cannot be.
func (p *pngFile) checkSize() error {
	if err := checkSize(p.width, p.height); err != nil {
		return err
	}
	bits := p.depth * pngSamples[p.colour]
	return checkHolds(int64(len(p.data))*maxDeflate, (int64(p.width)*int64(bits)+7)/8*int64(p.height))
}

// rest reads what follows the pixels. Chunks whose content Pillow refuses are an error there too.
func (p *pngFile) rest() error {
	p.take(p.end - p.pos + p.left)
	for {
		p.take(4) // the checksum, which does not count
		kind, n, err := p.chunk()
		if err != nil || kind == "IEND" || kind == "fcTL" && p.animated {
			return nil
		}
		if _, err := p.understand(kind, n); errors.Is(err, errPNGPixels) {
			if len(p.take(p.left)) < p.left {
				return io.ErrUnexpectedEOF
			}
		} else if err != nil {
			return err
		}
	}
}

// take returns the next n bytes, or as many as there are.
func (p *pngFile) take(n int) []byte {
	n = min(n, len(p.data)-p.pos)
	p.pos += n
	return p.data[p.pos-n : p.pos]
}

// chunk returns the next chunk's name and length.
func (p *pngFile) chunk() (kind string, n int, err error) {
	head := p.take(8)
	if len(head) < 4 {
		return "", 0, io.ErrUnexpectedEOF
	}
	name := head[4:]
	word := len(name) == 4
	for _, c := range name {
		word = word && (c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z')
	}
	if !word {
		return "", 0, fmt.Errorf("chunk named %q, want four letters", name)
	}
	return string(name), size(binary.BigEndian.Uint32(head)), nil
}

// pngShortest is the least length of a chunk.
var pngShortest = map[string]int{"IHDR": 13, "gAMA": 4, "cHRM": 32, "sRGB": 1, "pHYs": 9, "acTL": 8, "fcTL": 26, "fdAT": 4}

// understand reads a chunk up to its checksum, or to the pixels in it.
func (p *pngFile) understand(kind string, n int) (body []byte, err error) {
	short := func() error { return fmt.Errorf("chunk %s of %d bytes, which is too short", kind, n) }
	switch kind {
	case "IEND":
		return nil, errPNGEnd
	case "IDAT":
		if p.mode == "" { // pixels before the header do not count
			break
		}
		p.left = n
		return nil, errPNGPixels
	case "fdAT":
		if n < 4 {
			return nil, short()
		}
		if p.sequence == 0 || p.mode == "" {
			return nil, errors.New("chunk fdAT before fcTL or IHDR")
		}
		if err := p.follows(p.take(4)); err != nil {
			return nil, err
		}
		p.left = n - 4
		return nil, errPNGPixels
	}
	if body = p.take(n); len(body) < n {
		return nil, io.ErrUnexpectedEOF
	}
	if n < pngShortest[kind] {
		return nil, short()
	}
	u32 := func(i int) uint32 { return binary.BigEndian.Uint32(body[i:]) }
	switch kind {
	case "IHDR":
		p.width, p.height = size(u32(0)), size(u32(4))
		if mode := pngModes[[2]int{int(body[8]), int(body[9])}]; mode != "" {
			p.mode, p.depth, p.colour = mode, int(body[8]), int(body[9])
		}
		p.interlaced = p.interlaced || body[12] != 0
		if body[11] != 0 {
			return nil, fmt.Errorf("filter method %d, want 0", body[11])
		}
	case "PLTE":
		if p.mode == Indexed {
			p.palette = body
		}
	case "tRNS":
		switch p.mode {
		case Indexed:
			p.alpha = body
		case Bilevel, Gray, Gray16, RGB:
			if n < 2 || n < 6 && p.mode == RGB {
				return nil, short()
			}
		}
	case "acTL":
		if p.frames > 0 { // the second one
			p.frames = 0
		} else if n := u32(0); n <= 1<<31 {
			p.frames = n
		}
	case "fcTL":
		if err := p.follows(body); err != nil {
			return nil, err
		}
		w, h, x, y := size(u32(4)), size(u32(8)), size(u32(12)), size(u32(16))
		if x > p.width-w || y > p.height-h {
			return nil, fmt.Errorf("frame of %dx%d at %d,%d in a picture of %dx%d", w, h, x, y, p.width, p.height)
		}
		p.window, p.windowed = image.Rect(x, y, x+w, y+h), true
	case "iCCP":
		name := bytes.IndexByte(body, 0)
		if n < name+2 {
			return nil, short()
		}
		if body[name+1] != 0 {
			return nil, fmt.Errorf("colour profile of compression %d, want 0", body[name+1])
		}
		if n, err = pngInflated(kind, body[name+2:]); err == nil {
			err = p.texts(n) // Pillow does not count them, who may be many
		}
	case "tEXt":
		_, v, _ := bytes.Cut(body, []byte{0})
		err = p.texts(len(v))
	case "zTXt":
		_, v, _ := bytes.Cut(body, []byte{0})
		if len(v) == 0 {
			break
		}
		if v[0] != 0 {
			return nil, fmt.Errorf("text of compression %d, want 0", v[0])
		}
		if n, err = pngInflated(kind, v[1:]); err == nil {
			err = p.texts(n)
		}
	case "iTXt":
		_, v, _ := bytes.Cut(body, []byte{0})
		if len(v) < 2 {
			break
		}
		if parts := bytes.SplitN(v[2:], []byte{0}, 3); len(parts) == 3 {
			n = len(parts[2])
			if v[0] != 0 && v[1] == 0 {
				n, err = pngInflated(kind, parts[2])
			}
			if err == nil {
				err = p.texts(n)
			}
		}
	}
	return body, err
}

// follows checks that a chunk of an animation begins with the next number.
func (p *pngFile) follows(b []byte) error {
	if len(b) < 4 {
		return io.ErrUnexpectedEOF
	}
	if got := binary.BigEndian.Uint32(b); got != p.sequence {
		return fmt.Errorf("frame chunk number %d, want %d", got, p.sequence)
	}
	p.sequence++
	return nil
}

func (p *pngFile) texts(n int) error {
	if p.text += n; p.text > pngMaxText {
		return fmt.Errorf("%d bytes of text, want at most %d, as Pillow takes", p.text, pngMaxText)
	}
	return nil
}

// pngInflated returns how many bytes of text or profile there are; what is damaged has none.
func pngInflated(kind string, b []byte) (int, error) {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return 0, nil
	}
	n, err := io.Copy(io.Discard, io.LimitReader(z, pngSafeBlock+1))
	if n > pngSafeBlock {
		return 0, fmt.Errorf("chunk %s of more than %d bytes, as Pillow takes", kind, pngSafeBlock)
	}
	if err != nil {
		return 0, nil
	}
	return int(n), nil
}

// part moves on to the next part of the pixels' bytes. Where there is none, it stays behind the last.
func (p *pngFile) part() error {
	for from := p.pos; p.left == 0; {
		p.take(4) // the checksum, which does not count
		kind, n, err := p.chunk()
		switch {
		case err != nil:
		case kind == "IDAT" || kind == "DDAT":
			p.left = n
		case kind == "fdAT":
			if _, err = p.understand(kind, n); errors.Is(err, errPNGPixels) {
				err = nil
			}
		default:
			err = io.ErrUnexpectedEOF
		}
		if err == nil && p.left > 0 && p.pos == len(p.data) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			p.pos, p.end, p.left = from, from, 0
			return err
		}
	}
	n := min(p.left, pngPart)
	p.left -= n
	if p.end = min(p.pos+n, len(p.data)); p.end == p.pos {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// ReadByte implements [io.ByteReader], so that flate takes no byte more than it needs.
func (p *pngFile) ReadByte() (byte, error) {
	if p.pos >= p.end {
		if err := p.part(); err != nil {
			return 0, err
		}
	}
	p.pos++
	return p.data[p.pos-1], nil
}

// Read implements [io.Reader].
func (p *pngFile) Read(b []byte) (int, error) {
	if p.pos >= p.end {
		if err := p.part(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.data[p.pos:p.end])
	p.pos += n
	return n, nil
}

// pngPass is one of the pictures that an interlaced one consists of.
type pngPass struct{ x, y, dx, dy int }

var pngPasses = []pngPass{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}

// pixels fills the window of m. Data that end between two rows leave the rest black, as they do in Pillow.
// Source: Pillow, src/libImaging/ZipDecode.c.
func (p *pngFile) pixels(m *Image, window image.Rectangle) error {
	p.end = p.pos
	var head [2]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		return err
	}
	if head[0]&15 != 8 || head[0]>>4 > 7 || binary.BigEndian.Uint16(head[:])%31 != 0 || head[1]&0x20 != 0 {
		return fmt.Errorf("pixels begin with %#x, which is not zlib's header", head)
	}
	passes := pngPasses
	if !p.interlaced {
		passes = []pngPass{{window.Min.X, window.Min.Y, 1, 1}}
	}
	z, sum := flate.NewReader(p), adler32.New()
	bits := p.depth * pngSamples[p.colour]
	before, row := make([]byte, 1+(window.Dx()*bits+7)/8), make([]byte, 1+(window.Dx()*bits+7)/8)
	any := false // row is there
	for _, pass := range passes {
		columns, rows := ceil(max(window.Dx()-pass.x, 0), pass.dx), ceil(max(window.Dy()-pass.y, 0), pass.dy)
		if !p.interlaced {
			columns, rows = window.Dx(), window.Dy()
		}
		if columns == 0 {
			continue
		}
		n := 1 + (columns*bits+7)/8
		before, row = before[:n], row[:n]
		clear(before)
		for y := range rows {
			if k, err := io.ReadFull(z, row); err == io.EOF { // the stream ends before the row
				if ok, err := p.sum(sum.Sum32()); !ok || err != nil || !any {
					return errors.Join(err, io.ErrUnexpectedEOF)
				}
				return nil
			} else if err != nil {
				return fmt.Errorf("row %d, %d bytes of %d: %w", y, k, n, err)
			}
			sum.Write(row)
			if row[0] > 4 {
				return fmt.Errorf("row %d by filter %d, want at most 4", y, row[0])
			}
			pngUnfilter(row[0], row[1:], before[1:], (bits+7)/8)
			p.unpack(m, row[1:], pass.x, pass.y+y*pass.dy, columns, pass.dx)
			before, row, any = row, before, true
		}
	}
	// zlib goes on up to the next byte: a checksum, or nonsense, in its way is an error.
	var one [1]byte
	switch n, err := z.Read(one[:]); {
	case n > 0:
	case err == io.EOF:
		_, err := p.sum(sum.Sum32())
		return err
	case errors.As(err, new(flate.CorruptInputError)):
		return err
	}
	return nil
}

// sum compares the checksum behind the pixels, if there is one in this part of the file.
func (p *pngFile) sum(got uint32) (ok bool, err error) {
	if p.end-p.pos < 4 {
		return false, nil
	}
	if want := binary.BigEndian.Uint32(p.take(4)); got != want {
		return false, fmt.Errorf("pixels with checksum %#x, want %#x", want, got)
	}
	return true, nil
}

// pngUnfilter undoes a row's filter, given the row before and the bytes of a pixel. Source: PNG, third edition, 9.2.
func pngUnfilter(filter byte, row, before []byte, size int) {
	before = before[:len(row)]
	switch filter {
	case 1:
		for i := size; i < len(row); i++ {
			row[i] += row[i-size]
		}
	case 2:
		for i, v := range before {
			row[i] += v
		}
	case 3:
		for i := range row {
			if i < size {
				row[i] += before[i] / 2
			} else {
				row[i] += byte((int(row[i-size]) + int(before[i])) / 2)
			}
		}
	case 4:
		for first := range min(size, len(row)) {
			a, c := 0, 0 // to the left, and above that
			for i := first; i < len(row); i += size {
				b := int(before[i])
				toA, toB := b-c, a-c
				toC := toA + toB
				toA, toB, toC = max(toA, -toA), max(toB, -toB), max(toC, -toC)
				near := a
				if toA > toB || toA > toC {
					if near = c; toB <= toC {
						near = b
					}
				}
				a, c = int(row[i]+byte(near)), b
				row[i] = byte(a)
			}
		}
	}
}

// unpack writes a row of n pixels to m at x, y; each is step pixels from the last.
func (p *pngFile) unpack(m *Image, row []byte, x, y, n, step int) {
	size := modes[m.Mode]
	out := m.Pix[(y*m.Width+x)*size : (y+1)*m.Width*size]
	if p.depth < 8 {
		factor := byte(1)
		switch m.Mode {
		case Bilevel:
			factor = 255
		case Gray:
			factor = 255 / (1<<p.depth - 1)
		}
		mask := byte(1<<p.depth - 1)
		for i := range n {
			out[i*step] = row[i*p.depth/8] >> (8 - p.depth - i*p.depth%8) & mask * factor
		}
		return
	}
	if p.depth == 8 && step == 1 {
		copy(out, row[:n*size])
		return
	}
	for i := range n {
		to := out[i*step*size:][:size]
		switch {
		case p.depth == 8:
			copy(to, row[i*size:])
		case m.Mode == Gray16:
			to[0], to[1] = row[2*i+1], row[2*i]
		case p.colour == 4:
			v := row[4*i]
			to[0], to[1], to[2], to[3] = v, v, v, row[4*i+2]
		default:
			for c := range to {
				to[c] = row[2*(i*size+c)]
			}
		}
	}
}

// sizePNG reads the last header before the pixels, as far as the file goes.
func sizePNG(data []byte) (width, height int, err error) {
	p := &pngFile{data: data, pos: min(8, len(data))}
	for known := false; ; {
		kind, n, err := p.chunk()
		if err != nil || known && (kind == "IDAT" || kind == "fdAT") || kind == "IEND" {
			if width == 0 && err == nil {
				err = errors.New("no header")
			}
			if width > 0 {
				err = nil
			}
			return width, height, err
		}
		if body := p.take(n); kind == "IHDR" && len(body) >= 8 {
			width, height = size(binary.BigEndian.Uint32(body)), size(binary.BigEndian.Uint32(body[4:]))
			known = known || len(body) >= 10 && pngModes[[2]int{int(body[8]), int(body[9])}] != ""
		}
		p.take(4)
	}
}
