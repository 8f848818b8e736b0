package pillow

import (
	"bytes"
	"encoding/binary"
	"image"
	"maps"
	"slices"
	"testing"
)

// FuzzDecode calls the decoders without the net that catches panics, and uses what they give.
func FuzzDecode(f *testing.F) {
	files := readZip(f, "files.zip")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f.Add(files[name])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		for _, format := range formats {
			if !format.Decodes || !format.is(data) {
				continue
			}
			width, height, sizeErr := format.size(data)
			m, err := format.decode(data)
			if err != nil {
				return
			}
			if err := m.check(); err != nil {
				t.Fatal(err)
			}
			if sizeErr != nil || width != m.Width || height != m.Height {
				t.Fatalf("size by the header %dx%d, %v; decoded %dx%d", width, height, sizeErr, m.Width, m.Height)
			}
			if m.Width < 1 || m.Height < 1 || m.Width*m.Height > MaxPixels {
				t.Fatalf("size %dx%d", m.Width, m.Height)
			}
			m.At(m.Width-1, m.Height-1)
			if m.Width*m.Height > 1<<20 {
				return // nothing new, but slow
			}
			if _, err := m.CLIP(8); err != nil {
				t.Fatal(err)
			}
			return
		}
	})
}

// pictureFrom makes a picture of any mode out of any bytes.
func pictureFrom(data []byte, mode uint8, w, h int) *Image {
	names := slices.Sorted(maps.Keys(modes))
	m := newImage(names[int(mode)%len(names)], w, h)
	for i := range m.Pix {
		if len(data) > 0 {
			m.Pix[i] = data[i%len(data)]
		}
	}
	if m.Mode == Bilevel {
		for i, v := range m.Pix {
			m.Pix[i] = -(v & 1)
		}
	}
	if m.Mode == Indexed {
		m.Palette = newPalette(nil)
		copy(m.Palette, data)
	}
	return m
}

// same compares samples; which NaN it is does not count, processors differ there.
func same(a, b *Image) bool {
	if a.Mode != Float32 || len(a.Pix) != len(b.Pix) {
		return bytes.Equal(a.Pix, b.Pix)
	}
	for i := 0; i < len(a.Pix); i += 4 {
		v, w := binary.LittleEndian.Uint32(a.Pix[i:]), binary.LittleEndian.Uint32(b.Pix[i:])
		isNaN := func(v uint32) bool { return v&0x7fffffff > 0x7f800000 }
		if v != w && !(isNaN(v) && isNaN(w)) {
			return false
		}
	}
	return true
}

// FuzzResize compares with the naive version, and a window with a crop of the whole.
func FuzzResize(f *testing.F) {
	for mode := range uint8(len(modes)) {
		for filter := range uint8(4) {
			f.Add([]byte("\x00\xff\x80\x01\x7f\xfe\x10\xa0\x33\xc3\x42\x99\xff\xff\x00\x00\x7f"), mode, filter, uint8(23), uint8(17), uint8(9), uint8(31), uint16(0x1234))
			f.Add([]byte("\x05\xfa\xff\xff\xff\x00\x00\x00\x01\x80\x7f"), mode, filter, uint8(40), uint8(50), uint8(39), uint8(7), uint16(0xffff))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, mode, filter, w, h, W, H uint8, window uint16) {
		m := pictureFrom(data, mode, int(w)+1, int(h)+1)
		width, height := int(W)+1, int(H)+1
		kind := Filter(filter % 4)
		want := naiveResize(m, width, height, kind)
		got, err := m.Resize(width, height, kind)
		if err != nil {
			t.Fatal(err)
		}
		if got.Mode != m.Mode || got.Width != width || got.Height != height || !same(got, want) {
			t.Fatalf("%q %dx%d to %dx%d, filter %d: fast and naive differ", m.Mode, m.Width, m.Height, width, height, kind)
		}
		// Four bits each of the window's corner and size, in sixteenths.
		x, y := width*int(window>>12)/16, height*int(window>>8&15)/16
		win := image.Rect(x, y, x+(width-x)*int(window>>4&15+1)/16, y+(height-y)*int(window&15+1)/16)
		part, err := m.resizeWindow(width, height, kind, win)
		if err != nil {
			t.Fatal(err)
		}
		if crop := got.Crop(win.Min.X, win.Min.Y, win.Dx(), win.Dy()); !same(part, crop) {
			t.Fatalf("%q %dx%d to %dx%d, filter %d: window %v is not the crop", m.Mode, m.Width, m.Height, width, height, kind, win)
		}
	})
}

// FuzzCLIP compares with the steps one by one.
func FuzzCLIP(f *testing.F) {
	for mode := range uint8(len(modes)) {
		f.Add([]byte("\x00\xff\x80\x01\x7f\xfe\x10\xa0\x33\xc3\x42\x99"), mode, uint16(23), uint16(17), uint8(12))
		f.Add([]byte("\x01\x80\xff"), mode, uint16(1), uint16(300), uint8(5))
	}
	f.Fuzz(func(t *testing.T, data []byte, mode uint8, w, h uint16, size uint8) {
		width, height, side := int(w%512)+1, int(h%512)+1, int(size)%64+1
		m := pictureFrom(data, mode, width, height)
		W, H := ShortestEdge(width, height, side)
		resized, err := m.Resize(W, H, Bicubic)
		if err != nil {
			t.Fatal(err)
		}
		x, y := CenterCropOrigin(W, H, side)
		want, err := resized.Crop(x, y, side, side).RGB()
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.CLIP(side)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Pix, want.Pix) {
			t.Fatalf("%q %dx%d: CLIP(%d) is not resize, crop, convert", m.Mode, width, height, side)
		}
	})
}
