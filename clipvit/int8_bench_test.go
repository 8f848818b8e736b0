package clipvit

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/nlpodyssey/spago/mat"
)

// BenchmarkInt8 encodes random images in 8 bits and in float32 by turns, and reports the ratio of the medians and the least
// cosine of two embeddings.
func BenchmarkInt8(b *testing.B) {
	for _, c := range []struct {
		name string
		Config
		batches []int
	}{
		{"B-32", ViTB32, []int{1, 8, 32}}, {"B-16", ViTB16, []int{1, 8}}, {"L-14-336", ViTL14336, []int{1, 4}},
	} {
		b.Run(c.name, func(b *testing.B) {
			float, rounded := randomModel(b, c.Config), randomModel(b, c.Config)
			start := time.Now()
			rounded.Quantize()
			b.Logf("%s in %v", rounded.Precision(), time.Since(start).Round(time.Millisecond))
			for _, batch := range c.batches {
				b.Run(fmt.Sprintf("threads=%d/batch=%d", runtime.GOMAXPROCS(0), batch), func(b *testing.B) {
					rng := rand.New(rand.NewPCG(2, uint64(batch)))
					values := make([]float32, batch*c.Patches()*c.PatchLen())
					for i := range values {
						values[i] = float32(rng.NormFloat64())
					}
					x := mat.NewDense[float32](mat.WithShape(batch*c.Patches(), c.PatchLen()), mat.WithBacking(values))
					var times [2][]float64
					least := 1.0
					for b.Loop() {
						var y [2][]float32
						for i, m := range []*Model{float, rounded} {
							start := time.Now()
							y[i] = mat.Data[float32](m.Embedding(x).Value().(mat.Matrix))
							times[i] = append(times[i], time.Since(start).Seconds())
						}
						least = min(least, leastOf(y[1], y[0], c.EmbedDim))
					}
					median := func(x []float64) float64 {
						slices.Sort(x)
						return x[len(x)/2]
					}
					b.ReportMetric(0, "ns/op") // of both together: it says nothing
					b.ReportMetric(1e3*median(times[0])/float64(batch), "float32-ms/image")
					b.ReportMetric(median(times[1])/median(times[0]), "int8/float32")
					b.ReportMetric(1e6*(1-least), "ppm-below-cosine-1")
				})
			}
		})
	}
}
