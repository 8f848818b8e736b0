package clipvit

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"
)

// Every kind reads as it is written, as text and as JSON.
func TestFeaturesText(t *testing.T) {
	for text, want := range map[string]Features{
		"embedding":           {Kind: Embedding},
		"post_norm":           {Kind: PostNorm},
		"cls of layer -2":     {ClassToken, -2},
		"mean of layer 0":     {PatchMean, 0},
		"patches of layer 12": {Patches, 12},
		"all of layer -1":     {AllTokens, -1},
	} {
		got, err := ParseFeatures(text)
		if err != nil || got != want || want.String() != text {
			t.Errorf("%q is read as %+v, %v, and %+v written as %q", text, got, err, want, want)
		}
		object, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var back Features
		if err := json.Unmarshal(object, &back); err != nil || back != want {
			t.Errorf("%s is read as %+v, %v, want %+v", object, back, err, want)
		}
	}
	if object, _ := json.Marshal(Features{ClassToken, -2}); string(object) != `{"kind":"cls","layer":-2}` {
		t.Errorf("JSON is %s", object)
	}
	for text, want := range map[string]string{
		"":                                  `features are "", want embedding, post_norm, cls, mean, patches or all`,
		"patch of layer 1":                  `features are "patch", want`,
		"cls":                               `features are "cls", want "cls of layer -1"`,
		"embedding of layer -1":             `features are "embedding of layer -1", want "embedding"`,
		"cls of layer last":                 `layer is "last", want a number`,
		"cls of layer +1":                   `layer is "+1", want a number`,
		"cls of layer 01":                   `layer is "01", want a number`,
		"cls of layer ":                     `layer is "", want a number`,
		"cls of layer 1 of layer 2":         `layer is "1 of layer 2", want a number`,
		"cls of layer 99999999999999999999": `layer is "99999999999999999999", want a number`,
		"cls of layer " + strings.Repeat("9", 1<<16):       `layer is "` + strings.Repeat("9", 40) + `", want a number`,
		"embedding of layer " + strings.Repeat("9", 1<<16): `features are "embedding of layer 999999999999999999999", want "embedding"`,
	} {
		if f, err := ParseFeatures(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is read as %+v, %v, want an error with %q", text, f, err, want)
		}
	}
}

// What Of gives has the shape that Shape says, in one part or several, frozen or not.
func TestFeaturesOf(t *testing.T) {
	m, file := tinyTower(t, "quick_gelu")
	c := m.Config
	one := file.Float32("patches")[:c.Patches()*c.PatchLen()]
	images := 2*c.part() + 1
	patches := matrix(slices.Repeat(one, images), []int{images * c.Patches(), c.PatchLen()})
	patches.SetRequiresGrad(false)
	tokens, err := m.Features(patches, -2)
	if err != nil {
		t.Fatal(err)
	}
	all := tokens.Value().Data().F32()
	for f, first := range map[Features][]float32{
		{Kind: Embedding}: m.Embedding(patches).Value().Data().F32(), {Kind: PostNorm}: nil,
		{ClassToken, -2}: all[:c.Width], {PatchMean, -2}: nil, {Patches, -2}: all[c.Width:], {AllTokens, -2}: all,
	} {
		shape, err := f.Shape(c)
		if err != nil {
			t.Fatal(err)
		}
		rows, cols := images, shape[len(shape)-1]
		if len(shape) == 2 {
			rows *= shape[0]
		}
		var learnt []float32
		for range 2 {
			y, err := f.Of(m, patches)
			if err != nil {
				t.Fatal(err)
			}
			values := y.Value().Data().F32()
			if !slices.Equal(y.Shape(), []int{rows, cols}) {
				t.Fatalf("%s: shape is %v, want [%d,%d]", f, y.Shape(), rows, cols)
			}
			if n := min(len(first), c.Width); learnt == nil && !slices.Equal(values[:n], first[:n]) {
				t.Errorf("%s: begins with %v, want %v", f, values[:n], first[:n])
			}
			if learnt == nil {
				learnt = slices.Clone(values)
				if y.RequiresGrad() == (f.Kind == PatchMean) {
					t.Errorf("%s of a tower that learns: a gradient is wanted: %v", f, y.RequiresGrad())
				}
				m.Freeze()
			} else if d := furthest(values, learnt); d > 1e-5 {
				t.Errorf("%s of a frozen tower are %v from those of one that learns", f, d)
			}
		}
		m.Unfreeze()
	}
}

func furthest(a, b []float32) (d float32) {
	for i := range a {
		d = max(d, a[i]-b[i], b[i]-a[i])
	}
	return d
}

func TestFeaturesValidate(t *testing.T) {
	bare := ViTB32
	bare.NoPostNorm, bare.EmbedDim = true, 0
	for _, w := range []struct {
		f    Features
		c    Config
		want string
	}{
		{Features{}, ViTB32, `features are "", want embedding`},
		{Features{Embedding, 1}, ViTB32, "layer is 1, but embedding has none"},
		{Features{ClassToken, 13}, ViTB32, "layer is 13, want -13 to 12"},
		{Features{Patches, -14}, ViTB32, "layer is -14, want -13 to 12"},
		{Features{Kind: PostNorm}, bare, "no post-norm and so no post_norm"},
	} {
		_, err := w.f.Shape(w.c)
		if err == nil || !strings.Contains(err.Error(), w.want) {
			t.Errorf("%+v: error is %v, want one with %q", w.f, err, w.want)
		}
		if _, got := w.f.Of(&Model{Config: w.c}, mat.NewDense[float32](mat.WithShape(49, 3072))); got == nil || got.Error() != err.Error() {
			t.Errorf("%+v: Of says %v, Shape %v", w.f, got, err)
		}
	}
	for f, want := range map[Features]int{{Kind: Embedding}: 12, {ClassToken, -1}: 12, {Patches, -2}: 11, {AllTokens, 0}: 0, {PatchMean, 5}: 5} {
		if got := f.Blocks(ViTB32); got != want {
			t.Errorf("%s: %d blocks, want %d", f, got, want)
		}
	}
}
