package explain

import (
	"image"
	"image/color"

	"gonum.org/v1/plot/palette/moreland"
)

// How an overlay is drawn.
const (
	opacity  = 0.6 // of the colour over the picture
	dimmed   = 0.4 // what is left of the brightness of what the tower has not seen
	hatching = 8   // pixels from one of its diagonal lines to the next
)

// scale is the colours from the least value to the greatest, whose brightness grows evenly.
//
// Source: Moreland, "Why We Use Bad Color Maps and What You Can Do About It", Electronic Imaging 2016, the extended black body.
var scale = func() (table [256]color.RGBA) {
	colours := moreland.ExtendedBlackBody()
	colours.SetMax(1)
	for i := range table {
		c, err := colours.At(float64(i) / float64(len(table)-1))
		if err != nil {
			panic(err) // 0 to 1 are permitted
		}
		table[i] = color.RGBAModel.Convert(c).(color.RGBA)
	}
	return table
}()

// Overlay returns the picture under the colours of the map, from black over blue and red to white, in the size of the picture.
// The least value of the map is black and the greatest white: colours of two maps cannot be compared. What the tower has not
// seen is dark, grey and hatched.
func (m *Map) Overlay() *image.RGBA {
	b := m.Image.Bounds()
	y := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	low, high := m.bounds()
	for row := range b.Dy() {
		for col := range b.Dx() {
			under := color.RGBAModel.Convert(m.Image.At(b.Min.X+col, b.Min.Y+row)).(color.RGBA)
			value, seen := m.At(float64(col)+0.5, float64(row)+0.5)
			if !seen {
				y.SetRGBA(col, row, unseen(under, col, row))
				continue
			}
			y.SetRGBA(col, row, over(under, colourOf(value, low, high)))
		}
	}
	return y
}

// bounds returns the least and the greatest value.
func (m *Map) bounds() (low, high float64) {
	low, high = float64(m.Values[0]), float64(m.Values[0])
	for _, v := range m.Values {
		low, high = min(low, float64(v)), max(high, float64(v))
	}
	return low, high
}

// colourOf returns the colour of a value between low and high. Of a map of equal values all is black.
func colourOf(v, low, high float64) color.RGBA {
	if !(high > low) {
		return scale[0]
	}
	return scale[int(min(max((v-low)/(high-low), 0), 1)*float64(len(scale)-1)+0.5)]
}

func over(under, c color.RGBA) color.RGBA {
	mix := func(a, b uint8) uint8 { return uint8((1-opacity)*float64(a) + opacity*float64(b) + 0.5) }
	return color.RGBA{mix(under.R, c.R), mix(under.G, c.G), mix(under.B, c.B), 255}
}

func unseen(under color.RGBA, x, y int) color.RGBA {
	grey := float64(color.GrayModel.Convert(under).(color.Gray).Y) * dimmed
	if (x+y)%hatching == 0 {
		grey += (255 - grey) / 4
	}
	return color.RGBA{uint8(grey), uint8(grey), uint8(grey), 255}
}

// Colours returns a map's colours by themselves, a square for each patch: what a terminal shows.
func (m *Map) Colours() *image.RGBA {
	y := image.NewRGBA(image.Rect(0, 0, m.Grid, m.Grid))
	low, high := m.bounds()
	for i, v := range m.Values {
		y.SetRGBA(i%m.Grid, i/m.Grid, colourOf(float64(v), low, high))
	}
	return y
}

// Legend returns the colours of every map from the least value on the left to the greatest on the right.
func Legend(width, height int) image.Image {
	y := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range width {
		for row := range height {
			y.SetRGBA(i, row, colourOf(float64(i), 0, float64(width-1)))
		}
	}
	return y
}
