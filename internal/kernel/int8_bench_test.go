package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// BenchmarkMatMulInt8: the products of ViT-L/14-336, one image, in 8 bits and in float32 by turns, with
// the medians of both; the machine may be shared.
func BenchmarkMatMulInt8(b *testing.B) {
	defer restoreInt8()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, s := range []struct {
		name    string
		m, n, k int
		e       Epilogue
	}{
		{"qkv", 577, 3072, 1024, Epilogue{Bias: random(rng, 3072).data}},
		{"out", 577, 1024, 1024, Epilogue{Bias: random(rng, 1024).data, Residual: random(rng, 577*1024).data}},
		{"up", 577, 4096, 1024, Epilogue{Bias: random(rng, 4096).data, Activation: QuickGELU}},
		{"down", 577, 1024, 4096, Epilogue{Bias: random(rng, 1024).data, Residual: random(rng, 577*1024).data}},
	} {
		x, w, y := random(rng, s.m*s.k).data, random(rng, s.n*s.k).data, make([]float32, s.m*s.n)
		for i := range w {
			w[i] /= 32 // products of the size that a model has: exp of larger ones is subnormal, and slow
		}
		for _, name := range []string{"avx512", "avx2"} {
			if !Use(name) {
				continue
			}
			for _, tile := range int8Tiles() {
				if tile == int8Generic {
					continue
				}
				int8Chosen = tile
				p, q := Pack(w, s.n, s.k), PackInt8(w, s.n, s.k)
				b.Run(fmt.Sprintf("%s/%s/%s", s.name, name, tile.name), func(b *testing.B) {
					var float, eight []float64
					turn := func(times *[]float64, f func()) {
						start := time.Now()
						f()
						*times = append(*times, time.Since(start).Seconds())
					}
					for b.Loop() {
						turn(&float, func() { MatMulPacked(y, x, p, s.m, s.e) })
						turn(&eight, func() { MatMulInt8(y, x, q, s.m, s.e) })
					}
					median := func(x []float64) float64 {
						slices.Sort(x)
						return x[len(x)/2]
					}
					mf, me := median(float), median(eight)
					b.ReportMetric(0, "ns/op") // of both together: it says nothing
					b.ReportMetric(1e3*mf, "float32-ms")
					b.ReportMetric(1e3*me, "int8-ms")
					b.ReportMetric(mf/me, "float32/int8")
					b.ReportMetric(2*float64(s.m)*float64(s.n)*float64(s.k)/me/1e9, "GOP/s")
				})
			}
			int8Chosen = nil
		}
	}
}
