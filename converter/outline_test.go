package converter

import (
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/projector"
)

// TestOutlineEncoder: an outline counts the tokens that there are, and says what is wrong as the whole does.
func TestOutlineEncoder(t *testing.T) {
	for _, f := range families {
		c, err := Open(family(t, f.path))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, l := range projector.Layouts {
			outline, err := c.Outline(l.Name)
			whole, wholeErr := c.Encoder(t.Context(), l.Name)
			if err != nil || wholeErr != nil {
				if err == nil || wholeErr == nil || err.Error() != wholeErr.Error() {
					t.Errorf("%s, %s: error is %v, that of the whole %v", f.path, l.Name, err, wholeErr)
				}
				continue
			}
			y, err := whole.Tokens(stripes(50, 37))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := outline.Count(50, 37); err != nil || n != y.Shape()[0] {
				t.Errorf("%s, %s: %d tokens, %v, want %d", f.path, l.Name, n, err, y.Shape()[0])
			}
		}
		if info, err := c.Info(t.Context()); err != nil || c.LanguageModel() != info.LanguageModel {
			t.Errorf("%s: %d tensors of a language model, %v, want %d", f.path, c.LanguageModel(), err, info.LanguageModel)
		}
		if f.projector == (ProjectorConfig{}) || f.vision == (clipvit.Config{}) {
			if _, err := c.Outline(""); err == nil || !strings.Contains(err.Error(), "and no ") {
				t.Errorf("%s: error is %v, want which part is not there", f.path, err)
			}
		}
	}
}
