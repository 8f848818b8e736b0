package pillow

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"testing"
)

// TestFromImage draws the same picture into every type of the standard library, takes a part of
// it whose corner is not 0,0, and wants the colours that At gives there.
func TestFromImage(t *testing.T) {
	whole := image.Rect(-3, -2, 20, 15)
	part := image.Rect(2, 1, 18, 14)
	palette := color.Palette{color.RGBA{1, 2, 3, 255}, color.NRGBA{200, 100, 50, 0}, color.Gray{90}, color.RGBA64{0xffff, 0x1234, 0, 0xffff}}
	for _, c := range []struct {
		m    draw.Image
		mode Mode
	}{
		{image.NewGray(whole), Gray}, {image.NewGray16(whole), Gray16}, {image.NewCMYK(whole), CMYK},
		{image.NewNRGBA(whole), RGBA}, {image.NewRGBA(whole), RGBA}, {image.NewNRGBA64(whole), RGBA}, {image.NewRGBA64(whole), RGBA},
		{image.NewPaletted(whole, palette), Indexed}, {image.NewAlpha(whole), RGBA}, {image.NewAlpha16(whole), RGBA},
	} {
		for y := whole.Min.Y; y < whole.Max.Y; y++ {
			for x := whole.Min.X; x < whole.Max.X; x++ {
				c.m.Set(x, y, color.NRGBA{byte(x * 11), byte(y * 13), byte(x * y), byte(x*31 + y*7)})
			}
		}
		sub := c.m.(interface {
			SubImage(image.Rectangle) image.Image
		}).SubImage(part)
		m := FromImage(sub)
		if m.Mode != c.mode || m.Width != part.Dx() || m.Height != part.Dy() || m.check() != nil {
			t.Errorf("%T: mode %q, %dx%d, %v; want %q, %v", c.m, m.Mode, m.Width, m.Height, m.check(), c.mode, part.Size())
			continue
		}
		for y := range m.Height {
			for x := range m.Width {
				r, g, b, a := m.At(x, y).RGBA()
				R, G, B, A := sub.At(part.Min.X+x, part.Min.Y+y).RGBA()
				for _, pair := range [][2]uint32{{r, R}, {g, G}, {b, B}, {a, A}} {
					// 16 bits are cut to 8, and premultiplied colour is divided and multiplied again.
					if d := int(pair[0]) - int(pair[1]); d > 0x1ff || d < -0x1ff {
						t.Fatalf("%T at %d,%d: %v, want %v", c.m, x, y, m.At(x, y), sub.At(part.Min.X+x, part.Min.Y+y))
					}
				}
			}
		}
	}
}

// TestFromOpaque wants premultiplied types without transparency to be RGB, as Go's decoders give them.
func TestFromOpaque(t *testing.T) {
	for _, m := range []draw.Image{image.NewRGBA(image.Rect(1, 1, 4, 4)), image.NewRGBA64(image.Rect(1, 1, 4, 4))} {
		draw.Draw(m, m.Bounds(), image.NewUniform(color.RGBA{10, 20, 30, 255}), image.Point{}, draw.Src)
		if got := FromImage(m); got.Mode != RGB || !bytes.Equal(got.Pix[:6], []byte{10, 20, 30, 10, 20, 30}) {
			t.Errorf("%T: mode %q, samples %v", m, got.Mode, got.Pix[:6])
		}
	}
	if m := formula(3, 3, 3); FromImage(m) != m {
		t.Error("an *Image does not pass through")
	}
}

// TestFromHuge wants images without end to be refused, not made.
func TestFromHuge(t *testing.T) {
	for _, src := range []image.Image{image.NewUniform(color.White), image.NewGray(image.Rectangle{}), &image.YCbCr{}} {
		m := FromImage(src)
		if _, err := m.RGB(); err == nil && m.Width*m.Height > 0 {
			t.Errorf("%T: no error", src)
		}
		if _, err := m.CLIP(8); err == nil {
			t.Errorf("%T: no error", src)
		}
		m.At(0, 0)
		m.Crop(0, 0, 3, 3)
	}
}

// TestFromYCbCr compares parts of subsampled images with the parts of the whole. At a cut the chroma
// beyond it is unknown, so two pixels there may differ.
func TestFromYCbCr(t *testing.T) {
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		src := image.NewYCbCr(image.Rect(0, 0, 45, 38), ratio)
		for _, p := range [][]byte{src.Y, src.Cb, src.Cr} {
			for i := range p {
				p[i] = byte(i * i / 3)
			}
		}
		whole := FromImage(src)
		for _, part := range []image.Rectangle{image.Rect(0, 0, 45, 38), image.Rect(1, 1, 44, 37), image.Rect(2, 3, 40, 30), image.Rect(7, 6, 8, 7), image.Rect(5, 5, 20, 9)} {
			m := FromImage(src.SubImage(part))
			if m.Mode != RGB || m.Width != part.Dx() || m.Height != part.Dy() {
				t.Fatalf("%v %v: mode %q, %dx%d", ratio, part, m.Mode, m.Width, m.Height)
			}
			for y := range m.Height {
				for x := range m.Width {
					inner := image.Pt(x+part.Min.X, y+part.Min.Y).In(part.Inset(2)) || part.Dx() == 45
					if inner && m.At(x, y) != whole.At(x+part.Min.X, y+part.Min.Y) {
						t.Fatalf("%v %v at %d,%d: %v, want %v", ratio, part, x, y, m.At(x, y), whole.At(x+part.Min.X, y+part.Min.Y))
					}
				}
			}
		}
	}
	// Coordinates below zero have no fancy way; they must still give a picture.
	if m := FromImage(image.NewYCbCr(image.Rect(-5, -3, 6, 7), image.YCbCrSubsampleRatio420)); m.Mode != RGB || m.Width != 11 || m.check() != nil {
		t.Errorf("below zero: mode %q, width %d, %v", m.Mode, m.Width, m.check())
	}
}

// TestFromStandardJPEG compares the standard library's decoder, upsampled here, with Decode: only the
// rounding of the cosine transform is left.
func TestFromStandardJPEG(t *testing.T) {
	files := readZip(t, "files.zip")
	for _, name := range []string{"444.jpg", "422.jpg", "420.jpg", "420-progressive.jpg", "440.jpg", "411.jpg", "420-17x17.jpg"} {
		src, err := jpeg.Decode(bytes.NewReader(files[name]))
		if err != nil {
			t.Fatal(err)
		}
		want, err := Decode(bytes.NewReader(files[name]))
		if err != nil {
			t.Fatal(err)
		}
		got, sum := FromImage(src), 0
		for i, v := range want.Pix {
			d := max(int(v)-int(got.Pix[i]), int(got.Pix[i])-int(v))
			if sum += d; d > 4 {
				t.Fatalf("%s: sample %d is %d, want %d", name, i, got.Pix[i], v)
			}
		}
		if mean := float64(sum) / float64(len(want.Pix)); mean > 0.1 {
			t.Errorf("%s: mean difference %.3f, want at most 0.1", name, mean)
		}
	}
}

// TestAt wants the outside to be nothing, and every mode to have a colour.
func TestAt(t *testing.T) {
	for mode, m := range sources(t) {
		if m.Bounds() != image.Rect(0, 0, 23, 17) {
			t.Fatal(m.Bounds())
		}
		for _, p := range []image.Point{{-1, 0}, {0, -1}, {23, 0}, {0, 17}} {
			if c := m.At(p.X, p.Y); c != m.ColorModel().Convert(color.Transparent) {
				t.Errorf("%q: %v outside", mode, c)
			}
		}
		c := m.At(22, 16)
		if m.ColorModel().Convert(c) != c {
			t.Errorf("%q: %#v is not of the model", mode, c)
		}
		if mode == Int32 || mode == Float32 || mode == Gray16 || mode == Gray16BE {
			continue // RGB clips these at 255, At at 65535
		}
		rgb, err := m.RGB()
		if err != nil {
			t.Fatal(err)
		}
		if mode == GrayAlpha || mode == RGBA || mode == GrayPre || mode == RGBPre || mode == CMYK {
			continue // RGB drops alpha; color.CMYK rounds in another way
		}
		r, g, b, _ := c.RGBA()
		R, G, B, _ := rgb.At(22, 16).RGBA()
		if r != R || g != G || b != B {
			t.Errorf("%q: %v, RGB gives %v", mode, c, rgb.At(22, 16))
		}
	}
}
