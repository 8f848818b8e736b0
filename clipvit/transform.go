package clipvit

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/vitago/vitago/internal/pillow"
)

// A Transform says what [Preprocess] makes of an image for a tower, whose input size is in [Config]. The zero value is
// what OpenAI's towers were trained with. A zero field alone is OpenAI's too, but for Mean and Std, which are OpenAI's if
// both are zero. [Presets] has the rules of other libraries.
//
// Source: openai/CLIP, clip/clip.py, _transform; the words of Fit and Filter are those of mlfoundations/open_clip,
// src/open_clip/transform.py, PreprocessCfg.
type Transform struct {
	Fit    Fit        `json:"fit,omitempty"`    // how an image becomes a square; zero is FitShortest
	Filter Filter     `json:"filter,omitempty"` // what scales it; zero is FilterBicubic
	Mean   [3]float64 `json:"mean,omitzero"`    // subtracted from red, green and blue, which are 0 to 1
	Std    [3]float64 `json:"std,omitzero"`     // what the difference is divided by
	// Resize is how many pixels the shorter side has when the image is scaled, of which the tower's square is the middle.
	// It is at least the tower's size, which is what zero stands for. FitLongest has none.
	Resize int `json:"resize,omitempty"`
	// Fill is the red, green and blue of what FitPad and FitLongest add.
	Fill     [3]uint8 `json:"fill,omitzero"`
	Rounding Rounding `json:"rounding,omitempty"` // of sizes and places in pixels; zero is RoundTorchvision
	Alpha    Alpha    `json:"alpha,omitempty"`    // what becomes of transparency; zero is AlphaDropLast
	// EXIF turns an image that [DecodeImage] read as the orientation in its file says, before all else, as Pillow's
	// ImageOps.exif_transpose does.
	EXIF bool `json:"exif,omitempty"`
}

// A Fit is how an image becomes a square.
type Fit string

// The ways.
const (
	// FitShortest scales the shorter side to the tower's size and cuts the centre out.
	FitShortest Fit = "shortest"
	// FitSquash scales both sides to the tower's size, whatever their ratio.
	FitSquash Fit = "squash"
	// FitPad makes a square by adding Fill on both ends of the shorter side, and scales that. It is LLaVA's
	// expand2square (haotian-liu/LLaVA, llava/mm_utils.py). The image is RGB before that.
	FitPad Fit = "pad"
	// FitLongest scales the longer side to the tower's size and adds Fill on both ends of the shorter one. It is
	// OpenCLIP's ResizeKeepRatio and CenterCropOrPad (src/open_clip/transform.py).
	FitLongest Fit = "longest"
)

// A Filter is what an image is scaled with: one of Pillow's. All but FilterNearest widen when they shrink.
type Filter string

// The filters, as Pillow's Image.Resampling names them.
const (
	FilterBicubic  Filter = "bicubic" // a = -0.5
	FilterBilinear Filter = "bilinear"
	FilterLanczos  Filter = "lanczos" // of 3 lobes
	FilterNearest  Filter = "nearest"
	FilterBox      Filter = "box"
	FilterHamming  Filter = "hamming"
)

// A Rounding is how fractions of pixels are rounded where an image is scaled and cut.
type Rounding string

// Whose rounding. The longer side is size·long/short, cut to an integer, for the first two.
const (
	// RoundTorchvision rounds half of what is cut off to the even number: torchvision's center_crop, OpenAI and OpenCLIP.
	RoundTorchvision Rounding = "torchvision"
	// RoundTransformers rounds it down: huggingface/transformers, src/transformers/image_transforms.py, center_crop.
	RoundTransformers Rounding = "transformers"
	// RoundImmich rounds it down, and the longer side is (long/short)·size, cut to an integer, which may be one pixel less:
	// immich-app/immich, machine-learning/immich_ml/models/transforms.py, resize_pil and crop_pil.
	RoundImmich Rounding = "immich"
)

// An Alpha is what becomes of an image's transparency, and when its other modes (palette, ink, 16 bits) become RGB.
type Alpha string

// The ways.
const (
	// AlphaDropLast makes the image RGB when it is scaled and cut, without its alpha: OpenAI and OpenCLIP. A palette has
	// its indices scaled, by the nearest pixel.
	AlphaDropLast Alpha = "drop-last"
	// AlphaDropFirst makes it RGB before: transformers before 5.21, immich.
	AlphaDropFirst Alpha = "drop-first"
	// AlphaWhite lays it on white before: transformers since 5.21.
	AlphaWhite Alpha = "white"
)

var filters = map[Filter]pillow.Filter{
	FilterBicubic: pillow.Bicubic, FilterBilinear: pillow.Bilinear, FilterLanczos: pillow.Lanczos,
	FilterNearest: pillow.Nearest, FilterBox: pillow.Box, FilterHamming: pillow.Hamming,
}

// openAI is the transform that the zero value stands for.
var openAI = Transform{
	Fit:      FitShortest,
	Filter:   FilterBicubic,
	Mean:     [3]float64{0.48145466, 0.4578275, 0.40821073},
	Std:      [3]float64{0.26862954, 0.26130258, 0.27577711},
	Rounding: RoundTorchvision,
	Alpha:    AlphaDropLast,
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
	if t.Rounding == "" {
		t.Rounding = openAI.Rounding
	}
	if t.Alpha == "" {
		t.Alpha = openAI.Alpha
	}
	return t
}

// Canonical returns what does the same as t, the same of all transforms that do, and zero of OpenAI's.
func (t Transform) Canonical() Transform {
	t = t.Resolved()
	if t.Fit != FitShortest && t.Resize == 0 {
		t.Rounding = openAI.Rounding // nothing is cut off
	}
	if t.Rounding == openAI.Rounding {
		t.Rounding = ""
	}
	if t.Alpha == openAI.Alpha || t.Fit == FitPad && t.Alpha == AlphaDropFirst {
		t.Alpha = ""
	}
	if t.Fit == openAI.Fit && t.Filter == openAI.Filter && t.Mean == openAI.Mean && t.Std == openAI.Std {
		t.Fit, t.Filter, t.Mean, t.Std = "", "", [3]float64{}, [3]float64{}
	}
	return t
}

// maxResize bounds Resize far above any real transform's.
const maxResize = 1 << 14

// Validate returns nil if [Preprocess] can do what t says, and otherwise an error with everything that it cannot.
func (t Transform) Validate() error {
	r := t.Resolved()
	var errs []error
	add := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("clipvit: transform: "+format, args...))
	}
	if fits[r.Fit] == nil {
		add("fit is %.40q, want one of %s", r.Fit, allFits())
	}
	if _, ok := filters[r.Filter]; !ok {
		add("filter is %.40q, want one of %s", r.Filter, slices.Sorted(maps.Keys(filters)))
	}
	for ch := range 3 {
		mean, std := float32(r.Mean[ch]), float32(r.Std[ch])
		if v := (1 + float32(math.Abs(float64(mean)))) / std; std == 0 || v-v != 0 { // infinite or no number
			add("mean is %v and std %v, want numbers, std not 0, whose quotients float32 holds", r.Mean, r.Std)
			break
		}
	}
	if r.Resize < 0 || r.Resize > maxResize || r.Resize > 0 && r.Fit == FitLongest {
		add("resize is %d and fit %q, want 0 to %d, and 0 for %s", r.Resize, r.Fit, maxResize, FitLongest)
	}
	if r.Fill != ([3]uint8{}) && r.Fit != FitPad && r.Fit != FitLongest {
		add("fill is %v and fit %q, which adds nothing: want %s or %s", r.Fill, r.Fit, FitPad, FitLongest)
	}
	if !slices.Contains([]Rounding{RoundTorchvision, RoundTransformers, RoundImmich}, r.Rounding) {
		add("rounding is %.40q, want %s, %s or %s", r.Rounding, RoundTorchvision, RoundTransformers, RoundImmich)
	}
	if !slices.Contains([]Alpha{AlphaDropLast, AlphaDropFirst, AlphaWhite}, r.Alpha) {
		add("alpha is %.40q, want %s, %s or %s", r.Alpha, AlphaDropLast, AlphaDropFirst, AlphaWhite)
	}
	return errors.Join(errs...)
}

// validateFor returns what is wrong with t for a tower of size pixels per side.
func (t Transform) validateFor(size int) error {
	if t.Resize > 0 && t.Resize < size {
		return fmt.Errorf("clipvit: transform: resize is %d, want at least the image size %d", t.Resize, size)
	}
	return nil
}

// Levels are what an image's red, green and blue from 0 to 255 become.
type Levels [3][256]float32

// Levels returns what t makes of the levels of an image: what torchvision's ToTensor and Normalize do, with three
// roundings to float32, in this order.
func (t Transform) Levels() Levels { return *t.levels() }

func (t Transform) levels() *Levels {
	if t = t.Resolved(); t.Mean == openAI.Mean && t.Std == openAI.Std {
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
