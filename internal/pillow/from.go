package pillow

import (
	"encoding/binary"
	"image"
	"image/color"
)

// FromImage brings an image from elsewhere into the mode that Pillow would hold it in: grey is "L" or "I;16",
// a palette "P", opaque colour and YCbCr "RGB" (chroma interpolated as libjpeg does), ink "CMYK", the rest "RGBA".
// Samples of 16 bits in colour keep their high byte, premultiplied colour is divided by alpha. An *Image is
// returned as it is. An image of more than MaxPixels comes back without pixels; every method refuses it.
func FromImage(src image.Image) *Image {
	if m, ok := src.(*Image); ok {
		return m
	}
	b := src.Bounds()
	w, h := b.Dx(), b.Dy()
	if checkSize(w, h) != nil {
		return &Image{Mode: RGB, Width: max(w, 0), Height: max(h, 0)}
	}
	switch src := src.(type) {
	case *image.Gray:
		return packed(Gray, b, src.Pix, src.Stride, 1)
	case *image.NRGBA:
		return packed(RGBA, b, src.Pix, src.Stride, 4)
	case *image.CMYK:
		return packed(CMYK, b, src.Pix, src.Stride, 4)
	case *image.RGBA:
		if src.Opaque() {
			return thinned(RGB, b, src.Pix, src.Stride, 4, 0, 1, 2)
		}
	case *image.Gray16:
		return thinned(Gray16, b, src.Pix, src.Stride, 2, 1, 0)
	case *image.NRGBA64:
		return thinned(RGBA, b, src.Pix, src.Stride, 8, 0, 2, 4, 6)
	case *image.RGBA64:
		if src.Opaque() {
			return thinned(RGB, b, src.Pix, src.Stride, 8, 0, 2, 4)
		}
	case *image.Paletted:
		m := packed(Indexed, b, src.Pix, src.Stride, 1)
		m.Palette = newPalette(src.Palette)
		return m
	case *image.YCbCr:
		if m := fromYCbCr(src); m != nil {
			return m
		}
	case *image.NYCbCrA:
		if m := fromYCbCr(&src.YCbCr); m != nil {
			out := newImage(RGBA, w, h)
			for y := range h {
				alpha := src.A[src.AOffset(b.Min.X, b.Min.Y+y):]
				for x := range w {
					i := y*w + x
					copy(out.Pix[4*i:], m.Pix[3*i:3*i+3])
					out.Pix[4*i+3] = alpha[x]
				}
			}
			return out
		}
	}
	m := newImage(RGBA, w, h)
	opaque := true
	for y := range h {
		for x := range w {
			c := color.NRGBA64Model.Convert(src.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA64)
			copy(m.Pix[4*(y*w+x):], []byte{byte(c.R >> 8), byte(c.G >> 8), byte(c.B >> 8), byte(c.A >> 8)})
			opaque = opaque && c.A == 0xffff
		}
	}
	if opaque {
		m, _ = m.RGB()
	}
	return m
}

// packed copies rows of n bytes a pixel.
func packed(mode Mode, b image.Rectangle, pix []byte, stride, n int) *Image {
	m := newImage(mode, b.Dx(), b.Dy())
	for y := range m.Height {
		copy(m.Pix[y*m.Width*n:(y+1)*m.Width*n], pix[y*stride:])
	}
	return m
}

// thinned takes of each n bytes of a pixel those at the given places.
func thinned(mode Mode, b image.Rectangle, pix []byte, stride, n int, places ...int) *Image {
	m := newImage(mode, b.Dx(), b.Dy())
	o := 0
	for y := range m.Height {
		row := pix[y*stride:][:m.Width*n]
		for ; len(row) > 0; row = row[n:] {
			for _, p := range places {
				m.Pix[o] = row[p]
				o++
			}
		}
	}
	return m
}

// newPalette returns colours in the form of Image.Palette; the entries without a colour are black.
func newPalette(colours []color.Color) []byte {
	p := make([]byte, 4*256)
	for i := range 256 {
		p[4*i+3] = 255
	}
	for i, c := range colours[:min(len(colours), 256)] {
		n := color.NRGBA64Model.Convert(c).(color.NRGBA64)
		if c, ok := c.(color.NRGBA); ok { // keeps the colour of transparent entries
			copy(p[4*i:], []byte{c.R, c.G, c.B, c.A})
			continue
		}
		copy(p[4*i:], []byte{byte(n.R >> 8), byte(n.G >> 8), byte(n.B >> 8), byte(n.A >> 8)})
	}
	return p
}

// fromYCbCr returns src as libjpeg makes it RGB, or nil if its coordinates are below zero or
// its subsampling is unknown.
func fromYCbCr(src *image.YCbCr) *Image {
	ratio := map[image.YCbCrSubsampleRatio]image.Point{
		image.YCbCrSubsampleRatio444: {1, 1}, image.YCbCrSubsampleRatio422: {2, 1}, image.YCbCrSubsampleRatio420: {2, 2},
		image.YCbCrSubsampleRatio440: {1, 2}, image.YCbCrSubsampleRatio411: {4, 1}, image.YCbCrSubsampleRatio410: {4, 2},
	}[src.SubsampleRatio]
	b := src.Rect
	if ratio.X == 0 || b.Min.X < 0 || b.Min.Y < 0 {
		return nil
	}
	// A part of an image may start amid the pixels of one chroma sample.
	x0, y0 := b.Min.X%ratio.X, b.Min.Y%ratio.Y
	chroma := func(pix []byte) *upsampler {
		return newUpsampler(plane{pix, src.CStride, (x0 + b.Dx() + ratio.X - 1) / ratio.X, (y0 + b.Dy() + ratio.Y - 1) / ratio.Y}, ratio.X, ratio.Y)
	}
	cb, cr := chroma(src.Cb), chroma(src.Cr)
	m := newImage(RGB, b.Dx(), b.Dy())
	for y := range m.Height {
		luma, cb, cr := src.Y[y*src.YStride:][:m.Width], cb.at(y0 + y)[x0:], cr.at(y0 + y)[x0:]
		yccRow(m.Pix[3*y*m.Width:], luma, cb, cr)
	}
	return m
}

// bigEndian16 turns samples of 16 bits around in place.
func bigEndian16(pix []byte) {
	for i := 0; i+1 < len(pix); i += 2 {
		binary.BigEndian.PutUint16(pix[i:], binary.LittleEndian.Uint16(pix[i:]))
	}
}
