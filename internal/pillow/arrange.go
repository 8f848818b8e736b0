package pillow

import (
	"fmt"
	"image"
)

// Transpose returns m mirrored at the diagonal from its upper left corner, so that rows become columns, as
// PIL.Image.transpose(Image.TRANSPOSE) does. An image whose fields do not agree is an error.
// Source: Pillow, src/libImaging/Geometry.c, ImagingTranspose.
func (m *Image) Transpose() (*Image, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	out := newImage(m.Mode, m.Height, m.Width)
	out.Palette = m.Palette
	n := modes[m.Mode]
	const block = 32 // pixels: a block of rows and one of columns stay in the cache
	for top := 0; top < m.Height; top += block {
		for left := 0; left < m.Width; left += block {
			for y := top; y < min(top+block, m.Height); y++ {
				for x := left; x < min(left+block, m.Width); x++ {
					copy(out.Pix[(x*m.Height+y)*n:][:n], m.Pix[(y*m.Width+x)*n:])
				}
			}
		}
	}
	return out, nil
}

// Pad returns an image of width by height pixels of the given colour with m, of mode "RGB", on it, m's upper
// left corner at x, y: Image.new("RGB", (width, height), colour).paste(m, (x, y)), or torchvision's pad with
// fill. It is an error if m does not lie on it, has another mode, or the result is larger than MaxPixels.
func (m *Image) Pad(x, y, width, height int, colour [3]byte) (*Image, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if m.Mode != RGB {
		return nil, fmt.Errorf("pillow: padding an image of mode %q, want %q", m.Mode, RGB)
	}
	if x < 0 || y < 0 || width < 0 || height < 0 || width-x < m.Width || height-y < m.Height {
		return nil, fmt.Errorf("pillow: %dx%d pixels at %d,%d do not lie within %dx%d", m.Width, m.Height, x, y, width, height)
	}
	if int64(width) > MaxPixels || int64(height) > MaxPixels || int64(width)*int64(height) > MaxPixels {
		return nil, fmt.Errorf("pillow: padding %dx%d to %dx%d pixels, want at most %d", m.Width, m.Height, width, height, MaxPixels)
	}
	if x == 0 && y == 0 && width == m.Width && height == m.Height {
		return m, nil
	}
	out := newImage(RGB, width, height)
	line := make([]byte, 3*width)
	for i := 0; i < len(line); i += 3 {
		copy(line[i:], colour[:])
	}
	for row := range height {
		to := out.Pix[3*row*width:][:3*width]
		copy(to, line)
		if row >= y && row < y+m.Height {
			copy(to[3*x:], m.Pix[3*(row-y)*m.Width:3*(row-y+1)*m.Width])
		}
	}
	return out, nil
}

// ResizeWindow returns Resize(width, height, f) cropped to win, which has to lie inside it, and computes no
// more than that.
func (m *Image) ResizeWindow(width, height int, f Filter, win image.Rectangle) (*Image, error) {
	if all := image.Rect(0, 0, width, height); win.Empty() || !win.In(all) {
		return nil, fmt.Errorf("pillow: window %v of a picture resized to %dx%d, want a part of it", win, width, height)
	}
	return m.resizeWindow(width, height, f, win)
}
