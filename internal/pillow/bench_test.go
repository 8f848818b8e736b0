package pillow

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"testing"
)

func BenchmarkResize(b *testing.B) {
	for _, c := range []struct {
		mode       Mode
		w, h, W, H int
	}{
		{RGB, 4000, 3000, 448, 336}, {RGB, 3000, 4000, 336, 448}, {RGB, 1000, 3000, 336, 1008},
		{Gray, 4000, 3000, 448, 336}, {RGBA, 4000, 3000, 448, 336}, {RGB, 640, 480, 448, 336}, {RGB, 224, 224, 336, 336},
	} {
		b.Run(fmt.Sprintf("%s/%dx%d-%dx%d", c.mode, c.w, c.h, c.W, c.H), func(b *testing.B) {
			m := newImage(c.mode, c.w, c.h)
			for i := range m.Pix {
				m.Pix[i] = byte(i * i >> 7)
			}
			b.SetBytes(int64(c.w * c.h))
			for b.Loop() {
				if _, err := m.Resize(c.W, c.H, Bicubic); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCLIP shows that cost follows the square, not the resized picture.
func BenchmarkCLIP(b *testing.B) {
	for _, size := range [][2]int{{4000, 3000}, {20000, 10}, {10, 20000}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			m := formula(size[0], size[1], 3)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.CLIP(336); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeJPEG(b *testing.B) {
	m := image.NewYCbCr(image.Rect(0, 0, 2000, 1500), image.YCbCrSubsampleRatio420)
	for _, p := range [][]byte{m.Y, m.Cb, m.Cr} {
		for i := range p {
			p[i] = byte(i*i>>9)/2 + 64
		}
	}
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, m, &jpeg.Options{Quality: 85}); err != nil {
		b.Fatal(err)
	}
	b.Run("pillow", func(b *testing.B) {
		b.SetBytes(2000 * 1500)
		for b.Loop() {
			if _, err := Decode(bytes.NewReader(buf.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("image-jpeg", func(b *testing.B) { // without conversion to RGB
		b.SetBytes(2000 * 1500)
		for b.Loop() {
			if _, err := jpeg.Decode(bytes.NewReader(buf.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecodePNG(b *testing.B) {
	rect := image.Rect(0, 0, 1000, 750)
	colour, grey := image.NewNRGBA(rect), image.NewGray(rect)
	for i := range colour.Pix {
		colour.Pix[i] = byte(i*i>>12) ^ byte(i>>7&3)
		if i%4 == 3 {
			colour.Pix[i] = 255
		}
		if i%4 == 0 {
			grey.Pix[i/4] = colour.Pix[i]
		}
	}
	for name, src := range map[string]image.Image{"colour": colour, "grey": grey} {
		var buf bytes.Buffer
		if err := png.Encode(&buf, src); err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/pillow", func(b *testing.B) {
			b.SetBytes(1000 * 750)
			for b.Loop() {
				if _, err := Decode(bytes.NewReader(buf.Bytes())); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/image-png", func(b *testing.B) {
			b.SetBytes(1000 * 750)
			for b.Loop() {
				if _, err := png.Decode(bytes.NewReader(buf.Bytes())); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
