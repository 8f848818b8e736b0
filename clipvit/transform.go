package clipvit

import (
	"errors"
	"fmt"

	"github.com/vitago/vitago/internal/pillow"
)

// A Transform says what [Preprocess] makes of an image for a tower, whose input size is in [Config]. The zero value is
// what OpenAI's towers were trained with. A zero Fit or Filter alone is OpenAI's too, and so are Mean and Std if both are
// zero. Other values are refused so far.
//
// Source: openai/CLIP, clip/clip.py, _transform; the words are those of mlfoundations/open_clip,
// src/open_clip/transform.py, PreprocessCfg.
type Transform struct {
	Fit    Fit        `json:"fit,omitempty"`    // how an image becomes a square; zero is FitShortest
	Filter Filter     `json:"filter,omitempty"` // what scales it; zero is FilterBicubic
	Mean   [3]float64 `json:"mean,omitzero"`    // subtracted from red, green and blue, which are 0 to 1
	Std    [3]float64 `json:"std,omitzero"`     // what the difference is divided by
}

// A Fit is how an image becomes a square.
type Fit string

// FitShortest scales the shorter side to the tower's size and cuts the centre out.
const FitShortest Fit = "shortest"

// A Filter is what an image is scaled with.
type Filter string

// FilterBicubic is Pillow's BICUBIC, a = -0.5, which widens when it shrinks.
const FilterBicubic Filter = "bicubic"

// fits are those that are implemented: they make an image, at least 1×1, an RGB square of size pixels per side.
var fits = map[Fit]func(m *pillow.Image, size int) (*pillow.Image, error){
	FitShortest: (*pillow.Image).CLIP,
}

// openAI is the transform that the zero value stands for.
var openAI = Transform{
	Fit:    FitShortest,
	Filter: FilterBicubic,
	Mean:   [3]float64{0.48145466, 0.4578275, 0.40821073},
	Std:    [3]float64{0.26862954, 0.26130258, 0.27577711},
}

// Resolved returns t with all that its zero fields stand for.
func (t Transform) Resolved() Transform {
	if t.Fit == "" {
		t.Fit = openAI.Fit
	}
	if t.Filter == "" {
		t.Filter = openAI.Filter
	}
	if t.Mean == ([3]float64{}) && t.Std == ([3]float64{}) {
		t.Mean, t.Std = openAI.Mean, openAI.Std
	}
	return t
}

// Canonical returns what does the same as t, the same of all transforms that do, and zero of OpenAI's.
func (t Transform) Canonical() Transform {
	if t = t.Resolved(); t == openAI {
		return Transform{}
	}
	return t
}

// Validate returns nil if [Preprocess] can do what t says, and otherwise an error with everything that it cannot.
func (t Transform) Validate() error {
	r := t.Resolved()
	var errs []error
	for _, f := range []struct {
		name      string
		got, want any
	}{{"fit", r.Fit, openAI.Fit}, {"filter", r.Filter, openAI.Filter}, {"mean", r.Mean, openAI.Mean}, {"std", r.Std, openAI.Std}} {
		if f.got != f.want {
			errs = append(errs, fmt.Errorf("clipvit: transform: %s is %v, want %v", f.name, f.got, f.want))
		}
	}
	return errors.Join(errs...)
}

// Levels are what an image's red, green and blue from 0 to 255 become.
type Levels [3][256]float32

// Levels returns what t makes of the levels of an image: what torchvision's ToTensor and Normalize do, with three
// roundings to float32, in this order.
func (t Transform) Levels() Levels { return *t.levels() }

func (t Transform) levels() *Levels {
	if t = t.Resolved(); t == openAI {
		return openAILevels
	}
	return newLevels(t)
}

// openAILevels is never written.
var openAILevels = newLevels(openAI)

func newLevels(t Transform) *Levels {
	var table Levels
	for ch := range table {
		for v := range table[ch] {
			x := float32(v) / 255
			x -= float32(t.Mean[ch])
			table[ch][v] = x / float32(t.Std[ch])
		}
	}
	return &table
}
