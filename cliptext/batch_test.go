package cliptext

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/tiny"
)

// TestBatch: a text has the same bits whatever stands beside it, however long that is, with every implementation. The MLP is
// so wide that its product is summed in two parts.
func TestBatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	c := Config{Vocab: 100, Context: 40, Width: 72, Heads: 3, Layers: 1, MLPWidth: 1111, EmbedDim: 33, Activation: transformer.QuickGELU, NormEps: 1e-5, End: 99}
	m := tiny.New(t, New, c)
	tiny.Fill(m, func() float32 { return (rng.Float32() - 0.5) / 5 })
	texts := make([][]int, 40)
	for i := range texts {
		for range 1 + rng.IntN(c.Context-1) {
			texts[i] = append(texts[i], rng.IntN(c.End))
		}
		texts[i] = append(texts[i], c.End)
	}
	embed := func(texts [][]int) []float32 {
		y, err := m.Forward(texts)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(mat.Data[float32](y.Value().(mat.Matrix)))
	}
	for _, impl := range kernel.Available() {
		kernel.Use(impl)
		tiny.EachPrecision(m, func(precision string) {
			var alone []float32
			for _, text := range texts {
				alone = append(alone, embed([][]int{text})...)
			}
			for _, b := range []int{2, 3, 5, 13, 40} {
				for from := 0; from+b <= len(texts); from += b {
					if got := embed(texts[from : from+b]); !slices.Equal(got, alone[from*c.EmbedDim:(from+b)*c.EmbedDim]) {
						t.Errorf("%s, %s: texts %d to %d differ from each alone", impl, precision, from, from+b-1)
					}
				}
			}
		})
	}
	kernel.Use("")
}
