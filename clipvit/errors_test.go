package clipvit

import (
	"bytes"
	"errors"
	"image"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/vitago/vitago/clipvit/transformer"
)

// TestErrors: what is wrong with an image has a kind, and what its reader says has not.
func TestErrors(t *testing.T) {
	c := Config{ImageSize: 8, PatchSize: 4, Width: 8, Heads: 2, Layers: 1, MLPWidth: 16, EmbedDim: 4, Activation: transformer.QuickGELU, NormEps: 1e-5}
	decode := func(r io.Reader) error { _, err := DecodeImage(r); return err }
	size := func(r io.Reader) error { _, _, err := ImageSize(r); return err }
	const bomb = "P6 1000000 1000000 255\n"
	flat := image.NewGray(image.Rect(0, 0, 5, 0))
	_, flatErr := Preprocess(flat, c)
	_, batchErr := PreprocessBatch([]image.Image{flat}, c)
	gone := errors.New("gone")
	for name, e := range map[string]struct{ err, kind error }{
		"text":      {decode(strings.NewReader("hello")), ErrImage},
		"size":      {size(strings.NewReader("hello")), ErrImage},
		"empty":     {decode(bytes.NewReader(nil)), ErrImage},
		"bomb":      {decode(strings.NewReader(bomb)), ErrTooLarge},
		"bomb size": {size(strings.NewReader(bomb)), ErrTooLarge},
		"flat":      {flatErr, ErrImage},
		"batch":     {batchErr, ErrImage},
		"cut":       {Cut(make([]float32, 4*48), flat, c), ErrImage},
		"reader":    {decode(iotest.ErrReader(gone)), gone},
		"reader 2":  {decode(io.MultiReader(strings.NewReader("P6 9 9 255\n"+strings.Repeat(" ", 999)), iotest.ErrReader(gone))), gone},
	} {
		for _, kind := range []error{ErrImage, ErrTooLarge, gone} {
			if errors.Is(e.err, kind) != (kind == e.kind) { //nolint:errorlint // which of the kinds it is
				t.Errorf("%s: error %v is a %v: %v", name, e.err, kind, errors.Is(e.err, kind))
			}
		}
		if e.err != nil && (!strings.HasPrefix(e.err.Error(), "clipvit: ") || strings.Contains(e.err.Error(), "pillow")) {
			t.Errorf("%s: error %v", name, e.err)
		}
	}
}
