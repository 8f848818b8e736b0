package clipvit

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"testing"
)

// TestWindow: what lies at a place of a tower's square comes from the place of the image that the window says, for every fit, by
// the pixels themselves. The image has its own places for colours: red grows from left to right, green from top to bottom.
func TestWindow(t *testing.T) {
	const size = 32
	for _, shape := range []image.Point{{200, 200}, {250, 120}, {90, 251}, {241, 240}, {24, 17}, {32, 32}} {
		m := image.NewRGBA(image.Rect(0, 0, shape.X, shape.Y))
		for y := range shape.Y {
			for x := range shape.X {
				m.Set(x, y, color.RGBA{uint8(x), uint8(y), 255, 255})
			}
		}
		for _, fit := range allFits() {
			for _, resize := range []int{0, 48} {
				if resize > 0 && fit == FitLongest {
					continue
				}
				for _, rounding := range []Rounding{RoundTorchvision, RoundTransformers, RoundImmich} {
					tr := Transform{Fit: fit, Resize: resize, Filter: FilterBilinear, Rounding: rounding}
					name := fmt.Sprint(shape, fit, resize, rounding)
					square, err := tr.Square(m, size)
					if err != nil {
						t.Fatal(name, err)
					}
					w := tr.Window(shape.X, shape.Y, size)
					if !(w.Left < w.Right && w.Top < w.Bottom) {
						t.Fatalf("%s: the window is %+v", name, w)
					}
					for y := range size {
						for x := range size {
							c := color.RGBAModel.Convert(square.At(x, y)).(color.RGBA)
							// The middle of the pixel, and the place of the image in the middle of which this colour stands.
							ix := w.Left + (float64(x)+0.5)/size*(w.Right-w.Left) - 0.5
							iy := w.Top + (float64(y)+0.5)/size*(w.Bottom-w.Top) - 0.5
							// At the edges the filter has neighbours on one side alone.
							edgeX, edgeY := (w.Right-w.Left)/size+1, (w.Bottom-w.Top)/size+1
							inside := ix > edgeX && ix < float64(shape.X-1)-edgeX && iy > edgeY && iy < float64(shape.Y-1)-edgeY
							outside := ix < -edgeX || iy < -edgeY || ix > float64(shape.X-1)+edgeX || iy > float64(shape.Y-1)+edgeY
							switch {
							case outside && c != (color.RGBA{A: 255}):
								t.Fatalf("%s: at %d,%d is %v, of %.1f,%.1f beyond the image, want what was added", name, x, y, c, ix, iy)
							case inside && (math.Abs(float64(c.R)-ix) > 0.75 || math.Abs(float64(c.G)-iy) > 0.75): // rounded to levels, twice
								t.Fatalf("%s: at %d,%d is the place %d,%d of the image, want %.1f,%.1f by the window %+v", name, x, y, c.R, c.G, ix, iy, w)
							}
						}
					}
				}
			}
		}
	}
}
