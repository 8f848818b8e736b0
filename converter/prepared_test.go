package converter_test

import (
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
)

// TestPrepared: a transform that was declared is that of the tower, whatever the files say; what it cannot be is an error.
func TestPrepared(t *testing.T) {
	const path = "../testdata/families/hf5-clip"
	open := func(options ...converter.OpenOption) clipvit.Transform {
		m, err := converter.Open(path, options...)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		return m.Stated().Vision.Transform
	}
	want := open().WithFit(clipvit.FitPad).Canonical()
	want.Filter, want.Mean, want.Std = clipvit.FilterBox, [3]float64{0.5, 0.5, 0.5}, [3]float64{0.25, 0.25, 0.25}
	if got := open(converter.Prepared(want)); got != want.Canonical() {
		t.Errorf("got %+v, want %+v", got, want.Canonical())
	}
	for name, c := range map[string]struct {
		options []converter.OpenOption
		says    string
	}{
		"no such filter": {[]converter.OpenOption{converter.Prepared(clipvit.Transform{Filter: "sinc"})}, `filter is "sinc"`},
		"too small":      {[]converter.OpenOption{converter.Prepared(clipvit.Transform{Resize: 1})}, "makes images of 1 pixels, and the tower takes"},
		"two":            {[]converter.OpenOption{converter.Prepared(want), converter.Prepare(clipvit.Choice{EXIF: true})}, "want one of them"},
	} {
		if m, err := converter.Open(path, c.options...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				m.Close()
			}
		}
	}
}
