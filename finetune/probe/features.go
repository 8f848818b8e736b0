package probe

import (
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pillow"
)

// vectorLen returns D if the features are one vector [D] a picture.
func vectorLen(f clipvit.Features, c clipvit.Config) (int, error) {
	shape, err := f.Shape(c)
	if err != nil {
		return 0, fmt.Errorf("probe: %w", pillow.Bare(err, "clipvit"))
	}
	if len(shape) != 1 {
		return 0, fmt.Errorf("probe: %s are %d vectors a picture, want one: take %s, %s, %s or %s", f.Kind, shape[0],
			clipvit.Embedding, clipvit.PostNorm, clipvit.ClassToken, clipvit.PatchMean)
	}
	return shape[0], nil
}

func values(x mat.Tensor) []float32 { return mat.Data[float32](x.Value().(mat.Matrix)) }
