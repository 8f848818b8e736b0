package clipvit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Preset is how a library prepares images. Libraries differ in Rounding and Alpha; Fit, Filter, Mean, Std, Resize and
// Fill belong to a model, whose files say them to every library.
type Preset struct {
	Name      string    // as [ParseChoice] takes it
	Transform Transform // what the library does if the files of a model say nothing
}

// Presets are the libraries whose rules are known.
//
//	openai                openai/CLIP, clip/clip.py
//	open_clip             mlfoundations/open_clip 3.3.0, src/open_clip/transform.py; OpenAI's rules
//	transformers          huggingface/transformers since 5.21, CLIPImageProcessor on Pillow
//	transformers-5.20     the same before 5.21, back to 4.x
//	timm                  huggingface/pytorch-image-models, timm/data/transforms_factory.py and dataset.py, ImageDataset
//	immich                immich-app/immich, machine-learning/immich_ml/models/clip/visual.py
var Presets = []Preset{
	{"openai", Transform{}},
	{"open_clip", Transform{}},
	{"transformers", Transform{Rounding: RoundTransformers, Alpha: AlphaWhite}},
	{"transformers-5.20", Transform{Rounding: RoundTransformers, Alpha: AlphaDropFirst}},
	{"timm", Transform{Alpha: AlphaDropFirst}},
	{"immich", Transform{Rounding: RoundImmich, Alpha: AlphaDropFirst}},
}

// FindPreset returns the preset of the given name. The error names all that there are.
func FindPreset(name string) (Preset, error) {
	i := slices.IndexFunc(Presets, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		names := make([]string, len(Presets))
		for i, p := range Presets {
			names[i] = p.Name
		}
		return Preset{}, fmt.Errorf("clipvit: preset is %.40q, want one of %s", name, strings.Join(names, ", "))
	}
	return Presets[i], nil
}

// Follow returns t by the rules of another library: p's Rounding and Alpha. All else stays as the model has it.
func (t Transform) Follow(p Preset) Transform {
	t.Rounding, t.Alpha = p.Transform.Rounding, p.Transform.Alpha
	return t
}

// Follows says whether t is by the rules of p. It may be by those of several.
func (t Transform) Follows(p Preset) bool { return t.Canonical() == t.Follow(p).Canonical() }

// allFits returns the names of all ways in which an image becomes a square.
func allFits() []Fit { return []Fit{FitShortest, FitSquash, FitPad, FitLongest} }

// WithFit returns t with another way to make a square. Fill is black, and for FitPad t's mean colour, as LLaVA has it. Of
// FitLongest the sizes are those of the tower.
func (t Transform) WithFit(f Fit) Transform {
	t.Fit, t.Fill = f, [3]uint8{}
	switch f {
	case FitPad:
		t.Fill = t.MeanColour()
	case FitLongest:
		t.Resize = 0
	}
	return t
}

// MeanColour returns the mean of t as a colour, cut to integers.
//
// Source: haotian-liu/LLaVA, llava/mm_utils.py, process_images: int(x*255).
func (t Transform) MeanColour() (colour [3]uint8) {
	for i, v := range t.Resolved().Mean {
		colour[i] = uint8(min(max(v*255, 0), 255))
	}
	return colour
}

// A Choice is what a caller wants of the preprocessing in the place of what a model's own files say. Zero changes nothing.
type Choice struct {
	Preset string `json:"preprocess,omitempty"` // by whose rules: a name in Presets
	Fit    Fit    `json:"fit,omitempty"`        // how an image becomes a square; "crop" is FitShortest
	EXIF   bool   `json:"exif,omitempty"`       // whether it is turned as its file says
}

// Validate returns nil if c can be applied, and otherwise an error that says what there is.
func (c Choice) Validate() error {
	var errs []error
	if c.Preset != "" {
		_, err := FindPreset(c.Preset)
		errs = append(errs, err)
	}
	if c.Fit != "" && fits[c.fit()] == nil {
		errs = append(errs, fmt.Errorf("clipvit: fit is %.40q, want one of %s", c.Fit, FitChoices()))
	}
	return errors.Join(errs...)
}

// crop is what people call FitShortest.
const crop Fit = "crop"

func (c Choice) fit() Fit {
	if c.Fit == crop {
		return FitShortest
	}
	return c.Fit
}

// FitChoices returns what the Fit of a Choice may be, but for "".
func FitChoices() []Fit { return []Fit{crop, FitSquash, FitPad, FitLongest} }

// Apply returns what c makes of a model's transform. It panics if c is not valid.
func (c Choice) Apply(t Transform) Transform {
	if err := c.Validate(); err != nil {
		panic(err)
	}
	if c.Preset != "" {
		p, _ := FindPreset(c.Preset)
		t = t.Follow(p)
	}
	if c.Fit != "" {
		t = t.WithFit(c.fit())
	}
	t.EXIF = t.EXIF || c.EXIF
	return t.Canonical()
}
