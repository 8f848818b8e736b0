package clipvit

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/tiny"
)

// flops returns the operations of one image: a multiply-add is two.
func (c Config) flops() float64 {
	t, w, f := float64(c.Tokens()), float64(c.Width), float64(c.MLPWidth)
	block := t*w*3*w + 2*t*t*w + t*w*w + 2*t*w*f // QKV, q·kᵀ and p·v, Out, MLP
	return 2 * (float64(c.Patches())*float64(c.PatchLen())*w + float64(c.Layers)*block + w*float64(c.EmbedDim))
}

func randomModel(b *testing.B, c Config) *Model {
	m := tiny.New(b, New, c)
	rng := rand.New(rand.NewPCG(1, 1))
	tiny.Fill(m, func() float32 { return (rng.Float32() - 0.5) / 20 })
	m.Freeze()
	return m
}

// BenchmarkEmbedding encodes with ViT-L/14-336, and reports the fraction of the machine's peak that
// is reached end to end, the peak measured before and after every round.
func BenchmarkEmbedding(b *testing.B) {
	c := ViTL14336
	m := randomModel(b, c)
	for _, impl := range kernel.Available() {
		if impl == "generic" {
			continue
		}
		for _, threads := range []int{1, runtime.GOMAXPROCS(0)} {
			for _, batch := range []int{1, 8} {
				b.Run(fmt.Sprintf("%s/threads=%d/batch=%d", impl, threads, batch), func(b *testing.B) {
					kernel.Use(impl)
					defer kernel.Use("")
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
					x := mat.NewDense[float32](mat.WithShape(batch*c.Patches(), c.PatchLen()))
					m.Embedding(x)
					var fraction, rounds float64
					before := kernel.Peak()
					for b.Loop() {
						start := time.Now()
						m.Embedding(x)
						speed := float64(batch) * c.flops() / time.Since(start).Seconds()
						b.StopTimer()
						after := kernel.Peak()
						fraction += speed / ((before + after) / 2)
						before = after
						rounds++
						b.StartTimer()
					}
					b.ReportMetric(fraction/rounds, "peak")
					b.ReportMetric(float64(b.Elapsed().Milliseconds())/rounds/float64(batch), "ms/image")
				})
			}
		}
	}
}
