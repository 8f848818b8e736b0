package explain

import (
	"errors"
	"image"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
)

// FuzzCaptions: any picture, caption and options have a map with numbers in it, or an error of its kind.
func FuzzCaptions(f *testing.F) {
	m, err := demo.Open()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a red circle", uint8(64), uint8(64), []byte{200, 30, 30, 255}, "relevance", 0)
	f.Add("", uint8(1), uint8(255), []byte{}, "similarity", 2)
	f.Add("<|endoftext|> a star", uint8(3), uint8(1), []byte{0, 0, 0, 0, 9}, "", 4)
	f.Add(strings.Repeat("a star ", 40), uint8(7), uint8(9), []byte{1}, "rollout", 9)
	f.Fuzz(func(t *testing.T, caption string, width, height uint8, pixels []byte, method string, blocks int) {
		img := image.NewNRGBA(image.Rect(0, 0, int(width), int(height)))
		if len(pixels) > 0 {
			for i := range img.Pix {
				img.Pix[i] = pixels[i%len(pixels)]
			}
		}
		p := clip.Image("fuzzed", img)
		check := func(x *Map, err error) {
			t.Helper()
			if err != nil {
				if !errors.Is(err, clip.ErrRequest) && !errors.Is(err, clip.ErrText) && !errors.Is(err, clip.ErrImage) && !errors.Is(err, clip.ErrTooLarge) {
					t.Errorf("an error of no kind: %v", err)
				}
				return
			}
			if len(x.Values) != x.Grid*x.Grid || finite(x.Values) != nil || x.Score-x.Score != 0 {
				t.Errorf("%d values of %d, score %v", len(x.Values), x.Grid*x.Grid, x.Score)
			}
			if place := x.Peak(); !(place.X >= 0 && place.X <= float64(width) && place.Y >= 0 && place.Y <= float64(height)) {
				t.Errorf("the place is %v,%v in %d×%d", place.X, place.Y, width, height)
			}
			if o := x.Overlay(); o.Bounds().Dx() < 1 {
				t.Errorf("an overlay of %v", o.Bounds())
			}
		}
		o := Options{Method: Method(method), Blocks: blocks}
		check(Caption(t.Context(), m, p, caption, o))
		check(Attention(t.Context(), m, p, o))
	})
}
