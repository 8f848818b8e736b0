package projector

import (
	"testing"

	"github.com/vitago/vitago/clipvit"
)

func TestSelectFeature(t *testing.T) {
	for word, want := range map[string]clipvit.FeatureKind{"patch": clipvit.Patches, "cls_patch": clipvit.AllTokens} {
		if got, ok := ParseSelectFeature(word); !ok || got != want || SelectFeature(want) != word {
			t.Errorf("%q is %q, %v, and %q is %q", word, got, ok, want, SelectFeature(want))
		}
	}
	for _, word := range []string{"", "cls", "patches", "default"} {
		if got, ok := ParseSelectFeature(word); ok {
			t.Errorf("%q is %q, want nothing", word, got)
		}
	}
	if got := SelectFeature(clipvit.ClassToken); got != "" {
		t.Errorf("the class token is %q, want nothing", got)
	}
}
