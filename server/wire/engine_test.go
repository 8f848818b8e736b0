package wire

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/demo"
)

// TestFeatures asks for what else a tower gives.
func TestFeatures(t *testing.T) {
	base := serve(t, Options{})
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	image := `{"input":[{"image":"` + base64.StdEncoding.EncodeToString(picture(t, "red-circle.png")) + `"}],"normalized":false,`
	prints := map[string]string{}
	for _, test := range []struct {
		members string
		f       clipvit.Features
	}{
		{`"features":"patches","layer":-2}`, clipvit.Features{Kind: clipvit.Patches, Layer: -2}},
		{`"layer":0,"features":"patches"}`, clipvit.Features{Kind: clipvit.Patches}},
		{`"features":"all"}`, clipvit.Features{Kind: clipvit.AllTokens, Layer: -1}},
		{`"features":"cls","layer":1}`, clipvit.Features{Kind: clipvit.ClassToken, Layer: 1}},
		{`"features":"mean","layer":-1}`, clipvit.Features{Kind: clipvit.PatchMean, Layer: -1}},
		{`"features":"post_norm"}`, clipvit.Features{Kind: clipvit.PostNorm}},
	} {
		want, err := m.Features(t.Context(), test.f, clip.Bytes("a", picture(t, "red-circle.png")))
		if err != nil {
			t.Fatal(err)
		}
		code, h, got := post(t, base+"/v1/embeddings", "application/json", image+test.members)
		if code != 200 {
			t.Errorf("%s: %d %s", test.members, code, got)
			continue
		}
		if v := vectors(t, got); len(v) != 1 || !slices.Equal(v[0], want[0]) {
			t.Errorf("%s: another vector", test.members)
		}
		var a struct{ Shape []int }
		if err := json.Unmarshal([]byte(got), &a); err != nil {
			t.Fatal(err)
		}
		n := 1
		for _, d := range a.Shape {
			n *= d
		}
		if n != len(want[0]) {
			t.Errorf("%s: the shape is %v of %d values", test.members, a.Shape, len(want[0]))
		}
		if (test.f.Kind == clipvit.Patches || test.f.Kind == clipvit.AllTokens) && len(a.Shape) != 2 {
			t.Errorf("%s: the shape is %v, want [T,C]", test.members, a.Shape)
		}
		if other, ok := prints[h.Get(FingerprintHeader)]; ok {
			t.Errorf("%s and %s have one fingerprint", other, test.members)
		}
		prints[h.Get(FingerprintHeader)] = test.members
	}
}

// TestPreprocess has a picture prepared as other libraries do it.
func TestPreprocess(t *testing.T) {
	base := serve(t, Options{})
	for _, preset := range []string{"immich", "transformers-5.20"} {
		want := reference(t, "image", "odd.png", preset)
		if slices.Equal(want, reference(t, "image", "odd.png", "")) {
			t.Fatalf("%s makes no difference", preset)
		}
		clip.Normalize(want)
		code, _, got := post(t, base+"/v1/embeddings?preprocess="+preset, "image/png", string(picture(t, "odd.png")))
		if code != 200 || !slices.Equal(vectors(t, got)[0], want) {
			t.Errorf("%s: %d %.200s", preset, code, got)
		}
	}
	media, body := form(t, map[string]string{"entries": `{"clip":{"visual":{"modelName":"ViT-B-32__openai"}}}`}, "image", picture(t, "odd.png"))
	code, _, got := post(t, base+"/predict", media, body)
	want := reference(t, "image", "odd.png", "immich")
	clip.Normalize(want)
	var a struct {
		Clip                    string
		ImageHeight, ImageWidth int
	}
	if err := json.Unmarshal([]byte(got), &a); err != nil || code != 200 {
		t.Fatal(code, got, err)
	}
	var v []float32
	if err := json.Unmarshal([]byte(a.Clip), &v); err != nil || !slices.Equal(v, want) {
		t.Errorf("immich: %s: %v", got, err)
	}
	if a.ImageHeight != 77 || a.ImageWidth != 131 {
		t.Errorf("immich: the picture is %d by %d", a.ImageWidth, a.ImageHeight)
	}
}

// TestCut cuts vectors where the operator permits it.
func TestCut(t *testing.T) {
	base := serve(t, Options{CutDimensions: true})
	want := reference(t, "text", "a red circle", "")[:16]
	clip.Normalize(want)
	code, h, got := post(t, base+"/v1/embeddings", "application/json", `{"input":"a red circle","dimensions":16}`)
	if code != 200 {
		t.Fatal(code, got)
	}
	if v := vectors(t, got)[0]; len(v) != 16 || clip.Cosine(v, want) < 1-1e-6 {
		t.Errorf("got %v, want %v", v, want)
	}
	if code, all, _ := post(t, base+"/v1/embeddings", "application/json", `{"input":"a red circle"}`); code != 200 || all.Get(FingerprintHeader) == h.Get(FingerprintHeader) {
		t.Errorf("%d: a cut vector has the fingerprint of a whole one", code)
	}
}
