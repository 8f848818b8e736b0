package finetune

import (
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/tiny"
)

// tinyTower returns the tower of a golden file, unfrozen, and the file.
func tinyTower(t testing.TB, activation string) (*clipvit.Model, *golden.File) {
	t.Helper()
	return tiny.Golden(t, "testdata/tiny/stages_"+activation, clipvit.New)
}

func matrix(data []float32, shape []int) *mat.Dense[float32] {
	return mat.NewDense[float32](mat.WithShape(shape...), mat.WithBacking(slices.Clone(data)))
}
