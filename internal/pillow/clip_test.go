package pillow

import (
	"fmt"
	"image"
	"math"
)

// OpenAI's preprocessing by the parts of this package, for the tests here; package clipvit has those of all libraries.

// CenterCropOrigin returns the upper left corner of the square of the given size in the middle of
// width by height, below zero where the picture is smaller than the square; halves go to the even side.
// Source: torchvision 0.24.1, transforms/functional.py, center_crop.
func CenterCropOrigin(width, height, size int) (x, y int) {
	// A picture smaller than the square is padded first, by (size-side)/2 rounded down before it.
	corner := func(side int) int {
		if pad := size - side; pad > 0 {
			return -(pad / 2)
		}
		return int(math.RoundToEven(float64(side-size) / 2))
	}
	return corner(width), corner(height)
}

// CLIP returns what OpenAI's preprocessing hands to ToTensor: m resized (bicubic) so that its shorter side is
// size, the middle square of that, in mode "RGB". Only the square is computed, so memory does not depend on
// the aspect ratio. Source: openai/CLIP, clip/clip.py, _transform.
func (m *Image) CLIP(size int) (*Image, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if size < 1 || size > 1<<14 {
		return nil, fmt.Errorf("pillow: crop of %d pixels, want 1..%d", size, 1<<14)
	}
	if m.Width < 1 || m.Height < 1 {
		return nil, fmt.Errorf("pillow: picture of %dx%d, want at least 1x1", m.Width, m.Height)
	}
	width, height := ShortestEdge(m.Width, m.Height, size)
	x, y := CenterCropOrigin(width, height, size)
	square, err := m.resizeWindow(width, height, Bicubic, image.Rect(x, y, x+size, y+size))
	if err != nil {
		return nil, err
	}
	return square.RGB()
}
