package data

import (
	"math"

	"github.com/vitago/vitago/internal/pillow"
)

// The steps of ColorJitter, numbered as torchvision numbers them.
const (
	brightness = iota
	contrast
	saturation
	hue
)

// adjust changes the colours of a picture of mode "RGB", in place.
// Source: torchvision 0.24.1, transforms/_functional_pil.py, adjust_brightness and so on;
// Pillow 13.0.0, src/PIL/ImageEnhance.py.
var adjust = [...]func(m *pillow.Image, factor float64){
	brightness: func(m *pillow.Image, factor float64) { // away from black
		table := blendTable(0, factor)
		for i, v := range m.Pix {
			m.Pix[i] = table[v]
		}
	},
	contrast: func(m *pillow.Image, factor float64) { // away from the mean grey
		var sum uint64
		for i := 0; i+2 < len(m.Pix); i += 3 {
			sum += uint64(grey(m.Pix[i:]))
		}
		mean := int(float64(sum)/float64(m.Width*m.Height) + 0.5)
		table := blendTable(byte(mean), factor)
		for i, v := range m.Pix {
			m.Pix[i] = table[v]
		}
	},
	saturation: func(m *pillow.Image, factor float64) { // away from each pixel's grey
		alpha := float32(factor)
		for i := 0; i+2 < len(m.Pix); i += 3 {
			g := grey(m.Pix[i:])
			for c := range 3 {
				m.Pix[i+c] = blend(g, m.Pix[i+c], alpha)
			}
		}
	},
	hue: func(m *pillow.Image, factor float64) { // around the colour circle
		shift := uint8(int32(factor * 255)) // truncated, then below zero from 256 down
		for i := 0; i+2 < len(m.Pix); i += 3 {
			p := m.Pix[i:][:3]
			h, s, v := toHSV(p[0], p[1], p[2])
			p[0], p[1], p[2] = toRGB(h+shift, s, v)
		}
	},
}

// grey returns the mode "L" of a pixel. Source: Pillow, src/libImaging/Convert.c, L24.
func grey(rgb []byte) byte {
	return byte((uint32(rgb[0])*19595 + uint32(rgb[1])*38470 + uint32(rgb[2])*7471 + 0x8000) >> 16)
}

// blend returns a where alpha is 0, b where it is 1, and what lies between or beyond, truncated to an integer.
// Source: Pillow, src/libImaging/Blend.c. The conversions forbid a fused multiply-add.
func blend(a, b byte, alpha float32) byte {
	v := float32(a) + float32(alpha*float32(int(b)-int(a)))
	switch {
	case v <= 0:
		return 0
	case v >= 255:
		return 255
	}
	return byte(v)
}

// blendTable returns the blend of one level with every other.
func blendTable(from byte, factor float64) (table [256]byte) {
	for v := range table {
		table[v] = blend(from, byte(v), float32(factor))
	}
	return table
}

// toHSV returns hue, saturation and value in bytes.
// Source: Pillow, src/libImaging/Convert.c, rgb2hsv_row: float32 in part, and float64 where C promotes.
func toHSV(r, g, b byte) (h, s, v byte) {
	most, least := max(r, g, b), min(r, g, b)
	if most == least {
		return 0, 0, most
	}
	spread := float32(most - least)
	from := func(c byte) float32 { return float32(most-c) / spread }
	var turn float32 // in sixths
	switch most {
	case r:
		turn = from(b) - from(g)
	case g:
		turn = float32(2 + float64(from(r)) - float64(from(b)))
	default:
		turn = float32(4 + float64(from(g)) - float64(from(r)))
	}
	whole := float64(turn)/6 + 1 // of the circle, from 5/6 to below 2
	if whole >= 1 {
		whole--
	}
	turn = float32(whole)
	return byte(float64(turn) * 255), byte(float64(spread/float32(most)) * 255), most
}

// toRGB is the way back. Source: Pillow, src/libImaging/Convert.c, hsv2rgb.
func toRGB(h, s, v byte) (r, g, b byte) {
	if s == 0 {
		return v, v, v
	}
	sixths := float64(float32(h)) * 6 / 255
	sector := math.Floor(sixths)
	f := float64(float32(sixths - sector))
	fs := float64(float32(float64(s) / 255))
	level := func(x float64) byte { return byte(math.Round(float64(v) * x)) }
	p, q, t := level(1-fs), level(1-float64(fs*f)), level(1-float64(fs*(1-f)))
	switch int(sector) % 6 {
	case 0:
		return v, t, p
	case 1:
		return q, v, p
	case 2:
		return p, v, t
	case 3:
		return p, q, v
	case 4:
		return t, p, v
	}
	return v, p, q
}
