package cliptext

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vitago/vitago/internal/tiny"
)

// BenchmarkInt8 encodes random texts of ten tokens in 8 bits and in float32 by turns, and reports the ratio of the medians.
func BenchmarkInt8(b *testing.B) {
	c := ViTB32
	c.Vocab, c.End = 1000, 999 // of which products know nothing
	var towers [2]*Model
	for i := range towers {
		m, err := New(c)
		if err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		tiny.Fill(m, func() float32 { return (rng.Float32() - 0.5) / 8 })
		m.Freeze()
		towers[i] = m
	}
	towers[1].Quantize()
	b.Log(towers[1].Precision())
	for _, batch := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("threads=%d/batch=%d", runtime.GOMAXPROCS(0), batch), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(2, 2))
			texts := make([][]int, batch)
			for i := range texts {
				for range 9 {
					texts[i] = append(texts[i], rng.IntN(c.End))
				}
				texts[i] = append(texts[i], c.End)
			}
			var times [2][]float64
			for b.Loop() {
				for i, m := range towers {
					start := time.Now()
					if _, err := m.Forward(texts); err != nil {
						b.Fatal(err)
					}
					times[i] = append(times[i], time.Since(start).Seconds())
				}
			}
			median := func(x []float64) float64 {
				slices.Sort(x)
				return x[len(x)/2]
			}
			b.ReportMetric(0, "ns/op") // of both together: it says nothing
			b.ReportMetric(1e3*median(times[0])/float64(batch), "float32-ms/text")
			b.ReportMetric(median(times[1])/median(times[0]), "int8/float32")
		})
	}
}
