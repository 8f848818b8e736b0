package pillow

import "bytes"

// OnWhite returns m in mode "RGB" with what is transparent laid on white, which [Image.RGB] drops:
// Image.alpha_composite(white, m.convert("RGBA")).convert("RGB"). An image without transparency is as RGB returns it.
// Source: Pillow, src/libImaging/AlphaComposite.c.
func (m *Image) OnWhite() (*Image, error) {
	out, err := m.RGB()
	if err != nil {
		return nil, err
	}
	alpha := m.alpha()
	if alpha == nil {
		return out, nil
	}
	if &out.Pix[0] == &m.Pix[0] { // RGB with a key, returned as it is
		out = &Image{Mode: RGB, Width: m.Width, Height: m.Height, Pix: bytes.Clone(m.Pix)}
	}
	for i := range m.Width * m.Height {
		blendWhite(out.Pix[3*i:][:3], alpha(i))
	}
	return out, nil
}

// alpha returns what says how opaque pixel i is, or nil if all are.
func (m *Image) alpha() func(i int) byte {
	n := modes[m.Mode]
	switch m.Mode {
	case GrayAlpha, GrayPre, RGBA, RGBPre:
		return func(i int) byte { return m.Pix[n*i+n-1] }
	case Indexed:
		for i := 3; i < len(m.Palette); i += 4 {
			if m.Palette[i] != 255 {
				return func(i int) byte { return m.Palette[4*int(m.Pix[i])+3] }
			}
		}
	}
	if len(m.Key) == n && len(m.Pix) > 0 {
		return func(i int) byte {
			if bytes.Equal(m.Pix[n*i:][:n], m.Key) {
				return 0
			}
			return 255
		}
	}
	return nil
}

// blendWhite lays a pixel on white, in fixed point with 7 fractional bits.
func blendWhite(p []byte, alpha byte) {
	const bits = 7
	if alpha == 0 {
		p[0], p[1], p[2] = 255, 255, 255
		return
	}
	own := uint32(alpha) * 255 * 255 << bits / (255 * 255) // of all alphas together, which are 255·255
	white := 255<<bits - own
	for c, v := range p {
		sum := uint32(v)*own + 255*white + 128<<bits
		p[c] = byte((sum>>8 + sum) >> 8 >> bits)
	}
}

// Fill returns what torchvision's pad with fill=colour adds to m, in RGB, if the colour is grey: each sample of a pixel is
// that grey, of a palette an index, of ink its amount. Of any other colour it returns the colour, as to an RGB image.
// Source: torchvision 0.29.2, transforms/_functional_pil.py, pad.
func (m *Image) Fill(colour [3]byte) ([3]byte, error) {
	if colour[0] != colour[1] || colour[1] != colour[2] || m.Mode != Bilevel && m.Mode != Indexed && m.Mode != CMYK {
		return colour, nil
	}
	pixel := &Image{Mode: m.Mode, Width: 1, Height: 1, Pix: bytes.Repeat(colour[:1], modes[m.Mode]), Palette: m.Palette}
	pixel, err := pixel.RGB()
	if err != nil {
		return colour, err
	}
	return [3]byte(pixel.Pix), nil
}
