package op

import (
	"slices"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
)

func init() {
	cases = append(cases, caseOf{
		"PatchRows", [][2]int{{12, 5}},
		func(in []mat.Tensor) mat.Tensor { return PatchRows(in[0], 4) },
		func(in []mat.Tensor) mat.Tensor {
			rows := ag.RowViews(in[0])
			return ag.Stack(slices.Concat(rows[1:4], rows[5:8], rows[9:12])...)
		},
	})
}
