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
	at := func(side int) int {
		if t.Rounding != RoundTorchvision {
			return (side - size) / 2
		}
		return int(math.RoundToEven(float64(side-size) / 2))
	}
	x, y := at(width), at(height)
	return m.ResizeWindow(width, height, filters[t.Filter], image.Rect(x, y, x+size, y+size))
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
	ratio := max(float64(m.Width)/float64(size), float64(m.Height)/float64(size))
	width, height := int(math.RoundToEven(float64(m.Width)/ratio)), int(math.RoundToEven(float64(m.Height)/ratio))
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
