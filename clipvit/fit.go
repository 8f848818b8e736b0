package clipvit

import (
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/vitago/vitago/internal/pillow"
)

// fits make an image, at least 1×1, a square of size pixels per side. The transform is resolved.
var fits = map[Fit]func(m *pillow.Image, t Transform, size int) (*pillow.Image, error){
	FitShortest: shortest, FitSquash: squash, FitPad: pad, FitLongest: longest,
}

// square returns what t makes of an image before its levels count: RGB, size pixels per side.
func (t Transform) square(m *pillow.Image, size int) (*pillow.Image, error) {
	m, err := t.prepared(m)
	if err != nil {
		return nil, err
	}
	t = t.Resolved()
	if m, err = fits[t.Fit](m, t, size); err != nil {
		return nil, err
	}
	return m.RGB()
}

// prepared returns an image turned, and in mode RGB unless that comes last.
func (t Transform) prepared(m *pillow.Image) (*pillow.Image, error) {
	var err error
	if t.EXIF {
		if m, err = m.Upright(); err != nil {
			return nil, err
		}
	}
	switch t.Alpha {
	case AlphaDropFirst:
		return m.RGB()
	case AlphaWhite:
		return m.OnWhite()
	}
	return m, nil
}

// Prepared returns an image turned, if t says so, and in mode RGB unless that comes last: what [Transform.Square] does
// first, and again without effect.
func (t Transform) Prepared(img image.Image) (image.Image, error) {
	m, err := t.prepared(pillow.FromImage(img))
	if err != nil {
		return nil, ofImage(err)
	}
	return m, nil
}

// Square returns an image as a tower of size pixels per side sees it, before its levels count: in mode RGB, of that size.
func (t Transform) Square(img image.Image, size int) (image.Image, error) {
	if err := errors.Join(t.Validate(), t.validateFor(size)); err != nil {
		return nil, err
	}
	m := pillow.FromImage(img)
	switch {
	case m.Width < 1 || m.Height < 1:
		return nil, ofImage(fmt.Errorf("image is %d×%d pixels, want at least 1×1", m.Width, m.Height))
	case size < 1 || size > maxResize:
		return nil, fmt.Errorf("clipvit: image of %d×%d pixels for a tower of %d, want at least 1×1 for 1 to %d", m.Width, m.Height, size, maxResize)
	}
	m, err := t.square(m, size)
	if err != nil {
		return nil, ofImage(err)
	}
	return m, nil
}

// RGB returns an image as t has it before it is scaled, for layouts of one's own: turned if t says so, in mode RGB,
// transparency dropped or laid on white.
func (t Transform) RGB(img image.Image) (image.Image, error) {
	m, err := t.prepared(pillow.FromImage(img))
	if err == nil {
		m, err = m.RGB()
	}
	if err != nil {
		return nil, ofImage(err)
	}
	return m, nil
}

func shortest(m *pillow.Image, t Transform, size int) (*pillow.Image, error) {
	width, height := t.scaled(m.Width, m.Height, size)
	return t.middle(m, width, height, size)
}

// scaled returns the size of an image whose shorter side becomes that of t.
func (t Transform) scaled(width, height, size int) (int, int) {
	side := max(t.Resize, size)
	if t.Rounding != RoundImmich {
		return pillow.ShortestEdge(width, height, side)
	}
	if width < height {
		return side, int(float64(height) / float64(width) * float64(side))
	}
	return int(float64(width) / float64(height) * float64(side)), side
}

// middle scales m to width by height pixels and returns the square in its middle.
func (t Transform) middle(m *pillow.Image, width, height, size int) (*pillow.Image, error) {
	x, y := t.cutOff(width, size), t.cutOff(height, size)
	return m.ResizeWindow(width, height, filters[t.Filter], image.Rect(x, y, x+size, y+size))
}

// cutOff returns how many pixels before the square in its middle a side has.
func (t Transform) cutOff(side, size int) int {
	if t.Rounding != RoundTorchvision {
		return (side - size) / 2
	}
	return int(math.RoundToEven(float64(side-size) / 2))
}

func squash(m *pillow.Image, t Transform, size int) (*pillow.Image, error) {
	side := max(t.Resize, size)
	return t.middle(m, side, side, size)
}

func pad(m *pillow.Image, t Transform, size int) (*pillow.Image, error) {
	m, err := m.RGB()
	if err != nil {
		return nil, err
	}
	side := max(m.Width, m.Height)
	if m, err = m.Pad((side-m.Width)/2, (side-m.Height)/2, side, side, t.Fill); err != nil {
		return nil, err
	}
	return squash(m, t, size)
}

func longest(m *pillow.Image, t Transform, size int) (*pillow.Image, error) {
	width, height := scaledLongest(m.Width, m.Height, size)
	if width < 1 || height < 1 {
		return nil, fmt.Errorf("image is %d×%d pixels, which are %d×%d with %d on the longer side, want at least 1×1", m.Width, m.Height, width, height, size)
	}
	m, err := m.Resize(width, height, filters[t.Filter])
	if err != nil {
		return nil, err
	}
	fill, err := m.Fill(t.Fill)
	if err == nil {
		m, err = m.RGB()
	}
	if err != nil {
		return nil, err
	}
	return m.Pad((size-width)/2, (size-height)/2, size, size, fill)
}

// scaledLongest returns the size of an image whose longer side becomes size.
func scaledLongest(width, height, size int) (int, int) {
	ratio := max(float64(width)/float64(size), float64(height)/float64(size))
	return int(math.RoundToEven(float64(width) / ratio)), int(math.RoundToEven(float64(height) / ratio))
}

// A Window is the part of an image that becomes a tower's square, from its left and upper to its right and lower edge, in pixels
// of the image from 0 at its own left and upper edge. Where something is added to an image, the window goes beyond it.
type Window struct {
	Left, Top, Right, Bottom float64 // the edges; Left < Right and Top < Bottom
}

// Window returns which part of an image of width by height pixels, turned if t turns it, becomes the square of a tower of size
// pixels per side. All arguments are at least 1.
func (t Transform) Window(width, height, size int) Window {
	t = t.Resolved()
	padded := image.Pt(width, height)
	var margin, scaled, at image.Point // before the image in what is scaled, what that becomes, where the square begins in it
	switch t.Fit {
	case FitShortest:
		scaled.X, scaled.Y = t.scaled(width, height, size)
	case FitLongest:
		scaled.X, scaled.Y = scaledLongest(width, height, size)
	case FitPad:
		side := max(width, height)
		padded, margin = image.Pt(side, side), image.Pt((side-width)/2, (side-height)/2)
		fallthrough
	case FitSquash:
		side := max(t.Resize, size)
		scaled = image.Pt(side, side)
	}
	if t.Fit == FitLongest {
		at = image.Pt(-((size - scaled.X) / 2), -((size - scaled.Y) / 2))
	} else {
		at = image.Pt(t.cutOff(scaled.X, size), t.cutOff(scaled.Y, size))
	}
	x, y := float64(padded.X)/float64(scaled.X), float64(padded.Y)/float64(scaled.Y) // pixels of the image for one of the square
	return Window{
		Left: float64(at.X)*x - float64(margin.X), Right: float64(at.X+size)*x - float64(margin.X),
		Top: float64(at.Y)*y - float64(margin.Y), Bottom: float64(at.Y+size)*y - float64(margin.Y),
	}
}
