package clipvit

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/tiny"
)

// An image has the same bits with any number of threads, in float32, bfloat16 and int8. With -short it tries three
// numbers.
func TestThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	defer kernel.Use("")
	counts := []int{1, 2, 3, 4, 7}
	if testing.Short() {
		counts = []int{1, 2, 7}
	}
	for _, f := range transformer.Activations() {
		rng := rand.New(rand.NewPCG(1, 3))
		c := Config{ImageSize: 64, PatchSize: 8, Width: 72, Heads: 3, Layers: 2, MLPWidth: 1111, EmbedDim: 33, Activation: f, NormEps: 1e-5}
		m := tiny.New(t, New, c)
		tiny.Fill(m, func() float32 { return (rng.Float32() - 0.5) / 2 })
		const images = 3
		patches := make([]float32, images*c.Patches()*c.PatchLen())
		for i := range patches {
			patches[i] = rng.Float32() - 0.5
		}
		x := mat.NewDense[float32](mat.WithShape(images*c.Patches(), c.PatchLen()), mat.WithBacking(patches))
		for _, impl := range tiny.Kernels() {
			kernel.Use(impl)
			m.Unfreeze()
			m.Freeze()
			for _, precision := range []string{"f32", "bf16", "int8"} {
				switch precision {
				case "bf16":
					m.ToBF16()
				case "int8":
					m.Unfreeze()
					m.Quantize()
				}
				var want []float32
				for _, threads := range counts {
					runtime.GOMAXPROCS(threads)
					got := slices.Clone(mat.Data[float32](m.Embedding(x).Value().(mat.Matrix)))
					if want == nil {
						want = got
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s, %s, %s: %d threads give other bits than one", f, impl, precision, threads)
					}
				}
			}
		}
	}
}
