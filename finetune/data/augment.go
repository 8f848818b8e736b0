package data

import (
	"errors"
	"fmt"
	"math"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pillow"
)

// Augment says how pictures are varied from epoch to epoch. The zero value leaves them as
// [clipvit.Preprocess] makes them. The rules, and their order, are those of torchvision's transforms on
// Pillow's images as OpenCLIP puts them together: a crop resized by Pillow's bicubic filter, RGB, a
// flip, colours. The random numbers are ours.
//
// Source: torchvision 0.24.1, transforms/transforms.py, RandomResizedCrop, RandomHorizontalFlip and
// ColorJitter; mlfoundations/open_clip, src/open_clip/transform.py, image_transform.
type Augment struct {
	// Area is the least and the greatest share of the picture that is cut out and resized to the
	// tower's input; 0, 0 means the middle square, as in Preprocess. OpenCLIP trains with 0.9, 1;
	// torchvision's default is 0.08, 1.
	Area [2]float64
	// Aspect is the least and the greatest ratio of the cut's width to its height, before it is made
	// a square; 0, 0 means torchvision's 3/4, 4/3. It matters only with Area.
	Aspect [2]float64
	// Flip is the probability of exchanging left and right.
	Flip float64
	// Brightness, Contrast and Saturation are the most by which a factor differs from 1, and Hue the
	// most by which the hue moves, in turns of the colour circle: 0 to 0.5. 0 means unchanged. They
	// are applied in random order.
	Brightness, Contrast, Saturation, Hue float64
}

// defaultAspect is torchvision's, from 3:4 to 4:3.
var defaultAspect = [2]float64{3. / 4, 4. / 3}

// Validate says what is wrong with a.
func (a Augment) Validate() error {
	var errs []error
	if a.Area != [2]float64{} && !(0 < a.Area[0] && a.Area[0] <= a.Area[1] && a.Area[1] <= 1) {
		errs = append(errs, fmt.Errorf("data: area of a crop is %v, want two numbers above 0, at most 1 and in order", a.Area))
	}
	if a.Aspect != [2]float64{} && !(0 < a.Aspect[0] && a.Aspect[0] <= a.Aspect[1] && !math.IsInf(a.Aspect[1], 1)) {
		errs = append(errs, fmt.Errorf("data: aspect of a crop is %v, want two numbers above 0 and in order", a.Aspect))
	}
	for _, f := range []struct {
		name    string
		v, most float64
	}{
		{"probability of a flip", a.Flip, 1},
		{"brightness", a.Brightness, math.MaxFloat32}, {"contrast", a.Contrast, math.MaxFloat32}, {"saturation", a.Saturation, math.MaxFloat32},
		{"hue", a.Hue, 0.5},
	} {
		if !(f.v >= 0 && f.v <= f.most) {
			errs = append(errs, fmt.Errorf("data: %s is %v, want 0 to %v", f.name, f.v, f.most))
		}
	}
	return errors.Join(errs...)
}

// variation is what is done to one picture.
type variation struct {
	crop    *box // nil: the middle square
	flip    bool
	colours []change // in order
}

// box is a part of a picture, in pixels.
type box struct{ x, y, width, height int }

// change is a step of ColorJitter.
type change struct {
	what   int // an index into adjust
	factor float64
}

// draw decides what is done to a picture of the given size.
func (a Augment) draw(width, height int, s *stream) variation {
	var v variation
	if a.Area != [2]float64{} {
		aspect := a.Aspect
		if aspect == [2]float64{} {
			aspect = defaultAspect
		}
		b := cropBox(width, height, a.Area, aspect, s.uniform)
		v.crop = &b
	}
	v.flip = s.uniform() < a.Flip
	order := []int{brightness, contrast, saturation, hue}
	s.shuffle(order)
	for _, what := range order {
		most := [...]float64{a.Brightness, a.Contrast, a.Saturation, a.Hue}[what]
		if most == 0 {
			continue
		}
		least, centre := max(0, 1-most), 1.
		if what == hue {
			least, centre = -most, 0
		}
		v.colours = append(v.colours, change{what, between(least, centre+most, s.uniform())})
	}
	return v
}

// between returns the number that u, from 0 to 1, stands for between lo and hi.
func between(lo, hi, u float64) float64 { return lo + float64((hi-lo)*u) }

// cropBox chooses a part of a picture by area and by aspect, ten times until one fits; failing that,
// the largest in the middle whose aspect is allowed. draw gives numbers from 0 to below 1, in the order
// area, aspect, and where it fits top, left.
// Source: torchvision 0.24.1, transforms/transforms.py, RandomResizedCrop.get_params.
func cropBox(width, height int, area, aspect [2]float64, draw func() float64) box {
	logs := [2]float64{math.Log(aspect[0]), math.Log(aspect[1])}
	for range 10 {
		pixels := float64(width) * float64(height) * between(area[0], area[1], draw())
		ratio := math.Exp(between(logs[0], logs[1], draw()))
		w := int(math.RoundToEven(math.Sqrt(pixels * ratio))) // Python rounds halves to even
		h := int(math.RoundToEven(math.Sqrt(pixels / ratio)))
		if 0 < w && w <= width && 0 < h && h <= height {
			y := int(draw() * float64(height-h+1))
			x := int(draw() * float64(width-w+1))
			return box{x, y, w, h}
		}
	}
	w, h := width, height
	switch whole := float64(width) / float64(height); {
	case whole < aspect[0]:
		h = max(int(math.RoundToEven(float64(w)/aspect[0])), 1)
	case whole > aspect[1]:
		w = max(int(math.RoundToEven(float64(h)*aspect[1])), 1)
	}
	return box{(width - w) / 2, (height - h) / 2, w, h}
}

// apply returns what v makes of a picture: a square of mode "RGB" with the given side.
// The picture is prepared by the transform, which makes the middle square, too.
func (v variation) apply(m *pillow.Image, size int, t clipvit.Transform) (*pillow.Image, error) {
	if v.crop == nil {
		square, err := t.Square(m, size)
		if err != nil {
			return nil, err
		}
		m = pillow.FromImage(square)
	} else {
		var err error
		if m, err = m.Crop(v.crop.x, v.crop.y, v.crop.width, v.crop.height).Resize(size, size, pillow.Bicubic); err == nil {
			m, err = m.RGB()
		}
		if err != nil {
			return nil, err
		}
	}
	if v.flip {
		mirror(m)
	}
	for _, c := range v.colours {
		adjust[c.what](m, c.factor)
	}
	return m, nil
}

// mirror exchanges left and right, in place.
func mirror(m *pillow.Image) {
	for y := range m.Height {
		row := m.Pix[3*y*m.Width:][:3*m.Width]
		for i, j := 0, len(row)-3; i < j; i, j = i+3, j-3 {
			a, b := row[i:i+3:i+3], row[j:j+3:j+3]
			a[0], a[1], a[2], b[0], b[1], b[2] = b[0], b[1], b[2], a[0], a[1], a[2]
		}
	}
}
