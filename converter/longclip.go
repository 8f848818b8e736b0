package converter

import (
	"fmt"
	"slices"

	"github.com/vitago/vitago/converter/checkpoint"
)

// The text of Long-CLIP: its first positions are those of CLIP, the others a second tensor's, of which the first rows are not
// used, as the rest of the first is not.
//
// Source: beichenzbc/Long-CLIP, model/model_longclip.py, CLIP.__init__ (mask1 and mask2) and encode_text.
const (
	openTextPositions = "positional_embedding"
	longText          = "positional_embedding_res"
	longKept          = 20
)

// lengthen makes the text's positions those of Long-CLIP: rows of the tensor that there is, and of t below.
func (m *Model) lengthen(t *checkpoint.Tensor) error {
	p := m.params["Text.Position"]
	if len(p) != 1 || !slices.Equal(t.Shape, p[0].t.Shape) || !t.DType.IsFloat() || t.Shape[0] <= longKept {
		return fmt.Errorf("%s: shape %v of %s, want that of %s and more than %d rows", t.Name, t.Shape, t.DType, openTextPositions, longKept)
	}
	n := longKept * t.Shape[1]
	m.params["Text.Position"] = param{{p[0].t, 0, n}, {t, n, t.Len() - n}}
	return nil
}
