package pillow

import (
	"encoding/binary"
	"math"
)

// naiveResize is PIL.Image.resize written down as it reads: one pixel and one band at a time, whole passes,
// nothing shared with the fast code but the types.
func naiveResize(m *Image, w, h int, f Filter) *Image {
	if w == m.Width && h == m.Height {
		return m
	}
	if f == Nearest || m.Mode == Bilevel || m.Mode == Indexed {
		return naiveNearest(m, w, h)
	}
	switch m.Mode {
	case GrayAlpha, RGBA:
		n := map[Mode]int{GrayAlpha: 2, RGBA: 4}[m.Mode]
		pre := &Image{Mode: map[Mode]Mode{GrayAlpha: GrayPre, RGBA: RGBPre}[m.Mode], Width: m.Width, Height: m.Height, Pix: append([]byte(nil), m.Pix...)}
		for i := range pre.Pix {
			if alpha := pre.Pix[i/n*n+n-1]; i%n < n-1 {
				pre.Pix[i] = byte(math.Floor(float64(pre.Pix[i])*float64(alpha)/255 + 0.5))
			}
		}
		out := naiveResize(pre, w, h, f)
		out.Mode = m.Mode
		for i := range out.Pix {
			if alpha := int(out.Pix[i/n*n+n-1]); i%n < n-1 && alpha > 0 {
				out.Pix[i] = byte(min(255*int(out.Pix[i])/alpha, 255))
			}
		}
		return out
	}
	passes := [][2]int{{w, m.Height}, {w, h}}
	if h < m.Height && 2*(m.Width-w) < m.Height-h {
		passes[0] = [2]int{m.Width, h}
	}
	for _, p := range passes {
		m = naivePass(m, p[0], p[1], f)
	}
	return m
}

// naivePass changes one side, or none.
func naivePass(m *Image, w, h int, f Filter) *Image {
	if w == m.Width && h == m.Height {
		return m
	}
	size, resized := m.Width, w
	if h != m.Height {
		size, resized = m.Height, h
	}
	bands := map[Mode]int{Gray: 1, GrayPre: 2, RGB: 3, RGBPre: 4, CMYK: 4}[m.Mode]
	wide := bands == 0
	width := map[Mode]int{Gray16: 2, Gray16BE: 2, Int32: 4, Float32: 4}[m.Mode]
	if wide {
		bands = 1
	} else {
		width = 1
	}
	out := &Image{Mode: m.Mode, Width: w, Height: h, Pix: make([]byte, w*h*bands*width)}
	get := func(x, y, b int) float64 {
		p := m.Pix[((y*m.Width+x)*bands+b)*width:]
		switch m.Mode {
		case Gray16, Gray16BE:
			return float64(int(p[0]) + 256*int(p[1]))
		case Int32:
			return float64(int32(binary.LittleEndian.Uint32(p)))
		case Float32:
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(p)))
		}
		return float64(p[0])
	}
	put := func(x, y, b int, v float64) {
		p := out.Pix[((y*w+x)*bands+b)*width:]
		rounded := math.Trunc(v + math.Copysign(0.5, v))
		if !(rounded >= math.MinInt32 && rounded <= math.MaxInt32) {
			rounded = math.MinInt32
		}
		switch m.Mode {
		case Gray16, Gray16BE:
			binary.LittleEndian.PutUint16(p, uint16(math.Max(0, math.Min(rounded, 65535))))
		case Int32:
			binary.LittleEndian.PutUint32(p, uint32(int32(rounded)))
		case Float32:
			binary.LittleEndian.PutUint32(p, math.Float32bits(float32(v)))
		default:
			p[0] = byte(math.Max(0, math.Min(math.Floor(v), 255)))
		}
	}
	for i := range resized {
		first, k := naiveWeights(size, resized, i, f)
		for j := range w * h / resized {
			for b := range bands {
				sum, fixed := 0.0, int64(1<<21)
				for n, weight := range k {
					var v float64
					if w != m.Width {
						v = get(first+n, j, b)
					} else {
						v = get(j, first+n, b)
					}
					sum += float64(v * weight)
					if !wide {
						fixed += int64(v) * int64(math.Trunc(weight*4194304+math.Copysign(0.5, weight)))
					}
				}
				if !wide {
					sum = float64(fixed) / 4194304
				}
				if w != m.Width {
					put(i, j, b, sum)
				} else {
					put(j, i, b, sum)
				}
			}
		}
	}
	return out
}

// naiveWeights returns the first pixel and the weights of new pixel i.
func naiveWeights(size, resized, i int, f Filter) (int, []float64) {
	scale := float64(size) / float64(resized)
	stretch := math.Max(scale, 1)
	reach := map[Filter]float64{Box: 0.5, Bilinear: 1, Bicubic: 2}[f] * stretch
	centre := float64((float64(i) + 0.5) * scale) // not fused with what follows, on processors that could
	first := max(0, int(centre-reach+0.5))
	var k []float64
	sum := 0.0
	for x := first; x < min(size, int(centre+reach+0.5)); x++ {
		t := float64((float64(x) - centre + 0.5) * (1 / stretch))
		v := 0.0
		switch d := math.Abs(t); {
		case f == Box && t > -0.5 && t <= 0.5:
			v = 1
		case f == Bilinear && d < 1:
			v = 1 - d
		case f == Bicubic && d < 1: // 1.5d³ - 2.5d² + 1
			v = float64(float64((float64(1.5*d)-2.5)*d)*d) + 1
		case f == Bicubic && d < 2: // -0.5d³ + 2.5d² - 4d + 2
			v = -0.5 * (float64((float64((d-5)*d)+8)*d) - 4)
		}
		k = append(k, v)
		sum += v
	}
	for n := range k {
		if sum != 0 {
			k[n] /= sum
		}
	}
	return first, k
}

func naiveNearest(m *Image, w, h int) *Image {
	n := len(m.Pix) / (m.Width * m.Height)
	out := &Image{Mode: m.Mode, Width: w, Height: h, Pix: make([]byte, w*h*n), Palette: m.Palette}
	centres := func(size, resized int) []int {
		var at []int
		scale := float64(size) / float64(resized)
		sum := scale * 0.5
		for i := range resized {
			if m.Mode == Gray16 || m.Mode == Gray16BE {
				sum = (float64(i) + 0.5) * scale
			}
			at = append(at, int(sum))
			sum += scale
		}
		return at
	}
	xs, ys := centres(m.Width, w), centres(m.Height, h)
	for y := range h {
		for x := range w {
			if xs[x] < m.Width && ys[y] < m.Height {
				copy(out.Pix[(y*w+x)*n:][:n], m.Pix[(ys[y]*m.Width+xs[x])*n:])
			}
		}
	}
	return out
}
