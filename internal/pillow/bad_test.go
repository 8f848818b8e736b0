package pillow

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/jpeg"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// allocated returns the bytes that do allocates.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// pngHead is a PNG's signature and IHDR.
func pngHead(w, h uint32, depth, colour byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"), w)
	b = append(binary.BigEndian.AppendUint32(b, h), depth, colour, 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[12:]))
}

// jpegHead is a JPEG up to a scan without data.
func jpegHead(w, h uint16) []byte {
	b := append([]byte("\xff\xd8\xff\xdb\x00\x43\x00"), bytes.Repeat([]byte{1}, 64)...)
	b = append(b, "\xff\xc4\x00\x14\x00\x01"+strings.Repeat("\x00", 15)+"\x00\xff\xc4\x00\x14\x10\x01"+strings.Repeat("\x00", 15)+"\x00"...)
	b = binary.BigEndian.AppendUint16(append(b, "\xff\xc0\x00\x0b\x08"...), h)
	b = binary.BigEndian.AppendUint16(b, w)
	return append(b, "\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00\xff\xd9"...)
}

func bmpHead(w, h uint32, bits uint16) []byte {
	b := append([]byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00"), make([]byte, 36)...)
	binary.LittleEndian.PutUint32(b[18:], w)
	binary.LittleEndian.PutUint32(b[22:], h)
	binary.LittleEndian.PutUint16(b[28:], bits)
	return b
}

func gifHead(w, h uint16) []byte {
	size := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, w), h)
	return slices.Concat([]byte("GIF89a"), size, []byte("\x00\x00\x00,\x00\x00\x00\x00"), size, []byte("\x00\x08\x01\x00\x00;"))
}

func webpHead(w, h int) []byte {
	v := uint32(w-1) | uint32(h-1)<<14
	return binary.LittleEndian.AppendUint32([]byte("RIFF\x11\x00\x00\x00WEBPVP8L\x05\x00\x00\x00\x2f"), v)
}

func tiffHead(w, h uint32) []byte {
	b := []byte("II*\x00\x08\x00\x00\x00\x08\x00")
	for _, tag := range [][2]uint32{{256, w}, {257, h}, {258, 8}, {259, 1}, {262, 1}, {273, 8}, {278, h}, {279, 100}} {
		b = binary.LittleEndian.AppendUint32(b, tag[0]|4<<16)
		b = binary.LittleEndian.AppendUint32(b, 1)
		b = binary.LittleEndian.AppendUint32(b, tag[1])
	}
	return append(b, 0, 0, 0, 0)
}

// TestBadFiles wants a clear error, and little memory, for what is no picture.
func TestBadFiles(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want string // part of the error
	}{
		{"empty", nil, "pillow: empty file"},
		{"TGA", []byte("\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x61\x00\x47\x00\x18\x00"), "pillow: not an image"},
		{"CUR", []byte("\x00\x00\x02\x00\x01\x00\x20\x20\x00\x00\x00\x00\x00\x00\x00\x00\x16\x00"), "CUR is not supported"},
		{"TIFF of L*a*b*", tiffOf(map[uint32]uint32{258: 8, 262: 8, 277: 3}, make([]byte, 300)), "L*a*b* colours (photometric 8) are not supported, convert"},
		{"text", []byte("hello, world, I am not an image"), "pillow: not an image"},
		{"one byte", []byte{0xff}, "pillow: not an image"},
		{"JPEG signature", []byte("\xff\xd8\xff"), "pillow: JPEG: the file is cut short"},
		{"PNG signature", []byte("\x89PNG\r\n\x1a\n"), "pillow: PNG: the file is cut short"},
		{"GIF signature", []byte("GIF89a"), "pillow: GIF: the file is cut short"},
		{"WebP signature", []byte("RIFF\xff\x00\x00\x00WEBP"), "pillow: WebP: the file is cut short"},
		{"TIFF signature", []byte("II*\x00"), "pillow: TIFF: the file is cut short"},
		{"BMP signature", []byte("BM"), "pillow: BMP: the file is cut short"},
		{"PNG of 1e9 pixels", pngHead(100000, 10000, 8, 2), "pixels"},
		{"PNG of 2^62 pixels", pngHead(1<<31-1, 1<<31-1, 16, 6), "pixels"},
		{"PNG without pixels", pngHead(0, 5, 8, 2), "want at least 1x1"},
		{"PNG that claims more than it holds", pngHead(13000, 13000, 16, 6), "its header claims"},
		{"JPEG of 4e9 pixels", jpegHead(65535, 65535), "pixels"},
		{"JPEG without rows", jpegHead(100, 0), "want at least 1x1"},
		{"JPEG that claims more than it holds", jpegHead(13000, 13000), "its header claims"},
		{"GIF of 4e9 pixels", gifHead(65535, 65535), "pixels"},
		{"GIF that claims more than it holds", gifHead(13000, 13000), "its header claims"},
		{"BMP of 1e9 pixels", bmpHead(1e9, 1, 24), "pixels"},
		{"BMP of 2^64 pixels", bmpHead(1<<32-1, 1<<31-1, 24), "pixels"},
		{"BMP that claims more than it holds", bmpHead(13000, 13000, 24), "cut short"},
		{"WebP of 2.7e8 pixels", webpHead(16384, 16384), "pixels"},
		{"TIFF of 1e9 pixels", tiffHead(1e5, 1e4), "pixels"},
		{"TIFF of 2^64 pixels", tiffHead(1<<32-1, 1<<32-1), "pixels"},
		{"TIFF that claims more than it holds", tiffHead(13000, 13000), "its header claims"},
		{"lossless arithmetic JPEG", []byte("\xff\xd8\xff\xcb\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00\xff\xd9"), "arithmetic-coded JPEG is not supported"},
		{"JPEG of 12 bits", []byte("\xff\xd8\xff\xc1\x00\x0b\x0c\x00\x08\x00\x08\x01\x01\x11\x00\xff\xd9"), "JPEG of 12 bits is not supported"},
		{"JPEG of 2 components", []byte("\xff\xd8\xff\xc0\x00\x0e\x08\x00\x08\x00\x08\x02\x01\x11\x00\x02\x11\x00\xff\xd9"), "2 components, want 1, 3 or 4"},
		{"JPEG without a scan", []byte("\xff\xd8\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00\xff\xd9"), "no picture"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			if n := allocated(func() { _, err = Decode(bytes.NewReader(c.data)) }); n > 1<<20 {
				t.Errorf("%d bytes allocated, want at most 1 MiB", n)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "pillow: ") {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if m, err := Decode(bytes.NewReader(jpegHead(8, 8))); err != nil || m.Mode != Gray {
		t.Errorf("the small sister of the bad JPEGs: %v, %v", m, err)
	}
}

// TestTruncated cuts every fixture. Half a file is an error, but for those whose second half is
// something that the picture does without.
func TestTruncated(t *testing.T) {
	spare := map[string]bool{
		"exif-orientation.jpg": false, "animated.gif": true, "animated.png": false,
		"odd-frame-none.png": true, "odd-frame-window.png": true,
		// Pillow, too, fills in the rest of these.
		"odd-arithmetic-conditioning.jpg": true, "odd-restart-0-comment.jpg": true, "odd-restart-interval-none.jpg": true,
		"random.qoi": true, // runs of pixels, more than there is room for
	}
	files := readZip(t, "files.zip")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := files[name]
		for n := range len(data) {
			if n > 64 && n%(len(data)/16+1) != 0 && n != len(data)/2 {
				continue
			}
			m, err := Decode(bytes.NewReader(data[:n]))
			if err != nil && !strings.HasPrefix(err.Error(), "pillow: ") {
				t.Errorf("%s cut to %d: %v", name, n, err)
			}
			if err == nil && m.check() != nil {
				t.Errorf("%s cut to %d: %v", name, n, m.check())
			}
			if n == len(data)/2 && err == nil && !spare[name] {
				t.Errorf("%s cut to %d of %d: no error", name, n, len(data))
			}
		}
	}
}

// tiffOf returns a TIFF of 10x10 pixels with a strip of the given bytes.
func tiffOf(tags map[uint32]uint32, strip []byte) []byte {
	all := map[uint32]uint32{256: 10, 257: 10, 258: 8, 259: 1, 262: 1, 278: 10, 279: uint32(len(strip))}
	maps.Copy(all, tags)
	all[273] = uint32(8 + 2 + 12*(len(all)+1) + 4)
	b := binary.LittleEndian.AppendUint16([]byte("II*\x00\x08\x00\x00\x00"), uint16(len(all)))
	for _, tag := range slices.Sorted(maps.Keys(all)) {
		for _, v := range []uint32{tag | 4<<16, 1, all[tag]} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	return append(append(b, 0, 0, 0, 0), strip...)
}

// TestTIFFTags: a tag that is not read may have any number of bytes, as that of Photoshop's layers has, and tags that share
// theirs do not take memory each.
func TestTIFFTags(t *testing.T) {
	const most, entries = 1 << 23, 4000
	plain := tiffOf(nil, make([]byte, 100))
	old := int(binary.LittleEndian.Uint16(plain[8:]))
	b := binary.LittleEndian.AppendUint32([]byte("II*\x00"), uint32(len(plain))) // another directory behind the first
	b = append(b, plain[8:]...)
	b = binary.LittleEndian.AppendUint16(b, uint16(old+entries))
	b = append(b, plain[10:10+12*old]...)
	for i := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(37724+i))
		b = binary.LittleEndian.AppendUint16(b, 7)
		b = binary.LittleEndian.AppendUint32(b, most)
		b = binary.LittleEndian.AppendUint32(b, 0)
	}
	b = append(b, make([]byte, most)...)
	m, err := Decode(bytes.NewReader(b))
	if err != nil || m.Width != 10 || m.Height != 10 {
		t.Errorf("%v, %v", m, err)
	}
}

// TestTIFFTables: tables that all pieces share count for each: else work would be the square of the file.
func TestTIFFTables(t *testing.T) {
	comment := append([]byte{0xff, jpegCOM, 0xff, 0xff}, make([]byte, 0xfffd)...)
	tables := slices.Concat([]byte{0xff, jpegSOI}, bytes.Repeat(comment, 16), []byte{0xff, jpegEOI})
	var piece bytes.Buffer
	if err := jpeg.Encode(&piece, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		t.Fatal(err)
	}
	const pieces = 4096
	f := &tiffFile{
		data: slices.Concat(piece.Bytes(), tables), order: binary.LittleEndian, jpeg: tables,
		width: 8, height: 8 * pieces, compression: 7, photometric: tiffBlackIsZero, samples: 1, bits: 8, mode: Gray, predictor: 1,
		tags: map[int][]int{tiffRowsPerStrip: {8}, tiffStrips: make([]int, pieces), tiffStripBytes: slices.Repeat([]int{piece.Len()}, pieces)},
	}
	if err := f.pixels(newImage(Gray, f.width, f.height)); err == nil || !strings.Contains(err.Error(), "over and over") {
		t.Errorf("error is %v", err)
	}
	f.jpeg = f.jpeg[:0]
	f.data = append(f.data, make([]byte, pieces*piece.Len()/16)...)
	if err := f.pixels(newImage(Gray, f.width, f.height)); err != nil {
		t.Errorf("without tables: %v", err)
	}
}

// TestTIFFDeflate: zlib looks at the checksum, if the stream ends with the strip and has one. Values of Pillow 13.0.0.
func TestTIFFDeflate(t *testing.T) {
	deflated := func(n int) []byte {
		var b bytes.Buffer
		z := zlib.NewWriter(&b)
		z.Write(bytes.Repeat([]byte{7, 8, 9, 10, 11}, n/5+1)[:n])
		z.Close()
		return b.Bytes()
	}
	wrong := func(b []byte) []byte {
		b[len(b)-1] ^= 1
		return b
	}
	for _, c := range []struct {
		name  string
		strip []byte
		ok    bool
	}{
		{"whole", deflated(100), true},
		{"wrong checksum", wrong(deflated(100)), false},
		{"a byte more", deflated(101), true},
		{"a byte more, wrong checksum", wrong(deflated(101)), true},
		{"no checksum", deflated(100)[:len(deflated(100))-4], true},
		{"a byte less", deflated(99), false},
	} {
		if _, err := Decode(bytes.NewReader(tiffOf(map[uint32]uint32{259: 8}, c.strip))); (err == nil) != c.ok {
			t.Errorf("%s: error %v, want one: %v", c.name, err, !c.ok)
		}
	}
}

// TestReader wants errors of the reader passed on, and short reads not to matter.
func TestReader(t *testing.T) {
	data := readZip(t, "files.zip")["420.jpg"]
	if _, err := Decode(iotest.OneByteReader(bytes.NewReader(data))); err != nil {
		t.Error(err)
	}
	broken := errors.New("broken disk")
	for _, n := range []int{0, 5, 100} {
		_, err := Decode(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v, want %v", n, err, broken)
		}
	}
	if _, err := readAll(bytes.NewReader(data), 0, int64(len(data)-1)); !errors.Is(err, ErrTooLarge) {
		t.Error("no error beyond the limit")
	}
	if b, err := readAll(bytes.NewReader(data), 1, int64(len(data))); err != nil || len(b) != len(data) {
		t.Errorf("%d bytes, %v at the limit", len(b), err)
	}
}

// TestExtremeShapes wants memory that follows the square: 20000x10 resized whole to a shorter side of 336 would be
// 672000x336.
func TestExtremeShapes(t *testing.T) {
	for _, size := range [][2]int{{20000, 10}, {10, 20000}, {1, 1}, {1, 60000}, {60000, 1}, {1000000, 2}} {
		m := formula(size[0], size[1], 3)
		n := allocated(func() {
			out, err := m.CLIP(336)
			if err != nil {
				t.Fatal(err)
			}
			if out.Width != 336 || out.Height != 336 || len(out.Pix) != 336*336*3 {
				t.Errorf("%v: %dx%d", size, out.Width, out.Height)
			}
		})
		if n > 8<<20 {
			t.Errorf("%v: %d bytes allocated, want at most 8 MiB", size, n)
		}
	}
	if _, err := newImage(Gray, 100000000, 1).CLIP(336); err == nil || !strings.Contains(err.Error(), "x336, want both sides in 1..2147483647") {
		t.Errorf("resize beyond 32 bits: %v", err)
	}
}

// TestBadCalls wants errors, not panics.
func TestBadCalls(t *testing.T) {
	good := formula(5, 4, 3)
	for name, call := range map[string]func() (*Image, error){
		"resize to nothing":    func() (*Image, error) { return good.Resize(0, 5, Bicubic) },
		"resize below nothing": func() (*Image, error) { return good.Resize(5, -1, Bicubic) },
		"resize to 1e10":       func() (*Image, error) { return good.Resize(100000, 100000, Bicubic) },
		"resize to 1e18":       func() (*Image, error) { return good.Resize(1e9, 1e9, Nearest) },
		"large between passes": func() (*Image, error) { return newImage(Gray, 1, 1<<20).Resize(1<<20, 1<<20-1, Box) },
		"unknown filter":       func() (*Image, error) { return good.Resize(9, 9, Filter(9)) },
		"CLIP(0)":              func() (*Image, error) { return good.CLIP(0) },
		"CLIP of a million":    func() (*Image, error) { return good.CLIP(1e6) },
		"no mode":              func() (*Image, error) { return (&Image{Width: 1, Height: 1, Pix: []byte{1}}).RGB() },
		"too few samples":      func() (*Image, error) { return (&Image{Mode: RGB, Width: 2, Height: 2, Pix: []byte{1}}).CLIP(9) },
		"too many samples":     func() (*Image, error) { return (&Image{Mode: Gray, Width: 1, Height: 1, Pix: make([]byte, 2)}).RGB() },
		"sizes that overflow": func() (*Image, error) {
			return (&Image{Mode: Gray, Width: math.MaxInt32, Height: math.MaxInt32}).Resize(1, 1, Box)
		},
		"no palette":             func() (*Image, error) { return (&Image{Mode: Indexed, Width: 1, Height: 1, Pix: []byte{1}}).RGB() },
		"no pixels":              func() (*Image, error) { return (&Image{Mode: Gray}).CLIP(9) },
		"no pixels, resized":     func() (*Image, error) { return (&Image{Mode: Gray, Width: 4}).Resize(3, 3, Bicubic) },
		"New in an unknown mode": func() (*Image, error) { return New("XYZ", 1, 1) },
		"New below nothing":      func() (*Image, error) { return New(RGB, -1, 1) },
		"New of 2^62":            func() (*Image, error) { return New(RGB, 1<<31-1, 1<<31-1) },
	} {
		if m, err := call(); err == nil || m != nil || !strings.HasPrefix(err.Error(), "pillow: ") {
			t.Errorf("%s: %v, error %v", name, m, err)
		}
	}
}
