package pillow

import (
	"encoding/binary"
	"image"
	"math"
)

// RGB returns m in mode "RGB", as PIL.Image.convert("RGB") does: alpha is dropped, not blended;
// 16-bit, 32-bit and float samples are clipped to 0..255, not scaled. It returns m itself if it is RGB already.
// Source: Pillow, src/libImaging/Convert.c.
func (m *Image) RGB() (*Image, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if m.Mode == RGB {
		return m, nil
	}
	out := newImage(RGB, m.Width, m.Height)
	n := modes[m.Mode]
	gray := func(value func(p []byte) byte) {
		for i, o := 0, 0; i < len(m.Pix); i, o = i+n, o+3 {
			v := value(m.Pix[i : i+n])
			out.Pix[o], out.Pix[o+1], out.Pix[o+2] = v, v, v
		}
	}
	switch m.Mode {
	case Bilevel:
		gray(func(p []byte) byte {
			if p[0] != 0 {
				return 255
			}
			return 0
		})
	case Gray, GrayAlpha:
		gray(func(p []byte) byte { return p[0] })
	case GrayPre:
		gray(func(p []byte) byte { return divide(p[0], p[1]) })
	case Gray16:
		gray(func(p []byte) byte { return byte(min(binary.LittleEndian.Uint16(p), 255)) })
	case Gray16BE:
		gray(func(p []byte) byte { return byte(min(binary.BigEndian.Uint16(p), 255)) })
	case Int32:
		gray(func(p []byte) byte { return byte(min(max(int32(binary.LittleEndian.Uint32(p)), 0), 255)) })
	case Float32: // Pillow goes by way of "L", which truncates
		gray(func(p []byte) byte {
			v := math.Float32frombits(binary.LittleEndian.Uint32(p))
			switch {
			case v >= 255:
				return 255
			case v > 0:
				return byte(v)
			}
			return 0 // also NaN, as a cast on x86 gives
		})
	case Indexed:
		for i, v := range m.Pix {
			copy(out.Pix[3*i:3*i+3], m.Palette[4*int(v):])
		}
	case RGBA:
		for i, o := 0, 0; i < len(m.Pix); i, o = i+4, o+3 {
			out.Pix[o], out.Pix[o+1], out.Pix[o+2] = m.Pix[i], m.Pix[i+1], m.Pix[i+2]
		}
	case RGBPre:
		for i, o := 0, 0; i < len(m.Pix); i, o = i+4, o+3 {
			for c := range 3 {
				out.Pix[o+c] = divide(m.Pix[i+c], m.Pix[i+3])
			}
		}
	case CMYK:
		for i, o := 0, 0; i < len(m.Pix); i, o = i+4, o+3 {
			light := 255 - m.Pix[i+3]
			for c := range 3 {
				out.Pix[o+c] = light - multiply(m.Pix[i+c], light)
			}
		}
	}
	return out, nil
}

// multiply returns a·b/255, rounded; MULDIV255 in Pillow's ImagingUtils.h. It never exceeds a or b.
func multiply(a, b byte) byte {
	v := uint(a)*uint(b) + 128
	return byte((v>>8 + v) >> 8)
}

// divide undoes multiply, rounding down and clipping; rgba2rgbA in Pillow's Convert.c.
func divide(v, alpha byte) byte {
	if alpha == 0 || alpha == 255 {
		return v
	}
	return byte(min(255*uint(v)/uint(alpha), 255))
}

// premultiplied returns the window of m, of mode "LA" or "RGBA", as "La" or "RGBa".
func (m *Image) premultiplied(window image.Rectangle) *Image {
	mode, n := RGBPre, 4
	if m.Mode == GrayAlpha {
		mode, n = GrayPre, 2
	}
	out := newImage(mode, window.Dx(), window.Dy())
	row := n * out.Width
	parallel(out.Height, 1, len(out.Pix), func(lo, hi int) {
		for y := lo; y < hi; y++ {
			src, dst := m.Pix[((window.Min.Y+y)*m.Width+window.Min.X)*n:][:row], out.Pix[y*row:][:row]
			if n == 2 {
				for i := 0; i+1 < len(dst) && i+1 < len(src); i += 2 {
					dst[i], dst[i+1] = multiply(src[i], src[i+1]), src[i+1]
				}
				continue
			}
			for len(src) >= 4 && len(dst) >= 4 {
				alpha := src[3]
				dst[0], dst[1], dst[2], dst[3] = multiply(src[0], alpha), multiply(src[1], alpha), multiply(src[2], alpha), alpha
				src, dst = src[4:], dst[4:]
			}
		}
	})
	return out
}

// straight returns m of mode "La" or "RGBa" as "LA" or "RGBA". It works in place.
func (m *Image) straight() *Image {
	mode, n := RGBA, 4
	if m.Mode == GrayPre {
		mode, n = GrayAlpha, 2
	}
	for i := 0; i < len(m.Pix); i += n {
		for c := range n - 1 {
			m.Pix[i+c] = divide(m.Pix[i+c], m.Pix[i+n-1])
		}
	}
	m.Mode = mode
	return m
}
