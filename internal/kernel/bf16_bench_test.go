package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// BenchmarkMatMulBF16: the products of ViT-B/32 and of ViT-L/14-336 in bfloat16 and in float32 by turns, with the medians of
// both; the machine may be shared.
func BenchmarkMatMulBF16(b *testing.B) {
	defer restoreBF16()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, s := range []struct {
		name    string
		m, n, k int
		e       Epilogue
	}{
		{"B-32/1/qkv", 50, 2304, 768, Epilogue{Bias: random(rng, 2304).data}},
		{"B-32/24/qkv", 1200, 2304, 768, Epilogue{Bias: random(rng, 2304).data}},
		{"B-32/24/out", 1200, 768, 768, Epilogue{Bias: random(rng, 768).data, Residual: random(rng, 1200*768).data}},
		{"L-14-336/2/qkv", 1154, 3072, 1024, Epilogue{Bias: random(rng, 3072).data}},
		{"L-14-336/2/up", 1154, 4096, 1024, Epilogue{Bias: random(rng, 4096).data, Activation: QuickGELU}},
		{"L-14-336/2/down", 1154, 1024, 4096, Epilogue{Bias: random(rng, 1024).data, Residual: random(rng, 1154*1024).data}},
	} {
		x, w, y := random(rng, s.m*s.k).data, random(rng, s.n*s.k).data, make([]float32, s.m*s.n)
		for i := range w {
			w[i] /= 32 // products of the size that a model has: exp of larger ones is subnormal, and slow
		}
		p, q := Pack(w, s.n, s.k), PackBF16(w, s.n, s.k)
		b.Run(fmt.Sprintf("%s/%s", s.name, BF16Name()), func(b *testing.B) {
			var float, bf16 []float64
			turn := func(times *[]float64, f func()) {
				start := time.Now()
				f()
				*times = append(*times, time.Since(start).Seconds())
			}
			for b.Loop() {
				turn(&float, func() { MatMulPacked(y, x, p, s.m, s.e) })
				turn(&bf16, func() { MatMulBF16(y, x, q, s.m, s.e) })
			}
			median := func(x []float64) float64 {
				slices.Sort(x)
				return x[len(x)/2]
			}
			mf, mb := median(float), median(bf16)
			b.ReportMetric(0, "ns/op") // of both together: it says nothing
			b.ReportMetric(1e3*mf, "float32-ms")
			b.ReportMetric(1e3*mb, "bf16-ms")
			b.ReportMetric(mb/mf, "bf16/float32")
			b.ReportMetric(2*float64(s.m)*float64(s.n)*float64(s.k)/mb/1e9, "GFLOP/s")
		})
	}
}
