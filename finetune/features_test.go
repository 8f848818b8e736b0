package finetune

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
)

// A run says what features it has in the words of package clipvit, and reads what version 64c7bcd wrote.
func TestIdentityFeatures(t *testing.T) {
	patches, embedding := clipvit.Features{Kind: clipvit.Patches, Layer: -2}, clipvit.Features{Kind: clipvit.Embedding}
	for text, want := range map[string]clipvit.Features{
		`{"seed":7,"Features":{"Patches":true,"Layer":-2}}`:    patches,
		`{"seed":7,"Features":{"Patches":false,"Layer":0}}`:    embedding,
		`{"seed":7,"features":{"kind":"patches","layer":-2}}`:  patches,
		`{"seed":7,"features":{"kind":"embedding","layer":0}}`: embedding,
	} {
		var i identity
		if err := json.Unmarshal([]byte(text), &i); err != nil || i.Features != want || i.Seed != 7 {
			t.Errorf("%s: features %v, seed %d, %v, want %v and 7", text, i.Features, i.Seed, err, want)
		}
		written, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		if form, _ := json.Marshal(want); !strings.Contains(string(written), `"features":`+string(form)) {
			t.Errorf("%s is written as %s", text, written)
		}
	}
}

func TestCheckFeatures(t *testing.T) {
	m := &clipvit.Model{Config: clipvit.ViTB32}
	for f, want := range map[clipvit.Features]string{
		{Kind: clipvit.Embedding}:             "",
		{Kind: clipvit.Patches, Layer: -13}:   "",
		{Kind: clipvit.Patches, Layer: -14}:   "layer is -14, want -13 to 12",
		{Kind: clipvit.ClassToken, Layer: -1}: "features are cls of layer -1, want embedding, or patches or all of a layer",
		{}:                                    `features are ""`,
	} {
		err := checkFeatures(f, m)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: error is %v, want %q", f, err, want)
		}
	}
}
