package clipvit

import (
	"encoding/json"
	"image"
	"math"
	"slices"
	"strings"
	"testing"
)

// The zero transform is OpenAI's, to the bit: the constants of its code, torchvision's three roundings.
func TestTransform(t *testing.T) {
	levels := Transform{}.Levels()
	for ch, c := range [3]struct{ mean, std float32 }{{0.48145466, 0.26862954}, {0.4578275, 0.26130258}, {0.40821073, 0.27577711}} {
		for v := range 256 {
			x := float32(v) / 255
			x -= c.mean
			if want := x / c.std; levels[ch][v] != want {
				t.Fatalf("channel %d, level %d is %v, want %v", ch, v, levels[ch][v], want)
			}
		}
	}
	full := Transform{}.Resolved()
	want := Transform{
		Fit: "shortest", Filter: "bicubic", Mean: [3]float64{0.48145466, 0.4578275, 0.40821073}, Std: [3]float64{0.26862954, 0.26130258, 0.27577711},
		Rounding: "torchvision", Alpha: "drop-last",
	}
	if full != want {
		t.Errorf("zero stands for %+v, want %+v", full, want)
	}
	if full.Canonical() != (Transform{}) || full.Levels() != levels || full.Validate() != nil || (Transform{}).Validate() != nil {
		t.Errorf("%+v is not what zero is", full)
	}
	levels[0][0] = 7 // which is a copy
	if again := (Transform{}).Levels(); again[0][0] == 7 {
		t.Error("who writes levels changes those of all")
	}
	// SigLIP's: -1 to 1.
	half := [3]float64{0.5, 0.5, 0.5}
	other := Transform{Mean: half, Std: half}
	if got := other.Levels(); got[0][0] != -1 || got[1][255] != 1 || math.Abs(float64(got[2][51]+0.6)) > 1e-7 {
		t.Errorf("levels are %v, %v, %v, want -1, 1, -0.6", got[0][0], got[1][255], got[2][51])
	}
	if other.Canonical() != (Transform{Fit: FitShortest, Filter: FilterBicubic, Mean: half, Std: half}) {
		t.Errorf("%+v is %+v", other, other.Canonical())
	}
}

// What cannot be computed is refused, all at once, and nothing is computed otherwise.
func TestTransformValidate(t *testing.T) {
	half := [3]float64{0.5, 0.5, 0.5}
	c := Config{ImageSize: 4, PatchSize: 2, Width: 8, Heads: 2, Layers: 1, MLPWidth: 8, Activation: "gelu", NormEps: 1e-5}
	for want, tr := range map[string]Transform{
		`transform: fit is "crop", want one of [shortest squash pad longest]`:                           {Fit: "crop"},
		`transform: filter is "cubic", want one of [bicubic bilinear box hamming lanczos nearest]`:      {Filter: "cubic"},
		"transform: mean is [0.48145466 0.4578275 0.40821073] and std [0 0 0], want numbers, std not 0": {Mean: openAI.Mean},
		"transform: mean is [NaN 0.4578275 0.40821073] and std":                                         {Mean: [3]float64{math.NaN(), openAI.Mean[1], openAI.Mean[2]}, Std: openAI.Std},
		"transform: mean is [0 0 0] and std [0.1 0 0.1]":                                                {Std: [3]float64{0.1, 0, 0.1}},
		"transform: mean is [0 0 0] and std [1 1e-60 1]":                                                {Std: [3]float64{1, 1e-60, 1}},
		"transform: mean is [0 1e+30 0] and std [1 1e-30 1]":                                            {Mean: [3]float64{0, 1e30, 0}, Std: [3]float64{1, 1e-30, 1}},
		"transform: resize is 3, want at least the image size 4":                                        {Resize: 3},
		"transform: resize is -1 and fit \"shortest\", want 0 to 16384":                                 {Resize: -1},
		"transform: resize is 9 and fit \"longest\", want 0 to 16384, and 0 for longest":                {Resize: 9, Fit: FitLongest},
		"transform: fill is [0 0 1] and fit \"squash\", which adds nothing: want pad or longest":        {Fit: FitSquash, Fill: [3]uint8{0, 0, 1}},
		`transform: rounding is "up", want torchvision, transformers or immich`:                         {Rounding: "up"},
		`transform: alpha is "black", want drop-last, drop-first or white`:                              {Alpha: "black"},
		"[shortest squash pad longest]\nclipvit: transform: filter is \"x\", want":                      {Fit: "x", Filter: "x"},
	} {
		c.Transform = tr
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error is %v, want one with %q", tr, err, want)
		}
		if _, err := Preprocess(image.NewGray(image.Rect(0, 0, 5, 5)), c); err == nil {
			t.Errorf("%+v: Preprocess computes something else", tr)
		}
	}
	for _, tr := range []Transform{{Mean: half, Std: half}, {Mean: openAI.Mean, Std: half}, {Std: [3]float64{-1, 1, 1}}, {Fit: FitPad, Fill: [3]uint8{1, 2, 3}, Filter: FilterBox, Resize: 9}} {
		c.Transform = tr
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", tr, err)
		}
	}
	c.Transform = openAI
	explicit, err := Preprocess(image.NewGray(image.Rect(0, 0, 5, 5)), c)
	if err != nil {
		t.Fatal(err)
	}
	c.Transform = Transform{}
	zero, err := Preprocess(image.NewGray(image.Rect(0, 0, 5, 5)), c)
	if err != nil || !slices.Equal(zero.Data().F32(), explicit.Data().F32()) {
		t.Errorf("written out, OpenAI's transform gives %v, %v, want %v", explicit, err, zero)
	}
}

// A configuration's JSON says nothing of a transform that is OpenAI's.
func TestTransformJSON(t *testing.T) {
	text, err := json.Marshal(ViTB32)
	if err != nil || strings.Contains(string(text), "transform") {
		t.Errorf("%s, %v", text, err)
	}
	c := ViTB32
	c.Transform = Transform{Fit: "squash", Mean: [3]float64{0.5, 0.25, 0}, Std: [3]float64{1, 1, 1}}
	text, err = json.Marshal(c)
	if want := `"transform":{"fit":"squash","mean":[0.5,0.25,0],"std":[1,1,1]}`; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%s, %v, want it with %s", text, err, want)
	}
	var back Config
	if err := json.Unmarshal(text, &back); err != nil || back != c {
		t.Errorf("%s is read as %+v, %v", text, back, err)
	}
}
