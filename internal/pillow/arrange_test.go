package pillow

import (
	"fmt"
	"image"
	"math"
	"slices"
	"strings"
	"testing"
)

// counted is an image whose samples are 0, 1, 2, …, modulo 251.
func counted(mode Mode, width, height int) *Image {
	m := newImage(mode, width, height)
	for i := range m.Pix {
		m.Pix[i] = byte(i % 251)
	}
	return m
}

// TestTranspose: the pixel at x, y comes to y, x, in every mode, for sizes on both sides of a block.
func TestTranspose(t *testing.T) {
	for mode, n := range modes {
		for _, size := range [][2]int{{1, 1}, {1, 40}, {40, 1}, {31, 33}, {32, 32}, {65, 64}, {0, 3}} {
			m := counted(mode, size[0], size[1])
			if mode == Indexed {
				m.Palette = make([]byte, 4*256)
			}
			got, err := m.Transpose()
			if err != nil || got.Width != m.Height || got.Height != m.Width || got.Mode != mode || len(got.Palette) != len(m.Palette) {
				t.Fatalf("%s %v: %v", mode, size, err)
			}
			for y := range m.Height {
				for x := range m.Width {
					a, b := m.Pix[(y*m.Width+x)*n:][:n], got.Pix[(x*m.Height+y)*n:][:n]
					if !slices.Equal(a, b) {
						t.Fatalf("%s %v: %d,%d is %v, want %v", mode, size, x, y, b, a)
					}
				}
			}
			back, err := got.Transpose()
			if err != nil || !slices.Equal(back.Pix, m.Pix) {
				t.Fatalf("%s %v: twice is not the same, %v", mode, size, err)
			}
		}
	}
	if _, err := (&Image{Mode: RGB, Width: 3, Height: 3}).Transpose(); err == nil {
		t.Error("an image without pixels is transposed")
	}
}

func TestPad(t *testing.T) {
	colour := [3]byte{1, 2, 3}
	m := counted(RGB, 4, 3)
	for _, c := range []struct{ x, y, width, height int }{{0, 0, 4, 3}, {0, 0, 5, 4}, {1, 2, 5, 5}, {3, 0, 7, 3}, {0, 1, 4, 5}, {2, 2, 9, 9}} {
		got, err := m.Pad(c.x, c.y, c.width, c.height, colour)
		if err != nil || got.Width != c.width || got.Height != c.height {
			t.Fatal(c, err)
		}
		for y := range c.height {
			for x := range c.width {
				want := colour[:]
				if p := image.Pt(x-c.x, y-c.y); p.In(m.Bounds()) {
					want = m.Pix[3*(p.Y*4+p.X):][:3]
				}
				if p := got.Pix[3*(y*c.width+x):][:3]; !slices.Equal(p, want) {
					t.Fatalf("%v: %d,%d is %v, want %v", c, x, y, p, want)
				}
			}
		}
	}
	for _, c := range []struct {
		m                   *Image
		x, y, width, height int
		want                string
	}{
		{counted(RGBA, 4, 3), 0, 0, 5, 5, `"RGBA", want "RGB"`},
		{m, -1, 0, 5, 5, "do not lie within"},
		{m, 2, 0, 5, 5, "do not lie within"},
		{m, 0, 3, 5, 5, "do not lie within"},
		{m, 0, 0, 3, 3, "do not lie within"},
		{m, math.MaxInt, 0, math.MinInt, 3, "do not lie within"},
		{m, 0, 0, 1 << 20, 1 << 20, fmt.Sprint("want at most ", MaxPixels)},
		{m, 0, 0, math.MaxInt, 3, fmt.Sprint("want at most ", MaxPixels)},
		{&Image{Mode: RGB, Width: 3, Height: 3}, 0, 0, 5, 5, "0 bytes of pixels"},
	} {
		if _, err := c.m.Pad(c.x, c.y, c.width, c.height, colour); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v, want %q in it", c, err, c.want)
		}
	}
}

func TestResizeWindow(t *testing.T) {
	m := counted(RGB, 37, 23)
	for _, f := range []Filter{Nearest, Box, Bilinear, Bicubic} {
		whole, err := m.Resize(20, 31, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, win := range []image.Rectangle{image.Rect(0, 0, 20, 31), image.Rect(3, 4, 9, 30), image.Rect(19, 30, 20, 31)} {
			got, err := m.ResizeWindow(20, 31, f, win)
			if err != nil || !slices.Equal(got.Pix, whole.Crop(win.Min.X, win.Min.Y, win.Dx(), win.Dy()).Pix) {
				t.Errorf("filter %d, %v: not the part of the whole, %v", f, win, err)
			}
		}
	}
	for _, win := range []image.Rectangle{{}, image.Rect(-1, 0, 5, 5), image.Rect(0, 0, 21, 31)} {
		if _, err := m.ResizeWindow(20, 31, Bicubic, win); err == nil {
			t.Errorf("%v is a window of 20x31", win)
		}
	}
}
