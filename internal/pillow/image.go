package pillow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
)

// Mode is Pillow's name of a pixel format.
type Mode string

// The modes that decoding, resizing and conversion can give.
const (
	Bilevel   Mode = "1"     // one byte, 0 or 255
	Gray      Mode = "L"     // one byte
	GrayAlpha Mode = "LA"    // grey, alpha
	GrayPre   Mode = "La"    // grey premultiplied by alpha, alpha
	Indexed   Mode = "P"     // index into Palette
	RGB       Mode = "RGB"   // three bytes
	RGBA      Mode = "RGBA"  // three bytes, alpha
	RGBPre    Mode = "RGBa"  // three bytes premultiplied by alpha, alpha
	CMYK      Mode = "CMYK"  // four bytes, 0 is no ink
	Gray16    Mode = "I;16"  // 16 bits, little endian
	Gray16BE  Mode = "I;16B" // 16 bits, big endian
	Int32     Mode = "I"     // 32 bits with sign, little endian
	Float32   Mode = "F"     // IEEE 754, 32 bits, little endian
)

// modes gives the bytes of one pixel.
var modes = map[Mode]int{
	Bilevel: 1, Gray: 1, GrayAlpha: 2, GrayPre: 2, Indexed: 1, RGB: 3, RGBA: 4, RGBPre: 4,
	CMYK: 4, Gray16: 2, Gray16BE: 2, Int32: 4, Float32: 4,
}

// Image is a picture in one of Pillow's modes. It implements [image.Image].
type Image struct {
	Mode          Mode
	Width, Height int    // pixels
	Pix           []byte // samples interleaved, row by row, without padding
	Palette       []byte // mode "P": 256 entries of red, green, blue, alpha; alpha matters to At and OnWhite only
	Key           []byte // the pixel that is transparent in modes "1", "L" and "RGB", which matters to OnWhite only; nil if none is
	Orientation   int    // as EXIF counts it, 2 to 8 for a picture that Upright turns; 0 and 1 say nothing
}

// New returns an image of zeros.
func New(mode Mode, width, height int) (*Image, error) {
	n, ok := modes[mode]
	if !ok {
		return nil, fmt.Errorf("pillow: unknown mode %q", mode)
	}
	if width < 0 || height < 0 || width > math.MaxInt32 || height > math.MaxInt32 || n*width > math.MaxInt/max(height, 1) {
		return nil, fmt.Errorf("pillow: size %dx%d, want both sides in 0..%d", width, height, math.MaxInt32)
	}
	return newImage(mode, width, height), nil
}

// newImage is New for a mode and a size that are known to be good.
func newImage(mode Mode, width, height int) *Image {
	return &Image{Mode: mode, Width: width, Height: height, Pix: make([]byte, modes[mode]*width*height)}
}

// check says whether m's fields agree: an Image can be made by hand.
func (m *Image) check() error {
	n, ok := modes[m.Mode]
	if !ok {
		return fmt.Errorf("pillow: unknown mode %q", m.Mode)
	}
	if err := checkSize(m.Width, m.Height); len(m.Pix) == 0 && errors.Is(err, ErrTooLarge) { // as FromImage leaves it
		return fmt.Errorf("pillow: %w", err)
	}
	if m.Width < 0 || m.Height < 0 || m.Width > math.MaxInt32 || m.Height > math.MaxInt32 {
		return fmt.Errorf("pillow: size %dx%d, want both sides in 0..%d", m.Width, m.Height, math.MaxInt32)
	}
	if len(m.Pix)/n/max(m.Width, 1) < m.Height && m.Width > 0 || len(m.Pix) != n*m.Width*m.Height { // the first, lest the second overflow
		return fmt.Errorf("pillow: %d bytes of pixels for %dx%d of mode %q, want %d a pixel", len(m.Pix), m.Width, m.Height, m.Mode, n)
	}
	if m.Mode == Indexed && len(m.Palette) != 4*256 {
		return fmt.Errorf("pillow: palette of %d bytes, want %d", len(m.Palette), 4*256)
	}
	return nil
}

// ColorModel implements [image.Image].
func (m *Image) ColorModel() color.Model {
	switch m.Mode {
	case Bilevel, Gray:
		return color.GrayModel
	case Gray16, Gray16BE, Int32, Float32:
		return color.Gray16Model
	case CMYK:
		return color.CMYKModel
	case RGB, GrayPre, RGBPre:
		return color.RGBAModel
	}
	return color.NRGBAModel
}

// Bounds implements [image.Image]; the origin is 0,0.
func (m *Image) Bounds() image.Rectangle { return image.Rect(0, 0, m.Width, m.Height) }

// At implements [image.Image]. Modes "I" and "F" are clipped to 16 bits.
func (m *Image) At(x, y int) color.Color {
	if !(image.Point{x, y}).In(m.Bounds()) {
		return m.ColorModel().Convert(color.Transparent)
	}
	n := modes[m.Mode]
	if at := (y*m.Width + x + 1) * n; at > len(m.Pix) || m.Mode == Indexed && len(m.Palette) < 4*256 {
		return m.ColorModel().Convert(color.Transparent) // check would refuse m
	}
	p := m.Pix[(y*m.Width+x)*n:][:n]
	switch m.Mode {
	case Bilevel, Gray:
		return color.Gray{p[0]}
	case GrayAlpha:
		return color.NRGBA{p[0], p[0], p[0], p[1]}
	case GrayPre:
		return color.RGBA{p[0], p[0], p[0], p[1]}
	case Indexed:
		c := m.Palette[4*int(p[0]):][:4]
		return color.NRGBA{c[0], c[1], c[2], c[3]}
	case RGB:
		return color.RGBA{p[0], p[1], p[2], 255}
	case RGBA:
		return color.NRGBA{p[0], p[1], p[2], p[3]}
	case RGBPre:
		return color.RGBA{p[0], p[1], p[2], p[3]}
	case CMYK:
		return color.CMYK{p[0], p[1], p[2], p[3]}
	case Gray16:
		return color.Gray16{binary.LittleEndian.Uint16(p)}
	case Gray16BE:
		return color.Gray16{binary.BigEndian.Uint16(p)}
	case Int32:
		v := int32(binary.LittleEndian.Uint32(p))
		return color.Gray16{uint16(min(max(v, 0), math.MaxUint16))}
	case Float32:
		v := math.Float32frombits(binary.LittleEndian.Uint32(p))
		if !(v > 0) { // NaN too
			return color.Gray16{}
		}
		return color.Gray16{uint16(min(v, math.MaxUint16))}
	}
	return color.Transparent
}

// Crop returns the window of width by height pixels whose corner is at x, y, as PIL.Image.crop
// does: what lies outside m is zero. A size below zero counts as zero.
func (m *Image) Crop(x, y, width, height int) *Image {
	width, height = max(width, 0), max(height, 0)
	out := newImage(m.Mode, width, height)
	out.Palette = m.Palette
	n := modes[m.Mode]
	if m.check() != nil {
		return out
	}
	in := image.Rect(x, y, x+width, y+height).Intersect(m.Bounds())
	for row := in.Min.Y; row < in.Max.Y; row++ {
		copy(out.Pix[((row-y)*width+in.Min.X-x)*n:], m.Pix[(row*m.Width+in.Min.X)*n:(row*m.Width+in.Max.X)*n])
	}
	return out
}
