package explain

import (
	"image"
	"math"

	"github.com/vitago/vitago/clipvit"
)

// A Map says of every patch of a picture how much it matters.
type Map struct {
	Picture string    // its name
	Caption string    // or the name of a direction; "" of [Rollout]
	Method  Method    // that made it
	Blocks  int       // that took part; 0 of [Similarity]
	Grid    int       // G
	Values  []float32 // [G,G], row by row: at least 0, but for [Similarity], where they are cosines
	// Score is the cosine of the picture and the caption; of a direction the scalar product. 0 of [Rollout].
	Score float64
	// Tokens are those of the caption, without its begin and end, by [Relevance] of as many blocks of the text tower.
	Tokens []Token
	// Image is the picture as the tower has it before it is scaled: RGB, and turned as its file says if the model's transform
	// turns it. All places are of this.
	Image image.Image
	// Window is the part of Image that the tower sees, or more than that if something is added around it.
	Window clipvit.Window
}

// A Token is a piece of a caption.
type Token struct {
	Text  string  // as it stands in the caption
	Share float64 // of the relevance of all tokens, which sums to 1; all are 0 if nothing is relevant
}

// A Place is a patch of a picture.
type Place struct {
	Column, Row int            // from 0
	Value       float32        // of the map
	X, Y        float64        // in pixels from the left and upper edge of the picture
	Patch       clipvit.Window // the edges of the patch, in pixels of the picture
}

// Peak returns the patch with the largest value, the first of several in reading order. X and Y are finer than patches: the mean
// of the middles of it and of its neighbours, weighted by how far their values are above the least of the map. What lies beyond
// the picture, where something was added to it, does not count.
func (m *Map) Peak() Place {
	best := m.largest()
	low, _ := m.bounds()
	var x, y, sum float64
	for row := max(best.Row-1, 0); row < min(best.Row+2, m.Grid); row++ {
		for col := max(best.Column-1, 0); col < min(best.Column+2, m.Grid); col++ {
			p, weight := m.place(col, row), float64(m.Values[row*m.Grid+col])-low
			if p.there() {
				x, y, sum = x+weight*p.X, y+weight*p.Y, sum+weight
			}
		}
	}
	if sum > 0 {
		best.X, best.Y = x/sum, y/sum
	}
	return best
}

// there says whether the picture has any of a patch.
func (p Place) there() bool { return p.Patch.Left < p.Patch.Right && p.Patch.Top < p.Patch.Bottom }

// largest returns the patch with the largest value, and its middle.
func (m *Map) largest() Place {
	best, found := Place{}, false
	for i, v := range m.Values {
		p := m.place(i%m.Grid, i/m.Grid)
		if (!found || v > best.Value) && p.there() {
			p.Value = v
			best, found = p, true
		}
	}
	return best
}

// place returns the patch of a column and row, as far as the picture has it, and the middle of that.
func (m *Map) place(column, row int) Place {
	b, w := m.Image.Bounds(), m.Window
	at := func(i int, from, to, side float64) float64 {
		return min(max(from+float64(i)/float64(m.Grid)*(to-from), 0), side)
	}
	width, height := float64(b.Dx()), float64(b.Dy())
	p := clipvit.Window{
		Left: at(column, w.Left, w.Right, width), Right: at(column+1, w.Left, w.Right, width),
		Top: at(row, w.Top, w.Bottom, height), Bottom: at(row+1, w.Top, w.Bottom, height),
	}
	return Place{Column: column, Row: row, X: (p.Left + p.Right) / 2, Y: (p.Top + p.Bottom) / 2, Patch: p}
}

// At returns the value at a place of the picture in pixels, bilinear between the middles of patches, and whether the tower has
// seen that place.
func (m *Map) At(x, y float64) (value float64, seen bool) {
	w := m.Window
	if !(x >= w.Left && x <= w.Right && y >= w.Top && y <= w.Bottom) {
		return 0, false
	}
	column, row := m.between(x, w.Left, w.Right), m.between(y, w.Top, w.Bottom)
	for _, r := range row {
		for _, c := range column {
			value += r.weight * c.weight * float64(m.Values[r.at*m.Grid+c.at])
		}
	}
	return value, true
}

// between returns the two neighbours of a place among the middles of patches, and their weights.
func (m *Map) between(x, from, to float64) [2]struct {
	at     int
	weight float64
} {
	x = (x-from)/(to-from)*float64(m.Grid) - 0.5
	low := math.Floor(x)
	clamp := func(i float64) int { return int(min(max(i, 0), float64(m.Grid-1))) }
	return [2]struct {
		at     int
		weight float64
	}{{clamp(low), 1 - (x - low)}, {clamp(low + 1), x - low}}
}
